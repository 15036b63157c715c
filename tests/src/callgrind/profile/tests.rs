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

#[test]
fn self_and_inclusive_costs_are_told_apart() {
    let p = Profile::parse(FILE).unwrap();
    assert_eq!(p.total(), 5 + 10 + 5 + 100 + 1070);
    assert_eq!(p.inclusive_of("link::gather"), 1100);
    assert_eq!(p.inclusive_of("gather"), 1100);
    assert_eq!((p.inclusive_of("ther"), p.inclusive_of("other::gather")), (0, 0));
    assert_eq!(p.inclusive_of("main"), 5 + 10 + 1100 + 70 + 5 + 1190);
}

#[test]
fn calls_out_of_the_object_are_charged_to_the_caller() {
    let p = Profile::parse(FILE).unwrap();
    let mut own: Vec<_> = p.addresses("/prog").collect();
    own.sort_unstable();
    assert_eq!(own, [(0x10, 5), (0x12, 10), (0x16, 75), (0x20, 100), (0x24, 1000)]);
    assert_eq!(own.iter().map(|(_, c)| c).sum::<u64>(), p.total());
}

#[test]
fn what_is_no_profile_is_refused() {
    assert!(matches!(Profile::parse(""), Err(ProfileError::Line(_))));
    assert!(matches!(Profile::parse("fn=a\n0x10 x y\n"), Err(ProfileError::Line(2))));
}
