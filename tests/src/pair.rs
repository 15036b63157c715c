//! Two stacks joined by the in-memory pair, with their clock.

use core::net::{IpAddr, SocketAddr};

use luna_core::nic::{MemLink, MemPort, MemQueue, NicQueue};
use luna_core::stack::{App, Bind, Cidr, ConnId, Connect, PathConfig, PathId, Stack, StackConfig, Turn};
use luna_core::tcp::TcpConfig;
use luna_core::time::{Duration, Instant};
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;
use luna_host::storage::Capacity;

use crate::memory;

/// The queue that a pair has when nothing is put around it.
pub type PlainQueue = MemQueue<'static, 'static>;

/// The port that `b` listens on.
pub const PORT: u16 = 7000;

/// What both ends are like.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Largest IP packet.
    pub mtu: u16,
    /// The ports do the checksums.
    pub checksum_offload: bool,
    /// TCP of `a`, which connects.
    pub tcp_a: TcpConfig,
    /// TCP of `b`, which listens.
    pub tcp_b: TcpConfig,
    /// The tables' sizes.
    pub capacity: Capacity,
    /// Zones of each receive pool: at least what the rings hold posted.
    pub rx_zones: usize,
    /// Over IPv6 instead of IPv4.
    pub ipv6: bool,
}

impl LinkConfig {
    /// Everything else at its default.
    #[must_use]
    pub fn new(mtu: u16, checksum_offload: bool) -> Self {
        let tcp = TcpConfig::DATACENTER;
        let capacity =
            Capacity { connections: 64, sends: 4096, segments: 4096, out_of_order: 64, ..Default::default() };
        // A ring's worth of objs posted, and as many in the application's hands.
        let rx_zones = (1024 * rx_obj_size(mtu) as usize).div_ceil(1 << 20).div_ceil(2) + 1;
        Self { mtu, checksum_offload, tcp_a: tcp, tcp_b: tcp, capacity, rx_zones, ipv6: false }
    }
}

/// Objs that a frame of this MTU fits.
fn rx_obj_size(mtu: u16) -> u32 {
    (u32::from(mtu) + 18).next_multiple_of(64)
}

/// One stack, its application and its pools.
pub struct End<Q, A> {
    /// The stack.
    pub stack: Stack<'static, Q>,
    /// Its application.
    pub app: A,
    /// Its only path.
    pub path: PathId,
    /// Where frames are received.
    pub rx: &'static Pool,
    /// Where headers come from.
    pub headers: &'static Pool,
}

/// Two of them: `a` connects, `b` listens.
pub struct Pair<Q, A, B> {
    /// The time.
    pub now: Instant,
    /// The client.
    pub a: End<Q, A>,
    /// The server.
    pub b: End<Q, B>,
    /// Over IPv6.
    pub ipv6: bool,
}

fn addr(n: u8, ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n.into()]) } else { IpAddr::from([10, 0, 0, n]) }
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

impl<Q: NicQueue, A: App<Q>, B: App<Q>> Pair<Q, A, B> {
    /// Joins two stacks. `around` may put something around each queue.
    #[must_use]
    pub fn new(config: &LinkConfig, apps: (A, B), mut around: impl FnMut(PlainQueue) -> Q) -> Self {
        let link: &'static mut MemLink = Box::leak(Box::new(MemLink::new()));
        let (end_a, end_b) = link.split();
        let now = Instant::from_nanos(1_000_000_000);
        let mut make = |n: u8, end, tcp| {
            let rx = memory::pool(config.rx_zones, rx_obj_size(config.mtu));
            // Room for the heads and the small messages of a burst, too.
            let headers = memory::pool(1, 2112);
            let port = MemPort { mac: mac(n), mtu: config.mtu, checksum_offload: config.checksum_offload };
            let queue = around(MemQueue::new(end, port, rx, headers).expect("objs fit the MTU"));
            let stack_config = StackConfig { id: n, seed: [n.wrapping_mul(37); 32], tcp };
            let mut stack = Stack::new(stack_config, config.capacity.leak(), now).expect("tables are large enough");
            let mut path = PathConfig::default();
            path.addrs
                .push(Cidr { addr: addr(n, config.ipv6), prefix: if config.ipv6 { 64 } else { 24 } })
                .expect("room for one address");
            let path = stack.add_path(queue, path).expect("a usable path");
            assert!(stack.cx(now).neighbor(path, addr(3 - n, config.ipv6), Some(mac(3 - n))));
            (stack, path, rx, headers)
        };
        let (stack, path, rx, headers) = make(1, end_a, config.tcp_a);
        let a = End { stack, app: apps.0, path, rx, headers };
        let (stack, path, rx, headers) = make(2, end_b, config.tcp_b);
        let b = End { stack, app: apps.1, path, rx, headers };
        Self { now, a, b, ipv6: config.ipv6 }
    }

    /// Begins a connection from `a` to `b`'s [`PORT`], on which `b` listens from the first time on.
    pub fn connect(&mut self) -> ConnId {
        let _ = self.b.stack.cx(self.now).listen(Bind::port(PORT), 0);
        let to = Connect::to(self.address_of_b());
        self.a.stack.cx(self.now).connect(to).expect("room for a connection")
    }

    /// Where `b` listens.
    #[must_use]
    pub fn address_of_b(&self) -> SocketAddr {
        SocketAddr::new(addr(2, self.ipv6), PORT)
    }

    /// One turn of each, at this moment. True when both are idle.
    #[inline(always)]
    pub fn turn(&mut self) -> bool {
        let a = self.a.stack.turn(self.now, 256, &mut self.a.app);
        let b = self.b.stack.turn(self.now, 256, &mut self.b.app);
        a != Turn::Busy && b != Turn::Busy
    }

    /// Turns until both are idle at this moment.
    pub fn settle(&mut self) {
        while !self.turn() {}
    }

    /// Lets time pass.
    #[inline(always)]
    pub fn advance(&mut self, d: Duration) {
        self.now = self.now + d;
    }
}
