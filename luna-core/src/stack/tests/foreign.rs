//! Foreign memory: complete only after the acknowledgment and after the device let go; revoked under a connection.

use core::ptr::NonNull;

use super::harness::*;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::tcp::congestion::CongestionKind;
use crate::time::Duration;
use crate::wire::{RxChecksum, TcpPacket};
use crate::zbuf::{DeviceKey, ForeignIo, ForeignRegion, Frag, IoAddr};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LEN: usize = 64 << 10;

struct Guest {
    region: ForeignRegion,
    memory: NonNull<u8>,
}

impl Guest {
    fn new(end: &End) -> Self {
        let memory: &'static mut [u8] = Vec::leak((0..LEN).map(pattern).collect());
        let memory = NonNull::from(memory).cast();
        let io = ForeignIo::Contiguous(IoAddr(0x10_0000));
        // SAFETY: leaked memory.
        let region = unsafe { ForeignRegion::register(end.pools.header, memory, LEN as u64, io, DeviceKey(3)) };
        Self { region: region.unwrap(), memory }
    }

    fn frag(&self, end: &End, at: usize, len: usize) -> Frag {
        Frag::from(self.region.buffer(end.pools.header, at as u64, len as u32).unwrap())
    }
}

fn send(p: &mut Pair, conn: ConnId, frags: Vec<Frag>, token: u64) -> Result<(), SendError> {
    let mut iov = heapless::Vec::<Frag, 16>::new();
    iov.extend(frags);
    p.a.stack.cx(p.now).send(conn, &mut iov, token)
}

