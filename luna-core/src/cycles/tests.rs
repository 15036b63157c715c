//! With a counter that goes up by known steps every stage's account is exact.

use core::cell::Cell;
use std::thread_local;

use super::*;

/// What reading takes.
const READ: u64 = 7;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(u64::MAX - 1_000) };
}

pub(crate) fn pass(n: u64) {
    NOW.set(NOW.get().wrapping_add(n));
}

pub(crate) fn read() -> u64 {
    pass(READ);
    NOW.get()
}

fn counted(every: u32) -> Cycles {
    let mut cycles = Cycles::new();
    cycles.set(Some(CycleCounter { read, every }));
    cycles
}

#[test]
fn each_stage_has_what_passed_in_it_and_the_whole_is_their_sum() {
    let mut c = counted(1);
    assert_eq!(c.report().stamp, READ, "found out");
    // The counter wraps on the way.
    for _ in 0..200 {
        c.begin();
        pass(3);
        let before = c.enter(Stage::DriverRx);
        assert_eq!(before, Stage::Loop);
        pass(10);
        c.enter(Stage::TcpIn);
        pass(100);
        let before = c.enter(Stage::Rpc);
        pass(1000);
        // Nested: back to where it came from.
        let rpc = c.enter(Stage::Application);
        pass(5);
        c.enter(rpc);
        pass(20);
        c.enter(before);
        pass(1);
        c.end(true);
    }
    let r = c.report();
    let of = |stage: Stage| r.stages[stage as usize] / 200;
    assert_eq!([of(Stage::Loop), of(Stage::DriverRx), of(Stage::TcpIn)], [3, 10, 101]);
    assert_eq!([of(Stage::Rpc), of(Stage::Application), of(Stage::Parse)], [1020, 5, 0]);
    assert_eq!(r.stages.iter().sum::<i64>(), r.whole);
    assert_eq!(r.whole, 200 * 1139);
    assert_eq!((r.stamped, r.busy, r.stamps), (200, 200, 200 * 7));
    assert!(Stage::ALL.iter().enumerate().all(|(i, s)| *s as usize == i), "the report is in the order of ALL");
}

#[test]
fn one_turn_of_so_many_stands_for_all_and_idle_ones_are_apart() {
    let mut c = counted(4);
    for turn in 0..40 {
        c.begin();
        pass(2);
        c.enter(Stage::TcpOut);
        pass(8);
        // Every other is idle, of the stamped ones too.
        c.end(turn % 8 < 4);
    }
    let r = c.report();
    assert_eq!((r.stamped, r.busy, r.idle), (5, 20, (50, 5)));
    assert_eq!((r.whole, r.of(Stage::TcpOut), r.of(Stage::Loop), r.total()), (50, 160.0, 40.0, 200.0));
    let later = CycleReport { busy: 30, stamped: 8, ..r };
    assert_eq!((later.since(&r).busy, later.since(&r).stamped, later.since(&r).whole), (10, 3, 0));
}

#[test]
fn without_a_counter_nothing_is_read() {
    let mut c = Cycles::new();
    let before = NOW.get();
    c.begin();
    c.enter(Stage::Rpc);
    c.end(true);
    c.set(Some(CycleCounter { read, every: 1 }));
    c.set(None);
    let calibrated = NOW.get();
    c.begin();
    c.end(true);
    assert_eq!((NOW.get(), c.report()), (calibrated, CycleReport::default()));
    assert_ne!(calibrated, before, "it was calibrated in between");
}
