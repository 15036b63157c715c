//! The sockets and what the stack tells them.
//!
//! A socket's number (slot and generation) is its connection's number in the stack, so an event finds its socket without
//! a search. A closed socket stays in its slot, without a name, until its connection is over.

use core::net::{IpAddr, SocketAddr};

use super::queue::{IpQueue, THERE};
use super::recv::{Accounting, RecvChunks, RecvQueue};
use crate::slab::{NIL, Node, Slab};
use crate::stack::{App, CloseReason, Closed, ConnId, Cx, ListenerId, PathId, Released, Retained};
use crate::tcp::ProfileId;
use crate::zbuf::{CopyCounter, Zbuf};

/// A socket: slot and generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    slot: u32,
    generation: u32,
}

impl SocketId {
    /// As a number, for tables and logs.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        (self.slot as u64) << 32 | self.generation as u64
    }

    /// From [`SocketId::as_u64`]. A made-up number is a stale name, nothing worse.
    #[must_use]
    pub const fn from_u64(n: u64) -> Self {
        Self { slot: (n >> 32) as u32, generation: n as u32 }
    }

    /// The slot: below the number of socket slots, for tables beside it.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot
    }
}

impl core::fmt::Debug for SocketId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "socket {}#{}", self.slot, self.generation)
    }
}

/// Counters of the surface itself, cumulative; TCP's are the stack's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SocketStats {
    /// Packets given in.
    pub packets_in: u64,
    /// Packets taken out.
    pub packets_out: u64,
    /// Packets refused: neither IPv4 nor IPv6.
    pub bad_version: u64,
    /// Packets refused: longer than an obj.
    pub too_long: u64,
    /// Packets refused: no obj was free.
    pub no_obj: u64,
    /// Connections reset because the accept queue or the socket table was full when they were established.
    pub accept_refused: u64,
    /// Connections reset because there was no piece left for their data.
    pub chunks_full: u64,
    /// Payload copied from callers' slices into objs.
    pub sent_copies: CopyCounter,
    /// Payload copied into callers' slices.
    pub received_copies: CopyCounter,
    /// Small pieces of unread data copied together.
    pub merged_copies: CopyCounter,
}

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Free,
    Unconnected,
    Listening(ListenerId),
    Connecting(ConnId),
    Open(ConnId),
    Ended(CloseReason),
}

/// A slot of the socket table.
#[derive(Debug, Default)]
pub struct SocketSlot {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) profile: ProfileId,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    /// Reported once.
    pub(super) error: Option<CloseReason>,
    pub(super) recv: RecvQueue,
    pub(super) accept: AcceptQueue,
    /// The application gave it up; it goes when its connection is over.
    pub(super) orphan: bool,
    /// The peer finished sending.
    pub(super) fin: bool,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    pub(super) linger_zero: bool,
    /// A send found no room.
    pub(super) wants_room: bool,
    /// In the list of sockets on which something happened.
    in_ready: bool,
    next_ready: Link,
    /// Of the free list, or of an accept queue.
    next: Link,
}

impl SocketSlot {
    /// There is a connection, or was.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_) | Phase::Open(_) | Phase::Ended(_))
    }
}

/// An index that begins as none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link(pub(super) u32);

impl Default for Link {
    fn default() -> Self {
        Self(NIL)
    }
}

/// Established connections that nobody accepted yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AcceptQueue {
    head: Link,
    tail: Link,
    pub(super) len: u32,
    pub(super) backlog: u32,
}

impl Node for SocketSlot {
    fn next(&self) -> u32 {
        self.next.0
    }
    fn set_next(&mut self, next: u32) {
        self.next = Link(next);
    }
}

pub(super) struct Table<'m> {
    pub(super) slots: Slab<'m, SocketSlot>,
    pub(super) chunks: RecvChunks<'m>,
    pub(super) accounting: Accounting,
    pub(super) stats: SocketStats,
    ready: (Link, Link),
}

impl<'m> Table<'m> {
    pub(super) fn new(slots: &'m mut [SocketSlot], chunks: &'m mut [super::RecvChunk], accounting: Accounting) -> Self {
        for slot in slots.iter_mut() {
            let generation = slot.generation.wrapping_add(u32::from(slot.phase != Phase::Free));
            *slot = SocketSlot { generation, ..SocketSlot::default() };
        }
        chunks.fill_with(super::RecvChunk::default);
        Self {
            slots: Slab::new(slots),
            chunks: Slab::new(chunks),
            accounting,
            stats: SocketStats::default(),
            ready: (Link(NIL), Link(NIL)),
        }
    }

