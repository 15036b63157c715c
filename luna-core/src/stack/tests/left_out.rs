//! What a build does without its parts (`parts.rs`): each is asked for once, where it is there as where it is not.

use core::net::IpAddr;
use core::ptr::NonNull;

use super::harness::*;
use crate::parts::{CONTROLLERS, COOKIES, FOREIGN, IPV6, TSO};
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::tcp::congestion::CongestionKind;
use crate::time::Duration;
use crate::wire::{HeaderTemplate, MacAddr, ParseError, RxChecksum, TcpPacket};
use crate::zbuf::{DeviceKey, ForeignError, ForeignIo, ForeignRegion, IoAddr};

#[test]
fn a_controller() {
    let tcp = TcpConfig { congestion: CongestionKind::Cubic, ..TcpConfig::DATACENTER };
    let o = Options { tcp_a: tcp, controls: 4, ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    let opened = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into()));
    assert_eq!(opened.is_ok(), CONTROLLERS);
    if !CONTROLLERS {
        assert_eq!((opened.unwrap_err(), p.a.stack.counters().controls_full), (ConnectError::ControlsFull, 1));
    }
}

#[test]
fn a_cookie() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind { backlog: 1, ..Bind::port(PORT) }, 5).unwrap();
    for port in [998, 999] {
        p.b.forge_syn((addr(&o, 77), port), (addr(&o, 2), PORT));
        p.settle();
    }
    let c = p.b.stack.counters();
    assert_eq!((c.backlog_full, c.syn_cookies_out), (1, u64::from(COOKIES)));
}

#[test]
fn foreign_memory() {
    let p = Pair::new(&Options::default());
    let memory: &'static mut [u8] = Vec::leak(vec![0; 4096]);
    let io = ForeignIo::Contiguous(IoAddr(0));
    // SAFETY: leaked memory.
    let region =
        unsafe { ForeignRegion::register(p.a.pools.data, NonNull::from(memory).cast(), 4096, io, DeviceKey(0)) };
    assert_eq!(region.as_ref().err(), (!FOREIGN).then_some(&ForeignError::LeftOut));
}

#[test]
fn segmentation_by_the_device() {
    let o = Options { checksum_offload: true, tso: 65_000, ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let before = p.a.queue().count;
    let data = p.a.buffer(10_000, 0);
    p.a.send(p.now, a, &data, 0).unwrap();
    assert!(p.run_until(Duration::from_millis(50), |p| p.b.app.received.len() == 10_000));
    assert_eq!(p.a.queue().count - before, if TSO { 1 } else { 7 }, "frames that the device was handed");
}

#[test]
fn ipv6() {
    let ip = |n: u16| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]);
    let template = HeaderTemplate::new(MacAddr([2; 6]), MacAddr([4; 6]), None, ip(1), ip(2), 1, 2, 64);
    assert_eq!(template.is_ok(), IPV6);
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60]);
    frame.resize(100, 0);
    let refused = TcpPacket::parse_frame(&frame, RxChecksum::GOOD).unwrap_err();
    assert_eq!(refused == ParseError::NotIp, !IPV6);
    let mut p = Pair::new(&Options::default());
    let addrs = [Cidr { addr: ip(1), prefix: 64 }].into_iter().collect();
    let now = p.now;
    let taken = p.a.stack.readdress(now, PathId(0), PathConfig { addrs, ..PathConfig::default() });
    assert_eq!(taken.is_ok(), IPV6);
}
