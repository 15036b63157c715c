//! The host's end of a link to an image in QEMU, and what it measures: QEMU's datagram link (`-netdev dgram`; no privileges are
//! needed), DPDK's vhost port at the other end of QEMU's vhost-user link, and the kernel's TCP behind a tap.

mod ends;
mod kernel;
mod peer;
mod ping;
mod queue;
#[cfg(feature = "dpdk")]
mod vhost;

pub use ends::{Report, Role};
pub use kernel::call as call_from_the_kernel;
pub use peer::{PeerConfig, run};
pub use ping::ping;
pub use queue::socket_queue;
#[cfg(feature = "dpdk")]
pub use vhost::{VhostConfig, run as run_vhost};