    pub(super) fn id_of(&self, slot: u32) -> SocketId {
        SocketId { slot, generation: self.slots.at(slot).generation }
    }

    /// The slot that a name stands for, orphans included.
    fn any(&self, id: SocketId) -> Option<u32> {
        let live = id.slot < self.slots.capacity() && {
            let s = self.slots.at(id.slot);
            s.generation == id.generation && s.phase != Phase::Free
        };
        live.then_some(id.slot)
    }

    /// The slot that a name stands for.
    pub(super) fn find(&self, id: SocketId) -> Option<u32> {
        self.any(id).filter(|slot| !self.slots.at(*slot).orphan)
    }

    /// A free slot, made a socket.
    pub(super) fn alloc(&mut self, phase: Phase, profile: ProfileId) -> Option<u32> {
        let slot = self.slots.alloc()?;
        let s = self.slots.at_mut(slot);
        *s = SocketSlot { generation: s.generation, phase, profile, ..SocketSlot::default() };
        Some(slot)
    }

    /// Gives the slot back; its next user has another generation. The profile is the caller's to give back.
    #[must_use]
    pub(super) fn free(&mut self, slot: u32) -> ProfileId {
        self.unlist(slot);
        let accounting = self.accounting;
        let s = self.slots.at_mut(slot);
        s.recv.clear(&mut self.chunks, accounting);
        s.phase = Phase::Free;
        s.generation = s.generation.wrapping_add(1);
        let profile = s.profile;
        self.slots.release(slot);
        profile
    }

    /// Something happened: `next_ready` names it.
    pub(super) fn tell(&mut self, slot: u32) {
        let s = self.slots.at_mut(slot);
        if s.in_ready || s.orphan {
            return;
        }
        s.in_ready = true;
        s.next_ready = Link(NIL);
        let (head, tail) = &mut self.ready;
        if tail.0 == NIL {
            *head = Link(slot);
        } else {
            self.slots.at_mut(tail.0).next_ready = Link(slot);
        }
        *tail = Link(slot);
    }

    pub(super) fn next_ready(&mut self) -> Option<SocketId> {
        let slot = self.ready.0.0;
        if slot == NIL {
            return None;
        }
        self.unlist(slot);
        Some(self.id_of(slot))
    }

    /// Takes a socket out of the list of those on which something happened.
    pub(super) fn unlist(&mut self, slot: u32) {
        if !self.slots.at(slot).in_ready {
            return;
        }
        let (mut before, mut at) = (NIL, self.ready.0.0);
        while at != NIL && at != slot {
            (before, at) = (at, self.slots.at(at).next_ready.0);
        }
        if at == NIL {
            return;
        }
        let s = self.slots.at_mut(slot);
        s.in_ready = false;
        let next = s.next_ready;
        if before == NIL {
            self.ready.0 = next;
        } else {
            self.slots.at_mut(before).next_ready = next;
        }
        if next.0 == NIL {
            self.ready.1 = Link(before);
        }
    }

    fn push_accepted(&mut self, listener: u32, slot: u32) {
        let queue = self.slots.at(listener).accept;
        if queue.tail.0 == NIL {
            self.slots.at_mut(listener).accept.head = Link(slot);
        } else {
            self.slots.at_mut(queue.tail.0).next = Link(slot);
        }
        let queue = &mut self.slots.at_mut(listener).accept;
        queue.tail = Link(slot);
        queue.len += 1;
    }

    /// The connection that waits longest.
    pub(super) fn pop_accepted(&mut self, listener: u32) -> Option<u32> {
        let queue = self.slots.at(listener).accept;
        if queue.head.0 == NIL {
            return None;
        }
        let slot = queue.head.0;
        let next = core::mem::take(&mut self.slots.at_mut(slot).next);
        let queue = &mut self.slots.at_mut(listener).accept;
        queue.head = next;
        if next.0 == NIL {
            queue.tail = next;
        }
        queue.len -= 1;
        Some(slot)
    }

