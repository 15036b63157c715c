//! Room for small things to send, many to an obj: heads of messages, and messages that are small as a whole.
//!
//! An [`Arena`] fills one obj from its front. What was written becomes a [`Frag`] with a reference of its own; two that were
//! written one behind the other can be one. The obj goes home with the last of them, once the arena has gone on to another.
//! Bytes behind the arena's mark belong to it alone, those before it to the fragments: nobody writes what anybody reads.

use core::ptr::NonNull;

use super::frag::Frag;
use super::handle::{add_reference, drop_reference, references};
use super::head::LEAD_LEN;
use super::pool::Pool;

/// No obj.
const NONE: u32 = u32::MAX;

/// The obj being filled, of a pool that outlives it. Holds one reference, if there is an obj.
pub(crate) struct Arena {
    /// The first byte not written.
    at: NonNull<u8>,
    room: u32,
    obj: u32,
    /// The obj's first byte, and how many it has.
    start: NonNull<u8>,
    size: u32,
}

/// Some bytes at an arena's mark, to be written and then kept.
pub(crate) struct Room<'a> {
    arena: &'a mut Arena,
    len: u32,
    /// They are the first in their obj, behind room for headers.
    leads: bool,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { at: NonNull::dangling(), room: 0, obj: NONE, start: NonNull::dangling(), size: 0 }
    }

    /// Room for `len` bytes, in another obj of `pool` if this one has no more; `None` when there is none or it is too small.
    #[inline(always)]
    pub(crate) fn room(&mut self, pool: &Pool, len: u32) -> Option<Room<'_>> {
        if len > self.room {
            self.renew(pool, 0, len)?;
        }
        Some(Room { arena: self, len, leads: false })
    }

    /// Room for `len` bytes in another obj of `pool`, with [`LEAD_LEN`] bytes before them: for what is likely to be the
    /// beginning of a frame.
    #[inline(always)]
    pub(crate) fn leading_room(&mut self, pool: &Pool, len: u32) -> Option<Room<'_>> {
        if self.is_alone() && len <= self.size - LEAD_LEN as u32 {
            // What was written has been sent and acknowledged: the obj begins anew.
            // SAFETY: an obj in hand has room for a lead at least.
            self.at = unsafe { self.start.add(LEAD_LEN) };
            self.room = self.size - LEAD_LEN as u32;
        } else {
            self.renew(pool, LEAD_LEN as u32, len)?;
        }
        Some(Room { arena: self, len, leads: true })
    }

    /// How many bytes there is room for in the present obj.
    #[inline(always)]
    pub(crate) fn left(&self) -> u32 {
        self.room
    }

    /// Room for `len` bytes in the present obj; `None` when there is no more.
    #[inline(always)]
    pub(crate) fn rest(&mut self, len: u32) -> Option<Room<'_>> {
        (len <= self.room).then_some(Room { arena: self, len, leads: false })
    }

    /// Makes the last `len` bytes that were written part of `frag`. False, and nothing done, unless they stand right behind
    /// it.
    #[inline]
    pub(crate) fn join(&self, frag: &mut Frag, len: u32) -> bool {
        let start = self.at.as_ptr().wrapping_sub(len as usize);
        let behind = NonNull::new(start).is_some_and(|start| frag.ends_at(start, self.obj));
        if behind {
            // SAFETY: it ends `len` bytes before the mark, in the arena's obj: those bytes were written once, and nobody
            // writes before the mark.
            unsafe { frag.grow(len) };
        }
        behind
    }

    /// An obj with `skip` bytes before the mark and at least `len` behind it.
    #[inline(never)]
    fn renew(&mut self, pool: &Pool, skip: u32, len: u32) -> Option<()> {
        let size = pool.data_capacity();
        let room = size.checked_sub(skip).filter(|room| *room >= len)?;
        let (start, _, obj) = pool.alloc()?.into_obj_parts();
        self.give_back();
        // SAFETY: less than the obj has, as just seen.
        *self = Self { at: unsafe { start.add(skip as usize) }, room, obj, start, size };
        Some(())
    }

    /// Whether there is an obj that nobody else holds, with room for a lead.
    #[inline(always)]
    fn is_alone(&self) -> bool {
        // SAFETY: the arena holds a reference to its obj.
        self.size > LEAD_LEN as u32 && unsafe { references(self.start, self.obj) } == 1
    }

    /// Holds no obj any more: whoever sends nothing keeps no memory.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        if self.obj != NONE {
            // SAFETY: an address in the obj, which is known by its index; the arena's reference, dropped once.
            unsafe { drop_reference(self.start, self.obj) };
        }
        // Not dropped: its reference is gone.
        core::mem::forget(core::mem::replace(self, Self::new()));
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Room<'_> {
    /// How many bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The bytes, with whatever they held.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `len` bytes of the arena's obj behind everything that was made a fragment, initialised since the pool was
        // made, and borrowed with the arena.
        unsafe { core::slice::from_raw_parts_mut(self.arena.at.as_ptr(), self.len as usize) }
    }

    #[inline(always)]
    fn advance(&mut self) {
        // SAFETY: `len` is at most the arena's room, so this is at most the obj's end.
        self.arena.at = unsafe { self.arena.at.add(self.len as usize) };
        self.arena.room -= self.len;
    }

    /// Keeps the bytes: a protocol head, if `header` (see [`Frag::header`]).
    #[inline(always)]
    pub(crate) fn into_frag(mut self, header: bool) -> Frag {
        let (at, obj) = (self.arena.at, self.arena.obj);
        self.advance();
        // SAFETY: the arena holds a reference to its obj, and `len` bytes from `at` are inside it.
        unsafe {
            add_reference(at, obj);
            let frag = Frag::of_obj(at, self.len, obj, header);
            // The first of its obj, as the arena was just made anew with nothing before the mark but room.
            if self.leads { frag.with_lead() } else { frag }
        }
    }

    /// Keeps the bytes for [`Arena::join`].
    #[inline(always)]
    pub(crate) fn leave(mut self) {
        self.advance();
    }

    /// Whether the bytes stand right behind those of `frag`.
    #[inline(always)]
    pub(crate) fn continues(&self, frag: &Frag) -> bool {
        frag.ends_at(self.arena.at, self.arena.obj)
    }

    /// Keeps the bytes as part of `frag`, which they continue.
    #[inline(always)]
    pub(crate) fn extend(mut self, frag: &mut Frag) {
        debug_assert!(self.continues(frag));
        // SAFETY: the bytes behind it are `len` of the same obj.
        unsafe { frag.grow(self.len) };
        self.advance();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn write(arena: &mut Arena, pool: &Pool, bytes: &[u8]) -> Option<Frag> {
        let mut room = arena.room(pool, bytes.len() as u32)?;
        room.bytes().copy_from_slice(bytes);
        Some(room.into_frag(false))
    }

    #[test]
    fn pieces_share_an_obj_which_goes_home_with_the_last_of_them() {
        let pool = testing::pool(1, 256);
        let mut arena = Arena::new();
        let frags: Vec<_> = (0..5u8).map(|i| write(&mut arena, &pool, &[i; 60]).unwrap()).collect();
        assert_eq!(pool.outstanding(), 2, "four fit one obj");
        for (i, frag) in frags.iter().enumerate() {
            assert_eq!(frag.bytes(), Some(&[i as u8; 60][..]));
        }
        drop(frags);
        assert_eq!(pool.outstanding(), 1, "the one being filled");
        arena.give_back();
        assert_eq!(pool.outstanding(), 0);
        arena.give_back();
        let full = write(&mut arena, &pool, &[9; 256]).unwrap();
        drop(arena);
        assert_eq!((full.bytes(), pool.outstanding()), (Some(&[9; 256][..]), 1), "filled to its end");
        drop(full);
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn what_continues_a_piece_joins_it_and_nothing_else_does() {
        let pool = testing::pool(1, 128);
        let mut arena = Arena::new();
        let mut first = write(&mut arena, &pool, &[1; 40]).unwrap();
        let mut room = arena.room(&pool, 40).unwrap();
        assert!(room.continues(&first));
        room.bytes().fill(2);
        room.extend(&mut first);
        assert_eq!(first.bytes(), Some(&[[1; 40], [2; 40]].concat()[..]));
        let second = write(&mut arena, &pool, &[3; 40]).unwrap();
        assert!(!arena.room(&pool, 8).unwrap().continues(&first), "something else is in between");
        assert!(arena.room(&pool, 8).unwrap().continues(&second));
        assert!(!arena.room(&pool, 80).unwrap().continues(&second), "another obj");
        assert!(arena.room(&pool, 129).is_none(), "no obj is that large");
    }

    #[test]
    fn what_was_left_behind_a_piece_joins_it_later_and_nothing_else_does() {
        let pool = testing::pool(1, 128);
        let mut arena = Arena::new();
        assert!(arena.rest(1).is_none(), "no obj yet");
        let mut first = write(&mut arena, &pool, &[1; 40]).unwrap();
        for byte in [2, 3] {
            let mut room = arena.rest(20).unwrap();
            room.bytes().fill(byte);
            room.leave();
        }
        assert!(!arena.join(&mut first, 39) && !arena.join(&mut first, 41), "not right behind it");
        assert!(arena.join(&mut first, 40));
        assert_eq!(first.bytes(), Some(&[&[1; 40][..], &[2; 20], &[3; 20]].concat()[..]));
        assert_eq!((arena.left(), arena.rest(49).is_none()), (48, true));
        drop((first, arena));
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn what_leads_begins_the_obj_anew_once_nobody_holds_what_was_written() {
        let pool = testing::pool(1, 256);
        let mut arena = Arena::new();
        let lead = |arena: &mut Arena, byte| {
            let mut room = arena.leading_room(&pool, 100).unwrap();
            room.bytes().fill(byte);
            room.into_frag(false)
        };
        let first = lead(&mut arena, 1);
        let at = first.io_addr();
        let second = lead(&mut arena, 2);
        assert_ne!(second.io_addr(), at, "the first is still held");
        assert_eq!((first.bytes(), pool.outstanding()), (Some(&[1; 100][..]), 2));
        let at = second.io_addr();
        drop(second);
        let third = lead(&mut arena, 3);
        assert_eq!((third.io_addr(), arena.left()), (at, 256 - LEAD_LEN as u32 - 100));
        assert!(arena.leading_room(&pool, 191).is_none(), "with the headers it does not fit");
        drop((first, third, arena));
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn without_objs_there_is_no_room() {
        let pool = testing::pool(1, 256);
        let mut arena = Arena::new();
        let first = write(&mut arena, &pool, &[1; 200]).unwrap();
        let all = testing::drain(&pool);
        assert!(arena.room(&pool, 57).is_none());
        assert!(write(&mut arena, &pool, &[2; 56]).is_some(), "what there was is still there");
        drop((first, all, arena));
        assert_eq!(pool.outstanding(), 0);
    }
}
