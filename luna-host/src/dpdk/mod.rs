//! Luna's ports over DPDK (paper Figure 7, steps 1 and 8): EAL, memory, pools, ports, queues.
//!
//! - [`Eal`] is DPDK itself, started once per process from a typed [`EalConfig`].
//! - [`Memory`] is DPDK memory cut at 2 MiB, the only kind that memif's zero-copy mode and virtio_user can share with
//!   another process; [`EalPool`] is a Zbuf pool in it.
//! - [`Port`] is a configured device; each of its queues leaves as a [`QueueSeed`], which travels to the thread that
//!   will own it and becomes a [`DpdkQueue`] there, luna-core's `NicQueue`.
//!
//! Ownership: an obj posted to a device, filled by it, read by the application and freed has one authority over its being
//! free at all times, its zone's free list. DPDK's mempools here are a view of that list (see `mempool`), without a cache.
//! What is absent: secondary processes, mempool caches, fast free, and anything that copies without counting it.

mod args;
mod config;
mod device;
mod eal;
mod error;
mod held;
mod large;
mod log_stream;
mod mbuf;
mod memory;
mod mempool;
mod owner;
mod port;
mod queue;
mod reap;
pub(crate) mod socket;
mod tx;
mod xdp;

pub use config::{AfXdp, EalConfig, IovaMode, Memif, MemifRole, PortRange, Vdev, Vhost, VirtioUser};
pub use eal::Eal;
pub use error::{EalError, MemoryError, PortError};
pub use memory::{EalPool, Memory};
pub use port::{Closed, Port, PortConfig, PortStats, QueueSeed};
pub use queue::DpdkQueue;
