//! A connection as the byte stream of an RPC session.

use heapless::VecView;

use super::{ConnId, Cx, SendError};
use crate::nic::NicQueue;
use crate::rpc::{ByteStream, HEADER_LEN, StreamError};
use crate::time::Instant;
use crate::zbuf::{Frag, ZbufMut};

/// The sending half of a connection, for the length of a callback, or outside of one.
pub struct ConnStream<'c, 's, 'm, Q> {
    /// The stack.
    pub cx: &'c mut Cx<'s, 'm, Q>,
    /// The connection.
    pub conn: ConnId,
}

fn unsent(e: SendError) -> StreamError {
    match e {
        SendError::Full => StreamError::Full,
        SendError::NoObj => StreamError::NoObj,
        SendError::TooLarge => StreamError::TooLarge,
        SendError::Revoked => StreamError::Revoked,
        // A frame is never empty.
        SendError::Stale | SendError::Closing | SendError::Empty => StreamError::Closed,
    }
}

impl<Q: NicQueue> ByteStream for ConnStream<'_, '_, '_, Q> {
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

    #[cfg(feature = "cycles")]
    #[inline(always)]
    fn enter(&mut self, stage: crate::cycles::Stage) -> crate::cycles::Stage {
        self.cx.enter(stage)
    }
}
