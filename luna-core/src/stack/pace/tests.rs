use super::*;
use crate::slab::Slab;
use crate::tcp::Control;

fn ring(n: usize) -> Vec<Control> {
    (0..n).map(|_| Control::default()).collect()
}

fn wait(r: &mut PaceRing, c: &mut Controls<'_>, i: u32, at: u64, now: u64) {
    c.at_mut(i).pacer.conn = 100 + i;
    c.at_mut(i).pacer.next_send = Instant::from_nanos(at);
    r.wait(c, i, Instant::from_nanos(now));
}

#[test]
fn each_wakes_in_its_microsecond_never_early() {
    let mut store = ring(40);
    let mut c = Slab::new(&mut store);
    for start in [0u64, 1_000_000_007, u64::MAX / 2] {
        let mut r = PaceRing::new(Instant::from_nanos(start));
        let times: Vec<u64> = (0..40).map(|i| start + i * 1_517 % 61_000).collect();
        for (i, t) in times.iter().enumerate() {
            wait(&mut r, &mut c, i as u32, *t, start);
        }
        let mut woken = 0;
        while !r.is_empty() {
            let now = r.next();
            assert!(now != Instant::FAR);
            while let Some(conn) = r.pop_due(&mut c, now) {
                let at = times[conn as usize - 100];
                assert!(now.as_nanos() >= at, "early");
                assert!(now.as_nanos() <= at + 1_024, "late by {}", now.as_nanos() - at);
                woken += 1;
            }
        }
        assert_eq!(woken, 40);
        assert_eq!(r.next(), Instant::FAR);
    }
}

#[test]
fn whoever_leaves_is_not_woken() {
    let mut store = ring(4);
    let mut c = Slab::new(&mut store);
    let mut r = PaceRing::new(Instant::ZERO);
    for i in 0..4 {
        wait(&mut r, &mut c, i, 5_000, 0);
        // Once is enough.
        r.wait(&mut c, i, Instant::ZERO);
    }
    // Head, middle, and one that is not there.
    r.cancel(&mut c, 3);
    r.cancel(&mut c, 1);
    r.cancel(&mut c, 1);
    let mut woken = vec![];
    while let Some(conn) = r.pop_due(&mut c, Instant::from_nanos(10_000)) {
        woken.push(conn);
    }
    woken.sort_unstable();
    assert_eq!(woken, [100, 102]);
    wait(&mut r, &mut c, 0, 20_000, 11_000);
    r.cancel(&mut c, 0);
    assert!(r.is_empty());
}

#[test]
fn a_long_silence_delays_nobody() {
    let mut store = ring(1);
    let mut c = Slab::new(&mut store);
    let mut r = PaceRing::new(Instant::ZERO);
    wait(&mut r, &mut c, 0, 9_000_000_000, 8_999_990_000);
    assert!(r.pop_due(&mut c, Instant::from_nanos(8_999_999_000)).is_none());
    assert_eq!(r.pop_due(&mut c, Instant::from_nanos(9_000_001_024)), Some(100));
}
