//! SYN cookies (RFC 4987): connections whose handshake nobody remembers; floods.

use core::net::IpAddr;

use super::harness::*;
use crate::counters::Counters;
use crate::nic::NicQueue;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::Duration;
use crate::wire::{
    HeaderTemplate, MacAddr, RxChecksum, SackBlocks, SegmentHead, SeqNum, TcpFlags, TcpOptions, TcpPacket,
    tcp_checksum, write_tcp_checksum,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Says nothing for minutes.
const SILENT: TcpConfig = TcpConfig { keepalive_idle: Duration::ZERO, ..TcpConfig::DATACENTER };

impl End {
    /// Puts a segment from anywhere in front of what arrives.
    pub(super) fn forge_from(&mut self, from: (IpAddr, u16), to: (IpAddr, u16), head: &SegmentHead<'_>) {
        let mac = self.queue().caps().mac;
        let src = MacAddr([2, 0, 0, 0, 0, 3 - mac.0[5]]);
        let t = HeaderTemplate::new(src, mac, None, from.0, to.0, from.1, to.1, 64).unwrap();
        let mut frame = self.pools.data.alloc().unwrap();
        frame.set_len(t.header_len(head) as u32);
        t.emit(&mut frame, head, 0);
        let sum = tcp_checksum(t.pseudo_sum(head.tcp_header_len() as u32), &frame[t.l2l3_len()..], []);
        write_tcp_checksum(&mut frame, t.l2l3_len(), sum);
        self.queue().inject.push_back(frame.freeze());
    }

    /// A SYN as a flood has them.
    pub(super) fn forge_syn(&mut self, from: (IpAddr, u16), to: (IpAddr, u16)) {
        let options = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((12345, 0)),
            sack: SackBlocks::EMPTY,
            telemetry: false,
        };
        let head = SegmentHead {
            seq: SeqNum(u32::from(from.1).wrapping_mul(77_777)),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            window: 64240,
            ts: None,
            ecn: 0,
            options: Some(&options),
        };
        self.forge_from(from, to, &head);
    }
}

/// A handshake that nobody ends takes the only place.
fn fill_backlog(p: &mut Pair, o: &Options) {
    p.b.forge_syn((addr(o, 77), 998), (addr(o, 2), PORT));
    p.settle();
    assert_eq!(p.b.stack.connections(), 1);
}

/// A listener with a full backlog, and a connection on its way to it.
fn opened(o: &Options) -> (Pair, ConnId) {
    let mut p = Pair::new(o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind { backlog: 1, ..Bind::port(PORT) }, 5).unwrap();
    fill_backlog(&mut p, o);
    let a = p.a.stack.cx(now).connect(Connect::to((addr(o, 2), PORT).into())).unwrap();
    (p, a)
}

