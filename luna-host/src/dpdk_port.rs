//! From `--nic` to a stack on a DPDK port: EAL, port, queue, payload memory, neighbours.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use luna_core::nic::NicQueue;
use luna_core::stack::{CLIENT_PORTS, Cidr, PathConfig};
use luna_core::tcp::TcpConfig;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Pool, ZoneLayout};

use crate::dpdk::{
    AfXdp, DpdkQueue, Eal, EalConfig, EalError, Memif, MemifRole, Memory, MemoryError, Port, PortConfig, PortError,
    PortRange, QueueSeed, Vdev, Vhost, VirtioUser, socket,
};
use crate::limit::LimitEnd;
use crate::link::DriverError;
use crate::luna_stack::{LunaConfig, LunaStack};
use crate::neighbor::{NeighborError, Neighbors};
use crate::nic::{self, Net, Nic, VirtioRole};
use crate::storage::Capacity;

/// How long the other end of a shared-memory pair may take to be there.
const LINK_PATIENCE: Duration = Duration::from_secs(5);
/// Objs for payload to send.
const PAYLOAD_OBJS: usize = 512;
/// Their size.
const PAYLOAD_OBJ: u32 = 16 << 10;
/// Memory for the objs of one queue and of its payload, in MiB.
const MEMORY_MB_PER_QUEUE: u32 = 64;
/// And for DPDK itself.
const MEMORY_MB: u32 = 64;
/// Ports that the kernel gives to sockets that name none.
const KERNEL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// DPDK.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// Its memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The kernel's neighbour table.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
    /// The stack on it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Nobody at the other end of the pair.
    #[error("nobody is at the other end of {0} after 5 s: start the other side first, with the same socket")]
    NoPeer(String),
    /// The other side was not there before.
    #[error("there is no socket {}: start the other side first (role=server, or role=vhost), with the same path", .0.display())]
    NoSocket(PathBuf),
    /// The other side was there before, and is gone.
    #[error("nobody listens on socket {} any more: start the other side first (role=server, or role=vhost)", .0.display())]
    DeadSocket(PathBuf),
    /// The socket's path cannot be used.
    #[error("socket {} cannot be used ({source}): give the path that the other side listens on", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Several threads on a port of one queue.
    #[error("{0} has one queue here, for one thread: leave out --threads")]
    OneQueue(&'static str),
    /// No hardware address.
    #[error("the hardware address of {0} cannot be learned here: give it as peer={0}@MAC")]
    NoMac(IpAddr),
    /// Kernel and Luna would give out the same ports.
    #[error(
        "the kernel's ephemeral ports {low}-{high} overlap Luna's 61440-65535: \
         `sysctl -w net.ipv4.ip_local_port_range='32768 60999'`"
    )]
    PortsOverlap {
        /// First of the kernel's.
        low: u16,
        /// Last of them.
        high: u16,
    },
}

/// A port whose queues have been given out. Dropped after them.
pub struct OpenPort {
    // Dropped in this order.
    _port: Port,
    _eal: Eal,
}

/// One queue with what its stack needs, on the way to its thread.
pub struct DpdkSeed {
    queue: QueueSeed,
    payload: Memory,
    listen: Option<SocketAddr>,
    nic: String,
    path: PathConfig,
    neighbors: Vec<(IpAddr, MacAddr)>,
    kernel: Option<Neighbors>,
    tcp: TcpConfig,
    capacity: Capacity,
}

impl DpdkSeed {
    /// The queue without a stack, on the thread that owns it from now on.
    ///
    /// # Errors
    /// [`DpdkError`]: without memory, or without the peer's IPv4 and hardware addresses.
    pub fn open_limit(self) -> Result<LimitEnd<DpdkQueue>, DpdkError> {
        let Self { queue, payload, nic, path, neighbors, .. } = self;
        let own = path.addrs.iter().find_map(|cidr| v4(cidr.addr));
        let peer = neighbors.iter().find_map(|(ip, mac)| v4(*ip).map(|ip| (*mac, ip)));
        let (Some(own), Some(peer)) = (own, peer) else {
            return Err(DriverError::Port(format!("{nic}: the limit needs addr=, and peer=IP@MAC, of IPv4")).into());
        };
        let (queue, payload) = Self::activate(queue, payload)?;
        let own = (queue.caps().mac, own);
        Ok(LimitEnd { queue, payload, nic, own, peer })
    }

