//! Puts a payload together from chunks without copying, and without letting small chunks pin large objs.

use super::stream::ByteStream;
use crate::zbuf::{CopyCounter, Zbuf, ZbufMut, copy_counted};

/// Most chunks of one payload.
pub const MAX_CHUNKS: usize = 64;
/// Largest gather limit: with chunks of at least 1 KiB, that many fit.
pub const MAX_GATHER: u32 = MAX_CHUNKS as u32 * 1024;
/// A chunk that is less than this part of its obj is copied (copy-break).
const SMALL: u32 = 8;

/// A payload: its bytes in order, in views of received objs. 1 KiB: lend it, do not move it.
pub type IoVec = heapless::Vec<Zbuf, MAX_CHUNKS>;

/// Not even packed does the payload fit [`MAX_CHUNKS`] objs.
pub(super) struct Fragmented;

/// The payload being put together.
pub(super) struct Gather {
    pub(super) chunks: IoVec,
    held: u32,
    /// Above this many bytes held, every chunk is packed that can be: three times the payload, which ordinary segments
    /// (1448 bytes in objs of 4 KiB) stay below.
    budget: u32,
}

impl Gather {
    pub(super) fn new(limit: u32) -> Self {
        Self { chunks: IoVec::new(), held: 0, budget: limit.saturating_mul(3) }
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
        match self.chunks.push(chunk) {
            Ok(()) => Ok(()),
            Err(chunk) => self.push_compacted(chunk, copies),
        }
    }

    #[cold]
    fn push_compacted(&mut self, chunk: Zbuf, copies: &mut CopyCounter) -> Result<(), Fragmented> {
        self.compact(copies);
        self.held = self.held.saturating_add(chunk.true_size());
        self.chunks.push(chunk).map_err(|_| Fragmented)
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

    /// [`Gather::retain`] of a chunk that is neither packed nor too much; the bytes it holds, or the chunk.
    #[inline(always)]
    pub(super) fn retain_whole(&mut self, chunk: Zbuf) -> Result<u32, Zbuf> {
        let size = chunk.true_size();
        let held = self.held.saturating_add(size);
        if chunk.len() < size / SMALL || held > self.budget {
            return Err(chunk);
        }
        self.chunks.push(chunk)?;
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
        let Some(last) = self.chunks.pop() else { return };
        let shared = match last.try_into_mut() {
            Ok(mut last) => {
                if last.tailroom() >= chunk.len() {
                    append(&mut last, chunk, copies);
                }
                self.put_back(last.freeze());
                return;
            }
            Err(last) => last,
        };
        self.put_back(shared);
        if let Some(mut fresh) = stream.alloc()
            && fresh.tailroom() >= chunk.len()
        {
            append(&mut fresh, chunk, copies);
            let fresh = fresh.freeze();
            *chunk = fresh;
        }
    }

    fn put_back(&mut self, last: Zbuf) {
        let room = self.chunks.push(last);
        debug_assert!(room.is_ok(), "it was just taken out");
    }

    /// Pulls all bytes forward, so that every obj but the last is full.
    fn compact(&mut self, copies: &mut CopyCounter) {
        let sparse = core::mem::take(&mut self.chunks);
        self.held = 0;
        for mut chunk in sparse {
            if let Some(last) = self.chunks.pop() {
                let last = match last.try_into_mut() {
                    Ok(mut last) => {
                        shift_to_front(&mut last, copies);
                        append(&mut last, &mut chunk, copies);
                        last.freeze()
                    }
                    Err(shared) => shared,
                };
                self.put_back(last);
            }
            if !chunk.is_empty() {
                self.held = self.held.saturating_add(chunk.true_size());
                self.put_back(chunk);
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
