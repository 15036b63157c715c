//! What a segment meant for the application: callbacks, and the end of connections.

use core::hint::cold_path;

use super::{App, CloseReason, Closed, ConnId, Cx, List, Released, Retained, Stack};
use crate::nic::NicQueue;
use crate::parts::FOREIGN;
use crate::slab::NIL;
use crate::tcp::State;
use crate::tcp::connection::{Connection, Flags};
use crate::tcp::input::Outcome;
use crate::tcp::send_queue::{Acked, SendEntries};
use crate::zbuf::{Foreign, Frag, Zbuf};

/// Whether a connection is still there after callbacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Alive,
    Gone,
}

/// Flags of connections whose application takes no more data.
#[inline(always)]
fn done_with_data() -> Flags {
    let mut f = Flags::default();
    f.set_aborting(true);
    f.set_closed(true);
    f
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Tells the application, in the order: connected, released, data, finished, closed.
    #[inline]
    pub(super) fn deliver<A: App<Q>>(&mut self, slot: u32, mut outcome: Outcome, app: &mut A) -> Next {
        let id = self.id_of(slot);
        if outcome.events.connected() {
            self.connected(slot, id, app);
        }
        self.release_acked(slot, id, app);
        if let Some(data) = outcome.deliver.take() {
            self.data(slot, id, data, app);
            if !self.conns.at(slot).out_of_order.is_empty() {
                self.reassembled(slot, id, app);
                self.fin_ahead(slot, &mut outcome);
            }
        }
        if outcome.events.is_none() {
            return Next::Alive;
        }
        let wants_fin = !self.conns.at(slot).flags.closed() && !self.conns.at(slot).flags.aborting();
        if outcome.events.fin() && wants_fin {
            app.on_fin(&mut Cx { stack: self }, id);
        }
        if outcome.events.closed() {
            return self.over(slot, outcome.reason, app);
        }
        Next::Alive
    }

    #[cold]
    fn connected<A: App<Q>>(&mut self, slot: u32, id: ConnId, app: &mut A) {
        self.start_keepalive(slot);
        let c = self.conns.at(slot);
        if !c.flags.passive() {
            return app.on_connected(&mut Cx { stack: self }, id);
        }
        let listener = c.cold.listener;
        super::listener::handshake_over(self.listeners, listener, c.cold.listener_generation);
        let c = self.conns.at_mut(slot);
        c.cold.listener = NIL;
        let user = core::mem::take(&mut c.cold.user);
        let remote = self.remote_of(slot);
        app.on_accepted(&mut Cx { stack: self }, id, user, remote);
    }

    #[inline(always)]
    pub(super) fn data<A: App<Q>>(&mut self, slot: u32, id: ConnId, data: Zbuf, app: &mut A) {
        let c = self.conns.at_mut(slot);
        if c.flags.bits() & done_with_data().bits() != 0 {
            cold_path();
            if c.flags.aborting() {
                return;
            }
            // Closed by a callback just now: what comes nobody takes.
            self.counters.data_after_close += 1;
            c.flags.set_aborting(true);
            return;
        }
        self.called = Some(id);
        stage!(self.cycles, Application);
        let Retained(n) = app.on_data(&mut Cx { stack: self }, id, data);
        stage!(self.cycles, TcpIn);
        self.settle();
        self.called = None;
        if n > 0 {
            let c = self.conns.at_mut(slot);
            c.rcv_held = c.rcv_held.saturating_add(n);
        }
    }

    #[cold]
    fn reassembled<A: App<Q>>(&mut self, slot: u32, id: ConnId, app: &mut A) {
        loop {
            let c = self.conns.at_mut(slot);
            if c.flags.aborting() || c.out_of_order.is_empty() {
                return;
            }
            let Some(data) = c.pop_reassembled(&mut self.out_of_order) else { return };
            self.counters.bytes_in += u64::from(data.len());
            self.data(slot, id, data, app);
        }
    }

    /// A FIN that had come ahead of what was just reassembled.
    #[cold]
    fn fin_ahead(&mut self, slot: u32, outcome: &mut Outcome) {
        let (c, mut env) = self.split(slot);
        if c.fin_is_due() {
            c.take_fin(&mut env, outcome);
        }
    }

    /// Drops what is acknowledged from the send queue and reports the sends that are complete.
    #[inline(always)]
    pub(super) fn release_acked<A: App<Q>>(&mut self, slot: u32, id: ConnId, app: &mut A) {
        loop {
            let c = self.conns.at_mut(slot);
            match c.send.release_acked(&mut self.sends, c.snd_una) {
                Acked::NoMore => break,
                Acked::Send(token) => {
                    stage!(self.cycles, Application);
                    app.on_released(&mut Cx { stack: self }, id, token, Released::Acked);
                    stage!(self.cycles, TcpIn);
                }
                Acked::Foreign => self.linger_first(slot, id),
            }
        }
        if self.conns.at(slot).flags.wants_room() {
            cold_path();
            self.tell_room(slot, id, app);
        }
    }

    #[cold]
    fn tell_room<A: App<Q>>(&mut self, slot: u32, id: ConnId, app: &mut A) {
        let c = self.conns.at_mut(slot);
        if c.send.queued() > self.profiles.at(c.profile).snd_buf / 2 {
            return;
        }
        if self.sends.available() == 0 || self.entries_wanted > 0 {
            // Whoever else waits for entries comes in turn: who frees some has no right to them.
            self.entries_wanted = self.entries_wanted.max(1);
            return;
        }
        c.flags.set_wants_room(false);
        app.on_writable(&mut Cx { stack: self }, id);
    }

    /// The first entry is foreign memory that was acknowledged: it waits for the device to let go of it.
    #[cold]
    fn linger_first(&mut self, slot: u32, id: ConnId) {
        let Some(i) = self.conns.at_mut(slot).send.pop_any(&mut self.sends) else { return };
        let e = self.sends.at_mut(i);
        e.conn = id.as_u64();
        e.outcome = Released::Acked;
        linger(&mut self.sends, &mut self.linger, i);
    }

    /// Entries are free again: tells every connection that was refused some, whoever had them.
    #[cold]
    pub(super) fn tell_writable<A: App<Q>>(&mut self, app: &mut A) {
        self.entries_wanted = 0;
        let n = self.conns.capacity();
        let first = self.told_last.wrapping_add(1);
        for slot in (first..n).chain(0..first.min(n)) {
            let c = self.conns.at_mut(slot);
            let waits = c.state != State::Closed && c.flags.wants_room() && !c.flags.detached();
            if waits && c.send.queued() <= self.profiles.at(c.profile).snd_buf / 2 {
                c.flags.set_wants_room(false);
                self.told_last = slot;
                let id = self.id_of(slot);
                let free = self.sends.available();
                app.on_writable(&mut Cx { stack: self }, id);
                if self.sends.available() == free && self.conns.at(slot).flags.wants_room() {
                    // It wants more than there is: it is first when there is enough, or never.
                    self.told_last = slot.wrapping_sub(1);
                    return;
                }
                if self.sends.available() == 0 {
                    // The others are first next time.
                    self.entries_wanted = self.entries_wanted.max(1);
                    return;
                }
            }
        }
    }

    #[inline]
    fn release_entry<A: App<Q>>(&mut self, i: u32, id: ConnId, outcome: Released, app: &mut A) {
        let e = self.sends.at_mut(i);
        if FOREIGN && e.foreign {
            e.conn = id.as_u64();
            e.outcome = outcome;
            return linger(&mut self.sends, &mut self.linger, i);
        }
        let (last, token) = (e.last, e.token);
        e.empty();
        self.sends.release(i);
        if last {
            app.on_released(&mut Cx { stack: self }, id, token, outcome);
        }
    }

    /// Reports sends of foreign memory that devices have let go of. In order: devices complete in order.
    #[inline]
    pub(super) fn release_lingering<A: App<Q>>(&mut self, app: &mut A) {
        while FOREIGN && self.linger.head != NIL {
            if !self.release_first_lingering(app) {
                return;
            }
        }
    }

    #[cold]
    fn release_first_lingering<A: App<Q>>(&mut self, app: &mut A) -> bool {
        use crate::slab::Node;
        let i = self.linger.head;
        let held = |f: &Frag| f.with_foreign(|m| !m.is_unique() && m.references() > self.lingering_parts_of(m));
        if self.sends.at(i).frag.as_ref().and_then(held) == Some(true) {
            return false;
        }
        let e = self.sends.at_mut(i);
        self.linger.head = e.next();
        if self.linger.head == NIL {
            self.linger = List::EMPTY;
        }
        let (id, outcome, last, token) = (ConnId::from_u64(e.conn), e.outcome, e.last, e.token);
        e.empty();
        self.sends.release(i);
        if last {
            app.on_released(&mut Cx { stack: self }, id, token, outcome);
        }
        true
    }

    /// Entries that wait here with parts of one buffer: they do not keep each other waiting.
    #[cold]
    fn lingering_parts_of(&self, buffer: &Foreign) -> u32 {
        use crate::slab::Node;
        let (mut n, mut at) = (0, self.linger.head);
        while at != NIL {
            let e = self.sends.at(at);
            let same = e.frag.as_ref().and_then(|f| f.with_foreign(|m| m.same_buffer(buffer)));
            n += u32::from(same == Some(true));
            at = e.next();
        }
        n
    }

    /// The connection is over: reports every send once, then the end, then frees the slot (or keeps it for TIME-WAIT).
    #[inline(never)]
    pub(super) fn over<A: App<Q>>(&mut self, slot: u32, reason: CloseReason, app: &mut A) -> Next {
        let id = self.id_of(slot);
        let c = self.conns.at_mut(slot);
        let known = c.state.synchronised() && !c.flags.detached() && c.cold.listener == NIL
            || !c.flags.passive() && !c.flags.detached();
        let was_closed = c.flags.closed() && reason == CloseReason::Aborted;
        let maybe_delivered = c.flags.data_sent();
        let outcome = if reason == CloseReason::Revoked { Released::Revoked } else { Released::Aborted };
        crate::fmt::log_debug!("connection {} is over: {}", id.as_u64(), reason.as_str());
        // From here on the name is stale: callbacks cannot act on this connection.
        c.flags.set_detached(true);
        self.release_control(slot);
        let c = self.conns.at_mut(slot);
        c.segments.clear(&mut self.segments);
        c.out_of_order.clear(&mut self.out_of_order);
        c.drop_record(&mut self.recoveries);
        loop {
            let c = self.conns.at_mut(slot);
            let Some(i) = c.send.pop_any(&mut self.sends) else { break };
            self.release_entry(i, id, outcome, app);
        }
        if known {
            let reason = if was_closed { CloseReason::Aborted } else { reason };
            app.on_closed(&mut Cx { stack: self }, id, Closed { reason, maybe_delivered });
        }
        let c: &mut Connection = self.conns.at_mut(slot);
        if c.state == State::TimeWait && reason == CloseReason::Finished {
            c.rto_at = crate::time::Instant::FAR;
            self.arm(slot);
            return Next::Alive;
        }
        self.free(slot);
        Next::Gone
    }

    /// Gives the slot back; its next user has another generation.
    pub(super) fn free(&mut self, slot: u32) {
        self.wheel.cancel(&mut self.conns, slot);
        self.release_control(slot);
        let c = self.conns.at_mut(slot);
        let (key, profile) = (c.key, c.profile);
        self.profiles.give_back(profile.into());
        super::listener::handshake_over(self.listeners, c.cold.listener, c.cold.listener_generation);
        self.flows.remove(&key, slot);
        let c = self.conns.at_mut(slot);
        c.set_state(&mut self.counters, State::Closed);
        c.key = super::flow::FlowKey::default();
        c.id = c.id.next_generation();
        if self.last == slot {
            self.last = NIL;
        }
        if c.flags.dirty() {
            // Still in a list: freed when the list comes by it.
            return;
        }
        self.conns.release(slot);
    }
}

/// A device may still read foreign memory: its owner is told only when nothing points there any more.
#[cold]
fn linger(sends: &mut SendEntries<'_>, list: &mut List, i: u32) {
    use crate::slab::Node;
    sends.at_mut(i).set_next(NIL);
    if list.tail == NIL {
        list.head = i;
    } else {
        sends.at_mut(list.tail).set_next(i);
    }
    list.tail = i;
}
