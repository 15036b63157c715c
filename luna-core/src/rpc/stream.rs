//! What a session needs of the byte stream below it.

use heapless::VecView;

use super::error::StreamError;
use super::gather::MAX_CHUNKS;
use crate::time::Instant;
use crate::zbuf::{Frag, ZbufMut};

/// An I/O vector to send: as many pieces as an incoming payload can have, and room for the frame's head in front.
pub type FragVec = heapless::Vec<Frag, { MAX_CHUNKS + 1 }>;

/// A connection's sending half, its time and its supply of small objs: Luna's TCP, or a kernel socket.
pub trait ByteStream {
    /// Queues all of `iov`, in order, and drains it; `token` comes back when the stream releases the data.
    ///
    /// # Errors
    /// Nothing was taken and `iov` is untouched.
    fn send(&mut self, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError>;

    /// An empty obj for a frame's head: 40 bytes and the metadata.
    fn alloc(&mut self) -> Option<ZbufMut>;

    /// The time of this turn.
    fn now(&self) -> Instant;
}
