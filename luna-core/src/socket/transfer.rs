//! Data: what is given to send, and what is read.

use heapless::Vec;

use super::table::{Phase, SocketId};
use super::{SendZbufError, SocketError, Sockets, copy_out};
use crate::stack::{ConnId, SendError};
use crate::time::Instant;
use crate::zbuf::{Frag, Zbuf, copy_counted};

/// Objs that a copying send leaves for packets: without any, nothing could be acknowledged.
fn reserve(capacity: usize) -> usize {
    (capacity / 8).clamp(1, 64)
}

fn refused(e: SendError) -> SocketError {
    match e {
        SendError::Full => SocketError::WouldBlock,
        SendError::TooLarge | SendError::NoObj => SocketError::NoMemory,
        SendError::Empty => SocketError::InvalidValue,
        SendError::Closing | SendError::Stale | SendError::Revoked => SocketError::Pipe,
    }
}

impl Sockets<'_> {
    /// The connection that may be sent on, and how many bytes its buffer still takes.
    fn sendable(&mut self, slot: u32) -> Result<(ConnId, u32), SocketError> {
        let now = self.now;
        let s = self.table.slots.at_mut(slot);
        let conn = match s.phase {
            Phase::Open(conn) => conn,
            Phase::Connecting(_) => return Err(SocketError::WouldBlock),
            Phase::Ended(_) => return Err(s.error.take().map_or(SocketError::Pipe, SocketError::Ended)),
            Phase::Free | Phase::Unconnected | Phase::Listening(_) => return Err(SocketError::NotConnected),
        };
        if s.write_shut {
            return Err(SocketError::Pipe);
        }
        let cx = self.stack.cx(now);
        let (Ok(queued), Ok(config)) = (cx.queued(conn), cx.config(conn)) else { return Err(SocketError::Pipe) };
        Ok((conn, config.snd_buf.saturating_sub(queued)))
    }

    /// Queues a copy of as much of `data` as there is room for, and says how much. It leaves at once as far as the windows
    /// allow.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn send(&mut self, now: Instant, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        let (conn, room) = self.sendable(slot)?;
        let want = data.get(..data.len().min(room as usize)).unwrap_or_default();
        let result = self.queue(conn, want);
        let short = result.is_ok_and(|n| n < data.len()) || result == Err(SocketError::WouldBlock);
        self.table.slots.at_mut(slot).wants_room |= short;
        self.pump();
        match result {
            Ok(0) if !data.is_empty() => Err(SocketError::WouldBlock),
            other => other,
        }
    }

    fn queue(&mut self, conn: ConnId, data: &[u8]) -> Result<usize, SocketError> {
        let mut done = 0;
        let left = reserve(self.pool.capacity());
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let mut iov = Vec::<Frag, 16>::new();
            let mut taken = 0;
            while taken < rest.len() && !iov.is_full() && self.pool.available() > left {
                let Some(mut obj) = self.pool.alloc() else { break };
                let from = rest.get(taken..).unwrap_or_default();
                let n = obj.tailroom().min(from.len() as u32);
                let to = obj.append(n).unwrap_or_default();
                taken += copy_counted(to, from, &mut self.table.stats.sent_copies);
                // Room was checked.
                let _ = iov.push(Frag::from(obj.freeze()));
            }
            let queued = if iov.is_empty() {
                Err(SocketError::NoMemory)
            } else {
                self.stack.cx(self.now).send(conn, &mut iov, 0).map_err(refused)
            };
            match queued {
                Ok(()) => done += taken,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Queues a view without copying it, all or nothing. The peer sees what the obj holds: nobody writes a shared one.
    ///
    /// # Errors
    /// [`SendZbufError`] hands it back.
    pub fn send_zbuf(&mut self, now: Instant, id: SocketId, data: Zbuf) -> Result<(), SendZbufError> {
        self.advance(now);
        let sent = self.find(id).and_then(|slot| {
            let (conn, room) = self.sendable(slot)?;
            let mut iov = Vec::<Frag, 1>::new();
            // The first of one.
            let _ = iov.push(Frag::from(data.clone()));
            let sent = if data.len() > room {
                Err(SocketError::WouldBlock)
            } else {
                self.stack.cx(self.now).send(conn, &mut iov, 0).map_err(refused)
            };
            self.table.slots.at_mut(slot).wants_room |= sent == Err(SocketError::WouldBlock);
            sent
        });
        self.pump();
        sent.map_err(|error| SendZbufError { error, data })
    }

    /// Whether there is something to read: `Ok(false)` at the end of the stream.
    fn receivable(&mut self, slot: u32) -> Result<bool, SocketError> {
        let s = self.table.slots.at_mut(slot);
        if s.recv.bytes() > 0 {
            return Ok(true);
        }
        match s.phase {
            Phase::Free | Phase::Unconnected | Phase::Listening(_) => Err(SocketError::NotConnected),
            Phase::Connecting(_) => Err(SocketError::WouldBlock),
            Phase::Open(_) if s.fin || s.read_shut => Ok(false),
            Phase::Open(_) => Err(SocketError::WouldBlock),
            Phase::Ended(_) => s.error.take().map_or(Ok(false), |reason| Err(SocketError::Ended(reason))),
        }
    }

    /// Reads up to `buf.len()` bytes; 0 at the end of the stream. What arrived before an error is read before it is told.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn recv(&mut self, now: Instant, id: SocketId, buf: &mut [u8]) -> Result<usize, SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        let mut done = 0;
        if buf.is_empty() || !self.receivable(slot)? {
            return Ok(0);
        }
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let max = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let Some(data) = self.take(slot, max) else { break };
            done += copy_out(rest, &data, &mut self.table.stats);
        }
        self.pump();
        Ok(done)
    }

    /// As [`Sockets::recv`], by reference: up to `max` bytes of one packet's obj (or of a few small ones'), `None` at the end
    /// of the stream. The receive window opens when the view is handed out: who keeps many should have the objs for it.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn recv_zbuf(&mut self, now: Instant, id: SocketId, max: u32) -> Result<Option<Zbuf>, SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        if max == 0 {
            return Err(SocketError::InvalidValue);
        }
        if !self.receivable(slot)? {
            return Ok(None);
        }
        let data = self.take(slot, max);
        self.pump();
        Ok(data)
    }

    /// Reads without taking.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn peek(&mut self, now: Instant, id: SocketId, buf: &mut [u8]) -> Result<usize, SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        if buf.is_empty() || !self.receivable(slot)? {
            return Ok(0);
        }
        Ok(self.table.slots.at(slot).recv.peek(&self.table.chunks, buf))
    }

    /// Takes data off the front; the window opens.
    fn take(&mut self, slot: u32, max: u32) -> Option<Zbuf> {
        let accounting = self.table.accounting;
        let s = self.table.slots.at_mut(slot);
        let (data, back) = s.recv.pop(&mut self.table.chunks, max, accounting)?;
        if let Phase::Open(conn) = s.phase {
            // The connection may have ended with the data unread.
            let _ = self.stack.cx(self.now).release(conn, back);
        }
        Some(data)
    }
}
