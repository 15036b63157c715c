//! The usual way of a message of the layer above into a send queue: its payload lies in our own objs, nobody waits for its end,
//! and there is all the room that it needs. Whatever is not usual goes the general way, which is [`Cx::send`]'s.
//!
//! Small messages that one callback sends, as the answers to all requests of a segment are, stand one behind the other in
//! the path's arena. The first is queued as an entry. Those behind it are only written, which is most of what there is to
//! do, and become part of that entry when the callback is over or asks for anything else ([`Stack::settle`]).

use core::hint::cold_path;

use heapless::VecView;

use super::cx::not_sending;
use super::{ConnId, Cx, Stack};
use crate::nic::NicQueue;
use crate::tcp::State;
use crate::tcp::send_queue::COPY_MAX;
use crate::zbuf::{CopyCounter, Frag, Room, copy_counted};

/// What was written behind the last entry of the called connection's queue and is no part of it yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// The connection, while there is room.
    conn: ConnId,
    /// How many bytes more may be; 0 where there is no entry that can be continued.
    room: u32,
    /// How many were.
    len: u32,
    /// The connection's path, whose arena they are in.
    path: u8,
}

impl Default for Behind {
    fn default() -> Self {
        Self { conn: ConnId::from_u64(0), room: 0, len: 0, path: 0 }
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Makes what was written part of the queue: before anything else is done with it.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        self.behind.room = 0;
        if self.behind.len != 0 {
            self.settle_written();
        }
    }

    #[inline(never)]
    fn settle_written(&mut self) {
        let Behind { len, path, .. } = core::mem::take(&mut self.behind);
        let (Some(conn), Some(path)) = (self.called, self.paths.get(usize::from(path))) else {
            debug_assert!(false, "written by nobody");
            return;
        };
        self.conns.at_mut(conn.slot()).send.join(&mut self.sends, &path.arena, len);
    }

    /// Bytes that `conn` has written in its present callback and that its queue does not know of.
    pub(super) fn unsettled_of(&self, conn: ConnId) -> u32 {
        if self.called == Some(conn) { self.behind.len } else { 0 }
    }
}

impl<Q: NicQueue> Cx<'_, '_, Q> {
    /// Queues `head` and `iov`, if all is as usual. False: nothing was done.
    #[inline(always)]
    pub(super) fn queue_usual(&mut self, conn: ConnId, head: &[u8], iov: &mut VecView<Frag>) -> bool {
        if let [frag] = iov.as_slice() {
            // A tag makes a fragment longer than any message.
            let total = head.len() + frag.tagged_len() as usize;
            if total <= COPY_MAX as usize {
                let queued = self.queue_copied(conn, head, frag.bytes().unwrap_or_default());
                if queued && let Some(frag) = iov.pop() {
                    frag.release();
                }
                return queued;
            }
        }
        !head.is_empty() && self.queue_chained(conn, head, iov)
    }

    /// Queues `head` and `bytes`, a small message, if all is as usual. False: nothing was done.
    #[inline(always)]
    pub(super) fn queue_copied(&mut self, conn: ConnId, head: &[u8], bytes: &[u8]) -> bool {
        self.append(conn, head, bytes) || self.queue_small(conn, head, bytes)
    }

    /// A small message right behind another that the same callback sent.
    #[inline(always)]
    fn append(&mut self, conn: ConnId, head: &[u8], bytes: &[u8]) -> bool {
        let total = (head.len() + bytes.len()) as u32;
        let s = &mut *self.stack;
        if total > s.behind.room || s.behind.conn != conn {
            return false;
        }
        let Some(path) = s.paths.get_mut(usize::from(s.behind.path)) else {
            cold_path();
            return false;
        };
        let Some(mut to) = path.arena.rest(total) else {
            cold_path();
            return false;
        };
        write_small(&mut to, head, bytes, &mut s.copies.small);
        to.leave();
        s.behind.room -= total;
        s.behind.len += total;
        true
    }

