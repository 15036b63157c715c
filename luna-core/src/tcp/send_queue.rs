//! What the application gave to send and the peer has not acknowledged: references, never copies.
//!
//! Entries come from a pool that all connections of a stack share. Sequence numbers are implicit: the first entry
//! begins at `head_seq`. An entry is dropped when its last byte is acknowledged; the last entry of a send carries the
//! token that the application is told then.

mod gather;

use core::hint::cold_path;

use crate::parts::FOREIGN;
use crate::slab::{NIL, Node, Slab};
use crate::stack::Released;
use crate::wire::SeqNum;
use crate::zbuf::{Arena, CopyCounter, Frag, Room, drain_all};
pub(crate) use gather::{Gather, OwnFrags, PlainGather};

/// A fragment in a send queue.
#[derive(Debug, Default)]
pub struct SendEntry {
    pub(crate) frag: Option<Frag>,
    /// Of the send that this entry ends.
    pub(crate) token: u64,
    /// Whose it is, once it lingers for a device to let go.
    pub(crate) conn: u64,
    next: u32,
    /// The last of its send, whose token is reported. A send that nobody wants to hear of has no such entry.
    pub(crate) last: bool,
    /// Its send holds foreign memory: reported only when no device holds it any more.
    pub(crate) foreign: bool,
    /// While it lingers: how it ended.
    pub(crate) outcome: Released,
}

impl Node for SendEntry {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

impl SendEntry {
    /// Makes it what a free entry is: without fragment and marks.
    pub(crate) fn empty(&mut self) {
        self.frag = None;
        self.last = false;
        self.foreign = false;
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.frag.as_ref().map_or(0, Frag::len)
    }
}

pub(crate) type SendEntries<'m> = Slab<'m, SendEntry>;

/// Whole fragments up to this size are copied behind the header instead of chained: cheaper than a second DMA segment.
pub(crate) const COPY_MAX: u32 = 256;

/// Payload copies that the stack makes on the way out, by reason. A transmission that the queue refuses is made anew later:
/// its copies are then made, and counted, again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxCopies {
    /// Small fragments copied behind the header instead of chained.
    pub small: CopyCounter,
    /// Protocol headers of the layer above.
    pub header: CopyCounter,
    /// Foreign memory copied because the port cannot reach it or a checksum must be made in software.
    pub foreign: CopyCounter,
}

/// A place in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    /// [`NIL`] behind the last byte.
    pub(crate) entry: u32,
    pub(crate) offset: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SendQueue {
    head: u32,
    tail: u32,
    /// Sequence number of the first entry's first byte.
    head_seq: SeqNum,
    /// Behind the last queued byte.
    pub(crate) end: SeqNum,
    /// First byte never sent.
    pub(crate) next: Cursor,
    /// Since it was empty last, all that was queued is memory of ours of which nobody waits to hear.
    plain: bool,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            head_seq: SeqNum(0),
            end: SeqNum(0),
            next: Cursor { entry: NIL, offset: 0 },
            plain: true,
        }
    }
}

/// Free entries being filled.
struct Chain {
    last: u32,
    free: u32,
    count: u32,
}

impl Chain {
    #[inline(always)]
    fn put(&mut self, pool: &mut SendEntries<'_>, frag: Frag, foreign: bool) {
        let entry = pool.at_mut(self.free);
        // A free entry holds no fragment: forgetting it saves the check for one to drop.
        let old = entry.frag.replace(frag);
        debug_assert!(old.is_none() && !entry.last && !entry.foreign);
        core::mem::forget(old);
        if foreign {
            entry.foreign = true;
        }
        (self.last, self.free) = (self.free, entry.next);
        self.count += 1;
    }
}

