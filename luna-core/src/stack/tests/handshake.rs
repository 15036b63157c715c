//! Openings that do not go by the book.

use super::harness::*;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_late_copy_of_the_syn_in_the_burst_of_the_first_data_costs_nothing() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.a.queue().recent = Some(Vec::new());
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let a = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    let data = p.a.buffer(3000, 0);
    p.a.send(now, a, &data, 1).unwrap();
    p.a.stack.turn(now, 32, &mut p.a.app);
    let syn = p.a.queue().recent.as_ref().unwrap()[0].clone();
    p.b.stack.turn(now, 32, &mut p.b.app);
    p.a.stack.turn(now, 32, &mut p.a.app);
    // b's next burst: the SYN once more, then the handshake's ACK and the data.
    let mut copy = p.b.pools.data.alloc().unwrap();
    copy.append(syn.len() as u32).unwrap().copy_from_slice(&syn);
    p.b.queue().inject.push_back(copy.freeze());
    p.settle();
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
    p.run(MS(50));
    assert_eq!((p.a.stack.counters().rtos, p.b.stack.counters().syn_retransmits), (0, 0));
}

#[test]
fn an_answer_sent_twice_is_no_sample() {
    let tcp = |initial| TcpConfig { initial_rto: MS(initial), ..TcpConfig::DATACENTER };
    let o = Options { tcp_a: tcp(10), tcp_b: tcp(500), ..Options::default() };
    let mut p = Pair::new(&o);
    p.b.queue().fate = Box::new(|_, n| if n == 1 { Fate::Drop } else { Fate::Pass });
    let (_, b) = p.connect(&o);
    let info = p.b.stack.cx(p.now).info(b).unwrap();
    assert!(info.srtt < MS(1), "{:?}", info.srtt);
}

#[test]
fn late_data_with_an_old_acknowledgment_is_welcome_as_far_back_as_the_window_reaches() {
    let (mut p, a, _) = Pair::open(&Options::default());
    for i in 0..20 {
        let data = p.a.buffer(16_000, i * 16_000);
        p.a.send(p.now, a, &data, 1).unwrap();
        p.run(MS(1));
    }
    p.a.forge(a, |f| {
        f.ack = f.ack - 200_000;
        f.payload = (0..100).map(pattern).collect();
    });
    p.settle();
    expect_pattern(&p.a.app.received, 100);
    assert_eq!(p.a.stack.counters().bad_ack, 0);
}

#[test]
fn both_open_and_finish_at_once() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let to = |n, local: u16, remote: u16| Connect { ports: local..=local, ..Connect::to((addr(&o, n), remote).into()) };
    let a = p.a.stack.cx(now).connect(to(2, 5000, 6000)).unwrap();
    let b = p.b.stack.cx(now).connect(to(1, 6000, 5000)).unwrap();
    let data = p.a.buffer(5000, 0);
    p.a.send(now, a, &data, 1).unwrap();
    drop(data);
    p.a.stack.cx(now).shutdown(a).unwrap();
    p.b.stack.cx(now).shutdown(b).unwrap();
    p.a.stack.flush_dirty(&mut p.a.app);
    p.b.stack.flush_dirty(&mut p.b.app);
    p.a.stack.turn(now, 1, &mut p.a.app);
    assert_eq!(p.a.conn(a).state, State::SynReceived);
    p.run(MS(100));
    expect_pattern(&p.b.app.received, 5000);
    for (end, conn) in [(&p.a, a), (&p.b, b)] {
        assert_eq!((end.app.connected.len(), &end.app.fins[..]), (1, &[conn][..]));
        assert_eq!(end.app.closed[0].1.reason, CloseReason::Finished);
    }
    p.run(Duration::from_secs(2));
    p.assert_clean();
}
