//! Data that arrived ahead of its turn: views of the received objs, sorted, never overlapping, bounded.
//!
//! What came first stays: of a segment that overlaps, only the missing parts are taken (RFC 9293 §3.10.7.4 leaves the
//! choice; keeping the first makes a later forgery useless). The views pin whole objs, which the caller charges to the
//! connection's receive budget.

use crate::slab::{NIL, Node, Slab};
use crate::wire::{SackBlocks, SeqNum};
use crate::zbuf::Zbuf;

/// A piece of out-of-order data, in a pool that all connections of a stack share.
#[derive(Debug, Default)]
pub struct OutOfOrder {
    seq: SeqNum,
    data: Option<Zbuf>,
    next: u32,
}

impl Node for OutOfOrder {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

impl OutOfOrder {
    fn end(&self) -> SeqNum {
        self.seq + self.data.as_ref().map_or(0, Zbuf::len)
    }
}

pub(crate) type OutOfOrders<'m> = Slab<'m, OutOfOrder>;

/// What became of an out-of-order segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inserted {
    /// Memory newly pinned, in bytes of whole objs.
    pub(crate) pinned: u32,
    /// Something new was kept.
    pub(crate) new_data: bool,
    /// The pool or the budget had no room for all of it.
    pub(crate) refused: bool,
}

/// A connection's list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reassembly {
    head: u32,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self { head: NIL }
    }
}

impl Reassembly {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// Takes in `data` at `seq`, pinning at most `budget` bytes of objs.
    pub(crate) fn insert(
        &mut self,
        pool: &mut OutOfOrders<'_>,
        mut seq: SeqNum,
        mut data: Zbuf,
        budget: u32,
    ) -> Inserted {
        let mut out = Inserted { pinned: 0, new_data: false, refused: false };
        let mut prev = NIL;
        let mut at = self.head;
        while !data.is_empty() {
            // Skip what ends before us; cut what we begin with and is there already.
            while at != NIL && pool.at(at).end().before_eq(seq) {
                prev = at;
                at = pool.at(at).next;
            }
            let (start, end) = if at == NIL { (seq + data.len(), seq) } else { (pool.at(at).seq, pool.at(at).end()) };
            if at != NIL && start.before_eq(seq) {
                let have = end.distance_from(seq).min(data.len());
                data.trim_front(have);
                seq += have;
                continue;
            }
            let gap = start.distance_from(seq).min(data.len());
            let piece = data.split_to(gap);
            let cost = piece.true_size();
            let node = if out.pinned + cost > budget { None } else { pool.alloc() };
            let Some(node) = node else {
                out.refused = true;
                return out;
            };
            *pool.at_mut(node) = OutOfOrder { seq, data: Some(piece), next: at };
            if prev == NIL {
                self.head = node;
            } else {
                pool.at_mut(prev).next = node;
            }
            prev = node;
            seq += gap;
            out.pinned += cost;
            out.new_data = true;
        }
        out
    }

    /// Takes the first piece when it begins at or before `rcv_nxt`, cut to what is new. Returns the memory that it pins.
    pub(crate) fn pop(&mut self, pool: &mut OutOfOrders<'_>, rcv_nxt: SeqNum) -> Option<(Zbuf, u32)> {
        if self.head == NIL || pool.at(self.head).seq.after(rcv_nxt) {
            return None;
        }
        let node = self.head;
        let item = pool.at_mut(node);
        let (seq, data) = (item.seq, item.data.take());
        self.head = item.next;
        pool.release(node);
        let mut data = data?;
        let pinned = data.true_size();
        data.trim_front(rcv_nxt.distance_from(seq));
        Some((data, pinned))
    }

    /// Pieces are sorted, apart, inside the window and charged to the receive budget. Returns how many there are.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(
        &self,
        pool: &OutOfOrders<'_>,
        conn: &super::connection::Connection,
    ) -> Result<u32, &'static str> {
        use super::invariants::ensure;
        let (mut at, mut n, mut pinned) = (self.head, 0, 0);
        let mut before = conn.rcv_nxt;
        while at != NIL {
            ensure(n <= pool.capacity(), "the reassembly list is a ring")?;
            let piece = pool.at(at);
            ensure(n > 0 || piece.seq != before, "the first piece's turn has come")?;
            ensure(piece.seq.after_eq(before), "pieces overlap or are not sorted")?;
            ensure(piece.end().before_eq(conn.rcv_adv), "a piece lies outside the window")?;
            ensure(piece.end().after(piece.seq), "an empty piece")?;
            pinned += piece.data.as_ref().map_or(0, Zbuf::true_size);
            before = piece.end();
            at = piece.next;
            n += 1;
        }
        ensure(pinned <= conn.rcv_held, "reassembly pins more than is charged")?;
        Ok(n)
    }

    /// Drops everything. Returns the memory that it pinned.
    pub(crate) fn clear(&mut self, pool: &mut OutOfOrders<'_>) -> u32 {
        let mut pinned = 0;
        while self.head != NIL {
            let node = self.head;
            let item = pool.at_mut(node);
            pinned += item.data.take().map_or(0, |d| d.true_size());
            self.head = item.next;
            pool.release(node);
        }
        pinned
    }

    /// Blocks to report (RFC 2018 §4): the one around `latest` first, then from the left, at most `max`.
    pub(crate) fn blocks(&self, pool: &OutOfOrders<'_>, latest: SeqNum, max: usize) -> SackBlocks {
        let mut first = None;
        self.for_each_block(pool, |left, right| {
            if left.before_eq(latest) && latest.before(right) {
                first = Some((left, right));
            }
        });
        let mut out = SackBlocks::EMPTY;
        if let Some((left, right)) = first {
            out.push(left, right);
        }
        self.for_each_block(pool, |left, right| {
            if out.len() < max && Some((left, right)) != first {
                out.push(left, right);
            }
        });
        out
    }

    fn for_each_block(&self, pool: &OutOfOrders<'_>, mut each: impl FnMut(SeqNum, SeqNum)) {
        let mut at = self.head;
        while at != NIL {
            let left = pool.at(at).seq;
            let mut right = pool.at(at).end();
            at = pool.at(at).next;
            while at != NIL && pool.at(at).seq == right {
                right = pool.at(at).end();
                at = pool.at(at).next;
            }
            each(left, right);
        }
    }
}

#[cfg(test)]
mod tests;
