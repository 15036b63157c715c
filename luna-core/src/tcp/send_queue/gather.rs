//! From a send queue into frames: what of it a segment takes, lent to the device or, where it must be, copied.

use super::{COPY_MAX, Cursor, SendEntries, SendQueue, TxCopies};
use crate::nic::{MAX_TX_FRAGS, TxFrags};
use crate::slab::NIL;
use crate::zbuf::{Frag, FrameHead, Fresh, LEAD_LEN, Pool, ZbufMut};

/// The memory of a fragment was revoked: the stream cannot go on.
#[derive(Debug)]
pub(crate) struct Revoked;

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

impl SendQueue {
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
