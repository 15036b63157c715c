//! Data that arrived and was not read: views of the packets' objs, in order.
//!
//! A small piece is copied behind the one before it when that one's obj has room, so that two neighbours always hold more
//! than one obj can: a socket with `n` unread bytes has at most `2 n / capacity + 2` pieces, however the peer cuts them.

use crate::slab::{NIL, Node, Slab};
use crate::zbuf::{CopyCounter, Zbuf, copy_counted};

/// A piece of unread data, in a pool that all sockets share.
#[derive(Debug)]
pub struct RecvChunk {
    data: Option<Zbuf>,
    /// What it costs of the receive budget, given back when it is used up.
    charge: u32,
    next: u32,
}

impl Default for RecvChunk {
    fn default() -> Self {
        Self { data: None, charge: 0, next: NIL }
    }
}

impl Node for RecvChunk {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

pub(super) type RecvChunks<'m> = Slab<'m, RecvChunk>;

/// How unread data counts against the receive budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accounting {
    /// By its bytes: the window is `rcv_wnd` less what is unread. `rcv_budget` follows from `rcv_wnd`.
    #[default]
    Bytes,
    /// By the objs that it pins ([`Zbuf::true_size`]), against `rcv_budget`: memory is bounded whatever the peer sends.
    TrueSize,
}

impl Accounting {
    /// The stack takes a half of the budget for its bookkeeping: a byte of window costs two of it.
    pub(super) const BYTE: u32 = 2;
}

/// All pieces are in use.
pub(super) struct ChunksFull;

#[derive(Debug)]
pub(super) struct RecvQueue {
    head: u32,
    tail: u32,
    bytes: u32,
}

impl Default for RecvQueue {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, bytes: 0 }
    }
}

impl RecvQueue {
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Appends; returns what it costs of the budget.
    pub(super) fn push(
        &mut self,
        chunks: &mut RecvChunks<'_>,
        data: Zbuf,
        accounting: Accounting,
        copies: &mut CopyCounter,
    ) -> Result<u32, ChunksFull> {
        let len = data.len();
        let by_bytes = len.saturating_mul(Accounting::BYTE);
        if self.merge(chunks, &data, copies) {
            self.bytes += len;
            return Ok(if accounting == Accounting::Bytes { by_bytes } else { 0 });
        }
        let (charge, cost) = match accounting {
            Accounting::Bytes => (0, by_bytes),
            Accounting::TrueSize => (data.true_size(), data.true_size()),
        };
        let i = chunks.alloc().ok_or(ChunksFull)?;
        let chunk = chunks.at_mut(i);
        chunk.data = Some(data);
        chunk.charge = charge;
        if self.tail == NIL {
            self.head = i;
        } else {
            chunks.at_mut(self.tail).next = i;
        }
        self.tail = i;
        self.bytes += len;
        Ok(cost)
    }

    /// Copies `data` behind the last piece, if there is one with room that nobody else holds.
    fn merge(&self, chunks: &mut RecvChunks<'_>, data: &Zbuf, copies: &mut CopyCounter) -> bool {
        if self.tail == NIL {
            return false;
        }
        let slot = &mut chunks.at_mut(self.tail).data;
        let Some(last) = slot.take() else { return false };
        match last.try_into_mut() {
            Ok(mut last) => {
                let room = last.append(data.len());
                let fits = room.is_some();
                if let Some(to) = room {
                    copy_counted(to, data, copies);
                }
                *slot = Some(last.freeze());
                fits
            }
            Err(last) => {
                *slot = Some(last);
                false
            }
        }
    }

