//! A connection of the stack as the byte stream of an RPC session.

use heapless::VecView;
use luna_core::nic::NicQueue;
use luna_core::rpc::{ByteStream, StreamError};
use luna_core::stack::{ConnId, Cx, SendError};
use luna_core::time::Instant;
use luna_core::zbuf::{Frag, Zbuf, ZbufMut};

/// The sending half of a connection.
pub(super) struct Stream<'b, 's, 'm, Q> {
    pub(super) cx: &'b mut Cx<'s, 'm, Q>,
    pub(super) conn: ConnId,
}

fn unsent(e: SendError) -> StreamError {
    match e {
        SendError::Full => StreamError::Full,
        SendError::TooLarge => StreamError::TooLarge,
        SendError::Revoked => StreamError::Revoked,
        // A frame is never empty.
        SendError::Stale | SendError::Closing | SendError::Empty => StreamError::Closed,
    }
}

impl<Q: NicQueue> ByteStream for Stream<'_, '_, '_, Q> {
    #[inline(always)]
    fn send(&mut self, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError> {
        self.cx.send(self.conn, iov, token).map_err(unsent)
    }

    #[inline(always)]
    fn send_headed(&mut self, head: Zbuf, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError> {
        self.cx.send_headed(self.conn, head, iov, token).map_err(unsent)
    }

    #[inline(always)]
    fn alloc_len(&mut self, len: u32) -> Option<ZbufMut> {
        self.cx.header_pool(self.conn).ok()?.alloc_len(len)
    }

    #[inline(always)]
    fn alloc(&mut self) -> Option<ZbufMut> {
        self.cx.header_pool(self.conn).ok()?.alloc()
    }

    #[inline(always)]
    fn now(&self) -> Instant {
        self.cx.now()
    }
}