#[test]
#[cfg_attr(not(all(feature = "ipv6", feature = "cookies")), ignore = "needs ipv6 and cookies")]
fn a_connection_by_cookie_is_like_any_other() {
    let bare = TcpConfig { timestamps: false, ..TcpConfig::DATACENTER };
    let plain = TcpConfig { sack: false, window_scaling: false, ..TcpConfig::DATACENTER };
    for (ipv6, mtu, tcp, mss) in [
        (false, 1500, TcpConfig::DATACENTER, 1448),
        (true, 1500, TcpConfig::DATACENTER, 1428),
        (false, 9000, TcpConfig::DATACENTER, 8928),
        (false, 1500, bare, 1460),
        (false, 1500, plain, 1448),
        (false, 1500, TcpConfig { max_mss: 1000, ..TcpConfig::DATACENTER }, 524),
    ] {
        let o = Options { ipv6, mtu, tcp_a: tcp, ..Options::default() };
        let (mut p, a) = opened(&o);
        p.run(MS(3));
        let b = p.b.app.accepted[0].0;
        assert_eq!((p.a.app.connected.len(), p.b.app.accepted[0].1), (1, 5), "{ipv6} {mtu}");
        let c = *p.b.stack.counters();
        assert_eq!((c.backlog_full, c.syn_cookies_out, c.syn_cookies_in, c.syn_cookies_bad), (1, 1, 1, 0));
        assert_eq!((c.passive_opens, c.established), (2, 1));
        let info = p.b.stack.cx(p.now).info(b).unwrap();
        assert_eq!(info.timestamps, tcp.timestamps);
        assert_eq!(info.sack, tcp.timestamps && tcp.sack);
        let scaled = tcp.timestamps && tcp.window_scaling;
        assert_eq!(info.window_scale, if scaled { (4, 4) } else { (0, 0) });
        assert_eq!(info.mss, mss, "{ipv6} {mtu}");
        assert_eq!(p.info_a(a).window_scale, info.window_scale);
        let data = p.a.buffer(16_000, 0);
        for i in 0..20 {
            p.a.send(p.now, a, &data, i).unwrap();
        }
        drop(data);
        p.b.app.echo = true;
        p.run(MS(50));
        assert_eq!((p.a.app.received.len(), p.b.app.received.len()), (320_000, 320_000));
        assert_eq!((p.a.stack.counters().retransmits, p.b.stack.counters().retransmits), (0, 0));
        let now = p.now;
        p.a.stack.cx(now).abort(a).unwrap();
        p.run(Duration::from_secs(6));
        p.assert_clean();
    }
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn data_completes_the_handshake_when_its_acknowledgment_was_lost() {
    let o = Options { tcp_a: SILENT, ..Options::default() };
    let (mut p, a) = opened(&o);
    p.a.queue().fate = Box::new(|_, n| if n == 2 { Fate::Drop } else { Fate::Pass });
    p.settle();
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (1, 0), "a believes itself connected");
    p.run(Duration::from_secs(60));
    let data = p.a.buffer(5000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.run(MS(10));
    assert_eq!(p.b.app.accepted.len(), 1, "a minute later");
    expect_pattern(&p.b.app.received, 5000);
    assert_eq!(p.b.stack.counters().resets_out, 1, "for what filled the backlog");
}

/// Who has nothing to send asks after a while whether the other side is there, with a segment from before its first.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn keepalive_completes_the_handshake_when_its_acknowledgment_was_lost() {
    for timestamps in [true, false] {
        let keepalive_idle = MS(100);
        let tcp_a = TcpConfig { keepalive_idle, keepalive_interval: MS(300), timestamps, ..TcpConfig::DATACENTER };
        let (mut p, a) = opened(&Options { tcp_a, ..Options::default() });
        p.a.queue().fate = Box::new(|_, n| if n == 2 { Fate::Drop } else { Fate::Pass });
        p.run(MS(90));
        assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (1, 0));
        p.run(MS(20));
        assert_eq!((p.a.app.closed.len(), p.b.app.accepted.len()), (0, 1));
        assert_eq!(p.b.stack.counters().syn_cookies_bad, 0);
        assert_eq!(p.a.stack.counters().keepalives, 1);
        let data = p.a.buffer(5000, 0);
        p.a.send(p.now, a, &data, 1).unwrap();
        p.run(MS(10));
        expect_pattern(&p.b.app.received, 5000);
        p.run(MS(50));
        assert_eq!(p.a.stack.counters().keepalives, 1, "the probe was answered at once");
    }
}

/// What overtakes the first segment says nothing of it: to answer with a reset would end what the peer has opened.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_segment_that_overtakes_the_cookies_first_one_is_left_to_come_again() {
    let (mut p, a) = opened(&Options { tcp_a: SILENT, ..Options::default() });
    // The handshake's last segment is lost, and the first with data: others come before they are sent again.
    p.a.queue().fate = Box::new(|_, n| if (2..4).contains(&n) { Fate::Drop } else { Fate::Pass });
    p.settle();
    let data = p.a.buffer(10_000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    drop(data);
    p.settle();
    let c = p.b.stack.counters();
    assert!(c.syn_cookies_later >= 2, "{}", c.syn_cookies_later);
    assert_eq!((c.syn_cookies_in, c.syn_cookies_bad, c.resets_out), (0, 0, 0));
    p.run(MS(100));
    expect_pattern(&p.b.app.received, 10_000);
    assert_eq!(p.b.stack.counters().syn_cookies_in, 1);
    assert!(p.a.app.closed.is_empty());
}

