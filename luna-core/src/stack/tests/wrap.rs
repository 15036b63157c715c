//! Numbers that wrap: sequence numbers and timestamps, in the middle of a lossy transfer.

use super::harness::*;
use crate::stack::flow::FlowKey;
use crate::stack::*;
use crate::time::{Duration, Instant};

const LOCAL: u16 = 50_000;

/// A lossy transfer both ways, begun at a moment that `start` chooses from a's flow key.
fn transfer(start: impl FnOnce(&Pair, &FlowKey) -> u64) -> (Pair, ConnId) {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let key = FlowKey::new(addr(&o, 2), addr(&o, 1), PORT, LOCAL);
    p.now = Instant::from_nanos(start(&p, &key));
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let to = Connect { ports: LOCAL..=LOCAL, ..Connect::to((addr(&o, 2), PORT).into()) };
    let a = p.a.stack.cx(now).connect(to).unwrap();
    p.settle();
    let b = p.b.app.accepted[0].0;
    for end in [&mut p.a, &mut p.b] {
        end.queue().fate = Box::new(|_, n| match n % 13 {
            5 => Fate::Drop,
            9 => Fate::Late,
            _ => Fate::Pass,
        });
    }
    for i in 0..50 {
        for (to_b, conn) in [(true, a), (false, b)] {
            let end = if to_b { &mut p.a } else { &mut p.b };
            let data = end.buffer(4000, i * 4000);
            end.send(p.now, conn, &data, i as u64).unwrap();
        }
        p.run(Duration::from_millis(1));
    }
    assert!(p.run_until(Duration::from_secs(5), |p| p.a.app.released.len() == 50 && p.b.app.released.len() == 50));
    p.run(Duration::from_millis(50));
    expect_pattern(&p.a.app.received, 200_000);
    expect_pattern(&p.b.app.received, 200_000);
    (p, a)
}

#[test]
fn sequence_numbers_wrap() {
    let (p, a) = transfer(|p, key| {
        let hash = p.a.stack.secrets.initial_sequence(key, Instant::ZERO).0;
        let iss = u32::MAX - 100_000;
        // One tick of the sequence clock is 4 µs; a round of it is added so as to be behind the pair's beginning.
        (u64::from(iss.wrapping_sub(hash)) + (1 << 32)) * 4000
    });
    let c = p.a.conn(a);
    assert!(c.cold.iss.0 > u32::MAX - 100_010 && c.snd_una.0 < 200_000, "{:?} {:?}", c.cold.iss, c.snd_una);
}

#[test]
fn timestamps_wrap() {
    let (p, a) = transfer(|p, key| {
        let offset = p.a.stack.secrets.flow(key).timestamp_offset();
        (u64::from((u32::MAX - 20).wrapping_sub(offset)) + (1 << 32)) * 1_000_000
    });
    let c = p.a.conn(a);
    assert!(c.tsval(p.now.as_millis_u32()) < 10_000, "it wrapped");
    // Acknowledgments that were overtaken within a tick's change do look old; nothing else does.
    assert!(p.a.stack.counters().paws + p.b.stack.counters().paws < 10);
}
