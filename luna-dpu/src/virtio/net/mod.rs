//! The network device (virtio 1.2, section 5.1): [`NetDevice`] is its set-up, [`NetQueue`] one pair of queues at work.

mod control;
mod device;
mod gather;
mod header;
mod mend;
mod queue;

pub use control::{CONTROL_SIZE, Rss};
pub use device::{NetConfig, NetDevice, NetInfo};
pub use header::HEADER_LEN;
pub use mend::{MendError, Mender};
pub use queue::{NetFaults, NetQueue, QueueMemory, QueuePair};

#[cfg(all(test, feature = "packed"))]
mod tests;