/// Whose first segments arrived, and whose connection is gone since, sends the same.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn who_is_in_the_first_window_for_long_is_told_that_nobody_knows_of_it() {
    let (mut p, a) = opened(&Options { tcp_a: SILENT, ..Options::default() });
    p.run(MS(1));
    p.send_a(a, 100, 0, 1);
    p.run(MS(1));
    assert_eq!(p.b.app.received.len(), 100);
    // The reset is lost.
    let (b, now) = (p.b.app.accepted[0].0, p.now);
    p.b.queue().fate = Box::new(|s, _| if s.tcp.flags.rst() { Fate::Drop } else { Fate::Pass });
    p.b.stack.cx(now).abort(b).unwrap();
    p.settle();
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    p.send_a(a, 100, 100, 2);
    p.run(Duration::from_secs(5));
    assert!(p.a.app.closed.is_empty());
    p.run(Duration::from_secs(5));
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::Reset);
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn an_old_cookie_and_a_made_up_one_are_answered_with_a_reset() {
    let o = Options { tcp_a: SILENT, ..Options::default() };
    let (mut p, a) = opened(&o);
    p.a.queue().fate = Box::new(|_, n| if n == 2 { Fate::Drop } else { Fate::Pass });
    p.settle();
    // Longer than any cookie holds; another keeps the listener looking.
    p.run(Duration::from_secs(140));
    fill_backlog(&mut p, &o);
    p.b.forge_syn((addr(&o, 1), 999), (addr(&o, 2), PORT));
    let data = p.a.buffer(100, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.run(MS(10));
    assert_eq!((p.b.stack.counters().syn_cookies_bad, p.b.app.accepted.len()), (1, 0));
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::Reset);

    let guess = |seq: u32, ack: u32, ts: Option<(u32, u32)>| SegmentHead {
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags: TcpFlags::ACK,
        window: 1000,
        ts,
        ecn: 0,
        options: None,
    };
    let before = p.b.stack.counters().resets_out;
    for n in 0..2000u32 {
        let from = (addr(&o, 1), 30_000 + n as u16);
        p.b.forge_from(from, (addr(&o, 2), PORT), &guess(n, n.wrapping_mul(0x9e37_79b9), None));
        p.settle();
    }
    let c = p.b.stack.counters();
    assert_eq!((c.syn_cookies_bad, c.resets_out - before, p.b.stack.connections()), (2001, 2000, 1));
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_cookie_of_one_flow_or_one_syn_is_nothing_for_another() {
    let o = Options::default();
    let (mut p, _) = opened(&o);
    // Remember b's SYN-ACK and drop the rest.
    p.b.queue().recent = Some(Vec::new());
    p.a.queue().fate = Box::new(|_, n| if n == 1 { Fate::Pass } else { Fate::Drop });
    p.settle();
    let frame = p.b.queue().recent.as_ref().unwrap()[0].clone();
    let syn_ack = TcpPacket::parse_frame(&frame, RxChecksum::GOOD).unwrap();
    let echo = TcpOptions::parse(syn_ack.options(&frame)).unwrap().timestamps.unwrap().0;
    let head = |seq: SeqNum, echo: u32| SegmentHead {
        seq,
        ack: syn_ack.tcp.seq + 1,
        flags: TcpFlags::ACK,
        window: 1000,
        ts: Some((7, echo)),
        ecn: 0,
        options: None,
    };
    let (to, port) = ((addr(&o, 2), PORT), syn_ack.tcp.dst_port);
    let mut bad = 0;
    for (from, seq, echo) in [
        ((addr(&o, 1), port ^ 1), syn_ack.tcp.ack, echo),
        ((addr(&o, 3), port), syn_ack.tcp.ack, echo),
        ((addr(&o, 1), port), syn_ack.tcp.ack - 2, echo),
        ((addr(&o, 1), port), syn_ack.tcp.ack + 100_000, echo),
        ((addr(&o, 1), port), syn_ack.tcp.ack + 1, echo.wrapping_sub(9_000)),
        ((addr(&o, 1), port), syn_ack.tcp.ack, echo.wrapping_add(100_000)),
        ((addr(&o, 1), port), syn_ack.tcp.ack, echo.wrapping_sub(1_000_000)),
    ] {
        p.b.forge_from(from, to, &head(seq, echo));
        p.settle();
        bad += 1;
        assert_eq!((p.b.stack.counters().syn_cookies_bad, p.b.app.accepted.len()), (bad, 0));
    }
    p.b.forge_from((addr(&o, 1), port), to, &head(syn_ack.tcp.ack, echo));
    p.settle();
    assert_eq!(p.b.app.accepted.len(), 1, "the right one does it");
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_full_table_leaves_the_peer_of_a_good_cookie_to_try_again() {
    let o = Options { connections_b: Some(2), ..Options::default() };
    let (mut p, _) = opened(&o);
    let now = p.now;
    let to = Connect::to((addr(&o, 2), PORT).into());
    p.settle();
    let second = p.a.stack.cx(now).connect(to).unwrap();
    p.settle();
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (2, 1));
    assert_eq!((p.b.stack.counters().connections_full, p.b.stack.counters().resets_out), (1, 0));
    let first = p.b.app.accepted[0].0;
    p.b.stack.cx(now).abort(first).unwrap();
    let data = p.a.buffer(100, 0);
    p.a.send(now, second, &data, 1).unwrap();
    p.run(MS(10));
    assert_eq!(p.b.app.accepted.len(), 2);
    expect_pattern(&p.b.app.received, 100);
}

#[test]
fn a_backlog_of_none_takes_none() {
    let mut p = Pair::new(&Options::default());
    let now = p.now;
    p.b.stack.cx(now).listen(Bind { backlog: 0, ..Bind::port(PORT) }, 5).unwrap();
    p.a.stack.cx(now).connect(Connect::to((addr(&Options::default(), 2), PORT).into())).unwrap();
    p.settle();
    let c = p.b.stack.counters();
    assert_eq!((c.backlog_full, c.syn_cookies_out, c.segments_out), (1, 0, 0));
}

#[test]
fn without_cookies_a_syn_beyond_the_backlog_is_dropped() {
    let tcp = TcpConfig { syn_cookies: false, ..TcpConfig::DATACENTER };
    let (mut p, a) = opened(&Options { tcp_b: tcp, ..Options::default() });
    p.run(MS(100));
    assert_eq!(p.info_a(a).state, State::SynSent);
    let c = p.b.stack.counters();
    assert!(c.backlog_full >= 2 && c.syn_cookies_out == 0 && c.resets_out == 0);
}

/// What arrives at `b` in `time` over an established connection, which sends at a steady pace; and whether a SYN flood of
/// ten for each of its segments goes on meanwhile.
fn goodput(flood: bool, o: &Options) -> (usize, Counters) {
    let (mut p, a, _) = Pair::open(o);
    p.b.queue().vouched = o.checksum_offload;
    p.b.queue().fate = Box::new(|s, _| if s.tcp.flags.syn() { Fate::Drop } else { Fate::Pass });
    let mut n = 0u32;
    for i in 0..2000 {
        let data = p.a.buffer(1448, i * 1448);
        let _ = p.a.send(p.now, a, &data, 1);
        drop(data);
        for _ in 0..if flood { 10 } else { 0 } {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [x, y, z, w] = n.to_be_bytes();
            p.b.forge_syn((IpAddr::from([198, 51, x, y]), u16::from_be_bytes([z, w]) | 1), (addr(o, 2), PORT));
        }
        p.run(Duration::from_micros(50));
    }
    p.run(MS(5));
    let c = *p.b.stack.counters();
    assert_eq!((p.a.stack.counters().retransmits, p.a.stack.counters().rtos), (0, 0), "nothing was lost");
    assert_eq!(
        (c.no_header_obj, c.no_segment_record, c.tx_queue_full, c.out_of_order_full, c.connections_full),
        (0, 0, 0, 0, 0),
        "nor was anything short"
    );
    if flood {
        assert_eq!(c.syn_cookies_out + c.passive_opens, 20_001, "every SYN was answered");
        let backlog = u64::from(Bind::port(1).backlog);
        assert!(c.passive_opens <= 1 + backlog, "the backlog bounds what is kept: {}", c.passive_opens);
        assert!(p.b.stack.connections() <= 1 + backlog as usize);
        // Honest ones get in as well.
        p.b.queue().fate = Box::new(|_, _| Fate::Pass);
        let now = p.now;
        p.a.stack.cx(now).connect(Connect::to((addr(o, 2), PORT).into())).unwrap();
        p.run(MS(5));
        assert_eq!(p.a.app.connected.len(), 2);
    }
    expect_pattern(&p.b.app.received, p.b.app.received.len());
    (p.b.app.received.len(), c)
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn ten_syns_for_each_segment_cost_an_established_connection_nothing() {
    for checksum_offload in [false, true] {
        let o = Options { connections: 8, connections_b: Some(200), checksum_offload, ..Options::default() };
        let (quiet, _) = goodput(false, &o);
        let (flooded, c) = goodput(true, &o);
        assert!(quiet >= 2000 * 1448 * 9 / 10, "{quiet}");
        assert!(flooded * 10 >= quiet * 9, "{flooded} of {quiet}");
        assert!(c.syn_cookies_out > 19_000);
    }
}

/// The second is answered the short way, when the device vouches for checksums; the others never are.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn the_short_way_and_the_general_one_give_the_same_answer() {
    let unusual = TcpConfig { sack: false, ..TcpConfig::DATACENTER };
    for (tcp_a, checksum_offload) in
        [(TcpConfig::DATACENTER, true), (TcpConfig::DATACENTER, false), (unusual, true), (TcpConfig::INTEROP, true)]
    {
        let o = Options { tcp_a, checksum_offload, ..Options::default() };
        let (mut p, _) = opened(&o);
        p.settle();
        let now = p.now;
        let mut answers = Vec::new();
        for _ in 0..2 {
            p.b.queue().recent = Some(Vec::new());
            let to = Connect { ports: 55_555..=55_555, ..Connect::to((addr(&o, 2), PORT).into()) };
            let a = p.a.stack.cx(now).connect(to).unwrap();
            p.settle();
            assert_eq!(p.info_a(a).state, State::Established);
            answers.push(p.b.queue().recent.as_ref().unwrap().last().unwrap().clone());
            let data = p.a.buffer(1000, 0);
            p.a.send(now, a, &data, 1).unwrap();
            p.settle();
            p.a.stack.cx(now).abort(a).unwrap();
            p.settle();
            p.b.stack.flood = None;
        }
        let c = p.b.stack.counters();
        assert_eq!((c.syn_cookies_out, c.syn_cookies_in, p.b.app.received.len()), (3, 3, 2000));
        assert_eq!(answers[0], answers[1], "to the bit");
    }
}

#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_syn_for_a_connection_that_exists_is_no_part_of_a_flood() {
    let o = Options { checksum_offload: true, ..Options::default() };
    let (mut p, a) = opened(&o);
    p.b.queue().vouched = true;
    p.settle();
    let port = p.a.stack.cx(p.now).addrs(a).unwrap().0.port();
    p.b.forge_syn((addr(&o, 1), 77), (addr(&o, 2), PORT));
    p.b.forge_syn((addr(&o, 1), port), (addr(&o, 2), PORT));
    p.b.forge_syn((addr(&o, 9), 0), (addr(&o, 2), PORT));
    p.b.forge_syn(([224, 0, 0, 1].into(), 5), (addr(&o, 2), PORT));
    p.b.forge_syn((addr(&o, 1), 78), (addr(&o, 3), PORT));
    p.b.forge_syn((addr(&o, 1), 78), (addr(&o, 2), PORT + 1));
    p.settle();
    let c = p.b.stack.counters();
    assert_eq!((c.syn_cookies_out, c.paws + c.challenge_acks, c.not_unicast, c.not_ours), (2, 1, 1, 2));
    assert_eq!(p.info_a(a).state, State::Established);
}

