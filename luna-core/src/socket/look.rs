//! Looking at sockets: state, readiness, addresses, statistics.

use core::net::SocketAddr;

use super::table::{Phase, SocketId};
use super::{SocketError, Sockets};
use crate::stack::{CloseReason, ConnId};
use crate::tcp::{State, TcpInfo};

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketState {
    /// Made, perhaps bound.
    Unconnected,
    /// A listener.
    Listening,
    /// With a connection, in this state.
    Connection(State),
    /// The connection is over; data may still be unread.
    Ended(CloseReason),
}

/// What a socket is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// `recv` will not block: data, the end of the stream or an error; of a listener: `accept` will not.
    pub readable: bool,
    /// `send` will not block: room, or an error.
    pub writable: bool,
    /// The peer finished sending.
    pub read_closed: bool,
    /// The connection is over.
    pub ended: bool,
}

impl Sockets<'_> {
    /// Where it is in its life.
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn state(&self, id: SocketId) -> Result<SocketState, SocketError> {
        let slot = self.find(id)?;
        Ok(match self.table.slots.at(slot).phase {
            Phase::Free | Phase::Unconnected => SocketState::Unconnected,
            Phase::Listening(_) => SocketState::Listening,
            Phase::Connecting(conn) | Phase::Open(conn) => {
                SocketState::Connection(self.stack.state_of(conn).map_err(|_| SocketError::Stale)?)
            }
            Phase::Ended(reason) => SocketState::Ended(reason),
        })
    }

    /// What it is ready for.
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn ready(&self, id: SocketId) -> Result<Ready, SocketError> {
        let slot = self.find(id)?;
        let s = self.table.slots.at(slot);
        let ended = matches!(s.phase, Phase::Ended(_));
        Ok(match s.phase {
            Phase::Free | Phase::Unconnected | Phase::Connecting(_) => Ready::default(),
            Phase::Listening(_) => Ready { readable: s.accept.len > 0, ..Ready::default() },
            Phase::Open(_) | Phase::Ended(_) => Ready {
                readable: s.recv.bytes() > 0 || s.fin || s.read_shut || ended,
                writable: ended || s.write_shut || self.room(slot) > 0,
                read_closed: s.fin || ended,
                ended,
            },
        })
    }

    /// Bytes that the send buffer of an open connection still takes.
    fn room(&self, slot: u32) -> u32 {
        let s = self.table.slots.at(slot);
        let Phase::Open(conn) = s.phase else { return 0 };
        let queued = self.stack.queued_of(conn).unwrap_or(u32::MAX);
        self.stack.profile(s.profile).map_or(0, |c| c.snd_buf.saturating_sub(queued))
    }

    /// A socket on which something happened since it was named last: opened, data, room, finished, over, or (a listener)
    /// a connection to accept.
    pub fn next_ready(&mut self) -> Option<SocketId> {
        self.table.next_ready()
    }

    /// Why the connection ended, once (`SO_ERROR`).
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn take_error(&mut self, id: SocketId) -> Result<Option<CloseReason>, SocketError> {
        let slot = self.find(id)?;
        Ok(self.table.slots.at_mut(slot).error.take())
    }

    fn conn(&self, id: SocketId) -> Result<ConnId, SocketError> {
        let slot = self.find(id)?;
        match self.table.slots.at(slot).phase {
            Phase::Connecting(conn) | Phase::Open(conn) => Ok(conn),
            _ => Err(SocketError::NotConnected),
        }
    }

    /// Unread bytes (`FIONREAD`).
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn readable_bytes(&self, id: SocketId) -> Result<u32, SocketError> {
        let slot = self.find(id)?;
        Ok(self.table.slots.at(slot).recv.bytes())
    }

    /// Bytes queued and not acknowledged (`SIOCOUTQ`).
    ///
    /// # Errors
    /// [`SocketError::NotConnected`] without a connection.
    pub fn unacked_bytes(&self, id: SocketId) -> Result<u32, SocketError> {
        self.stack.unacked_of(self.conn(id)?).map_err(|_| SocketError::NotConnected)
    }

    /// State and statistics of the connection (`TCP_INFO`).
    ///
    /// # Errors
    /// [`SocketError::NotConnected`] without a connection.
    pub fn info(&self, id: SocketId) -> Result<TcpInfo, SocketError> {
        self.stack.info(self.conn(id)?).map_err(|_| SocketError::NotConnected)
    }

    /// Our address.
    ///
    /// # Errors
    /// [`SocketError::NotConnected`] of a socket that has none.
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr, SocketError> {
        let slot = self.find(id)?;
        self.table.slots.at(slot).local.ok_or(SocketError::NotConnected)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`SocketError::NotConnected`] of a socket that has none.
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr, SocketError> {
        let slot = self.find(id)?;
        self.table.slots.at(slot).remote.ok_or(SocketError::NotConnected)
    }
}
