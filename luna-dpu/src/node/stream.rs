//! A connection of the stack as the byte stream of an RPC session.

use heapless::VecView;
use luna_core::nic::NicQueue;
use luna_core::rpc::{ByteStream, HEADER_LEN, StreamError};
use luna_core::stack::{ConnId, Cx, SendError};
use luna_core::time::Instant;
use luna_core::zbuf::{Frag, ZbufMut};

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
        SendError::NoObj => StreamError::NoObj,
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
    fn send_frame(
        &mut self,
        head: &[u8; HEADER_LEN],
        metadata: &[u8],
        iov: &mut VecView<Frag>,
        token: Option<u64>,
    ) -> Result<(), StreamError> {
        self.cx.send_message(self.conn, [head, metadata], iov, token).map_err(unsent)
    }

    #[inline(always)]
    fn send_copied(&mut self, head: &[u8; HEADER_LEN], metadata: &[u8], bytes: &[u8]) -> Result<(), StreamError> {
        self.cx.send_copied(self.conn, [head, metadata], bytes).map_err(unsent)
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
