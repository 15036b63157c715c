#![cfg_attr(not(test), no_std)]
//! Luna on a DPU: what firmware without an operating system needs around `luna-core`.
//!
//! [`Tables`] is a stack's memory as a static, handed out once. [`TickClock`] makes time of a free-running counter.
//! [`run`] is the inline run-to-completion loop (paper §5.1): one core, one queue, one stack.
//!
//! [`control`] is what a kernel would do for the interface: neighbours, addresses, DHCP, echo.
//!
//! Not here yet: start-up, MMU, interrupt-free NIC queues (virtio-net first). They come with the
//! boards that boot; until then every line here also runs, and is tested, on the development host.

pub mod barrier;
mod clock;
pub mod control;
pub mod dma;
pub mod e1000e;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
pub mod machine;
pub mod mmio;
pub mod pci;
pub mod pl011;
mod run;
mod shared;
pub mod smmu;
mod tables;
pub mod virtio;

pub use clock::TickClock;
pub use run::{Stop, run};
pub use tables::Tables;
