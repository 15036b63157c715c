//! Every table and pool at its end: refusal and a counter, then everything works again.

use super::harness::*;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::{Duration, Instant};
use crate::zbuf::{Frag, Zbuf, ZbufMut};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn to(o: &Options) -> Connect {
    Connect::to((addr(o, 2), PORT).into())
}

impl Pair {
    fn send_some(&mut self, conn: ConnId, n: usize, len: usize) {
        for i in 0..n {
            let data = self.a.buffer(len, i * len);
            self.a.send(self.now, conn, &data, i as u64).unwrap();
        }
    }

    fn check_arrived(&mut self, n: usize, len: usize) {
        assert!(
            self.run_until(Duration::from_secs(10), |p| p.a.app.released.len() == n),
            "{} of {n}",
            self.a.app.released.len()
        );
        expect_pattern(&self.b.app.received, n * len);
        assert_eq!(self.a.app.released, (0..n as u64).map(|i| (i, Released::Acked)).collect::<Vec<_>>());
    }
}

fn exhaust(pool: &crate::zbuf::Pool) -> Vec<ZbufMut> {
    core::iter::from_fn(|| pool.alloc()).collect()
}

#[test]
fn as_many_connections_as_the_table_holds() {
    // The smallest flow table that is allowed holds them all.
    let o = Options { connections: 6, flows: Some(8), ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let conns: Vec<_> = (0..6).map(|_| p.a.stack.cx(now).connect(to(&o)).unwrap()).collect();
    assert_eq!(p.a.stack.cx(now).connect(to(&o)), Err(ConnectError::Full));
    p.settle();
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (6, 6));
    p.a.stack.cx(now).abort(conns[3]).unwrap();
    p.settle();
    p.a.stack.cx(now).connect(to(&o)).unwrap();
    p.settle();
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (7, 7));
}

#[test]
fn a_full_listener_side_refuses_and_counts_and_recovers() {
    let o = Options { connections_b: Some(2), ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    for _ in 0..3 {
        p.a.stack.cx(now).connect(to(&o)).unwrap();
    }
    p.settle();
    assert_eq!((p.b.app.accepted.len(), p.b.stack.counters().connections_full), (2, 1));
    let b = p.b.app.accepted[0].0;
    p.b.stack.cx(now).abort(b).unwrap();
    p.run(MS(30));
    // The SYN sent again finds room.
    assert_eq!((p.b.app.accepted.len(), p.a.app.connected.len()), (3, 3));
}

#[test]
fn a_full_backlog_refuses_and_counts() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind { backlog: 2, ..Bind::port(PORT) }, 0).unwrap();
    // The handshakes hang: b's answers are lost.
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    for _ in 0..4 {
        p.a.stack.cx(now).connect(to(&o)).unwrap();
    }
    p.settle();
    assert_eq!((p.b.stack.connections(), p.b.stack.counters().backlog_full), (2, 2));
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    p.run(MS(500));
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (4, 4));
}

#[test]
fn a_listeners_slot_used_again_does_not_adopt_handshakes_of_the_old_one() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let old = p.b.stack.cx(now).listen(Bind::port(PORT), 11).unwrap();
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    p.a.stack.cx(now).connect(to(&o)).unwrap();
    p.settle();
    p.b.stack.cx(now).unlisten(old).unwrap();
    assert_eq!(p.b.stack.cx(now).unlisten(old), Err(Stale));
    p.b.stack.cx(now).listen(Bind { backlog: 1, ..Bind::port(PORT + 1) }, 22).unwrap();
    let other = Connect::to((addr(&o, 2), PORT + 1).into());
    p.a.stack.cx(now).connect(other.clone()).unwrap();
    p.settle();
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    p.run(MS(100));
    let mut users: Vec<_> = p.b.app.accepted.iter().map(|a| a.1).collect();
    users.sort_unstable();
    assert_eq!(users, [11, 22]);
}

