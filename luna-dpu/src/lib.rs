#![cfg_attr(not(test), no_std)]
//! Luna on a DPU: what firmware without an operating system needs around `luna-core`.
//!
//! | module | what |
//! | --- | --- |
//! | [`virtio`], [`e1000e`] | NIC queues, driven here: each is registers, rings that know no hardware, a `NicQueue` |
//! | [`mmio`], [`barrier`], [`dma`] | registers, order and coherence between a core and devices |
//! | [`control`] | what a kernel would do for the interface: neighbours, addresses, DHCP, echo |
//! | [`node`] | what an image does: a stack with its queue and control plane on each core, RPC echo, the benchmark |
//! | `machine` | an aarch64 core: console, exceptions, counter, random numbers, ways out; in images only |
//! | [`arena`], [`Tables`] | memory, handed out at start |
//! | [`smmu`] | where devices find memory: physical addresses, at an offset, through an SMMUv3 |
//!
//! [`TickClock`] makes time of a free-running counter, and [`run`] is the inline run-to-completion loop (paper §5.1) for
//! those who bring their own application.
//!
//! All but `machine` also runs, and is tested, on the development host: drivers against devices made of Rust, nodes over
//! the in-memory pair. Boards are crates under `boards/`.

pub mod arena;
pub mod barrier;
mod clock;
pub mod control;
pub mod devicetree;
pub mod dma;
pub mod e1000e;
pub mod lossy;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
pub mod machine;
pub mod meeting;
pub mod mmio;
pub mod node;
mod parts;
pub mod pci;
pub mod pl011;
mod resets;
mod run;
mod shared;
pub mod smmu;
mod tables;
pub mod virtio;

pub use clock::TickClock;
pub use run::{Stop, run};
pub use tables::Tables;
