//! Segments in flight, from `snd_una` to `snd_nxt`, with their send times. The scoreboard is in the records.
//!
//! What a burst sent is one record until its segments cease to be alike: the first sign of loss or reordering cuts
//! records into segments ([`Connection::cut_records`]), and all of the scoreboard's work is on those.

use super::connection::Connection;
use super::send_queue::{Cursor, SendEntries, SendQueue};
use crate::parts::LEADS;
use crate::slab::{NIL, Node, Slab};
use crate::time::Instant;
use crate::wire::SeqNum;

/// The record of a sent segment, or of several that a burst sent in a row, in a pool that all connections of a stack share.
#[derive(Debug)]
pub struct Segment {
    pub(crate) sent_at: Instant,
    pub(crate) seq: SeqNum,
    /// Payload bytes.
    pub(crate) len: u32,
    /// Where its first byte is in the send queue.
    pub(crate) entry: u32,
    pub(crate) offset: u32,
    pub(crate) next: u32,
    pub(crate) flags: SegmentFlags,
}

bitfield::bitfield! {
    /// What is known of a segment in flight.
    #[derive(Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct SegmentFlags(u32);
    impl Debug;
    /// It carries our FIN behind its payload.
    pub(crate) fin, set_fin: 0;
    /// The peer reported it received (RFC 2018).
    pub(crate) sacked, set_sacked: 1;
    /// Taken for lost, not retransmitted since.
    pub(crate) lost, set_lost: 2;
    /// Sent more than once: gives no RTT sample (Karn).
    pub(crate) retransmitted, set_retransmitted: 3;
    /// A retransmission of it is under way.
    pub(crate) rtx_out, set_rtx_out: 4;
    /// It was reported received before the marks were taken back.
    pub(crate) was_sacked, set_was_sacked: 5;
}

impl SegmentFlags {
    /// What either says.
    #[inline(always)]
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            sent_at: Instant::ZERO,
            seq: SeqNum(0),
            len: 0,
            entry: NIL,
            offset: 0,
            next: NIL,
            flags: SegmentFlags::default(),
        }
    }
}

impl Segment {
    /// Sequence numbers that it takes.
    #[inline(always)]
    pub(crate) fn span(&self) -> u32 {
        self.len + u32::from(self.flags.fin())
    }

    /// The sequence number behind it.
    #[inline(always)]
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.span()
    }
}

impl Node for Segment {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

pub(crate) type Segments<'m> = Slab<'m, Segment>;

impl Connection {
    /// Writes the record of a lone burst, if that was not done.
    #[inline(always)]
    pub(crate) fn write_record(&mut self, pool: &mut Segments<'_>, sends: &SendEntries<'_>) {
        if self.segments.is_lone() {
            self.write_lone(pool, sends);
        }
    }

    #[cold]
    #[inline(never)]
    fn write_lone(&mut self, pool: &mut Segments<'_>, sends: &SendEntries<'_>) {
        let sent_at = core::mem::replace(&mut self.segments.lone, Instant::FAR);
        let Some(i) = pool.alloc_reserved() else {
            debug_assert!(false, "it was reserved");
            return;
        };
        let at = (sent_at, self.snd_una, self.send.cursor_at(sends, self.snd_una));
        self.push_record(pool, i, at, self.in_flight());
    }

    /// Makes record `i`, just allocated, the last one: `len` bytes from `at`.
    fn push_record(&mut self, pool: &mut Segments<'_>, i: u32, at: (Instant, SeqNum, Cursor), len: u32) {
        let (sent_at, seq, Cursor { entry, offset }) = at;
        *pool.at_mut(i) = Segment { sent_at, seq, len, entry, offset, next: NIL, flags: SegmentFlags::default() };
        self.segments.push(pool, i);
    }

    /// A burst of `len` bytes from `at` (time, number, place in the queue) left. The caller has seen that there is a record for it.
    #[inline(always)]
    pub(crate) fn sent_burst(
        &mut self,
        pool: &mut Segments<'_>,
        sends: &SendEntries<'_>,
        at: (Instant, SeqNum, Cursor),
        len: u32,
    ) {
        let (now, seq, _) = at;
        if LEADS && seq == self.snd_una {
            pool.reserve();
            self.segments.lone = now;
        } else {
            self.push_burst(pool, sends, at, len);
        }
    }

