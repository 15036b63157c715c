//! Errors of the DPDK side. Each is one sentence that says what to do.

use std::io;
use std::path::PathBuf;

/// Why EAL or a software port cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EalError {
    /// DPDK starts once in the life of a process.
    #[error("DPDK was already started in this process, and it starts only once: keep the Eal and add ports to it")]
    AlreadyStarted,
    /// Too few hugepages.
    #[error(
        "{wanted} free hugepages of 2 MiB are needed and {free} are there: run `cargo xtask setup`, or as root \
         `echo {suggested} > /proc/sys/vm/nr_hugepages`"
    )]
    Hugepages {
        /// Pages that the configuration asks for.
        wanted: u64,
        /// Pages that are free.
        free: u64,
        /// Value for nr_hugepages that would do.
        suggested: u64,
    },
    /// A right is missing.
    #[error("{what} needs root (or {capability}): run it with sudo")]
    Permission {
        /// What was attempted.
        what: &'static str,
        /// What would suffice.
        capability: &'static str,
    },
    /// No such CPU.
    #[error("CPU {0} is not among those that this process may use: choose others, or widen its affinity (taskset)")]
    NoSuchCpu(u16),
    /// No such interface.
    #[error("network interface {0} does not exist here: check `ip link`, and the network namespace")]
    NoInterface(String),
    /// A file is missing.
    #[error("{what} {} does not exist: {hint}", path.display())]
    Missing {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A socket cannot be made or used.
    #[error("socket {} cannot be used ({why}): choose another path", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A string that DPDK's argument syntax cannot carry.
    #[error("{0:?} cannot be passed to DPDK: leave out commas, blanks and control characters")]
    BadArgument(String),
    /// A configuration value out of range.
    #[error("{0}")]
    BadConfig(&'static str),
    /// Somebody's XDP program is on the interface.
    #[error(
        "interface {0} already has an XDP program: stop the process that uses it, or, if that is dead, take the program \
         off with `ip link set dev {0} xdp off`"
    )]
    XdpOccupied(String),
    /// The XDP program cannot be prepared.
    #[error("the XDP program cannot be prepared: {0}")]
    Xdp(#[source] io::Error),
    /// rte_eal_init refused.
    #[error("DPDK did not start: {reason}")]
    Init {
        /// What DPDK logged last, or its errno.
        reason: String,
    },
    /// A software port did not come up.
    #[error("DPDK port {name} did not come up: {reason}")]
    Vdev {
        /// The device.
        name: String,
        /// What DPDK logged last, or its errno.
        reason: String,
    },
}

/// Why memory cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// EAL's memory is used up or too scattered.
    #[error("DPDK has no {zones} contiguous zones of 2 MiB left: raise memory_mb (and the hugepages behind it)")]
    Exhausted {
        /// Zones asked for.
        zones: usize,
    },
    /// The I/O address of a page is unknown.
    #[error("the I/O address of DPDK memory is unknown: use IovaMode::Virtual, or run as root for physical addresses")]
    NoIoAddress,
    /// The memory is not where zero-copy ports share it from.
    #[error("DPDK memory lies outside its first memory segment list: do not mix hugepage sizes (mount only 2 MiB)")]
    NotShared,
    /// Region or pool refused.
    #[error(transparent)]
    Pool(#[from] luna_core::zbuf::PoolError),
    /// The region refused.
    #[error(transparent)]
    Region(#[from] luna_core::zbuf::RegionError),
    /// DPDK refused a mempool over the objs.
    #[error("DPDK refused a mempool over Zbuf objs: {0}")]
    Mempool(String),
}

/// Why a port cannot be configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The MTU is beyond the port's.
    #[error("MTU {asked} is beyond the {max} that port {port} can carry: lower it")]
    Mtu {
        /// The port.
        port: String,
        /// What was asked for.
        asked: u16,
        /// What it can do.
        max: u16,
    },
    /// Too many queues.
    #[error("port {port} has {max} queues, not {asked}: lower the number of queues")]
    Queues {
        /// The port.
        port: String,
        /// What was asked for.
        asked: u16,
        /// What it can do.
        max: u16,
    },
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// DPDK refused a step.
    #[error("port {port}: {step} failed: {reason}")]
    Step {
        /// The port.
        port: String,
        /// Which step.
        step: &'static str,
        /// What DPDK logged last, or its errno.
        reason: String,
    },
}