    /// The stack admits as many handshakes as the accept queue has room for.
    pub(super) fn bound_backlog(&self, cx: &mut Cx<'_, '_, IpQueue<'m>>, listener: u32) {
        let s = self.slots.at(listener);
        if let Phase::Listening(id) = s.phase {
            // A listener of ours is never stale.
            let _ = cx.set_backlog(id, s.accept.backlog - s.accept.len.min(s.accept.backlog));
        }
    }

    fn of_conn(&self, cx: &Cx<'_, '_, IpQueue<'m>>, conn: ConnId) -> Option<u32> {
        self.any(SocketId::from_u64(cx.user(conn).ok()?))
    }
}

/// A connection with other people's names in it ends: nobody is told.
fn refuse(cx: &mut Cx<'_, '_, IpQueue<'_>>, conn: ConnId) {
    // Stale means that it is over already.
    let _ = cx.abort(conn);
}

impl<'m> App<IpQueue<'m>> for Table<'m> {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId, listener_user: u64, remote: SocketAddr) {
        let listener = self.find(SocketId::from_u64(listener_user));
        let Some(listener) = listener.filter(|l| matches!(self.slots.at(*l).phase, Phase::Listening(_))) else {
            return refuse(cx, conn);
        };
        let full = self.slots.at(listener).accept.len >= self.slots.at(listener).accept.backlog;
        let Ok((profile, (local, _))) = cx.profile_of(conn).and_then(|p| Ok((p, cx.addrs(conn)?))) else { return };
        let slot = if full { None } else { self.alloc(Phase::Open(conn), profile) };
        let Some(slot) = slot else {
            self.stats.accept_refused += 1;
            return refuse(cx, conn);
        };
        cx.hold_profile(profile);
        let linger_zero = self.slots.at(listener).linger_zero;
        let s = self.slots.at_mut(slot);
        (s.local, s.remote, s.linger_zero) = (Some(local), Some(remote), linger_zero);
        // It was just found: not stale.
        let _ = cx.set_user(conn, self.id_of(slot).as_u64());
        self.push_accepted(listener, slot);
        self.bound_backlog(cx, listener);
        self.tell(listener);
    }

    fn on_connected(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId) {
        if let Some(slot) = self.of_conn(cx, conn) {
            self.slots.at_mut(slot).phase = Phase::Open(conn);
            self.tell(slot);
        }
    }

    fn on_data(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId, data: Zbuf) -> Retained {
        let Some(slot) = self.of_conn(cx, conn) else { return Retained::NOTHING };
        let s = self.slots.at_mut(slot);
        if s.read_shut || s.orphan {
            return Retained::NOTHING;
        }
        let pushed = s.recv.push(&mut self.chunks, data, self.accounting, &mut self.stats.merged_copies);
        let Ok(cost) = pushed else {
            self.stats.chunks_full += 1;
            refuse(cx, conn);
            return Retained::NOTHING;
        };
        self.tell(slot);
        Retained(cost)
    }

    fn on_fin(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId) {
        if let Some(slot) = self.of_conn(cx, conn) {
            self.slots.at_mut(slot).fin = true;
            self.tell(slot);
        }
    }

    fn on_released(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId, _: u64, _: Released) {
        let Some(slot) = self.of_conn(cx, conn) else { return };
        if core::mem::take(&mut self.slots.at_mut(slot).wants_room) {
            self.tell(slot);
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId) {
        self.on_released(cx, conn, 0, Released::Acked);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, conn: ConnId, closed: Closed) {
        let Some(slot) = cx.user_of_ended(conn).and_then(|u| self.any(SocketId::from_u64(u))) else { return };
        let s = self.slots.at_mut(slot);
        if s.orphan {
            let profile = self.free(slot);
            return cx.drop_profile(profile);
        }
        s.phase = Phase::Ended(closed.reason);
        s.error = Some(closed.reason).filter(|r| *r != CloseReason::Finished);
        self.tell(slot);
    }

    fn on_neighbor_needed(&mut self, cx: &mut Cx<'_, '_, IpQueue<'m>>, path: PathId, ip: IpAddr) {
        // Without a place in the table the connection waits until it times out.
        cx.neighbor(path, ip, Some(THERE));
    }
}
