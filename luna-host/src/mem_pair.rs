//! Both ends of an in-memory pair with a stack on each: Luna without any port, root or package.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use luna_core::nic::{MemEnd, MemLink, MemPort, MemQueue};
use luna_core::stack::{Cidr, PathConfig};
use luna_core::tcp::TcpConfig;
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;

use crate::limit::LimitEnd;
use crate::link::DriverError;
use crate::luna_stack::{LunaConfig, LunaStack};
use crate::memory::{self, Pages};
use crate::nic::Nic;
use crate::storage::Capacity;

/// Receive objs of one end: those posted, and those that wait for the application.
const RX_OBJS: usize = 4_096;
/// Header objs of one end.
const HEADER_OBJS: usize = 4_096;
/// A frame's headers, an RPC frame's head with metadata, and a payload that is copied behind them.
const HEADER_OBJ: u32 = 640;
/// Objs for payload to send.
const PAYLOAD_OBJS: usize = 512;
/// Their size.
const PAYLOAD_OBJ: u32 = 16 << 10;

/// One end, on its way to the thread that will own it.
pub struct Side {
    end: MemEnd<'static>,
    mac: MacAddr,
    ip: IpAddr,
    peer: (IpAddr, MacAddr),
    mtu: u16,
    checksum_offload: bool,
}

/// Where the server's end is reached.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), crate::nic::DEFAULT_PORT);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// Makes a pair: the server's end and the client's.
///
/// As NICs with checksum offload, unless told otherwise: this link does not damage anything.
#[must_use]
pub fn pair(mtu: u16, checksum_offload: bool) -> (Side, Side) {
    let link = Box::leak(Box::new(MemLink::new()));
    let (a, b) = link.split();
    let (mac_a, mac_b) = Nic::MEM_MACS;
    let server = Side { end: a, mac: mac_a, ip: SERVER.ip(), peer: (CLIENT, mac_b), mtu, checksum_offload };
    let client = Side { end: b, mac: mac_b, ip: CLIENT, peer: (SERVER.ip(), mac_a), mtu, checksum_offload };
    (server, client)
}

impl Side {
    /// The stack of this end, on the thread that owns it from now on.
    ///
    /// # Errors
    /// Without memory.
    pub fn open(
        self,
        tcp: TcpConfig,
        capacity: Capacity,
    ) -> Result<LunaStack<MemQueue<'static, 'static>>, DriverError> {
        let (ip, peer) = (self.ip, self.peer);
        let (queue, payload, nic) = self.queue()?;
        let mut path = PathConfig::default();
        let added = path.addrs.push(Cidr { addr: ip, prefix: 24 });
        debug_assert!(added.is_ok(), "the first address");
        LunaStack::new(queue, LunaConfig { nic, path, neighbors: vec![peer], kernel: None, tcp, capacity, payload })
    }

    /// The queue of this end without a stack.
    ///
    /// # Errors
    /// Without memory.
    pub fn open_limit(self) -> Result<LimitEnd<MemQueue<'static, 'static>>, DriverError> {
        let v4 = |ip| match ip {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let (own, peer) = ((self.mac, v4(self.ip)), (self.peer.1, v4(self.peer.0)));
        let (queue, payload, nic) = self.queue()?;
        Ok(LimitEnd { queue, payload, nic, own, peer })
    }

    fn queue(self) -> Result<(MemQueue<'static, 'static>, &'static Pool, String), DriverError> {
        let Self { end, mac, mtu, checksum_offload, .. } = self;
        let pool = |objs, size| memory::pool(objs, size, Pages::Ordinary).map(|p| &*Box::leak(Box::new(p)));
        let rx = pool(RX_OBJS, u32::from(mtu) + 64)?;
        let header = pool(HEADER_OBJS, HEADER_OBJ)?;
        let payload = pool(PAYLOAD_OBJS, PAYLOAD_OBJ)?;
        let nic = Nic::Mem { mtu, checksums: !checksum_offload }.to_string();
        let port = MemPort { mac, mtu, checksum_offload };
        let queue = MemQueue::new(end, port, rx, header).map_err(|e| DriverError::Port(format!("{nic}: {e}")))?;
        Ok((queue, payload, nic))
    }
}
