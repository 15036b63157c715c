//! Data that arrived ahead of its turn: views of the received objs, sorted, never overlapping, bounded.
//!
//! What came first stays: of a segment that overlaps, only the missing parts are taken (RFC 9293 §3.10.7.4 leaves the
//! choice; keeping the first makes a later forgery useless). The views pin whole objs, which the caller charges to the
//! connection's receive budget.

use crate::slab::{NIL, Node, Slab};
use crate::wire::{SackBlocks, SeqNum};
use crate::zbuf::Zbuf;

/// A piece of out-of-order data, in a pool that all connections of a stack share.
#[derive(Debug)]
pub struct OutOfOrder {
    seq: SeqNum,
    data: Option<Zbuf>,
    next: u32,
    /// Of the first piece of a block: its last piece, and the age of the newest.
    last: u32,
    stamp: u32,
}

impl Default for OutOfOrder {
    fn default() -> Self {
        Self { seq: SeqNum(0), data: None, next: NIL, last: NIL, stamp: 0 }
    }
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
    /// What was there already, the first stretch of it.
    pub(crate) twice: Option<(SeqNum, SeqNum)>,
    /// The pool or the budget had no room for all of it.
    pub(crate) refused: bool,
}

/// A connection's list: blocks without gaps, each a run of pieces whose first one knows the last, so that a search steps
/// over whole blocks.
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

    /// Takes in `data` at `seq`, pinning at most `budget` bytes of objs. `stamp` grows from segment to segment.
    pub(crate) fn insert(
        &mut self,
        pool: &mut OutOfOrders<'_>,
        mut seq: SeqNum,
        mut data: Zbuf,
        budget: u32,
        stamp: u32,
    ) -> Inserted {
        let mut out = Inserted { pinned: 0, new_data: false, twice: None, refused: false };
        // The block before, and the one that may overlap.
        let (mut before, mut block) = (NIL, self.head);
        while !data.is_empty() {
            while block != NIL && block_end(pool, block).before_eq(seq) {
                before = block;
                block = pool.at(pool.at(block).last).next;
            }
            if block != NIL && pool.at(block).seq.before_eq(seq) {
                // What came first stays.
                let have = block_end(pool, block).distance_from(seq).min(data.len());
                out.twice = out.twice.or(Some((seq, seq + have)));
                pool.at_mut(block).stamp = stamp;
                data.trim_front(have);
                seq += have;
                continue;
            }
            let gap = if block == NIL { data.len() } else { pool.at(block).seq.distance_from(seq).min(data.len()) };
            let piece = data.split_to(gap);
            let cost = piece.true_size();
            let node = if out.pinned + cost > budget { None } else { pool.alloc() };
            let Some(node) = node else {
                out.refused = true;
                return out;
            };
            *pool.at_mut(node) = OutOfOrder { seq, data: Some(piece), next: block, last: node, stamp };
            block = self.link(pool, before, node, block);
            seq += gap;
            out.pinned += cost;
            out.new_data = true;
        }
        out
    }

    /// Puts a new piece between two blocks, joining it to those that it touches. Returns the block that it is part of.
    fn link(&mut self, pool: &mut OutOfOrders<'_>, before: u32, node: u32, after: u32) -> u32 {
        let stamp = pool.at(node).stamp;
        if after != NIL && pool.at(after).seq == pool.at(node).end() {
            pool.at_mut(node).last = pool.at(after).last;
        }
        if before == NIL {
            self.head = node;
            return node;
        }
        let touches = block_end(pool, before) == pool.at(node).seq;
        let last = pool.at(before).last;
        pool.at_mut(last).next = node;
        if !touches {
            return node;
        }
        let reach = pool.at(node).last;
        let b = pool.at_mut(before);
        b.last = reach;
        b.stamp = stamp;
        before
    }

    /// How much of `len` bytes at `seq` lies before the first piece, if they reach into it.
    pub(crate) fn gap(&self, pool: &OutOfOrders<'_>, seq: SeqNum, len: u32) -> Option<u32> {
        if self.head == NIL {
            return None;
        }
        let gap = pool.at(self.head).seq.distance_from(seq);
        (gap < len).then_some(gap)
    }

    /// Takes the first piece when it begins at or before `rcv_nxt`, cut to what is new. Returns the memory that it pins.
    pub(crate) fn pop(&mut self, pool: &mut OutOfOrders<'_>, rcv_nxt: SeqNum) -> Option<(Zbuf, u32)> {
        if self.head == NIL || pool.at(self.head).seq.after(rcv_nxt) {
            return None;
        }
        let node = self.head;
        let item = pool.at_mut(node);
        let (seq, data) = (item.seq, item.data.take());
        let (next, last, stamp) = (item.next, item.last, item.stamp);
        self.head = next;
        if last != node {
            let first = pool.at_mut(next);
            (first.last, first.stamp) = (last, stamp);
        }
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

    /// Appends the blocks to report until there are `max`, the most recently changed first (RFC 2018 §4); before them the
    /// one around `twice`, if there is one (RFC 2883 §4). A FIN at `fin` is part of the block that it ends, or one itself.
    pub(crate) fn blocks(
        &self,
        pool: &OutOfOrders<'_>,
        twice: Option<(SeqNum, SeqNum)>,
        fin: Option<SeqNum>,
        max: usize,
        out: &mut SackBlocks,
    ) {
        let mut best = [(NIL, 0u64); SackBlocks::MAX];
        let mut first = None;
        let mut block = self.head;
        while block != NIL {
            let b = pool.at(block);
            // Stamps wrap: they are told apart by their distance from any one of them.
            let first = *first.get_or_insert(b.stamp);
            let around = twice.is_some_and(|(l, r)| b.seq.before_eq(l) && r.before_eq(block_end(pool, block)));
            let rank = if around { u64::MAX } else { u64::from(b.stamp.wrapping_sub(first).wrapping_add(1 << 31)) };
            let mut candidate = (block, rank);
            for slot in best.iter_mut().take(max) {
                if slot.0 == NIL || candidate.1 > slot.1 {
                    core::mem::swap(slot, &mut candidate);
                }
                if candidate.0 == NIL {
                    break;
                }
            }
            block = pool.at(b.last).next;
        }
        let mut fin = fin;
        for (block, _) in best {
            if block == NIL || out.len() >= max {
                break;
            }
            let (left, mut right) = (pool.at(block).seq, block_end(pool, block));
            if fin == Some(right) {
                right += 1;
                fin = None;
            }
            out.push(left, right);
        }
        if let Some(at) = fin
            && out.len() < max
            && !self.ends_at(pool, at)
        {
            out.push(at, at + 1);
        }
    }

    fn ends_at(&self, pool: &OutOfOrders<'_>, seq: SeqNum) -> bool {
        let mut block = self.head;
        while block != NIL {
            if block_end(pool, block) == seq {
                return true;
            }
            block = pool.at(pool.at(block).last).next;
        }
        false
    }
}

/// Behind the block whose first piece is `block`.
fn block_end(pool: &OutOfOrders<'_>, block: u32) -> SeqNum {
    pool.at(pool.at(block).last).end()
}

#[cfg(test)]
mod tests;