#[test]
fn listeners_and_neighbours_are_bounded_and_checked() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let (now, path) = (p.now, p.b.path);
    let mut cx = p.b.stack.cx(now);
    assert_eq!(cx.listen(Bind::port(0), 0), Err(ListenError::BadPort));
    assert_eq!(cx.listen(Bind { addr: Some(addr(&o, 77)), ..Bind::port(1) }, 0), Err(ListenError::NotOurAddress));
    assert_eq!(cx.listen(Bind { path: Some(PathId(3)), ..Bind::port(1) }, 0), Err(ListenError::NotOurAddress));
    let ids: Vec<_> = (1..=4).map(|n| cx.listen(Bind::port(n), 0).unwrap()).collect();
    assert_eq!(cx.listen(Bind::port(2), 0), Err(ListenError::InUse));
    assert_eq!(cx.listen(Bind::port(9), 0), Err(ListenError::Full));
    cx.unlisten(ids[1]).unwrap();
    cx.listen(Bind::port(9), 0).unwrap();
    // One neighbour is there already.
    let mac = crate::wire::MacAddr([2; 6]);
    for n in 10..13 {
        assert!(cx.neighbor(path, addr(&o, n), Some(mac)));
    }
    assert!(!cx.neighbor(path, addr(&o, 13), Some(mac)), "full");
    assert!(cx.neighbor(path, addr(&o, 10), None) && cx.neighbor(path, addr(&o, 13), Some(mac)));
}

#[test]
fn ports_of_the_range_run_out_and_come_back() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let three = Connect { ports: 100..=102, ..to(&o) };
    let conns: Vec<_> = (0..3).map(|_| p.a.stack.cx(now).connect(three.clone()).unwrap()).collect();
    assert_eq!(p.a.stack.cx(now).connect(three.clone()), Err(ConnectError::PortsInUse));
    p.settle();
    let mut ports: Vec<_> = p.b.app.accepted.iter().map(|a| a.2.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [100, 101, 102]);
    p.a.stack.cx(now).abort(conns[1]).unwrap();
    p.settle();
    p.a.stack.cx(now).connect(three).unwrap();
    for bad in [
        Connect { ports: 0..=5, ..to(&o) },
        Connect::to((addr(&o, 2), 0).into()),
        Connect::to(([224, 0, 0, 1], 5).into()),
    ] {
        assert_eq!(p.a.stack.cx(now).connect(bad), Err(ConnectError::BadAddress));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
    let empty = Connect { ports: 9..=8, ..to(&o) };
    assert_eq!(p.a.stack.cx(now).connect(empty), Err(ConnectError::PortsInUse));
    assert_eq!(p.a.stack.cx(now).connect(Connect::to(([192, 0, 2, 1], 5).into())), Err(ConnectError::NoRoute));
}

#[test]
fn a_full_send_buffer_says_so_and_says_when_there_is_room() {
    let tcp = TcpConfig { snd_buf: 64 << 10, ..TcpConfig::DATACENTER };
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, ..Options::default() });
    p.send_some(a, 8, 8192);
    let data = p.a.buffer(8192, 0);
    assert_eq!(p.a.send(p.now, a, &data, 99), Err(SendError::Full));
    assert_eq!((p.a.stack.counters().sends_refused, p.a.app.writable), (1, 0));
    p.check_arrived(8, 8192);
    assert_eq!(p.a.app.writable, 1);
    assert_eq!(p.a.send(p.now, a, &data, 99), Ok(()));
    let mut iov = heapless::Vec::<Frag, 8>::new();
    for _ in 0..8 {
        iov.push(Frag::from(data.clone())).unwrap();
    }
    iov[7] = Frag::from(p.a.buffer(8193, 0));
    assert_eq!(p.a.stack.cx(p.now).send(a, &mut iov, 1), Err(SendError::TooLarge));
    assert_eq!(iov.len(), 8, "untouched");
    assert_eq!(p.a.stack.cx(p.now).send(a, &mut heapless::Vec::<Frag, 1>::new(), 1), Err(SendError::Empty));
}