    /// Copies from the front into `buf` without taking anything.
    pub(super) fn peek(&self, chunks: &RecvChunks<'_>, buf: &mut [u8]) -> usize {
        let (mut at, mut done) = (self.head, 0);
        while at != NIL {
            let chunk = chunks.at(at);
            let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) else { break };
            let data = chunk.data.as_deref().unwrap_or_default();
            let n = rest.len().min(data.len());
            for (to, from) in rest.iter_mut().zip(data) {
                *to = *from;
            }
            done += n;
            at = chunk.next;
        }
        done
    }

    /// Takes up to `max` bytes off the front as one view; with what it gives back to the budget.
    pub(super) fn pop(&mut self, chunks: &mut RecvChunks<'_>, max: u32, accounting: Accounting) -> Option<(Zbuf, u32)> {
        if self.head == NIL || max == 0 {
            return None;
        }
        let i = self.head;
        let chunk = chunks.at_mut(i);
        let mut data = chunk.data.take()?;
        let taken = if data.len() > max {
            let taken = data.split_to(max);
            chunk.data = Some(data);
            (taken, 0)
        } else {
            let (next, charge) = (chunk.next, chunk.charge);
            self.head = next;
            if next == NIL {
                self.tail = NIL;
            }
            chunks.release(i);
            (data, charge)
        };
        let (data, charge) = taken;
        self.bytes -= data.len();
        let back = match accounting {
            Accounting::Bytes => data.len().saturating_mul(Accounting::BYTE),
            Accounting::TrueSize => charge,
        };
        Some((data, back))
    }

    /// Drops everything; returns what it gives back to the budget.
    pub(super) fn clear(&mut self, chunks: &mut RecvChunks<'_>, accounting: Accounting) -> u32 {
        let mut back = 0u32;
        while let Some((_, n)) = self.pop(chunks, u32::MAX, accounting) {
            back = back.saturating_add(n);
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zbuf::{Pool, testing};

    fn piece(pool: &Pool, bytes: &[u8]) -> Zbuf {
        let mut m = pool.alloc_with_headroom(54).unwrap();
        m.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
        m.freeze()
    }

    #[test]
    fn small_pieces_share_objs_and_come_out_in_order() {
        let pool = testing::pool(1, 512);
        let mut items: Vec<RecvChunk> = (0..64).map(|_| RecvChunk::default()).collect();
        let mut chunks = Slab::new(&mut items);
        let (mut q, mut copies) = (RecvQueue::default(), CopyCounter::default());
        let stream: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        for b in &stream {
            assert_eq!(q.push(&mut chunks, piece(&pool, &[*b]), Accounting::Bytes, &mut copies).ok(), Some(2));
        }
        assert_eq!(q.bytes(), 1000);
        assert!(pool.outstanding() <= 3 && chunks.capacity() - chunks.available() <= 3);
        let mut seen = vec![0; 2000];
        assert_eq!(q.peek(&chunks, &mut seen), 1000);
        assert_eq!(seen[..1000], stream);
        let mut out = Vec::new();
        let mut back = 0;
        while let Some((data, n)) = q.pop(&mut chunks, 7, Accounting::Bytes) {
            assert!(data.len() <= 7);
            out.extend_from_slice(&data);
            back += n;
        }
        assert_eq!((out, back, q.bytes()), (stream, 2000, 0));
        assert_eq!((pool.outstanding(), chunks.available()), (0, 64));
    }

    #[test]
    fn true_size_is_given_back_with_the_obj_and_a_view_held_elsewhere_is_not_written() {
        let pool = testing::pool(1, 512);
        let mut items: Vec<RecvChunk> = (0..2).map(|_| RecvChunk::default()).collect();
        let mut chunks = Slab::new(&mut items);
        let (mut q, mut copies) = (RecvQueue::default(), CopyCounter::default());
        let held = piece(&pool, b"abc");
        assert_eq!(q.push(&mut chunks, held.clone(), Accounting::TrueSize, &mut copies).ok(), Some(512));
        assert_eq!(q.push(&mut chunks, piece(&pool, b"def"), Accounting::TrueSize, &mut copies).ok(), Some(512));
        assert_eq!(copies.copies, 0, "somebody else holds the obj");
        assert_eq!(q.push(&mut chunks, piece(&pool, b"ghi"), Accounting::TrueSize, &mut copies).ok(), Some(0));
        let big = piece(&pool, &[7; 456]);
        assert!(q.push(&mut chunks, big, Accounting::TrueSize, &mut copies).is_err(), "both pieces are in use");
        let (first, back) = q.pop(&mut chunks, 2, Accounting::TrueSize).unwrap();
        assert_eq!((&*first, back), (&b"ab"[..], 0), "the rest still pins the obj");
        assert_eq!(q.clear(&mut chunks, Accounting::TrueSize), 1024);
        assert_eq!(&*held, b"abc");
        drop((first, held));
        assert_eq!(pool.outstanding(), 0);
    }
}
