//! Two DPU-style cores: static tables, a counter for a clock, the loop of this crate, the in-memory pair between them.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::time::Instant as HostInstant;

use luna_core::nic::{MemEnd, MemLink, MemPort, MemQueue};
use luna_core::stack::{App, Bind, Cidr, ConnId, Connect, Cx, PathConfig, Retained, Stack, StackConfig};
use luna_core::tcp::TcpConfig;
use luna_core::time::Clock;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{DeviceKey, Frag, IoAddr, Pool, Region, ZONE_SIZE, Zbuf, ZoneLayout};
use luna_dpu::{Stop, Tables, TickClock, run};

static TABLES: [Tables<16, 32, 512, 512, 64>; 2] = [const { Tables::new() }; 2];
const ROUNDS: usize = 100;

/// A board's physical range: here, leaked host memory with addresses shifted by a constant.
fn pool(zones: usize, size: u32) -> Pool {
    let layout = Layout::from_size_align(zones * ZONE_SIZE, ZONE_SIZE).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    let io = |i: usize| IoAddr(0x8000_0000 + (i * ZONE_SIZE) as u64);
    // SAFETY: fresh memory, never freed; no device uses the addresses.
    let region = unsafe { Region::new(base, zones, io, DeviceKey(0)) }.unwrap();
    Pool::new(region, ZoneLayout::plain(size)).unwrap()
}

struct Echo {
    conn: Option<ConnId>,
    got: usize,
}

impl<Q: luna_core::nic::NicQueue> App<Q> for Echo {
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        self.conn = Some(conn);
        self.got += data.len() as usize;
        let mut iov = heapless::Vec::<Frag, 1>::new();
        assert!(iov.push(Frag::from(data)).is_ok());
        cx.send(conn, &mut iov, 0).unwrap();
        Retained::NOTHING
    }
}

/// Sends the same obj back and forth: what arrives is what goes out again.
fn core<'m>(
    n: u8,
    end: MemEnd<'m>,
    pools: &'m (Pool, Pool),
    now: luna_core::time::Instant,
) -> Stack<'m, MemQueue<'m, 'm>> {
    let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
    let ip = |n: u8| [192, 168, 7, n].into();
    let port = MemPort { mac: mac(n), mtu: 1500, checksum_offload: false };
    let queue = MemQueue::new(end, port, &pools.0, &pools.1).unwrap();
    let config = StackConfig { id: n, seed: [n; 32], tcp: TcpConfig::INTEROP };
    let mut stack = Stack::new(config, TABLES[usize::from(n - 1)].take().unwrap(), now).unwrap();
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: ip(n), prefix: 24 }).unwrap();
    let id = stack.add_path(queue, path).unwrap();
    assert!(stack.cx(now).neighbor(id, ip(3 - n), Some(mac(3 - n))));
    stack
}

#[test]
fn static_tables_and_the_loop_carry_a_ping_pong() {
    let start = HostInstant::now();
    // 62.5 MHz, as QEMU's generic timer.
    let clock = TickClock::new(62_500_000, || (start.elapsed().as_nanos() / 16) as u64 + 1).unwrap();
    let mut link = MemLink::new();
    let (a, b) = link.split();
    let (pools_a, pools_b) = ((pool(1, 2048), pool(1, 512)), (pool(1, 2048), pool(1, 512)));
    let mut client = core(1, a, &pools_a, clock.now());
    let mut server = core(2, b, &pools_b, clock.now());
    server.cx(clock.now()).listen(Bind::port(7), 0).unwrap();
    let conn = client.cx(clock.now()).connect(Connect::to("192.168.7.2:7".parse().unwrap())).unwrap();
    let (mut ping, mut pong) = (Echo { conn: None, got: 0 }, Echo { conn: None, got: 0 });
    let mut first = pools_a.0.alloc().unwrap();
    first.append(1000).unwrap().fill(0x5a);
    let mut iov = heapless::Vec::<Frag, 1>::new();
    assert!(iov.push(Frag::from(first.freeze())).is_ok());
    client.cx(clock.now()).send(conn, &mut iov, 0).unwrap();
    run(&mut client, &clock, 64, &mut ping, |_, ping, idle| {
        assert!(start.elapsed().as_secs() < 60, "stuck after {} bytes", ping.got);
        if idle.is_some() {
            run(&mut server, &clock, 64, &mut pong, |_, _, idle| if idle.is_some() { Stop::Yes } else { Stop::No });
        }
        if ping.got >= ROUNDS * 1000 { Stop::Yes } else { Stop::No }
    });
    assert_eq!(ping.got, ROUNDS * 1000);
    assert_eq!(client.counters().retransmits, 0);
}