    #[inline(never)]
    fn push_burst(
        &mut self,
        pool: &mut Segments<'_>,
        sends: &SendEntries<'_>,
        at: (Instant, SeqNum, Cursor),
        len: u32,
    ) {
        self.write_record(pool, sends);
        let Some(i) = pool.alloc() else {
            debug_assert!(false, "the caller looked");
            return;
        };
        self.push_record(pool, i, at, len);
    }

    /// Makes every record one segment's. Where records run out, one stays whole: it is then reported, lost and sent again
    /// as a whole, which costs more than it need but loses nothing.
    #[cold]
    pub(crate) fn cut_records(&mut self, pool: &mut Segments<'_>, sends: &SendEntries<'_>) {
        self.flags.set_uncut(false);
        let mss = u32::from(self.mss.max(1));
        let mut i = self.segments.head;
        while i != NIL {
            if pool.at(i).len > mss {
                let Some(j) = pool.alloc() else {
                    self.flags.set_uncut(true);
                    return;
                };
                cut_behind(pool, sends, i, j, mss);
                if self.segments.tail == i {
                    self.segments.tail = j;
                }
            }
            i = pool.at(i).next;
        }
    }
}

/// Leaves `len` bytes to record `i` and gives the rest of it, FIN included, to the free record `j`, which follows it.
pub(crate) fn cut_behind(pool: &mut Segments<'_>, sends: &SendEntries<'_>, i: u32, j: u32, len: u32) {
    let s = pool.at_mut(i);
    let at = SendQueue::advance(sends, Cursor { entry: s.entry, offset: s.offset }, len);
    let rest = Segment {
        sent_at: s.sent_at,
        seq: s.seq + len,
        len: s.len - len,
        entry: at.entry,
        offset: at.offset,
        next: s.next,
        flags: s.flags,
    };
    s.len = len;
    s.next = j;
    s.flags.set_fin(false);
    *pool.at_mut(j) = rest;
}

/// A connection's list of them.
///
/// One burst under way and nothing else, as where a request waits for its answer, needs no record written: all that one
/// would say but the time follows from the connection. Its place in the pool is kept for it, so that
/// [`Connection::write_record`] never fails; whoever looks at records sees to that first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentList {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// When the only burst was sent that is under way, if no record was written; else [`Instant::FAR`].
    pub(crate) lone: Instant,
}

impl Default for SegmentList {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, lone: Instant::FAR }
    }
}

impl SegmentList {
    /// Whether one burst is under way and has no record.
    #[inline(always)]
    pub(crate) fn is_lone(&self) -> bool {
        LEADS && self.lone != Instant::FAR
    }

    /// The first record.
    #[inline(always)]
    pub(crate) fn head(&self) -> u32 {
        debug_assert!(!self.is_lone(), "a record that was not written");
        self.head
    }

    /// The last record.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u32 {
        debug_assert!(!self.is_lone(), "a record that was not written");
        self.tail
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head() == NIL
    }

    /// Appends a record just allocated.
    #[inline]
    pub(crate) fn push(&mut self, pool: &mut Segments<'_>, i: u32) {
        if self.tail == NIL {
            self.head = i;
        } else {
            pool.at_mut(self.tail).next = i;
        }
        self.tail = i;
    }

    /// Drops the first record.
    #[inline]
    pub(crate) fn pop(&mut self, pool: &mut Segments<'_>) {
        let i = self.head;
        self.head = pool.at(i).next;
        if self.head == NIL {
            self.tail = NIL;
        }
        pool.release(i);
    }

    pub(crate) fn clear(&mut self, pool: &mut Segments<'_>) {
        if self.is_lone() {
            self.lone = Instant::FAR;
            pool.cancel();
        }
        while !self.is_empty() {
            self.pop(pool);
        }
    }
}

#[cfg(test)]
mod tests;
