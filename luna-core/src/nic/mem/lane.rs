//! One direction of the in-memory link: a ring of slots, as a NIC's descriptor ring is. The receiver posts an empty obj in a
//! slot, the sender fills it there, the receiver takes it out and posts the next one in its place.
//!
//! A slot belongs to the sender while its flag says so, else to the receiver: one flag per slot and no shared indices.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use super::MEM_RING;
use crate::zbuf::Parcel;

const _: () = assert!(MEM_RING.is_power_of_two());

struct Slot {
    /// The sender may fill it.
    posted: AtomicBool,
    parcel: UnsafeCell<Option<Parcel>>,
}

/// The slots.
pub(super) struct Lane {
    slots: [Slot; MEM_RING],
}

// SAFETY: `parcel` is touched by one side at a time: by the only `Sender` while `posted` is true, else by the only
// `Receiver`; the flag is stored with release and loaded with acquire ordering. A Parcel is Send.
unsafe impl Sync for Lane {}

impl Lane {
    pub(super) const fn new() -> Self {
        const SLOT: Slot = Slot { posted: AtomicBool::new(false), parcel: UnsafeCell::new(None) };
        Self { slots: [SLOT; MEM_RING] }
    }

    /// The two sides. `&mut` makes them the only ones.
    pub(super) fn split(&mut self) -> (Sender<'_>, Receiver<'_>) {
        for slot in &mut self.slots {
            *slot.posted.get_mut() = false;
            *slot.parcel.get_mut() = None;
        }
        (Sender { lane: self, at: 0 }, Receiver { lane: self, head: 0, end: 0 })
    }

    #[inline(always)]
    fn slot(&self, i: u32) -> &Slot {
        &self.slots[i as usize % MEM_RING]
    }
}

/// Fills what is posted.
pub(super) struct Sender<'l> {
    lane: &'l Lane,
    at: u32,
}

impl Sender<'_> {
    /// Lets `fill` fill the next posted obj. `None` when none is posted; an obj that `fill` refuses stays posted.
    #[inline(always)]
    pub(super) fn send(&mut self, fill: impl FnOnce(&mut Parcel) -> bool) -> Option<bool> {
        let slot = self.lane.slot(self.at);
        if !slot.posted.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: posted, so it is the sender's, of which there is one, borrowed mutably.
        let parcel = unsafe { &mut *slot.parcel.get() };
        let filled = fill(parcel.as_mut()?);
        if filled {
            slot.posted.store(false, Ordering::Release);
            self.at = self.at.wrapping_add(1);
        }
        Some(filled)
    }
}

/// Posts objs and takes them when they are filled.
pub(super) struct Receiver<'l> {
    lane: &'l Lane,
    /// The oldest slot posted.
    head: u32,
    /// Behind the newest.
    end: u32,
}

impl Receiver<'_> {
    /// The next filled obj.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Parcel> {
        let slot = self.lane.slot(self.head);
        if self.head == self.end || slot.posted.load(Ordering::Acquire) {
            return None;
        }
        self.head = self.head.wrapping_add(1);
        // SAFETY: not posted any more, so it is the receiver's, of which there is one, borrowed mutably.
        unsafe { &mut *slot.parcel.get() }.take()
    }

    /// Whether another obj can be posted.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.end.wrapping_sub(self.head) < MEM_RING as u32
    }

    /// Posts an obj; without room it is dropped.
    #[inline(always)]
    pub(super) fn post(&mut self, parcel: Parcel) {
        if !self.has_room() {
            return;
        }
        let slot = self.lane.slot(self.end);
        // SAFETY: outside of what is posted, so it is the receiver's, of which there is one, borrowed mutably.
        unsafe { *slot.parcel.get() = Some(parcel) };
        slot.posted.store(true, Ordering::Release);
        self.end = self.end.wrapping_add(1);
    }
}
