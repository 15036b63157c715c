//! What the application gave to send and the peer has not acknowledged: references, never copies.
//!
//! Entries come from a pool that all connections of a stack share. Sequence numbers are implicit: the first entry
//! begins at `head_seq`. An entry is dropped when its last byte is acknowledged; the last entry of a send carries the
//! token that the application is told then.

use core::hint::cold_path;

use crate::nic::{MAX_TX_FRAGS, TxFrags};
use crate::parts::FOREIGN;
use crate::slab::{NIL, Node, Slab};
use crate::stack::Released;
use crate::wire::SeqNum;
use crate::zbuf::{Arena, CopyCounter, Frag, FrameHead, Fresh, LEAD_LEN, Pool, Room, ZbufMut, drain_all};

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

/// The memory of a fragment was revoked: the stream cannot go on.
#[derive(Debug)]
pub(crate) struct Revoked;

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

/// A frame's fragments with references of their own: some may be copies made for it.
pub(crate) type OwnFrags = heapless::Vec<Frag, MAX_TX_FRAGS>;

/// How a segment's payload is put together when it lies in our own objs.
pub(crate) struct PlainGather<'a, 'p> {
    pub(crate) header: &'a mut Fresh,
    pub(crate) frags: &'a mut TxFrags<'p>,
    pub(crate) max_frags: usize,
    pub(crate) copies: &'a mut TxCopies,
}

impl<'p> PlainGather<'_, 'p> {
    /// Whether it is chained, not copied, and there is room to.
    #[inline(always)]
    fn chains(&self, frag: &Frag) -> bool {
        let chained = if self.frags.is_empty() { frag.is_plain(COPY_MAX) } else { !frag.is_foreign() };
        chained && self.frags.len() < self.max_frags
    }

    /// Up to `room` bytes of a head or a small fragment, behind the header if nothing was chained yet; how many. None of
    /// foreign memory.
    #[inline(always)]
    fn take_small(&mut self, frag: &'p Frag, offset: u32, room: u32) -> u32 {
        if frag.is_foreign() {
            return 0;
        }
        let n = (frag.len() - offset).min(room);
        if self.frags.is_empty() && copy_plain(self.header, self.copies, frag, offset, n) {
            return n;
        }
        let chained = self.frags.len() < self.max_frags && self.frags.push(frag.lend_rest(offset, n)).is_ok();
        if chained { n } else { 0 }
    }
}