impl SendQueue {
    pub(crate) fn new(start: SeqNum) -> Self {
        Self { head_seq: start, end: start, ..Self::default() }
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn head_seq(&self) -> SeqNum {
        self.head_seq
    }

    /// Bytes queued, acknowledged ones of the first entry included.
    #[inline(always)]
    pub(crate) fn queued(&self) -> u32 {
        self.end.distance_from(self.head_seq)
    }

    /// Whether nothing waits to be sent: what is queued next begins a frame.
    #[inline(always)]
    pub(crate) fn all_sent(&self) -> bool {
        self.next.entry == NIL
    }

    /// Bytes queued and not acknowledged, with `una` acknowledged.
    pub(crate) fn unacked(&self, una: SeqNum) -> u32 {
        // SYN and FIN are not in it.
        self.end.distance_from(una.later(self.head_seq).earlier(self.end))
    }

    /// Appends `head` and all of `iov`, not empty together, in entries that the caller knows to be free. `token` is reported
    /// when all of it is acknowledged.
    #[inline(always)]
    pub(crate) fn push_all(
        &mut self,
        pool: &mut SendEntries<'_>,
        head: Option<Frag>,
        iov: &mut heapless::VecView<Frag>,
        token: Option<u64>,
        foreign: bool,
        total: u32,
    ) {
        // Free entries are linked already: they are filled where they stand and become the end of the queue as they are.
        let first = pool.first_free();
        let mut chain = Chain { last: NIL, free: first, count: 0 };
        if let Some(head) = head {
            chain.put(pool, head, foreign);
        }
        for frag in drain_all(iov) {
            if frag.is_empty() {
                discard(frag);
            } else {
                chain.put(pool, frag, foreign);
            }
        }
        let Chain { last, free, count } = chain;
        if count == 0 {
            return;
        }
        pool.take_chain(free, count);
        if foreign {
            self.plain = false;
        }
        let entry = pool.at_mut(last);
        entry.next = NIL;
        if let Some(token) = token {
            entry.token = token;
            entry.last = true;
            self.plain = false;
        }
        self.link(pool, first, last, total);
    }

    /// Appends a small send that was written to `room`: to the last entry, if that stands right before it and nobody waits
    /// to hear of it, else in an entry of its own, which the caller knows to be free. `head`: it is a protocol head alone.
    #[inline(always)]
    pub(crate) fn push_small(&mut self, pool: &mut SendEntries<'_>, room: Room<'_>, token: Option<u64>, head: bool) {
        let total = room.len();
        if self.tail != NIL {
            let entry = pool.at_mut(self.tail);
            if let Some(frag) = &mut entry.frag
                && room.continues(frag)
                && !entry.last
                && !entry.foreign
            {
                let before = frag.len();
                room.extend(frag);
                if let Some(token) = token {
                    entry.token = token;
                    entry.last = true;
                    self.plain = false;
                }
                self.end += total;
                if self.next.entry == NIL {
                    self.next = Cursor { entry: self.tail, offset: before };
                }
                return;
            }
        }
        let Some(i) = pool.alloc() else {
            debug_assert!(false, "the caller looked for a free entry");
            return;
        };
        let entry = pool.at_mut(i);
        debug_assert!(entry.frag.is_none() && !entry.last && !entry.foreign);
        core::mem::forget(entry.frag.replace(room.into_frag(head)));
        if let Some(token) = token {
            entry.token = token;
            entry.last = true;
            self.plain = false;
        }
        self.link(pool, i, i, total);
    }

    /// Makes the last `len` bytes written to `arena`, which stand right behind the last entry's, part of that.
    pub(crate) fn join(&mut self, pool: &mut SendEntries<'_>, arena: &Arena, len: u32) {
        let joined = self.tail != NIL && {
            let frag = &mut pool.at_mut(self.tail).frag;
            let before = frag.as_ref().map_or(0, Frag::len);
            if self.next.entry == NIL {
                self.next = Cursor { entry: self.tail, offset: before };
            }
            frag.as_mut().is_some_and(|frag| arena.join(frag, len))
        };
        debug_assert!(joined, "the arena was used for something else in between");
        self.end += if joined { len } else { 0 };
    }

    /// Makes a chain of entries with `total` bytes the end of the queue.
    #[inline(always)]
    fn link(&mut self, pool: &mut SendEntries<'_>, first: u32, last: u32, total: u32) {
        self.end += total;
        if self.tail == NIL {
            self.head = first;
        } else {
            pool.at_mut(self.tail).next = first;
        }
        self.tail = last;
        if self.next.entry == NIL {
            self.next = Cursor { entry: first, offset: 0 };
        }
    }

    /// The place of a sequence number that is queued.
    pub(crate) fn cursor_at(&self, pool: &SendEntries<'_>, seq: SeqNum) -> Cursor {
        Self::advance(pool, Cursor { entry: self.head, offset: 0 }, seq.distance_from(self.head_seq))
    }

    /// The place `n` bytes behind `at`.
    pub(crate) fn advance(pool: &SendEntries<'_>, at: Cursor, n: u32) -> Cursor {
        let Cursor { mut entry, offset } = at;
        let mut offset = offset + n;
        while entry != NIL && offset >= pool.at(entry).len() {
            offset -= pool.at(entry).len();
            entry = pool.at(entry).next;
        }
        Cursor { entry, offset }
    }

    /// Frees what is acknowledged, up to the end of a send, whose token it returns, or to foreign memory.
    #[inline(always)]
    pub(crate) fn release_acked(&mut self, pool: &mut SendEntries<'_>, una: SeqNum) -> Acked {
        if una == self.end && self.plain && self.head != NIL {
            self.release_all(pool);
            return Acked::NoMore;
        }
        self.release_some(pool, una)
    }

    /// All of it, which is plain.
    #[inline(always)]
    fn release_all(&mut self, pool: &mut SendEntries<'_>) {
        let (first, last) = (self.head, self.tail);
        let (mut at, mut count) = (first, 0);
        while at != NIL {
            let e = pool.at_mut(at);
            at = e.next;
            if let Some(frag) = e.frag.take() {
                frag.release();
            }
            count += 1;
        }
        (self.head, self.tail) = (NIL, NIL);
        self.head_seq = self.end;
        pool.release_chain(first, last, count);
    }

    /// The same of whatever is queued.
    #[inline(never)]
    fn release_some(&mut self, pool: &mut SendEntries<'_>, una: SeqNum) -> Acked {
        let first = self.head;
        let (mut at, mut seq, mut last, mut count) = (first, self.head_seq, NIL, 0);
        let mut acked = Acked::NoMore;
        while at != NIL {
            let e = pool.at_mut(at);
            let Some(frag) = &e.frag else {
                cold_path();
                debug_assert!(false, "what is queued has a fragment");
                break;
            };
            let end = seq + frag.len();
            if end.after(una) {
                break;
            }
            if FOREIGN && e.foreign {
                cold_path();
                acked = Acked::Foreign;
                break;
            }
            seq = end;
            if let Some(frag) = e.frag.take() {
                frag.release();
            }
            (last, at) = (at, e.next);
            count += 1;
            if e.last {
                cold_path();
                e.last = false;
                acked = Acked::Send(e.token);
                break;
            }
        }
        if count > 0 {
            self.head = at;
            self.head_seq = seq;
            if at == NIL {
                self.tail = NIL;
                self.plain = true;
            }
            pool.release_chain(first, last, count);
        }
        acked
    }

    /// Takes the first entry off, acknowledged or not.
    pub(crate) fn pop_any(&mut self, pool: &mut SendEntries<'_>) -> Option<u32> {
        if self.head == NIL {
            return None;
        }
        self.head_seq += pool.at(self.head).len();
        self.unlink_head(pool)
    }

    #[inline(always)]
    fn unlink_head(&mut self, pool: &mut SendEntries<'_>) -> Option<u32> {
        let i = self.head;
        self.head = pool.at(i).next;
        if self.head == NIL {
            self.tail = NIL;
            self.plain = true;
        }
        if self.next.entry == i {
            self.next = Cursor { entry: self.head, offset: 0 };
        }
        Some(i)
    }
}

/// Out of line: what it takes to drop a fragment is no part of the loop that queues them.
#[cold]
#[inline(never)]
fn discard(frag: Frag) {
    drop(frag);
}

/// What [`SendQueue::release_acked`] came upon.
pub(crate) enum Acked {
    /// Nothing further is acknowledged as a whole.
    NoMore,
    /// The end of a send with this token.
    Send(u64),
    /// An acknowledged entry of foreign memory, which is the first now.
    Foreign,
}

#[cfg(test)]
mod tests;