/// What the short way remembers of a listener and its address holds no longer than they do.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_flood_is_answered_by_what_holds_now() {
    let o = Options { checksum_offload: true, ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    let listener = p.b.stack.cx(now).listen(Bind { backlog: 1, ..Bind::port(PORT) }, 5).unwrap();
    fill_backlog(&mut p, &o);
    p.b.queue().vouched = true;
    let mut port = 1000;
    let mut answer = |p: &mut Pair| {
        port += 1;
        p.b.queue().recent = Some(Vec::new());
        p.b.forge_syn((addr(&o, 77), port), (addr(&o, 2), PORT));
        p.settle();
        let sent = p.b.queue().recent.take().unwrap().pop()?;
        let packet = TcpPacket::parse_frame(&sent, RxChecksum::GOOD).unwrap();
        let options = TcpOptions::parse(packet.options(&sent)).unwrap();
        Some((packet.tcp.window, options.window_scale, packet.vlan))
    };
    for _ in 0..2 {
        assert_eq!(answer(&mut p), Some((0xffff, Some(4), None)));
    }
    assert!(p.b.stack.flood.is_some(), "the second went the short way");
    let small = p.b.stack.add_profile(&TcpConfig { rcv_wnd: 10_000, ..SILENT }).unwrap();
    p.b.stack.cx(now).set_listener_profile(listener, small).unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&mut p), Some((10_000, Some(0), None)), "with the settings that its connections will have");
    }
    let (path, config) = (p.b.path, p.b.stack.paths[0].config.clone());
    p.b.stack.readdress(now, path, PathConfig::default()).unwrap();
    assert_eq!(answer(&mut p), None, "the address is not ours any more");
    p.b.stack.readdress(now, path, config).unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&mut p), Some((10_000, Some(0), None)));
    }
}
