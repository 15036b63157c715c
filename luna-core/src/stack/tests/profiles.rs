//! Settings by connection: profiles, and what follows from them on the wire.

use super::harness::*;
use crate::stack::*;
use crate::tcp::{MAX_PROFILES, ProfileId, ProfilesFull, TcpConfig};
use crate::time::Duration;
use crate::zbuf::Frag;

const BASE: TcpConfig = TcpConfig::DATACENTER;

fn to(o: &Options, profile: ProfileId) -> Connect {
    Connect { profile, ..Connect::to((addr(o, 2), PORT).into()) }
}

#[test]
fn connections_of_one_stack_have_settings_of_their_own() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let small = TcpConfig { max_mss: 700, sack: false, rcv_wnd: 10_000, window_scale: Some(3), ..BASE };
    let small_a = p.a.stack.add_profile(&small).unwrap();
    let plain_b = p.b.stack.add_profile(&TcpConfig { timestamps: false, ..BASE }).unwrap();
    let port = |port, profile| Bind { profile, ..Bind::port(port) };
    p.b.stack.cx(now).listen(port(PORT, ProfileId::DEFAULT), 1).unwrap();
    p.b.stack.cx(now).listen(port(PORT + 1, plain_b), 2).unwrap();
    let usual = p.a.stack.cx(now).connect(to(&o, ProfileId::DEFAULT)).unwrap();
    let less = p.a.stack.cx(now).connect(to(&o, small_a)).unwrap();
    let other = Connect::to((addr(&o, 2), PORT + 1).into());
    let without = p.a.stack.cx(now).connect(other).unwrap();
    p.run(Duration::from_millis(10));
    let info = |p: &mut Pair, id| p.info_a(id);
    let (i, j, k) = (info(&mut p, usual), info(&mut p, less), info(&mut p, without));
    assert_eq!((i.mss, i.sack, i.timestamps, i.window_scale.0), (1448, true, true, 4));
    assert_eq!((j.sack, j.rcv_wnd, j.window_scale.0), (false, 10_000, 3));
    assert_eq!((k.mss, k.timestamps), (1460, false));
    // What b may send to a: the limit that a's SYN named.
    let at_b = p.b.app.accepted.clone();
    let mss = |p: &mut Pair, n: usize| p.b.stack.cx(now).info(at_b[n].0).unwrap().mss;
    assert_eq!((mss(&mut p, 0), mss(&mut p, 1), mss(&mut p, 2)), (1448, 688, 1460));
    assert_eq!(*p.a.stack.cx(now).config(less).unwrap(), small);
}

#[test]
fn a_profile_lives_as_long_as_something_has_it() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let nagle = TcpConfig { nagle: true, ..BASE };
    let id = p.a.stack.add_profile(&nagle).unwrap();
    assert_eq!(p.a.stack.add_profile(&BASE), Ok(ProfileId::DEFAULT));
    p.b.stack.cx(now).listen(Bind::port(PORT), 1).unwrap();
    let conn = p.a.stack.cx(now).connect(to(&o, id)).unwrap();
    assert!(p.a.stack.remove_profile(id), "the connection still has it");
    assert_eq!(*p.a.stack.cx(now).config(conn).unwrap(), nagle);
    assert_eq!(p.a.stack.profile(id), Some(&nagle));
    p.run(Duration::from_millis(1));
    p.a.stack.cx(now).abort(conn).unwrap();
    p.settle();
    assert_eq!(p.a.stack.profile(id), None);
    assert!(!p.a.stack.remove_profile(id) && !p.a.stack.remove_profile(ProfileId::DEFAULT));
    assert_eq!(p.a.stack.cx(now).connect(to(&o, id)), Err(ConnectError::NoProfile));
    assert_eq!(p.a.stack.cx(now).listen(Bind { profile: id, ..Bind::port(9) }, 0), Err(ListenError::NoProfile));
    // A listener keeps one as well, until it is taken back.
    let listen = Bind { profile: p.a.stack.add_profile(&nagle).unwrap(), ..Bind::port(9) };
    let listener = p.a.stack.cx(now).listen(listen, 0).unwrap();
    assert!(p.a.stack.remove_profile(listen.profile) && p.a.stack.profile(listen.profile).is_some());
    p.a.stack.cx(now).unlisten(listener).unwrap();
    assert_eq!(p.a.stack.profile(listen.profile), None);
    for ttl in 1..MAX_PROFILES as u8 {
        p.a.stack.add_profile(&TcpConfig { ttl, ..BASE }).unwrap();
    }
    assert_eq!(p.a.stack.add_profile(&nagle), Err(ProfilesFull));
}

