//! Settings that differ from connection to connection: profiles, and what may change while a connection lives.

use core::net::IpAddr;

use super::{ConnId, Cx, ListenerId, Stack, Stale, listener};
use crate::nic::NicQueue;
use crate::tcp::{ProfileId, ProfilesFull, State, TcpConfig, TcpInfo};
use crate::time::Instant;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Adds settings that connections and listeners may name; equal ones share a number. It stays until
    /// [`Stack::remove_profile`], once for each time that it was added.
    ///
    /// # Errors
    /// [`ProfilesFull`].
    pub fn add_profile(&mut self, config: &TcpConfig) -> Result<ProfileId, ProfilesFull> {
        self.profiles.intern(config)
    }

    /// Gives a number back that [`Stack::add_profile`] gave. Connections that have these settings keep them. False, and
    /// nothing happened, when the number does not stand for anything or is the stack's own.
    pub fn remove_profile(&mut self, id: ProfileId) -> bool {
        let removable = id != ProfileId::DEFAULT && self.profiles.contains(id);
        if removable {
            self.profiles.give_back(id);
        }
        removable
    }

    /// State and statistics of a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn info(&self, conn: ConnId) -> Result<TcpInfo, Stale> {
        let c = self.conns.at(self.slot_of(conn)?);
        Ok(c.info(self.now, self.profiles.at(c.profile), &self.recoveries, &self.controls))
    }

    /// The state of a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn state_of(&self, conn: ConnId) -> Result<State, Stale> {
        Ok(self.conns.at(self.slot_of(conn)?).state)
    }

    /// Bytes that a connection's send buffer holds, acknowledged ones of an I/O vector's element included while not all of
    /// that is.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn queued_of(&self, conn: ConnId) -> Result<u32, Stale> {
        Ok(self.conns.at(self.slot_of(conn)?).send.queued())
    }

    /// Bytes queued on a connection and not acknowledged.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn unacked_of(&self, conn: ConnId) -> Result<u32, Stale> {
        let c = self.conns.at(self.slot_of(conn)?);
        Ok(c.send.unacked(c.snd_una))
    }

    /// Whether a path has the address.
    #[must_use]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.paths.iter().any(|p| p.owns(ip))
    }

    /// The settings that a number stands for.
    #[must_use]
    pub fn profile(&self, id: ProfileId) -> Option<&TcpConfig> {
        self.profiles.contains(id).then(|| self.profiles.get(id))
    }
}

impl<Q: NicQueue> Cx<'_, '_, Q> {
    /// The settings of a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn config(&self, conn: ConnId) -> Result<&TcpConfig, Stale> {
        let slot = self.stack.slot_of(conn)?;
        Ok(self.stack.profiles.at(self.stack.conns.at(slot).profile))
    }

    /// Gives a connection other settings from now on. What both ends agreed on in the handshake stays: segment size,
    /// window scale, timestamps, SACK, ECN, the congestion controller; timers that run run out as they were set.
    ///
    /// # Errors
    /// [`Stale`], also for a number that does not stand for anything.
    pub fn set_profile(&mut self, conn: ConnId, profile: ProfileId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        let slot = s.slot_of(conn)?;
        if !s.profiles.contains(profile) {
            return Err(Stale);
        }
        s.profiles.take(profile);
        let c = s.conns.at_mut(slot);
        let old = core::mem::replace(&mut c.profile, profile.into());
        c.fit_window(s.profiles.get(profile));
        // The headers say TTL and traffic class.
        let mac = c.cold.template.map(|t| t.dst_mac());
        if let Some(mac) = mac {
            s.set_template(slot, Some(mac));
        }
        s.profiles.give_back(old.into());
        let c = s.conns.at(slot);
        if c.state.synchronised() && c.cold.keep_at == Instant::FAR {
            // It may be asked to look after its peer from now on.
            s.start_keepalive(slot);
        }
        // It may want to send now what it held back.
        s.mark_dirty(slot);
        Ok(())
    }

    /// How many handshakes a listener may have under way from now on; 0 refuses new ones for a while.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn set_backlog(&mut self, id: ListenerId, backlog: u32) -> Result<(), Stale> {
        let l = listener::get(self.stack.listeners, id).ok_or(Stale)?;
        if let Some(bind) = &mut l.bind {
            bind.backlog = backlog;
        }
        Ok(())
    }

    /// Gives the connections of a listener other settings, those that come from now on.
    ///
    /// # Errors
    /// [`Stale`], also for a number that does not stand for anything.
    pub fn set_listener_profile(&mut self, id: ListenerId, profile: ProfileId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        let bind = listener::get(s.listeners, id).and_then(|l| l.bind.as_mut()).ok_or(Stale)?;
        if !s.profiles.contains(profile) {
            return Err(Stale);
        }
        s.profiles.take(profile);
        s.profiles.give_back(core::mem::replace(&mut bind.profile, profile));
        // Its answers are made of the settings as they were.
        s.flood = None;
        Ok(())
    }

    /// The number of a connection's settings.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn profile_of(&self, conn: ConnId) -> Result<ProfileId, Stale> {
        let slot = self.stack.slot_of(conn)?;
        Ok(self.stack.conns.at(slot).profile.into())
    }

    /// Bytes queued for sending and not acknowledged.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn queued(&self, conn: ConnId) -> Result<u32, Stale> {
        self.stack.queued_of(conn)
    }

    /// Another user of settings in use.
    pub(crate) fn hold_profile(&mut self, id: ProfileId) {
        self.stack.profiles.take(id);
    }

    pub(crate) fn drop_profile(&mut self, id: ProfileId) {
        self.stack.profiles.give_back(id);
    }

    /// As [`Cx::user`], while a connection's end is being told.
    pub(crate) fn user_of_ended(&self, conn: ConnId) -> Option<u64> {
        let s = &*self.stack;
        let ours = conn.stack() == s.config.id && conn.slot() < s.conns.capacity();
        let c = ours.then(|| s.conns.at(conn.slot()))?;
        (c.id == conn).then_some(c.cold.user)
    }
}
