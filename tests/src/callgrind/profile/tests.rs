use super::*;

const FILE: &str = "\
# callgrind format
events: Ir
summary: 1190

ob=/prog
fl=main.rs
fn=prog::main
0x10 1 5
fi=inlined.rs
0x12 7 10
fe=main.rs
cfn=prog::link::gather::h0123456789abcdef
calls=2 0x20 3
0x14 2 1100
cob=/libc.so
cfn=memcpy
calls=1 0x999 0
0x16 2 70
0x16 2 5
cob=/libc.so
cfn=__libc_start_main@@GLIBC_2.34
calls=1 0x998 0
0x18 2 1190
fn=prog::link::gather::h0123456789abcdef
0x20 3 100
cob=/libc.so
cfn=memcpy
calls=2 0x999 0
0x24 4 1000
ob=/libc.so
fn=memcpy
0x999 0 1070

totals: 1190
";

fn instructions(p: &Profile, path: &str) -> u64 {
    p.inclusive_of(path).instructions
}

#[test]
fn misses_of_the_last_level_are_summed_wherever_their_columns_are() {
    let file = "events: Ir Dr I1mr ILmr DLmr DLmw\nob=/prog\nfn=f\n0x10 1 9 5 4 3 2 1\n0x12 1 9 5 4 3\n0x14 1 9\n";
    let p = Profile::parse(file).unwrap();
    assert_eq!(p.total(), Costs { instructions: 27, misses: 3 + 2 + 1 + 3 });
    assert_eq!(p.inclusive_of("f"), p.total());
    assert_eq!(p.addresses("/prog").map(|(_, c)| c).sum::<u64>(), 27);
}

#[test]
fn self_and_inclusive_costs_are_told_apart() {
    let p = Profile::parse(FILE).unwrap();
    assert_eq!(p.total().instructions, 5 + 10 + 5 + 100 + 1070);
    assert_eq!(instructions(&p, "link::gather"), 1100);
    assert_eq!(instructions(&p, "gather"), 1100);
    assert_eq!((instructions(&p, "ther"), instructions(&p, "other::gather")), (0, 0));
    assert_eq!(instructions(&p, "main"), 5 + 10 + 1100 + 70 + 5 + 1190);
}

#[test]
fn calls_out_of_the_object_are_charged_to_the_caller() {
    let p = Profile::parse(FILE).unwrap();
    let mut own: Vec<_> = p.addresses("/prog").collect();
    own.sort_unstable();
    assert_eq!(own, [(0x10, 5), (0x12, 10), (0x16, 75), (0x20, 100), (0x24, 1000)]);
    assert_eq!(own.iter().map(|(_, c)| c).sum::<u64>(), p.total().instructions);
}

#[test]
fn what_is_no_profile_is_refused() {
    assert!(matches!(Profile::parse(""), Err(ProfileError::Line(_))));
    assert!(matches!(Profile::parse("events: Ir\nfn=a\n0x10 1 y\n"), Err(ProfileError::Line(3))));
}
