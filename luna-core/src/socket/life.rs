//! The life of a socket: made, bound, listening or connecting, finishing, gone.

use core::net::{IpAddr, SocketAddr};

use super::table::{Phase, SocketId};
use super::{SocketError, Sockets};
use crate::stack::{Bind, Connect, ListenError};
use crate::tcp::ProfileId;
use crate::time::Instant;

/// Which way to finish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Take no more data: what comes is acknowledged and dropped.
    Read,
    /// Send no more: FIN goes out behind what is queued.
    Write,
    /// Both.
    Both,
}

impl Shutdown {
    fn reads(self) -> bool {
        self != Self::Write
    }
    fn writes(self) -> bool {
        self != Self::Read
    }
}

impl Sockets<'_> {
    pub(super) fn find(&self, id: SocketId) -> Result<u32, SocketError> {
        self.table.find(id).ok_or(SocketError::Stale)
    }

    /// A new socket, with the settings of [`super::SocketsConfig::tcp`].
    ///
    /// # Errors
    /// [`SocketError::NoSocket`].
    pub fn socket(&mut self) -> Result<SocketId, SocketError> {
        let slot = self.table.alloc(Phase::Unconnected, ProfileId::DEFAULT).ok_or(SocketError::NoSocket)?;
        let now = self.now;
        self.stack.cx(now).hold_profile(ProfileId::DEFAULT);
        Ok(self.table.id_of(slot))
    }

    /// Gives a socket its local address. An unspecified address stands for all of ours, both families; port 0 for a free
    /// one, chosen now.
    ///
    /// # Errors
    /// [`SocketError`]: bound or connected already, not our address, in use.
    pub fn bind(&mut self, id: SocketId, local: SocketAddr) -> Result<(), SocketError> {
        let slot = self.find(id)?;
        let s = self.table.slots.at(slot);
        if s.phase != Phase::Unconnected || s.local.is_some() {
            return Err(SocketError::InvalidState);
        }
        if !local.ip().is_unspecified() && !self.stack.owns(local.ip()) {
            return Err(SocketError::AddrNotAvailable);
        }
        let local = if local.port() == 0 { self.free_port(local.ip())? } else { local };
        if self.is_bound(local) {
            return Err(SocketError::AddrInUse);
        }
        self.table.slots.at_mut(slot).local = Some(local);
        Ok(())
    }

    /// Whether a socket that is not connected has the address, or one that overlaps with it.
    fn is_bound(&self, local: SocketAddr) -> bool {
        let any = |ip: IpAddr| ip.is_unspecified();
        (0..self.table.slots.capacity()).map(|i| self.table.slots.at(i)).any(|s| {
            matches!(s.phase, Phase::Unconnected | Phase::Listening(_))
                && s.local.is_some_and(|l| {
                    l.port() == local.port() && (l.ip() == local.ip() || any(l.ip()) || any(local.ip()))
                })
        })
    }

    /// The next port of the range that no socket is bound to.
    fn free_port(&mut self, ip: IpAddr) -> Result<SocketAddr, SocketError> {
        let (low, high) = (u32::from(*self.ports.start()).max(1), u32::from(*self.ports.end()));
        let n = (high + 1).saturating_sub(low);
        for _ in 0..n {
            let port = low + u32::from(self.next_port) % n;
            self.next_port = self.next_port.wrapping_add(1);
            let local = SocketAddr::new(ip, port as u16);
            if !self.is_bound(local) {
                return Ok(local);
            }
        }
        Err(SocketError::AddrNotAvailable)
    }

    /// Accepts connections to the socket's address from now on. At most `backlog` of them (at least one) are being opened or
    /// wait for [`Sockets::accept`]; SYNs beyond that are not answered, and counted. An unbound socket gets a port.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn listen(&mut self, id: SocketId, backlog: u32) -> Result<(), SocketError> {
        let slot = self.find(id)?;
        let s = self.table.slots.at(slot);
        let (phase, local, profile) = (s.phase, s.local, s.profile);
        let backlog = backlog.max(1);
        let now = self.now;
        if let Phase::Listening(_) = phase {
            self.table.slots.at_mut(slot).accept.backlog = backlog;
            self.table.bound_backlog(&mut self.stack.cx(now), slot);
            return Ok(());
        }
        if phase != Phase::Unconnected {
            return Err(SocketError::InvalidState);
        }
        let local = match local {
            Some(local) => local,
            None => self.free_port(IpAddr::from([0, 0, 0, 0]))?,
        };
        let addr = Some(local.ip()).filter(|ip| !ip.is_unspecified());
        let bind = Bind { addr, backlog, profile, ..Bind::port(local.port()) };
        let listener = self.stack.cx(now).listen(bind, id.as_u64()).map_err(|e| match e {
            ListenError::InUse => SocketError::AddrInUse,
            e => SocketError::Listen(e),
        })?;
        let s = self.table.slots.at_mut(slot);
        s.phase = Phase::Listening(listener);
        s.local = Some(local);
        s.accept.backlog = backlog;
        Ok(())
    }

    /// Opens a connection. Success means that the SYN is on its way; the socket becomes writable when the connection is open,
    /// and [`Sockets::take_error`] tells if it fails.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn connect(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<(), SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        let s = self.table.slots.at(slot);
        if s.phase != Phase::Unconnected {
            return Err(SocketError::InvalidState);
        }
        let ports = s.local.map_or_else(|| self.ports.clone(), |l| l.port()..=l.port());
        let local = s.local.map(|l| l.ip()).filter(|ip| !ip.is_unspecified());
        let to = Connect { local, ports, profile: s.profile, user: id.as_u64(), ..Connect::to(remote) };
        let mut cx = self.stack.cx(self.now);
        let conn = cx.connect(to).map_err(SocketError::Connect)?;
        let local = cx.addrs(conn).ok().map(|(local, _)| local);
        let s = self.table.slots.at_mut(slot);
        s.phase = Phase::Connecting(conn);
        (s.local, s.remote) = (local, Some(remote));
        self.pump();
        Ok(())
    }

    /// The connection that waits longest, as a socket of its own with the listener's settings, and its peer.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`] when none waits.
    pub fn accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr), SocketError> {
        let slot = self.find(id)?;
        if !matches!(self.table.slots.at(slot).phase, Phase::Listening(_)) {
            return Err(SocketError::InvalidState);
        }
        let accepted = self.table.pop_accepted(slot).ok_or(SocketError::WouldBlock)?;
        let now = self.now;
        self.table.bound_backlog(&mut self.stack.cx(now), slot);
        // What happened before anybody knew of it is still to be told.
        self.table.tell(accepted);
        let remote = self.table.slots.at(accepted).remote.ok_or(SocketError::NotConnected)?;
        Ok((self.table.id_of(accepted), remote))
    }

    /// Finishes one way or both; the socket stays.
    ///
    /// # Errors
    /// [`SocketError::NotConnected`] without a connection.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        let accounting = self.table.accounting;
        let s = self.table.slots.at_mut(slot);
        let Phase::Open(conn) = s.phase else { return Err(SocketError::NotConnected) };
        let mut cx = self.stack.cx(self.now);
        if how.reads() {
            s.read_shut = true;
            let back = s.recv.clear(&mut self.table.chunks, accounting);
            cx.release(conn, back).map_err(|_| SocketError::NotConnected)?;
        }
        if how.writes() && !s.write_shut {
            s.write_shut = true;
            cx.shutdown(conn).map_err(|_| SocketError::NotConnected)?;
        }
        self.table.tell(slot);
        self.pump();
        Ok(())
    }

    /// Gives the socket up; its name is stale. What is queued is sent, then FIN. With unread data, or with
    /// [`super::SocketOption::LingerZero`], the peer gets a reset instead (RFC 9293 §3.10.4, RFC 2525 §2.17). A listener's
    /// connections that nobody accepted are reset.
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<(), SocketError> {
        self.end(now, id, false)
    }

    /// Gives the socket up with a reset to the peer; its name is stale.
    ///
    /// # Errors
    /// [`SocketError::Stale`].
    pub fn abort(&mut self, now: Instant, id: SocketId) -> Result<(), SocketError> {
        self.end(now, id, true)
    }

    fn end(&mut self, now: Instant, id: SocketId, reset: bool) -> Result<(), SocketError> {
        self.advance(now);
        let slot = self.find(id)?;
        if let Phase::Listening(listener) = self.table.slots.at(slot).phase {
            // A listener of ours is never stale.
            let _ = self.stack.cx(self.now).unlisten(listener);
            while let Some(waiting) = self.table.pop_accepted(slot) {
                self.give_up(waiting, true);
            }
        }
        self.give_up(slot, reset);
        self.pump();
        Ok(())
    }

    /// The socket has no name any more; without a connection it is gone.
    fn give_up(&mut self, slot: u32, reset: bool) {
        self.table.unlist(slot);
        let accounting = self.table.accounting;
        let s = self.table.slots.at_mut(slot);
        let mut cx = self.stack.cx(self.now);
        if let Phase::Connecting(conn) | Phase::Open(conn) = s.phase {
            let unread = s.recv.bytes() > 0;
            s.recv.clear(&mut self.table.chunks, accounting);
            s.orphan = true;
            let told = if reset || unread || s.linger_zero { cx.abort(conn) } else { cx.close(conn) };
            if told.is_ok() {
                // The end of the connection frees the slot.
                return;
            }
        }
        let profile = self.table.free(slot);
        cx.drop_profile(profile);
    }
}
