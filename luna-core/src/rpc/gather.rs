//! Puts a payload together from chunks without copying, and without letting small chunks pin large objs.

use super::stream::{ByteStream, FragVec};
use crate::zbuf::{CopyCounter, Frag, Zbuf, ZbufMut, copy_counted};

/// Most chunks of one payload.
pub const MAX_CHUNKS: usize = 64;
/// Largest gather limit: with chunks of at least 1 KiB, that many fit.
pub const MAX_GATHER: u32 = MAX_CHUNKS as u32 * 1024;
/// A chunk that is less than this part of its obj is copied (copy-break).
const SMALL: u32 = 8;

/// Not even packed does the payload fit [`MAX_CHUNKS`] objs.
pub(super) struct Fragmented;

/// The payload being put together.
pub(super) struct Gather {
    /// Views of received objs, never foreign; a vector that can be sent as it is.
    pub(super) chunks: FragVec,
    held: u32,
    /// Above this many bytes held, every chunk is packed that can be: three times the payload, which ordinary segments
    /// (1448 bytes in objs of 4 KiB) stay below.
    budget: u32,
}

impl Gather {
    pub(super) fn new(limit: u32) -> Self {
        Self { chunks: FragVec::new(), held: 0, budget: limit.saturating_mul(3) }
    }

    /// Whole objs kept from reuse, in bytes.
    #[inline]
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Forgets the payload.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.held = 0;
    }

    /// Takes a chunk that completes the payload: nobody waits with it, so it is never packed.
    #[inline]
    pub(super) fn push(&mut self, chunk: Zbuf, copies: &mut CopyCounter) -> Result<(), Fragmented> {
        if self.is_full() {
            return self.push_compacted(chunk, copies);
        }
        self.append_chunk(chunk);
        Ok(())
    }

    #[cold]
    fn push_compacted(&mut self, chunk: Zbuf, copies: &mut CopyCounter) -> Result<(), Fragmented> {
        self.compact(copies);
        self.held = self.held.saturating_add(chunk.true_size());
        if self.is_full() {
            return Err(Fragmented);
        }
        self.append_chunk(chunk);
        Ok(())
    }

    /// Takes a chunk that has to wait for others.
    #[inline]
    pub(super) fn retain<S: ByteStream>(
        &mut self,
        chunk: Zbuf,
        stream: &mut S,
        copies: &mut CopyCounter,
    ) -> Result<(), Fragmented> {
        let size = chunk.true_size();
        let held = self.held.saturating_add(size);
        if chunk.len() < size / SMALL || held > self.budget {
            return self.retain_packed(chunk, stream, copies);
        }
        self.held = held;
        self.push(chunk, copies)
    }

    /// Whether `len` bytes of `chunk` would be kept as they are: not packed, nor too much.
    #[inline(always)]
    pub(super) fn takes_whole(&self, len: u32, chunk: &Zbuf) -> bool {
        let size = chunk.true_size();
        len >= size / SMALL && self.held.saturating_add(size) <= self.budget && !self.is_full()
    }

    /// [`Gather::retain`] of a chunk that is neither packed nor too much; the bytes it holds, or the chunk.
    #[inline(always)]
    pub(super) fn retain_whole(&mut self, chunk: Zbuf) -> Result<u32, Zbuf> {
        if !self.takes_whole(chunk.len(), &chunk) {
            return Err(chunk);
        }
        let size = chunk.true_size();
        let held = self.held.saturating_add(size);
        self.append_chunk(chunk);
        self.held = held;
        Ok(size)
    }

    #[cold]
    fn retain_packed<S: ByteStream>(
        &mut self,
        mut chunk: Zbuf,
        stream: &mut S,
        copies: &mut CopyCounter,
    ) -> Result<(), Fragmented> {
        self.pack(&mut chunk, stream, copies);
        if chunk.is_empty() {
            return Ok(());
        }
        self.held = self.held.saturating_add(chunk.true_size());
        self.push(chunk, copies)
    }

    /// Appends `chunk` to the last obj, leaving it empty; if that one is shared, the chunk moves to a small fresh obj.
    fn pack<S: ByteStream>(&mut self, chunk: &mut Zbuf, stream: &mut S, copies: &mut CopyCounter) {
        let Some(last) = self.take_last() else { return };
        let shared = match last.try_into_mut() {
            Ok(mut last) => {
                if last.tailroom() >= chunk.len() {
                    append(&mut last, chunk, copies);
                }
                self.append_chunk(last.freeze());
                return;
            }
            Err(last) => last,
        };
        self.append_chunk(shared);
        if let Some(mut fresh) = stream.alloc()
            && fresh.tailroom() >= chunk.len()
        {
            append(&mut fresh, chunk, copies);
            let fresh = fresh.freeze();
            *chunk = fresh;
        }
    }

    /// Whether there is no room but for a frame's head, which the vector is to be sent with.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.chunks.len() >= MAX_CHUNKS
    }

    #[inline(always)]
    fn append_chunk(&mut self, chunk: Zbuf) {
        let room = self.chunks.push(Frag::from(chunk));
        debug_assert!(room.is_ok(), "the caller checked");
    }

    fn take_last(&mut self) -> Option<Zbuf> {
        self.chunks.pop()?.into_zbuf().ok()
    }

    /// Pulls all bytes forward, so that every obj but the last is full.
    fn compact(&mut self, copies: &mut CopyCounter) {
        let sparse = core::mem::take(&mut self.chunks);
        self.held = 0;
        for chunk in sparse {
            let Ok(mut chunk) = chunk.into_zbuf() else { continue };
            if let Some(last) = self.take_last() {
                let last = match last.try_into_mut() {
                    Ok(mut last) => {
                        shift_to_front(&mut last, copies);
                        append(&mut last, &mut chunk, copies);
                        last.freeze()
                    }
                    Err(shared) => shared,
                };
                self.append_chunk(last);
            }
            if !chunk.is_empty() {
                self.held = self.held.saturating_add(chunk.true_size());
                self.append_chunk(chunk);
            }
        }
    }
}

/// Copies as much of `chunk` as fits behind `to`, and cuts it off `chunk`.
fn append(to: &mut ZbufMut, chunk: &mut Zbuf, copies: &mut CopyCounter) {
    let n = to.tailroom().min(chunk.len());
    if let Some(room) = to.append(n) {
        copy_counted(room, chunk, copies);
        chunk.trim_front(n);
    }
}

/// Turns headroom into tailroom.
fn shift_to_front(obj: &mut ZbufMut, copies: &mut CopyCounter) {
    let (len, headroom) = (obj.len() as usize, obj.headroom());
    if headroom == 0 || obj.prepend(headroom).is_none() {
        return;
    }
    let start = headroom as usize;
    obj.copy_within(start..start + len, 0);
    obj.truncate(len as u32);
    copies.bytes += len as u64;
    copies.copies += 1;
}

#[cfg(test)]
mod tests;