    /// A small message: an entry, or part of the last.
    #[inline(always)]
    fn queue_small(&mut self, conn: ConnId, head: &[u8], bytes: &[u8]) -> bool {
        let total = (head.len() + bytes.len()) as u32;
        let s = &mut *self.stack;
        s.settle();
        let calling = s.called == Some(conn);
        let Some((slot, room)) = s.room_of(conn, calling) else {
            cold_path();
            return false;
        };
        let c = s.conns.at_mut(slot);
        let Some(path) = s.paths.get_mut(usize::from(c.path)) else {
            cold_path();
            return false;
        };
        if total > room || s.sends.available() == 0 {
            cold_path();
            return false;
        }
        let Some(mut to) = path.room_to_send(total, c.send.all_sent()) else {
            cold_path();
            return false;
        };
        write_small(&mut to, head, bytes, &mut s.copies.small);
        c.send.push_small(&mut s.sends, to, None, false);
        if calling {
            s.behind.conn = conn;
            s.behind.path = c.path;
            s.behind.room = path.arena.left().min(room - total);
        }
        s.mark_dirty(slot);
        true
    }

    /// A head in the arena, and the payload as it is.
    #[inline(always)]
    fn queue_chained(&mut self, conn: ConnId, head: &[u8], iov: &mut VecView<Frag>) -> bool {
        let s = &mut *self.stack;
        s.settle();
        let Some((slot, room)) = s.room_of(conn, s.called == Some(conn)) else {
            cold_path();
            return false;
        };
        let c = s.conns.at_mut(slot);
        let Some(path) = s.paths.get_mut(usize::from(c.path)) else {
            cold_path();
            return false;
        };
        let mut total = head.len();
        for frag in iov.iter() {
            // A tag makes it longer than any room: see `TcpConfig::MAX_SND_BUF`.
            total += frag.tagged_len() as usize;
            if total > room as usize {
                break;
            }
        }
        if total > room as usize || s.sends.available() as usize <= iov.len() {
            cold_path();
            return false;
        }
        let leads = c.send.all_sent() && total <= usize::from(c.mss);
        let Some(mut to) = path.room_to_send(head.len() as u32, leads) else {
            cold_path();
            return false;
        };
        to.bytes().copy_from_slice(head);
        c.send.push_all(&mut s.sends, Some(to.into_frag(true)), iov, None, false, total as u32);
        s.mark_dirty(slot);
        true
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// The slot of a connection that takes something to send, and how many bytes. `called`: its name is known to hold.
    #[inline(always)]
    fn room_of(&self, conn: ConnId, called: bool) -> Option<(u32, u32)> {
        let slot = if called { conn.slot() } else { self.slot_of(conn).ok()? };
        let c = self.conns.at(slot);
        if c.state != State::Established || c.flags.bits() & not_sending().bits() != 0 {
            return None;
        }
        Some((slot, self.profiles.at(c.profile).snd_buf.saturating_sub(c.send.queued())))
    }
}

/// Writes the two parts of a small message.
#[inline(always)]
fn write_small(to: &mut Room<'_>, head: &[u8], bytes: &[u8], counter: &mut CopyCounter) {
    let (first, rest) = to.bytes().split_at_mut(head.len());
    first.copy_from_slice(head);
    if copy_short(rest, bytes) {
        counter.bytes += bytes.len() as u64;
        counter.copies += 1;
    } else {
        copy_counted(rest, bytes, counter);
    }
}

/// Copies what is as long as most small messages in two moves that may overlap: a call costs more. False: nothing was done.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) -> bool {
    const HALF: usize = 32;
    if !(HALF..=2 * HALF).contains(&from.len()) || to.len() != from.len() {
        return false;
    }
    let (Some(first), Some(last)) = (from.first_chunk::<HALF>(), from.last_chunk::<HALF>()) else { return false };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    true
}