#[test]
fn settings_can_change_under_a_connection() {
    let o = Options::default();
    let (mut p, conn, _) = Pair::open(&o);
    let nagle = p.a.stack.add_profile(&TcpConfig { nagle: true, ..BASE }).unwrap();
    let now = p.now;
    p.a.stack.cx(now).set_profile(conn, nagle).unwrap();
    let (x, y) = (p.a.buffer(10, 0), p.a.buffer(10, 10));
    let before = p.a.stack.counters().bytes_out;
    p.a.send(now, conn, &x, 1).unwrap();
    p.a.stack.turn(now, 256, &mut p.a.app);
    p.a.send(now, conn, &y, 2).unwrap();
    p.a.stack.turn(now, 256, &mut p.a.app);
    assert_eq!(p.a.stack.counters().bytes_out - before, 10, "the second waits for the first's acknowledgment");
    p.a.stack.cx(now).set_profile(conn, ProfileId::DEFAULT).unwrap();
    p.a.stack.turn(now, 256, &mut p.a.app);
    assert_eq!(p.a.stack.counters().bytes_out - before, 20, "not any more");
    assert_eq!(p.a.stack.cx(now).set_profile(conn, ProfileId(9)), Err(Stale));
    p.run(Duration::from_millis(5));
    expect_pattern(&p.b.app.received, 20);
}

#[test]
fn a_connection_attempt_ends_after_so_many_repetitions() {
    let syn_retries = 2;
    let tcp = TcpConfig { syn_retries, connect_timeout: Duration::from_secs(1000), ..TcpConfig::RFC };
    let o = Options { tcp_a: tcp, ..Options::default() };
    let mut p = Pair::new(&o);
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    let now = p.now;
    p.a.stack.cx(now).connect(to(&o, ProfileId::DEFAULT)).unwrap();
    // 1 s and 2 s to the two repetitions, 4 s of patience behind the last.
    p.run(Duration::from_millis(6_900));
    assert_eq!((p.a.stack.counters().syn_retransmits, p.a.app.closed.len()), (2, 0));
    p.run(Duration::from_millis(200));
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::TimedOut(Limit::Connect));
    assert_eq!(p.a.stack.connections(), 0);
}

#[test]
fn settings_beyond_what_can_be_are_brought_to_what_can() {
    let huge = TcpConfig { snd_buf: u32::MAX, ack_ratio: 0, ..BASE };
    let o = Options { tcp_a: huge, tcp_b: huge, ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let now = p.now;
    let c = *p.a.stack.cx(now).config(a).unwrap();
    assert_eq!((c.snd_buf, c.ack_ratio), ((1 << 30) - 1, 1));
    let other = p.a.stack.add_profile(&TcpConfig { ttl: 9, ..huge }).unwrap();
    assert_eq!(p.a.stack.profile(other).map(|c| c.snd_buf), Some((1 << 30) - 1));
    // A protocol's head among the pieces: its mark is above any length.
    let mut iov = heapless::Vec::<Frag, 2>::new();
    iov.push(Frag::header(p.a.buffer(300, 4))).unwrap();
    p.a.stack.cx(now).send_message(a, [&[0, 1, 2, 3].map(pattern), &[]], &mut iov, None).unwrap();
    p.run(Duration::from_millis(1));
    expect_pattern(&p.b.app.received, 304);
}
