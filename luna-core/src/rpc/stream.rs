//! What a session needs of the byte stream below it.

use heapless::VecView;

use super::error::StreamError;
use super::frame::HEADER_LEN;
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

    /// Queues a frame: its `head` and `metadata`, which are copied, and all of `iov`, which has room for one more piece and
    /// is drained. With a `token` the stream says when it releases the data. Streams that copy small things better than
    /// into an obj each have their own version of this.
    ///
    /// # Errors
    /// Nothing was taken and `iov` is untouched.
    #[inline]
    fn send_frame(
        &mut self,
        head: &[u8; HEADER_LEN],
        metadata: &[u8],
        iov: &mut VecView<Frag>,
        token: Option<u64>,
    ) -> Result<(), StreamError> {
        let mut obj = self.alloc().ok_or(StreamError::NoObj)?;
        let bytes = obj.append((HEADER_LEN + metadata.len()) as u32).ok_or(StreamError::NoObj)?;
        let (first, rest) = bytes.split_at_mut(HEADER_LEN);
        first.copy_from_slice(head);
        rest.copy_from_slice(metadata);
        iov.insert(0, Frag::header(obj.freeze())).map_err(|_| StreamError::Full)?;
        let sent = self.send(iov, token.unwrap_or_default());
        if sent.is_err() && iov.first().is_some_and(Frag::is_header) {
            iov.remove(0);
        }
        sent
    }

    /// Queues a frame that is small as a whole: `head`, `metadata` and `bytes`, at most
    /// [`MAX_COPIED`](super::MAX_COPIED) bytes and 4 for a CRC behind the head. All are copied.
    ///
    /// # Errors
    /// Nothing was taken.
    #[inline]
    fn send_copied(&mut self, head: &[u8; HEADER_LEN], metadata: &[u8], bytes: &[u8]) -> Result<(), StreamError> {
        let mut obj = self.alloc().ok_or(StreamError::NoObj)?;
        for part in [head, metadata, bytes] {
            obj.append(part.len() as u32).ok_or(StreamError::NoObj)?.copy_from_slice(part);
        }
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::header(obj.freeze())).map_err(|_| StreamError::Full)?;
        self.send(&mut iov, 0)
    }

    /// An empty obj for a frame's head: [`HEADER_LEN`] bytes, perhaps 4 for a CRC, and the metadata or a small frame's rest.
    fn alloc(&mut self) -> Option<ZbufMut>;

    /// The time of this turn.
    fn now(&self) -> Instant;

    /// The border to a stage of the loop ([`crate::cycles`]). Returns the stage on this side of it. A stream that counts no
    /// cycles has none.
    #[cfg(feature = "cycles")]
    #[inline(always)]
    fn enter(&mut self, stage: crate::cycles::Stage) -> crate::cycles::Stage {
        stage
    }
}
