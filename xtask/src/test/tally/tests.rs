use super::*;

fn tally(output: &str) -> Tally {
    let mut tally = Tally::default();
    output.lines().for_each(|line| tally.read(line));
    tally
}

#[test]
fn results_of_several_binaries_add_up() {
    let counted = tally(
        "running 3 tests\n\
         test a ... ok\n\
         test b ... ignored, needs root\n\
         test c ... FAILED\n\
         test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n\
         running 2 tests\n\
         test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
    );
    assert_eq!((counted.passed, counted.failed, counted.skipped), (3, 1, 1));
    assert_eq!(counted.skip_reasons, ["b: needs root"]);
}

#[test]
fn filtered_and_measured_are_not_counted() {
    let counted =
        tally("test result: ok. 0 passed; 0 failed; 0 ignored; 5 measured; 9 filtered out; finished in 0.00s");
    assert!(counted.is_empty());
}

#[test]
fn ignored_without_a_reason_still_has_a_line() {
    assert_eq!(tally("test src/lib.rs - (line 3) ... ignored").skip_reasons, ["src/lib.rs - (line 3): ignored"]);
}

#[test]
fn criterion_test_mode_counts() {
    assert_eq!(tally("Testing zbuf/alloc_free\nSuccess\n\nTesting zbuf/clone\nSuccess\n").passed, 2);
}

#[test]
fn closing_line_has_its_agreed_form() {
    let total = Tally { passed: 12, failed: 0, skipped: 1, skip_reasons: vec![] };
    assert_eq!(total.to_string(), "12 passed, 0 failed, 1 skipped");
}

#[test]
fn tests_of_parts_that_are_not_built_in_are_no_skips_and_others_stay() {
    let mut tally = Tally::default();
    for line in [
        "test a::one ... ignored, needs ipv6",
        "test a::two ... ignored, needs ipv6 and tso",
        "test a::three ... ignored, needs root",
        "test a::four ... ignored",
        "test a::five ... ignored, needs ipv6 and root",
        "test result: ok. 7 passed; 0 failed; 5 ignored; 0 measured; 0 filtered out; finished in 0.1s",
    ] {
        tally.read(line);
    }
    tally.without_left_out(&["ipv6", "tso"]);
    assert_eq!((tally.passed, tally.skipped), (7, 3));
    assert_eq!(tally.skip_reasons, ["a::three: needs root", "a::four: ignored", "a::five: needs ipv6 and root"]);
}