fn options(checksum_offload: bool, mtu: u16) -> Options {
    Options { checksum_offload, mtu, ..Options::default() }
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn foreign_memory_crosses_with_and_without_offload_at_every_mtu_and_segment_limit() {
    for checksum_offload in [true, false] {
        for mtu in [1500, 9000] {
            for max_tx_segments in [2, 4, 18] {
                let (mut p, a, _) = Pair::open(&options(checksum_offload, mtu));
                p.a.queue().set_caps(|c| c.max_tx_segments = max_tx_segments);
                let guest = Guest::new(&p.a);
                for i in 0..4 {
                    let frag = guest.frag(&p.a, i * 16_000, 16_000);
                    send(&mut p, a, vec![frag], i as u64).unwrap();
                }
                let name = format!("offload {checksum_offload} mtu {mtu} segments {max_tx_segments}");
                p.may_spin = true;
                assert!(p.run_until(MS(500), |p| p.a.app.released.len() == 4), "{name}");
                expect_pattern(&p.b.app.received, 64_000);
                assert_eq!(p.a.app.released, (0..4).map(|i| (i, Released::Acked)).collect::<Vec<_>>());
                let copied = p.a.stack.copies().foreign.bytes;
                assert_eq!(copied, if checksum_offload { 0 } else { 64_000 }, "{name}");
                assert!(guest.region.is_idle(), "{name}");
                assert_eq!(p.a.stack.counters().retransmits, 0, "{name}");
            }
        }
    }
}

#[test]
#[cfg_attr(not(all(feature = "controllers", feature = "foreign")), ignore = "needs controllers and foreign")]
fn behind_a_telemetry_shim_it_is_summed_by_software() {
    let tcp = TcpConfig { congestion: CongestionKind::Hpcc, ..TcpConfig::DATACENTER };
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, ..options(true, 1500) });
    let guest = Guest::new(&p.a);
    p.a.queue().recent = Some(Vec::new());
    let frag = guest.frag(&p.a, 0, 4000);
    send(&mut p, a, vec![frag], 1).unwrap();
    p.may_spin = true;
    assert!(p.run_until(MS(50), |p| p.a.app.released.len() == 1));
    let frames = p.a.queue().recent.take().unwrap();
    let segments: Vec<_> =
        frames.iter().map(|f| TcpPacket::parse_frame(f, RxChecksum::UNKNOWN).expect("a right checksum")).collect();
    assert!(segments.iter().filter(|s| s.payload_len > 0 && s.shim_len > 0).count() >= 3);
    assert_eq!(p.a.stack.copies().foreign.bytes, 4000, "and counted as a copy");
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn released_only_when_the_device_let_go() {
    let (mut p, a, _) = Pair::open(&options(true, 1500));
    let guest = Guest::new(&p.a);
    p.a.queue().hold_tx = Some(Vec::new());
    let (frag, own) = (guest.frag(&p.a, 0, 5000), Frag::from(p.a.buffer(100, 5000)));
    send(&mut p, a, vec![frag, own], 1).unwrap();
    p.may_spin = true;
    p.run(MS(5));
    expect_pattern(&p.b.app.received, 5100);
    assert_eq!(p.info_a(a).queued, 0, "acknowledged");
    assert!(p.a.app.released.is_empty() && !guest.region.is_idle(), "but the device may still read it");
    p.a.queue().hold_tx = None;
    p.run(MS(1));
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
    assert!(guest.region.is_idle());
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn a_retransmission_in_flight_holds_the_buffer() {
    let (mut p, a, _) = Pair::open(&options(true, 1500));
    let guest = Guest::new(&p.a);
    // The acknowledgments are lost until the data was sent twice; the device holds only what was sent the second time.
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    let frag = guest.frag(&p.a, 0, 1000);
    send(&mut p, a, vec![frag], 1).unwrap();
    p.may_spin = true;
    p.settle();
    p.a.queue().hold_tx = Some(Vec::new());
    assert!(p.run_until(MS(200), |p| p.a.stack.counters().retransmits == 1));
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    assert!(p.run_until(MS(500), |p| p.a.stack.counters().retransmits == 2));
    p.run(MS(2));
    assert_eq!(p.info_a(a).queued, 0);
    assert!(p.a.app.released.is_empty());
    p.a.queue().hold_tx.as_mut().unwrap().remove(0);
    p.settle();
    assert!(p.a.app.released.is_empty(), "one of two retransmissions is still there");
    p.a.queue().hold_tx = None;
    p.settle();
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn one_buffer_in_several_pieces_and_sends() {
    let (mut p, a, _) = Pair::open(&options(true, 1500));
    let guest = Guest::new(&p.a);
    let whole = guest.frag(&p.a, 0, 6000);
    send(&mut p, a, vec![whole.slice(0, 2000), whole.slice(2000, 1000)], 1).unwrap();
    send(&mut p, a, vec![whole.slice(3000, 3000)], 2).unwrap();
    drop(whole);
    p.may_spin = true;
    p.run(MS(5));
    expect_pattern(&p.b.app.received, 6000);
    assert_eq!(p.a.app.released, [(1, Released::Acked), (2, Released::Acked)]);
    assert!(guest.region.is_idle());
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn abort_leaves_the_buffer_to_the_device_until_it_is_done() {
    let (mut p, a, _) = Pair::open(&options(true, 1500));
    let guest = Guest::new(&p.a);
    p.a.queue().hold_tx = Some(Vec::new());
    let frag = guest.frag(&p.a, 0, 1000);
    send(&mut p, a, vec![frag], 1).unwrap();
    p.may_spin = true;
    p.spin(1);
    p.a.stack.cx(p.now).abort(a).unwrap();
    p.settle();
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::Aborted);
    assert!(p.a.app.released.is_empty());
    p.a.queue().hold_tx = None;
    p.settle();
    assert_eq!(p.a.app.released, [(1, Released::Aborted)]);
    assert!(guest.region.is_idle());
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn revoked_under_a_connection() {
    for in_flight in [false, true] {
        let (mut p, a, b) = Pair::open(&options(true, 1500));
        let guest = Guest::new(&p.a);
        p.a.queue().hold_tx = Some(Vec::new());
        if in_flight {
            // Sent and lost: the retransmission finds the memory gone.
            p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
        }
        let (first, second) = (guest.frag(&p.a, 0, 1000), guest.frag(&p.a, 1000, 1000));
        send(&mut p, a, vec![first], 1).unwrap();
        send(&mut p, a, vec![second], 2).unwrap();
        if in_flight {
            p.settle();
        }
        guest.region.revoke();
        assert_eq!(p.a.stack.counters().revoked, 0);
        p.may_spin = true;
        p.run(MS(100));
        assert_eq!(p.a.app.released, [(1, Released::Revoked), (2, Released::Revoked)], "in flight {in_flight}");
        assert_eq!(p.a.app.closed, [(a, Closed { reason: CloseReason::Revoked, maybe_delivered: in_flight })]);
        assert_eq!((p.a.stack.counters().revoked, p.b.app.closed[0].0), (1, b));
        assert_eq!(p.b.app.closed[0].1.reason, CloseReason::Reset);
        assert!(guest.region.is_idle());
        // New sends are refused from the start.
        let (c, _) =
            (p.a.stack.cx(p.now).connect(Connect::to((addr(&Options::default(), 2), PORT).into())).unwrap(), 0);
        p.settle();
        assert!(guest.region.buffer(p.a.pools.header, 0, 10).is_err());
        let late = guest_frag_after_revoke(&p);
        assert_eq!(send(&mut p, c, vec![late], 3), Err(SendError::Revoked));
    }
}

fn guest_frag_after_revoke(p: &Pair) -> Frag {
    let guest = Guest::new(&p.a);
    let frag = guest.frag(&p.a, 0, 10);
    guest.region.revoke();
    frag
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn what_a_guest_writes_meanwhile_harms_only_its_own_data() {
    // With offload the device reads at its leisure; the checksum is the device's. Here software makes it, from a copy.
    let (mut p, a, _) = Pair::open(&options(false, 1500));
    let guest = Guest::new(&p.a);
    p.a.queue().fate = Box::new(|s, n| if s.payload_len > 0 && n < 20 { Fate::Drop } else { Fate::Pass });
    let frag = guest.frag(&p.a, 0, 20_000);
    send(&mut p, a, vec![frag], 1).unwrap();
    p.may_spin = true;
    for i in 0..200u8 {
        // SAFETY: the memory is ours; volatile, as the stack reads it.
        unsafe { guest.memory.add(usize::from(i) * 100).write_volatile(i) };
        p.run(MS(1));
    }
    assert_eq!(p.b.app.received.len(), 20_000);
    assert_eq!(p.b.stack.counters().malformed.iter().sum::<u64>(), 0, "every checksum was right");
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn without_an_obj_for_the_copy_no_empty_frame_leaves_instead() {
    let (mut p, a, _) = Pair::open(&options(false, 1500));
    let guest = Guest::new(&p.a);
    let frag = guest.frag(&p.a, 0, 1000);
    send(&mut p, a, vec![frag], 7).unwrap();
    p.a.stack.cx(p.now).shutdown(a).unwrap();
    let mut hog: Vec<_> = core::iter::from_fn(|| p.a.pools.header.alloc()).collect();
    // One for the header, none for the data.
    hog.pop();
    let before = p.a.stack.counters().segments_out;
    p.spin(10);
    assert_eq!(p.a.stack.counters().segments_out, before);
    assert!(p.a.stack.counters().no_header_obj > 0);
    drop(hog);
    p.may_spin = true;
    assert!(p.run_until(MS(500), |p| !p.b.app.fins.is_empty()));
    expect_pattern(&p.b.app.received, 1000);
}
