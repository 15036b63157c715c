//! What a session needs of the byte stream below it.

use heapless::VecView;

use super::error::StreamError;
use super::gather::MAX_CHUNKS;
use crate::time::Instant;
use crate::zbuf::{Frag, Zbuf, ZbufMut};

/// An I/O vector to send: as many pieces as an incoming payload can have, and room for the frame's head in front.
pub type FragVec = heapless::Vec<Frag, { MAX_CHUNKS + 1 }>;

/// A connection's sending half, its time and its supply of small objs: Luna's TCP, or a kernel socket.
pub trait ByteStream {
    /// Queues all of `iov`, in order, and drains it; `token` comes back when the stream releases the data.
    ///
    /// # Errors
    /// Nothing was taken and `iov` is untouched.
    fn send(&mut self, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError>;

    /// Queues `head` (copied behind a protocol header, see [`Frag::header`]) and then all of `iov`, which has room for
    /// it: streams that do not need that room have their own version of this.
    ///
    /// # Errors
    /// Nothing was taken and `iov` is untouched; `head` is gone.
    #[inline]
    fn send_headed(&mut self, head: Zbuf, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError> {
        iov.insert(0, Frag::header(head)).map_err(|_| StreamError::Full)?;
        let sent = self.send(iov, token);
        if sent.is_err() && iov.first().is_some_and(Frag::is_header) {
            iov.remove(0);
        }
        sent
    }

    /// An obj with its first `len` bytes in use, to be written.
    #[inline]
    fn alloc_len(&mut self, len: u32) -> Option<ZbufMut> {
        let mut obj = self.alloc()?;
        obj.append(len)?;
        Some(obj)
    }

    /// An empty obj for a frame's head: 40 bytes and the metadata.
    fn alloc(&mut self) -> Option<ZbufMut>;

    /// The time of this turn.
    fn now(&self) -> Instant;
}