/// How a segment's payload is put together.
pub(crate) struct Gather<'a> {
    /// Headers already have their room; small leading fragments follow them.
    pub(crate) header: &'a mut ZbufMut,
    /// What is chained.
    pub(crate) frags: &'a mut OwnFrags,
    pub(crate) max_frags: usize,
    /// Foreign memory must be copied: into objs of this pool.
    pub(crate) copy_foreign: Option<&'a Pool>,
    pub(crate) copies: &'a mut TxCopies,
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

    /// Collects up to `len` bytes from `at` into a frame; returns how many it took and where it stopped.
    #[inline]
    pub(crate) fn gather(
        pool: &SendEntries<'_>,
        at: Cursor,
        len: u32,
        mut to: Gather<'_>,
    ) -> Result<(u32, Cursor), Revoked> {
        let Cursor { mut entry, mut offset } = at;
        let mut room = len;
        while room > 0 && entry != NIL {
            let e = pool.at(entry);
            let Some(frag) = &e.frag else { break };
            let n = (frag.len() - offset).min(room);
            if to.frags.is_empty()
                && (frag.is_header() || frag.len() <= COPY_MAX)
                && !frag.is_foreign()
                && copy_small(to.header, to.copies, frag, offset, n)
            {
            } else if frag.is_foreign() && (to.copy_foreign.is_some() || frag.is_revoked()) {
                let done = to.copy_foreign(frag, offset, n)?;
                if done < n {
                    room -= done;
                    offset += done;
                    break;
                }
            } else if to.frags.len() >= to.max_frags || to.frags.push(frag.slice(offset, n)).is_err() {
                break;
            }
            room -= n;
            offset += n;
            if offset == frag.len() {
                entry = e.next;
                offset = 0;
            }
        }
        Ok((len - room, Cursor { entry, offset }))
    }

    /// Whether what is sent next has room for headers before it.
    #[inline(always)]
    pub(crate) fn leads(&self, pool: &SendEntries<'_>) -> bool {
        let Cursor { entry, offset } = self.next;
        offset == 0 && entry != NIL && pool.at(entry).frag.as_ref().is_some_and(Frag::leads)
    }

    /// Of the entry at `at`, whose room for headers was seen by [`SendQueue::leads`]: the head of a frame with at most `len` of
    /// its bytes, how many, and what is behind them.
    #[inline(always)]
    pub(crate) fn take_lead(pool: &mut SendEntries<'_>, at: Cursor, len: u32) -> Option<(FrameHead, u32, Cursor)> {
        debug_assert!(at.offset == 0 && at.entry != NIL);
        let e = pool.at_mut(at.entry);
        let frag = e.frag.as_mut()?;
        let head = frag.take_lead(len)?;
        let n = head.len() - LEAD_LEN as u32;
        let behind =
            if n == frag.len() { Cursor { entry: e.next, offset: 0 } } else { Cursor { entry: at.entry, offset: n } };
        Some((head, n, behind))
    }

    /// As [`SendQueue::gather`], of our own objs only: it stops before foreign memory.
    #[inline(always)]
    pub(crate) fn gather_plain<'p>(
        pool: &'p SendEntries<'_>,
        at: Cursor,
        len: u32,
        mut to: PlainGather<'_, 'p>,
    ) -> (u32, Cursor) {
        let Cursor { mut entry, mut offset } = at;
        let mut room = len;
        while room > 0 && entry != NIL {
            let e = pool.at(entry);
            let Some(frag) = &e.frag else { break };
            let n = if to.chains(frag) {
                if offset == 0 && frag.len() <= room {
                    // All of it, as most are.
                    if to.frags.push(frag.lend()).is_err() {
                        break;
                    }
                    room -= frag.len();
                    entry = e.next;
                    continue;
                }
                let part = frag.lend_rest(offset, room);
                let n = part.len();
                if to.frags.push(part).is_err() {
                    break;
                }
                n
            } else {
                match to.take_small(frag, offset, room) {
                    0 => break,
                    n => n,
                }
            };
            room -= n;
            offset += n;
            if offset == frag.len() {
                entry = e.next;
                offset = 0;
            }
        }
        (len - room, Cursor { entry, offset })
    }

    /// What follows the first bytes of a frame that stand behind its headers: chained, up to `len` bytes of it.
    #[inline(always)]
    pub(crate) fn gather_chained<'p>(
        pool: &'p SendEntries<'_>,
        at: Cursor,
        len: u32,
        frags: &mut TxFrags<'p>,
        max_frags: impl FnOnce() -> usize,
    ) -> (u32, Cursor) {
        // Every queue takes one.
        if at.offset == 0 && at.entry != NIL {
            let e = pool.at(at.entry);
            // A payload of one fragment: its length, without a tag, is all that is wanted.
            if let Some(frag) = &e.frag
                && frag.tagged_len() == len
                && frags.push(frag.lend()).is_ok()
            {
                return (len, Cursor { entry: e.next, offset: 0 });
            }
        }
        Self::gather_several(pool, at, len, frags, max_frags())
    }

    /// The same of any number. Not [`SendQueue::gather_plain`]: nothing can be copied behind a head that others share.
    #[inline(never)]
    fn gather_several<'p>(
        pool: &'p SendEntries<'_>,
        at: Cursor,
        len: u32,
        frags: &mut TxFrags<'p>,
        max_frags: usize,
    ) -> (u32, Cursor) {
        let Cursor { mut entry, mut offset } = at;
        let mut room = len;
        while room > 0 && entry != NIL && frags.len() < max_frags {
            let e = pool.at(entry);
            let Some(frag) = &e.frag else { break };
            if frag.is_foreign() {
                break;
            }
            let part = if offset == 0 && frag.len() <= room { frag.lend() } else { frag.lend_rest(offset, room) };
            let n = part.len();
            if frags.push(part).is_err() {
                break;
            }
            room -= n;
            offset += n;
            if offset == frag.len() {
                entry = e.next;
                offset = 0;
            }
        }
        (len - room, Cursor { entry, offset })
    }

    /// How many of `most` bytes from `at` are certain to fit a frame of `max_frags` fragments. Foreign memory is none of them:
    /// how many pieces it is for a device is not known here.
    #[inline(never)]
    pub(crate) fn fitting(pool: &SendEntries<'_>, at: Cursor, most: u32, max_frags: usize) -> u32 {
        let Cursor { mut entry, mut offset } = at;
        let mut bytes = 0;
        for _ in 0..max_frags {
            if entry == NIL || bytes >= most {
                break;
            }
            let e = pool.at(entry);
            let Some(frag) = e.frag.as_ref().filter(|f| !f.is_foreign()) else { break };
            bytes += frag.len() - offset;
            (entry, offset) = (e.next, 0);
        }
        bytes.min(most)
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

/// Copies a small fragment's bytes behind the header; false without room.
#[inline]
fn copy_small(header: &mut ZbufMut, copies: &mut TxCopies, frag: &Frag, offset: u32, n: u32) -> bool {
    let Some(dst) = header.append(n) else { return false };
    copy_part(dst, copies, frag, offset, n)
}

/// The same.
#[inline(always)]
fn copy_plain(header: &mut Fresh, copies: &mut TxCopies, frag: &Frag, offset: u32, n: u32) -> bool {
    let Some(dst) = header.append(n) else { return false };
    copy_part(dst, copies, frag, offset, n)
}

#[inline(always)]
fn copy_part(dst: &mut [u8], copies: &mut TxCopies, frag: &Frag, offset: u32, n: u32) -> bool {
    let Some(src) = frag.bytes().and_then(|b| b.get(offset as usize..(offset + n) as usize)) else {
        debug_assert!(false, "part of a fragment of ours");
        return false;
    };
    let counter = if frag.is_header() { &mut copies.header } else { &mut copies.small };
    crate::zbuf::copy_counted(dst, src, counter);
    true
}

impl Gather<'_> {
    /// Up to `n` bytes, as objs and the port's fragments go; how many.
    #[cold]
    fn copy_foreign(&mut self, frag: &Frag, offset: u32, n: u32) -> Result<u32, Revoked> {
        let Some(pool) = self.copy_foreign else { return Err(Revoked) };
        let frags = &mut *self.frags;
        let mut done = 0;
        while done < n && frags.len() < self.max_frags {
            let Some(mut obj) = pool.alloc() else { break };
            let want = obj.tailroom().min(n - done);
            let part = frag.slice(offset + done, want);
            let dst = obj.append(want).unwrap_or_default();
            let copied = part.copy_to(dst).ok_or(Revoked)?;
            self.copies.foreign.bytes += copied as u64;
            self.copies.foreign.copies += 1;
            done += want;
            // Room was checked above.
            drop(frags.push(Frag::from(obj.freeze())));
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
