use super::*;
use crate::tcp::congestion::tests::{MSS, ack};
use crate::time::Instant;

/// A round of `n` acknowledgments with an RTT of `ms`.
fn round(h: &mut HyStart, una: &mut SeqNum, n: u32, ms: u64) -> Vec<Growth> {
    let nxt = *una + n * MSS;
    (0..n)
        .map(|_| {
            *una += MSS;
            let rtt = Some(Duration::from_millis(ms));
            h.on_ack(&Ack { now: Instant::ZERO, rtt, una: *una, nxt: nxt + n * MSS, ..ack(MSS) })
        })
        .collect()
}

#[test]
fn a_rise_of_an_eighth_slows_down_and_five_rounds_later_ends_slow_start() {
    let (mut h, mut una) = (HyStart::default(), SeqNum(0));
    for _ in 0..4 {
        assert!(round(&mut h, &mut una, 10, 100).iter().all(|g| *g == Growth::Full));
    }
    // 12 ms more is less than an eighth of 100 ms, 13 are more.
    assert!(round(&mut h, &mut una, 20, 112).iter().all(|g| *g == Growth::Full));
    let (mut quarters, mut rounds) = (0, 0);
    loop {
        let growth = round(&mut h, &mut una, 20, 127);
        quarters += growth.iter().filter(|g| **g == Growth::Quarter(MSS / 4)).count();
        rounds += 1;
        if growth.contains(&Growth::Done) {
            break;
        }
        assert!(rounds < 20);
    }
    assert!((80..=130).contains(&quarters), "{quarters} acknowledgments in about five rounds");
}

#[test]
fn a_rise_that_was_noise_is_forgotten() {
    let (mut h, mut una) = (HyStart::default(), SeqNum(0));
    for ms in [100, 100, 130, 130] {
        round(&mut h, &mut una, 20, ms);
    }
    assert!(matches!(h.phase, Phase::Conservative { .. }));
    round(&mut h, &mut una, 20, 100);
    let after = round(&mut h, &mut una, 20, 100);
    assert!(after.iter().all(|g| *g == Growth::Full), "{after:?}");
}

#[test]
fn few_samples_and_small_rises_say_nothing() {
    let (mut h, mut una) = (HyStart::default(), SeqNum(0));
    round(&mut h, &mut una, 20, 10);
    round(&mut h, &mut una, 20, 10);
    // Below the threshold's floor of 4 ms.
    assert!(round(&mut h, &mut una, 20, 13).iter().all(|g| *g == Growth::Full));
    assert!(round(&mut h, &mut una, 5, 100).iter().all(|g| *g == Growth::Full), "five samples are not eight");
}
