//! A flood of SYNs, each from another address, at a listener whose backlog is full, for callgrind to count the turns that
//! take them in and answer them; it collects within `measured_turn` only.
//!
//! `syn_flood ROUNDS`: so many bursts of 32.

use std::process::ExitCode;

use luna_core::nic::{MemLink, MemPort, MemQueue, NicQueue, RX_BURST, RxBurst, TxMeta};
use luna_core::stack::{App, Bind, Cidr, ConnId, Cx, PathConfig, Retained, Stack, StackConfig};
use luna_core::tcp::TcpConfig;
use luna_core::time::{Duration, Instant};
use luna_core::wire::{HeaderTemplate, MacAddr, SackBlocks, SegmentHead, SeqNum, TcpFlags, TcpOptions};
use luna_core::wire::{tcp_checksum, write_tcp_checksum};
use luna_core::zbuf::Zbuf;
use luna_host::storage::Capacity;
use luna_tests::memory;

type Queue = MemQueue<'static, 'static>;
type Flooded = Stack<'static, Queue>;

const PORT: u16 = 7000;
const VICTIM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Nobody is served.
struct Silent;

impl<Q: NicQueue> App<Q> for Silent {
    fn on_data(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, _: Zbuf) -> Retained {
        Retained::NOTHING
    }
}

#[inline(never)]
fn measured_turn(stack: &mut Flooded, now: Instant) {
    stack.turn(now, 256, &mut Silent);
}

/// Every SYN from elsewhere, with the options that Linux sends.
fn send_syn(queue: &mut Queue, n: u32) {
    let src = core::net::IpAddr::from((0xc000_0000 | n & 0xff_ffff).to_be_bytes());
    let dst = core::net::IpAddr::from([10, 0, 0, 2]);
    let port = 1024 + (n % 60_000) as u16;
    let template = HeaderTemplate::new(GATEWAY, VICTIM, None, src, dst, port, PORT, 64).expect("one family");
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some((n, 0)),
        sack: SackBlocks::EMPTY,
        telemetry: false,
    };
    let head = SegmentHead {
        seq: SeqNum(n.wrapping_mul(0x9e37_79b9)),
        ack: SeqNum(0),
        flags: TcpFlags::SYN,
        window: 64240,
        ts: None,
        ecn: 0,
        options: Some(&options),
    };
    let mut frame = queue.header_pool().alloc().expect("headers come back");
    frame.set_len(template.header_len(&head) as u32);
    template.emit(&mut frame, &head, 0);
    let l4 = template.l2l3_len();
    let sum = tcp_checksum(template.pseudo_sum(head.tcp_header_len() as u32), &frame[l4..], []);
    write_tcp_checksum(&mut frame, l4, sum);
    let meta = TxMeta {
        l2_len: 14,
        l3_len: 20,
        l4_len: head.tcp_header_len() as u8,
        ipv6: false,
        offload_checksum: false,
        segment_size: 0,
    };
    queue.tx(frame.into(), &[], meta).expect("the ring was emptied");
}

fn main() -> ExitCode {
    let Some(rounds) = std::env::args().nth(1).and_then(|n| n.parse::<u32>().ok()) else {
        eprintln!("usage: syn_flood ROUNDS");
        return ExitCode::FAILURE;
    };
    let link: &'static mut MemLink = Box::leak(Box::new(MemLink::new()));
    let (end_a, end_b) = link.split();
    let queue = |end, mac| {
        let port = MemPort { mac, mtu: 1500, checksum_offload: true };
        MemQueue::new(end, port, memory::pool(3, 1536), memory::pool(1, 512)).expect("objs fit the MTU")
    };
    let (mut flooder, victim) = (queue(end_a, GATEWAY), queue(end_b, VICTIM));
    let mut now = Instant::from_nanos(1_000_000_000);
    let config = StackConfig { id: 0, seed: [73; 32], tcp: TcpConfig::DATACENTER };
    let capacity = Capacity { connections: 1024, ..Capacity::default() };
    let mut stack = Stack::new(config, capacity.leak(), now).expect("tables are large enough");
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: [10, 0, 0, 2].into(), prefix: 24 }).expect("room for one address");
    stack.add_path(victim, path).expect("a usable path");
    stack.cx(now).listen(Bind::port(PORT), 0).expect("the first");
    let mut answers = RxBurst::new();
    let mut n = 0;
    let warm_up = 64;
    for round in 0..warm_up + rounds {
        for _ in 0..RX_BURST {
            n += 1;
            send_syn(&mut flooder, n);
        }
        flooder.flush();
        now = now + Duration::from_micros(10);
        if round < warm_up {
            stack.turn(now, 256, &mut Silent);
        } else {
            measured_turn(&mut stack, now);
        }
        flooder.reap();
        loop {
            answers.clear();
            flooder.rx_burst(&mut answers);
            if answers.is_empty() {
                break;
            }
        }
    }
    let c = stack.counters();
    let backlog = u64::from(Bind::port(PORT).backlog);
    assert_eq!((c.passive_opens, c.syn_cookies_out), (backlog, u64::from(n) - backlog), "every SYN was answered");
    assert_eq!(stack.connections() as u64, backlog, "and only a backlog of them takes memory");
    ExitCode::SUCCESS
}
