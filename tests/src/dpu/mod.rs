//! The host's end of QEMU's datagram link (`-netdev dgram`): one datagram is one frame, and no privileges are needed.

mod peer;
mod ping;
mod queue;

pub use peer::{PeerConfig, Role, run};
pub use ping::ping;
pub use queue::SocketQueue;
