//! A switch: forwards by hardware address into its ports' queues, which may share a buffer.

use luna_core::wire::MacAddr;

use super::frame::Frame;
use super::link::{Link, Loss};

/// A switch. Its output queues are the links that begin at it.
#[derive(Default)]
pub struct Switch {
    /// Which link leads to an address.
    pub table: Vec<(MacAddr, usize)>,
    /// Most bytes in all its queues together.
    pub shared_buffer: Option<u64>,
    /// Links that begin here.
    pub ports: Vec<usize>,
    /// Time from arrival to the output queue.
    pub latency: u64,
}

impl Switch {
    /// The link for a frame; nothing for addresses that nobody has.
    #[must_use]
    pub fn route(&self, frame: &Frame) -> Option<usize> {
        let dst = frame.bytes.get(..6)?;
        self.table.iter().find(|(mac, _)| mac.0 == *dst).map(|(_, link)| *link)
    }

    /// Whether the shared buffer takes `len` more bytes.
    ///
    /// # Errors
    /// [`Loss::QueueFull`].
    pub fn admit(&self, links: &[Link], len: u64) -> Result<(), Loss> {
        let Some(limit) = self.shared_buffer else { return Ok(()) };
        let used: u64 = self.ports.iter().map(|p| links[*p].queued()).sum();
        if used + len > limit { Err(Loss::QueueFull) } else { Ok(()) }
    }
}