    /// The queue, made this thread's, and memory for payload.
    ///
    /// # Errors
    /// [`DpdkError::Memory`].
    fn activate(queue: QueueSeed, payload: Memory) -> Result<(DpdkQueue, &'static Pool), DpdkError> {
        let payload: &'static Pool = Box::leak(Box::new(payload.into_pool(ZoneLayout::plain(PAYLOAD_OBJ))?));
        Ok((queue.activate(), payload))
    }

    /// The stack, on the thread that owns it from now on.
    ///
    /// # Errors
    /// [`DpdkError`].
    pub fn open(self) -> Result<LunaStack<DpdkQueue>, DpdkError> {
        self.open_wrapped(|queue| queue)
    }

    /// The same with a queue of the caller's around the port's.
    ///
    /// # Errors
    /// [`DpdkError`].
    pub fn open_wrapped<Q: NicQueue>(self, wrap: impl FnOnce(DpdkQueue) -> Q) -> Result<LunaStack<Q>, DpdkError> {
        let Self { queue, payload, listen, nic, path, neighbors, kernel, tcp, capacity } = self;
        let (queue, payload) = Self::activate(queue, payload)?;
        let queue = wrap(queue);
        let mut stack = LunaStack::new(queue, LunaConfig { nic, path, neighbors, kernel, tcp, capacity, payload })?;
        if let Some(listen) = listen {
            stack.listen(listen)?;
        }
        Ok(stack)
    }
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// Opens the port with a queue for each of `threads`; `listen` says that this side is a server and on which port.
///
/// # Errors
/// [`DpdkError`].
pub fn open(
    nic: &Nic,
    threads: usize,
    listen: Option<SocketAddr>,
    tcp: TcpConfig,
    capacity: Capacity,
) -> Result<(OpenPort, Vec<DpdkSeed>), DpdkError> {
    let Some(net) = nic.net() else {
        return Err(DriverError::Port(format!("{nic} is no DPDK port")).into());
    };
    let queues = match nic {
        // Its XDP program serves queue 0, and nothing spreads connections over others.
        Nic::AfXdp { .. } if threads != 1 => return Err(DpdkError::OneQueue(nic.kind())),
        _ => u16::try_from(threads).unwrap_or(u16::MAX),
    };
    // What can be told without DPDK comes first: it is told in fewer words.
    let (vdev, mut kernel) = vdev(nic, net, queues, listen)?;
    let neighbors = neighbors(nic, net)?;
    if let Some(path) = peers_socket(nic) {
        check_peer(path)?;
    }
    let memory_mb = MEMORY_MB + MEMORY_MB_PER_QUEUE * u32::from(queues);
    let eal = Eal::start(&EalConfig { memory_mb, ..EalConfig::default() })?;
    let name = eal.attach(&vdev)?;
    // vhost has no address of its own, and takes whatever its peer sends.
    let mac = if matches!(vdev, Vdev::Vhost(_)) { own_mac(nic, net) } else { None };
    let tso = !matches!(nic, Nic::Virtio { tso: false, .. });
    let (port, seeds) = eal.open(&name, &PortConfig { mac, queues, tso, ..PortConfig::default() })?;
    if listen.is_none() && !port.wait_link(LINK_PATIENCE) {
        return Err(DpdkError::NoPeer(nic.to_string()));
    }
    let zones = Memory::zones_for(ZoneLayout::plain(PAYLOAD_OBJ), PAYLOAD_OBJS);
    let mut out = Vec::new();
    for queue in seeds {
        out.push(DpdkSeed {
            queue,
            payload: eal.memory(zones)?,
            listen,
            nic: nic.to_string(),
            path: path(net),
            neighbors: neighbors.clone(),
            kernel: kernel.take(),
            tcp,
            capacity,
        });
    }
    Ok((OpenPort { _port: port, _eal: eal }, out))
}

fn vdev(nic: &Nic, net: &Net, queues: u16, listen: Option<SocketAddr>) -> Result<(Vdev, Option<Neighbors>), DpdkError> {
    let mac = own_mac(nic, net).map_or([0; 6], |mac| mac.0);
    Ok(match nic {
        Nic::Mem { .. } => return Err(DriverError::Port(format!("{nic} is no DPDK port")).into()),
        Nic::AfXdp { iface, .. } => {
            let kernel = Neighbors::open(iface, net.addr.ip)?;
            let ports = match listen {
                Some(addr) => PortRange { first: addr.port(), last: addr.port() },
                None => {
                    check_kernel_ports()?;
                    PortRange { first: *CLIENT_PORTS.start(), last: *CLIENT_PORTS.end() }
                }
            };
            (Vdev::AfXdp(AfXdp::new(iface, vec![ports])), Some(kernel))
        }
        Nic::Memif { socket, role, .. } => {
            let role = match role {
                nic::MemifRole::Server => MemifRole::Server,
                nic::MemifRole::Client => MemifRole::Client,
            };
            (Vdev::Memif(Memif { mac, ..Memif::new(role, socket) }), None)
        }
        Nic::Virtio { path, role: VirtioRole::Vhost, tso, iommu, .. } => {
            (Vdev::Vhost(Vhost { queues, tso: *tso, iommu: *iommu, ..Vhost::new(path) }), None)
        }
        Nic::Virtio { path, role: VirtioRole::User, .. } => {
            (Vdev::VirtioUser(VirtioUser { mac, queues, ..VirtioUser::new(path) }), None)
        }
    })
}

/// The socket that the other side of a pair must have made.
fn peers_socket(nic: &Nic) -> Option<&Path> {
    match nic {
        Nic::Memif { socket, role: nic::MemifRole::Client, .. } => Some(socket),
        Nic::Virtio { path, role: VirtioRole::User, .. } => Some(path),
        Nic::Mem { .. } | Nic::AfXdp { .. } | Nic::Memif { .. } | Nic::Virtio { .. } => None,
    }
}

/// Whether the other side is there.
fn check_peer(path: &Path) -> Result<(), DpdkError> {
    match socket::is_live(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(DpdkError::DeadSocket(path.to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(DpdkError::NoSocket(path.to_owned())),
        Err(source) => Err(DpdkError::Socket { path: path.to_owned(), source }),
    }
}

/// The address that the user gave, or the port kind's default.
fn own_mac(nic: &Nic, net: &Net) -> Option<MacAddr> {
    net.mac.or_else(|| nic.default_macs().map(|(own, _)| own))
}

/// The neighbours whose hardware address is known from the start.
fn neighbors(nic: &Nic, net: &Net) -> Result<Vec<(IpAddr, MacAddr)>, DpdkError> {
    let default = nic.default_macs().map(|(_, other)| other);
    let mut known = Vec::new();
    for peer in &net.peers {
        match (peer.mac.or(default), nic) {
            (Some(mac), _) => known.push((peer.ip, mac)),
            // The kernel will tell.
            (None, Nic::AfXdp { .. }) => {}
            (None, _) => return Err(DpdkError::NoMac(peer.ip)),
        }
    }
    Ok(known)
}

fn path(net: &Net) -> PathConfig {
    let mut path = PathConfig { vlan: net.vlan, ..PathConfig::default() };
    let added = path.addrs.push(Cidr { addr: net.addr.ip, prefix: net.addr.prefix });
    debug_assert!(added.is_ok(), "the first address");
    match net.gateway {
        Some(ip) if ip.is_ipv4() => path.gateway_v4 = Some(ip),
        gateway => path.gateway_v6 = gateway,
    }
    path
}

/// Refuses to share client ports with the kernel.
fn check_kernel_ports() -> Result<(), DpdkError> {
    let Ok(text) = fs::read_to_string(KERNEL_PORTS) else { return Ok(()) };
    let mut numbers = text.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) if high >= *CLIENT_PORTS.start() => Err(DpdkError::PortsOverlap { low, high }),
        _ => Ok(()),
    }
}
