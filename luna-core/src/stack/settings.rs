//! Settings that differ from connection to connection: profiles, and what may change while a connection lives.

use super::{ConnId, Cx, ListenerId, Stack, Stale, listener};
use crate::nic::NicQueue;
use crate::tcp::{ProfileId, ProfilesFull, TcpConfig};

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
            self.profiles.give_back(id.0);
        }
        removable
    }

    /// The settings that a number stands for.
    #[must_use]
    pub fn profile(&self, id: ProfileId) -> Option<&TcpConfig> {
        self.profiles.contains(id).then(|| self.profiles.get(id.0))
    }
}

impl<Q: NicQueue> Cx<'_, '_, Q> {
    /// The settings of a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn config(&self, conn: ConnId) -> Result<&TcpConfig, Stale> {
        let slot = self.stack.slot_of(conn)?;
        Ok(self.stack.profiles.get(self.stack.conns.at(slot).profile))
    }

    /// Gives a connection other settings from now on. What both ends agreed on in the handshake stays: segment size,
    /// window scale, timestamps, SACK; timers that run run out as they were set.
    ///
    /// # Errors
    /// [`Stale`], also for a number that does not stand for anything.
    pub fn set_profile(&mut self, conn: ConnId, profile: ProfileId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        let slot = s.slot_of(conn)?;
        if !s.profiles.contains(profile) {
            return Err(Stale);
        }
        s.profiles.take(profile.0);
        let c = s.conns.at_mut(slot);
        let old = core::mem::replace(&mut c.profile, profile.0);
        // The headers say TTL and traffic class.
        let mac = c.cold.template.map(|t| t.dst_mac());
        if let Some(mac) = mac {
            s.set_template(slot, Some(mac));
        }
        s.profiles.give_back(old);
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
}