#[test]
fn a_connection_refused_because_others_used_the_pool_up_is_told_when_there_is_room() {
    let o = Options { records: 64, ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let now = p.now;
    let quiet = p.a.stack.cx(now).connect(to(&o)).unwrap();
    p.settle();
    p.send_some(a, 64, 100);
    let data = p.a.buffer(100, 0);
    assert_eq!(p.a.send(p.now, quiet, &data, 99), Err(SendError::Full));
    p.run(MS(20));
    assert_eq!(p.a.app.writable, 1, "although nothing of its own was ever acknowledged");
    assert_eq!(p.a.send(p.now, quiet, &data, 99), Ok(()));
    // What can never fit is not a matter of waiting.
    let mut iov = heapless::Vec::<Frag, 65>::new();
    for _ in 0..65 {
        iov.push(Frag::from(data.clone())).unwrap();
    }
    assert_eq!(p.a.stack.cx(p.now).send(quiet, &mut iov, 1), Err(SendError::TooLarge));
}

#[test]
fn entries_that_one_connection_frees_go_to_others_that_wait() {
    let o = Options { records: 4, segments: Some(64), ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let now = p.now;
    let quiet = p.a.stack.cx(now).connect(to(&o)).unwrap();
    p.run(MS(1));
    // Both send whenever they are told to, all that goes in.
    p.a.app.greedy = Some(p.a.buffer(100, 0));
    p.send_some(a, 4, 100);
    let data = p.a.buffer(100, 0);
    for conn in [a, quiet] {
        assert_eq!(p.a.send(p.now, conn, &data, 99), Err(SendError::Full));
    }
    for _ in 0..200 {
        p.spin(2);
        p.now = p.now + Duration::from_micros(200);
    }
    let sends = |conn: ConnId| p.a.app.released.iter().filter(|r| r.0 == u64::from(conn.slot()) + 1000).count();
    let (one, other) = (sends(a), sends(quiet));
    assert!(one > 50 && other > 50 && one.abs_diff(other) < 50, "{one} and {other}");
}

#[test]
fn segment_records_run_out_and_come_back() {
    let o = Options { segments: Some(3), ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    // Odd sizes, and losses: a retransmission must not need a record either.
    p.a.queue().fate = Box::new(|s, n| if s.payload_len > 0 && n.is_multiple_of(7) { Fate::Drop } else { Fate::Pass });
    p.send_some(a, 30, 5000);
    p.check_arrived(30, 5000);
    assert!(p.a.stack.counters().no_segment_record > 0);
    assert!(p.a.stack.counters().retransmits < 60);
}

#[test]
fn without_segment_records_a_stack_waits_idle_and_acknowledges() {
    let o =
        Options { segments: Some(2), tcp_b: TcpConfig { ack_ratio: 1, ..TcpConfig::DATACENTER }, ..Options::default() };
    let (mut p, a, b) = Pair::open(&o);
    // Nothing of a's data gets through: its records stay in use until the timer.
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    for i in 0..8 {
        // Turn by turn: what a burst sends is one record.
        p.send_some(a, 1, 1000);
        assert_ne!(p.spin(4), Turn::Busy, "send {i}: nothing to be done before the timer");
    }
    let tried = p.a.stack.counters().no_segment_record;
    assert!(tried > 0);
    let data = p.b.buffer(1000, 0);
    p.b.send(p.now, b, &data, 7).unwrap();
    p.spin(4);
    p.run(Duration::from_micros(500));
    assert_eq!(p.b.app.released, [(7, Released::Acked)], "data that waits holds no acknowledgment back");
    let again = p.a.stack.counters().no_segment_record - tried;
    assert!(again < 30, "it waits, it does not try and try: {again} times");
}

#[test]
fn header_objs_run_out_and_come_back() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let hog = exhaust(p.a.pools.header);
    p.send_some(a, 10, 5000);
    assert_eq!(p.spin(10), Turn::Busy, "it tries again");
    assert!(p.a.stack.counters().no_header_obj > 0 && p.b.app.received.is_empty());
    drop(hog);
    p.check_arrived(10, 5000);
    assert_eq!(p.a.stack.counters().retransmits, 0);
}

#[test]
fn a_full_transmit_queue_loses_and_doubles_nothing() {
    let (mut p, a, b) = Pair::open(&Options::default());
    p.b.app.echo = true;
    // Every third attempt is refused, on both sides.
    for end in [&mut p.a, &mut p.b] {
        let mut n = 0;
        end.queue().fate = Box::new(move |_, _| {
            n += 1;
            if n % 3 == 0 { Fate::Full } else { Fate::Pass }
        });
    }
    p.send_some(a, 20, 5000);
    p.check_arrived(20, 5000);
    expect_pattern(&p.a.app.received, 100_000);
    for end in [&p.a, &p.b] {
        let c = end.stack.counters();
        assert!(c.tx_queue_full > 0);
        assert_eq!((c.retransmits, c.duplicates), (0, 0));
    }
    assert_eq!(p.b.conn(b).in_flight(), 0);
}

/// The answer puts the connection on the list of those with output, in the middle of its own output, which then stalls.
#[test]
fn neighbours_told_in_the_callback_while_the_transmit_queue_is_full() {
    let o = Options { known_neighbors: false, ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    p.b.app.answers = Some(crate::wire::MacAddr([2, 0, 0, 0, 0, 1]));
    p.a.app.answers = Some(crate::wire::MacAddr([2, 0, 0, 0, 0, 2]));
    let mut refused = 0;
    p.a.queue().fate = Box::new(move |_, _| {
        refused += 1;
        assert!(refused < 10_000, "a turn never ends");
        if refused < 20 { Fate::Full } else { Fate::Pass }
    });
    for _ in 0..3 {
        p.a.stack.cx(now).connect(to(&o)).unwrap();
    }
    p.settle();
    p.a.stack.check_invariants().unwrap();
    assert_eq!(p.a.app.connected.len(), 3);
}

#[test]
fn a_narrow_transmit_queue_serves_everybody() {
    // Three frames a turn for six connections with much to send each: nobody starves.
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let conns: Vec<_> = (0..6).map(|_| p.a.stack.cx(now).connect(to(&o)).unwrap()).collect();
    p.settle();
    let room = std::rc::Rc::new(core::cell::Cell::new(0));
    let left = room.clone();
    p.a.queue().fate = Box::new(move |_, _| {
        if left.get() == 0 {
            return Fate::Full;
        }
        left.set(left.get() - 1);
        Fate::Pass
    });
    let data = p.a.buffer(16_000, 0);
    for conn in &conns {
        for _ in 0..4 {
            p.a.send(p.now, *conn, &data, 1).unwrap();
        }
    }
    // 24 turns of three segments: 12 each when shared fairly; nobody is through before everybody has begun.
    for _ in 0..24 {
        room.set(3);
        p.spin(1);
    }
    for conn in &conns {
        let sent = p.a.conn(*conn).snd_nxt.distance_from(p.a.conn(*conn).cold.iss + 1);
        assert!(sent > 0, "{conn:?} starves");
    }
}

#[test]
fn the_out_of_order_pool_runs_out() {
    let o = Options { out_of_order: 4, ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let mut lost = false;
    p.a.queue().fate = Box::new(move |s, _| {
        if s.payload_len > 0 && !lost {
            lost = true;
            return Fate::Drop;
        }
        Fate::Pass
    });
    p.send_some(a, 10, 5000);
    p.check_arrived(10, 5000);
    assert!(p.b.stack.counters().out_of_order_full > 0);
}

#[test]
fn ports_that_take_few_segments_and_sends_of_many_crumbs() {
    for max_tx_segments in [1, 2, 3, 5, 18] {
        for size in [1, 60, 300, 700] {
            let (mut p, a, _) = Pair::open(&Options::default());
            p.a.queue().set_caps(|c| c.max_tx_segments = max_tx_segments);
            let mut at = 0;
            for token in 0..20 {
                let mut iov = heapless::Vec::<Frag, 24>::new();
                for _ in 0..24 {
                    iov.push(Frag::from(p.a.buffer(size, at))).unwrap();
                    at += size;
                }
                p.a.stack.cx(p.now).send(a, &mut iov, token).unwrap();
                p.settle();
            }
            assert!(p.run_until(MS(100), |p| p.a.app.released.len() == 20), "{max_tx_segments} {size}");
            expect_pattern(&p.b.app.received, at);
            assert_eq!(p.a.stack.counters().retransmits, 0);
            // Twelve of a send, whatever it is made of, where the driver makes one segment of all that there is.
            let data = p.a.stack.counters().segments_out;
            assert!((max_tx_segments, size) != (1, 700) || data < 20 * 13, "{data} segments");
        }
    }
}

#[test]
fn a_turn_takes_no_more_than_its_budget() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.send_some(a, 10, 14_480);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    // 32 segments wait (the initial window and its first acknowledgments).
    assert_eq!(p.b.stack.turn(p.now, 1, &mut p.b.app), Turn::Busy);
    assert_eq!(p.b.app.chunks.len(), 32, "one burst");
    p.check_arrived(10, 14_480);
}

#[test]
fn after_a_jump_of_the_clock_waiting_frames_go_before_timers() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.send_some(a, 4, 14_480);
    // b has acknowledged; then a's CPU is stolen for 50 ms.
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    while p.b.stack.turn(p.now, 256, &mut p.b.app) == Turn::Busy {}
    p.now = p.now + MS(50);
    p.a.stack.turn(p.now, 1, &mut p.a.app);
    p.check_arrived(4, 14_480);
    assert_eq!((p.a.stack.counters().rtos, p.a.stack.counters().retransmits), (0, 0));
}

#[test]
fn received_memory_is_used_again_for_sending() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.b.app.keep = true;
    p.send_some(a, 1, 1000);
    p.settle();
    let data: Zbuf = p.b.app.kept.pop().unwrap();
    let at = data.as_ptr();
    let Ok(mut data) = data.try_into_mut() else { panic!("the receive obj is nobody else's") };
    data[0] ^= 0xff;
    assert_eq!(data.freeze().as_ptr(), at);
}

#[test]
fn a_stack_in_the_memory_of_an_earlier_one_begins_afresh() {
    let o = Options::default();
    let now = Instant::from_nanos(1_000_000_000);
    let config = StackConfig { id: 1, seed: [1; 32], tcp: o.tcp_a };
    let Storage { connections, flows, sends, segments, out_of_order, recoveries, controls, listeners, neighbors } =
        storage_for_tests(&o);
    let pool = crate::zbuf::testing::pool(1, 2048);
    let mut old = None;
    for round in 0..2 {
        let storage = Storage {
            connections: &mut *connections,
            flows: &mut *flows,
            sends: &mut *sends,
            segments: &mut *segments,
            out_of_order: &mut *out_of_order,
            recoveries: &mut *recoveries,
            controls: &mut *controls,
            listeners: &mut *listeners,
            neighbors: &mut *neighbors,
        };
        let mut stack: Stack<'_, Queue> = Stack::new(config, storage, now).unwrap();
        assert_eq!(pool.outstanding(), 0, "what was queued is let go");
        if let Some((conn, listener)) = old {
            assert_eq!(stack.cx(now).info(conn), Err(Stale));
            assert_eq!(stack.cx(now).unlisten(listener), Err(Stale));
        }
        let listener = stack.cx(now).listen(Bind::port(80), 0).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let slot = stack.conns.alloc().unwrap();
        stack.conns.at_mut(slot).state = crate::tcp::State::Established;
        let entry = stack.sends.alloc().unwrap();
        stack.sends.at_mut(entry).frag = Some(Frag::from(pool.alloc().unwrap().freeze()));
        old = Some((stack.id_of(slot), listener));
    }
}

/// Messages that are nothing but a head (an RPC session's pongs, refusals, cancellations) are bounded like all others: who asks
/// for many and reads none gets no more of our memory than the send buffer.
#[test]
fn heads_alone_fill_the_send_buffer_too() {
    let tcp = TcpConfig { snd_buf: 10_000, ..TcpConfig::DATACENTER };
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, ..Options::default() });
    let now = p.now;
    let mut send = || p.a.stack.cx(now).send_message(a, [&[7; 40], &[]], &mut heapless::Vec::<Frag, 1>::new(), None);
    let taken = (0..1000).take_while(|_| send().is_ok()).count();
    assert_eq!((taken, send()), (250, Err(SendError::Full)));
    p.run(Duration::from_millis(1));
    assert_eq!((p.b.app.received.len(), p.a.app.writable), (10_000, 1));
}
