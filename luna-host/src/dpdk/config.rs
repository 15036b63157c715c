//! What EAL is started with, typed; `args` turns it into DPDK's strings.

use std::path::PathBuf;

/// How devices address memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IovaMode {
    /// By virtual address: software ports, and hardware behind an IOMMU.
    #[default]
    Virtual,
    /// By physical address: hardware without an IOMMU; needs root.
    Physical,
}

/// Configuration of [`super::Eal::start`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EalConfig {
    /// Names this process's runtime directory. Shared by nobody.
    pub file_prefix: String,
    /// CPUs of the calling thread; empty leaves its affinity as it is.
    pub cpus: Vec<u16>,
    /// Hugepage memory taken at the start, in MiB. Everything that ports and pools need comes from it.
    pub memory_mb: u32,
    /// How devices address memory.
    pub iova: IovaMode,
    /// Whether to look for PCI devices.
    pub pci: bool,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            file_prefix: format!("luna-{}", std::process::id()),
            cpus: Vec::new(),
            memory_mb: 256,
            iova: IovaMode::Virtual,
            pci: false,
        }
    }
}

/// A software port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vdev {
    /// AF_XDP on a Linux interface.
    AfXdp(AfXdp),
    /// Shared memory with another process by memif.
    Memif(Memif),
    /// The device side of vhost-user: listens.
    Vhost(Vhost),
    /// The driver side of vhost-user.
    VirtioUser(VirtioUser),
    /// Loopback of pointers within the process: what is sent is received by the same port.
    Ring,
    /// Anything else: a DPDK device name and its arguments.
    Raw {
        /// For instance `net_tap0`.
        name: String,
        /// For instance `iface=tap0`.
        args: String,
    },
}

/// Local ports, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// See [`Vdev::AfXdp`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfXdp {
    /// The interface's name, in this thread's network namespace.
    pub interface: String,
    /// TCP destination ports that come here; everything else stays with the kernel. At most 16 ranges.
    pub tcp_ports: Vec<PortRange>,
    /// First queue of the interface.
    pub start_queue: u16,
    /// Number of queues.
    pub queues: u16,
    /// Another XDP program than Luna's own (its `tcp_ports` are then ignored).
    pub program: Option<PathBuf>,
}

/// Which side of a memif.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemifRole {
    /// Listens on the socket, copies to and from the client's memory.
    Server,
    /// Connects. Owns the memory: with `zero_copy` its objs are what the server sees.
    Client,
}

/// See [`Vdev::Memif`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memif {
    /// Which side this is.
    pub role: MemifRole,
    /// The Unix socket.
    pub socket: PathBuf,
    /// Client only: share the objs themselves instead of copying through bounce buffers.
    pub zero_copy: bool,
    /// Hardware address; the two sides must differ.
    pub mac: [u8; 6],
    /// log2 of the ring size.
    pub log2_ring: u8,
    /// Size of a bounce buffer (copying client).
    pub buffer_size: u16,
}

/// See [`Vdev::Vhost`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vhost {
    /// The Unix socket that it listens on.
    pub socket: PathBuf,
    /// Queue pairs.
    pub queues: u16,
    /// Whether the peer may send segments larger than the MTU.
    pub tso: bool,
    /// Whether the driver's addresses may be an IOMMU's.
    pub iommu: bool,
}

/// See [`Vdev::VirtioUser`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtioUser {
    /// The Unix socket of the vhost side.
    pub socket: PathBuf,
    /// Queue pairs.
    pub queues: u16,
    /// Packed ring layout.
    pub packed: bool,
    /// Buffers are used in the order they were made available.
    pub in_order: bool,
    /// A received frame may span buffers.
    pub mergeable: bool,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Ring size.
    pub queue_size: u16,
}

impl AfXdp {
    /// Queue 0 of `interface`, these ports.
    #[must_use]
    pub fn new(interface: &str, tcp_ports: Vec<PortRange>) -> Self {
        Self { interface: interface.to_owned(), tcp_ports, start_queue: 0, queues: 1, program: None }
    }
}

impl Memif {
    /// A side with rings of 1024 and, on the client, zero-copy.
    #[must_use]
    pub fn new(role: MemifRole, socket: impl Into<PathBuf>) -> Self {
        let (zero_copy, last) = match role {
            MemifRole::Server => (false, 1),
            MemifRole::Client => (true, 2),
        };
        Self { role, socket: socket.into(), zero_copy, mac: [2, 0, 0, 0, 0, last], log2_ring: 10, buffer_size: 2048 }
    }
}

impl Vhost {
    /// One queue pair, no TSO, no IOMMU.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), queues: 1, tso: false, iommu: false }
    }
}

impl VirtioUser {
    /// One queue pair, packed, in order: the fastest layout.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            queues: 1,
            packed: true,
            in_order: true,
            mergeable: false,
            mac: [2, 0, 0, 0, 0, 2],
            queue_size: 256,
        }
    }
}
