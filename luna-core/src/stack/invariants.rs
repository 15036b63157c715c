//! What must be true of a stack between turns. For tests and the simulator only (feature `invariants`).

use core::fmt;

use super::{ConnId, List, Stack};
use crate::nic::NicQueue;
use crate::slab::NIL;
use crate::tcp::congestion::Pacer;
use crate::tcp::connection::NO_SLOT;
use crate::tcp::{State, Waits, ensure};

/// An invariant that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// What is not true.
    pub what: &'static str,
    /// Of which connection, if of one.
    pub conn: Option<ConnId>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.conn {
            Some(conn) => write!(f, "{conn:?}: {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl core::error::Error for Broken {}

impl From<&'static str> for Broken {
    fn from(what: &'static str) -> Self {
        Self { what, conn: None }
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Checks every connection and that pools' counts are what connections hold.
    ///
    /// # Errors
    /// The first [`Broken`] invariant.
    pub fn check_invariants(&self) -> Result<(), Broken> {
        let (mut segments, mut out_of_order, mut recoveries) = (0, 0, 0);
        let mut sends = self.list_len(self.linger, |i| crate::slab::Node::next(self.sends.at(i)))?;
        let (mut used, mut dirty, mut timed, mut alive) = (0, 0, 0, 0);
        for slot in 0..self.conns.capacity() {
            let c = self.conns.at(slot);
            dirty += u32::from(c.flags.dirty());
            timed += u32::from(c.cold.wheel_slot != NO_SLOT);
            if c.state == State::Closed {
                used += u32::from(c.flags.dirty());
                continue;
            }
            used += 1;
            alive += 1;
            let conn = Some(self.id_of(slot));
            let waits = Waits { listed: c.flags.dirty(), paced: self.waits_for_pace(slot) };
            let holds = c
                .check(&self.segments, &self.sends, &self.out_of_order, waits)
                .map_err(|what| Broken { what, conn })?;
            segments += holds.segments;
            sends += holds.sends;
            out_of_order += holds.out_of_order;
            recoveries += u32::from(c.cold.recovery != NIL);
            c.check_recovery(&self.recoveries, &self.segments).map_err(|what| Broken { what, conn })?;
            let found = self.flows.find(&c.key, |s| self.conns.at(s).key.matches(&c.key));
            ensure(found == Some(slot), "the flow table does not know it").map_err(|what| Broken { what, conn })?;
        }
        let listed = self.list_len(self.dirty, |i| self.conns.at(i).next_dirty)?
            + self.list_len(self.stalled, |i| self.conns.at(i).next_dirty)?;
        ensure(listed == dirty, "the lists of connections with output do not agree with their flags")?;
        ensure(timed == self.wheel.len(), "the wheel's length is not that of its lists")?;
        let taken = |capacity: u32, available: u32| capacity - available;
        ensure(used == taken(self.conns.capacity(), self.conns.available()), "connection slots leak")?;
        ensure(alive == self.flows.used(), "flow table entries leak")?;
        ensure(segments == taken(self.segments.capacity(), self.segments.available()), "segment records leak")?;
        ensure(sends == taken(self.sends.capacity(), self.sends.available()), "send entries leak")?;
        let pieces = taken(self.out_of_order.capacity(), self.out_of_order.available());
        ensure(out_of_order == pieces, "reassembly pieces leak")?;
        let records = taken(self.recoveries.capacity(), self.recoveries.available());
        ensure(recoveries == records, "recovery records leak")?;
        self.check_listeners()
    }

    /// Whether a connection is where it is looked at when its pace allows more.
    fn waits_for_pace(&self, slot: u32) -> bool {
        let c = self.conns.at(slot);
        if !(c.flags.careful() && c.cold.modes.paced()) {
            return false;
        }
        let pacer = &self.controls.at(c.cold.control).pacer;
        pacer.waits && (pacer.place != Pacer::NOWHERE || c.wheel_at <= pacer.next_send)
    }

    /// Walks the free list of every pool: slower than all the rest.
    ///
    /// # Errors
    /// [`Broken`] when one is not whole.
    pub fn check_free_lists(&self) -> Result<(), Broken> {
        ensure(self.conns.free_list_is_whole(0), "the free list of connections")?;
        let lone = (0..self.conns.capacity()).filter(|slot| self.conns.at(*slot).segments.is_lone()).count() as u32;
        ensure(self.segments.free_list_is_whole(lone), "the free list of segment records")?;
        ensure(self.sends.free_list_is_whole(0), "the free list of send entries")?;
        ensure(self.out_of_order.free_list_is_whole(0), "the free list of reassembly pieces")?;
        ensure(self.recoveries.free_list_is_whole(0), "the free list of recovery records")?;
        Ok(())
    }

    fn check_listeners(&self) -> Result<(), Broken> {
        for (i, l) in self.listeners.iter().enumerate().filter(|(_, l)| l.bind.is_some()) {
            let pending = (0..self.conns.capacity())
                .map(|slot| self.conns.at(slot))
                .filter(|c| c.state == State::SynReceived && c.flags.passive())
                .filter(|c| c.cold.listener as usize == i && c.cold.listener_generation == l.generation)
                .count();
            ensure(pending == l.pending as usize, "a listener's count of handshakes")?;
        }
        Ok(())
    }

    fn list_len(&self, list: List, next: impl Fn(u32) -> u32) -> Result<u32, Broken> {
        let (mut at, mut last, mut n) = (list.head, NIL, 0);
        let most = self.conns.capacity().max(self.sends.capacity());
        while at != NIL {
            ensure(n < most, "a list is a ring")?;
            n += 1;
            (last, at) = (at, next(at));
        }
        ensure(last == list.tail, "a list ends elsewhere")?;
        Ok(n)
    }
}
