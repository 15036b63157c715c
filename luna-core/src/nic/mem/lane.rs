//! One direction of the in-memory link: a ring of slots, as a NIC's descriptor ring is. The receiver posts an empty obj in a
//! slot, the sender fills it there, the receiver takes it out and posts the next one in its place.
//!
//! A slot belongs to the sender while its flag says so, else to the receiver: one flag per slot and no shared indices.
//! Generic over what is posted only so that the model checker can post something simpler.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, Ordering};
#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};

/// Slots; two for the model checker, which tries every interleaving.
const SLOTS: usize = if cfg!(loom) { 2 } else { super::MEM_RING };
const _: () = assert!(SLOTS.is_power_of_two());

/// The standard cell with loom's interface.
#[cfg(not(loom))]
struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Its alignment makes an index a shift.
#[repr(align(32))]
struct Slot<T> {
    obj: UnsafeCell<Option<T>>,
    /// The sender may fill it; then `obj` is `Some`.
    posted: AtomicBool,
}

/// The slots.
pub(super) struct Lane<T> {
    slots: [Slot<T>; SLOTS],
}

// SAFETY: `obj` is touched by one side at a time: by the only `Sender` while `posted` is true, else by the only
// `Receiver`; the flag is stored with release and loaded with acquire ordering.
unsafe impl<T: Send> Sync for Lane<T> {}

impl<T> Lane<T> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { slots: [const { Slot { obj: UnsafeCell::new(None), posted: AtomicBool::new(false) } }; SLOTS] }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { slots: [(); SLOTS].map(|()| Slot { obj: UnsafeCell::new(None), posted: AtomicBool::new(false) }) }
    }

    /// The two sides. `&mut` makes them the only ones.
    pub(super) fn split(&mut self) -> (Sender<'_, T>, Receiver<'_, T>) {
        for slot in &self.slots {
            slot.posted.store(false, Ordering::Relaxed);
            // SAFETY: `&mut self`: no side exists.
            slot.obj.with_mut(|obj| unsafe { *obj = None });
        }
        (Sender { lane: self, at: 0 }, Receiver { lane: self, head: 0, missing: SLOTS as u32 })
    }

    #[inline(always)]
    fn slot(&self, i: u32) -> &Slot<T> {
        &self.slots[i as usize % SLOTS]
    }
}

/// Fills what is posted.
pub(super) struct Sender<'l, T> {
    lane: &'l Lane<T>,
    at: u32,
}

impl<T> Sender<'_, T> {
    /// Lets `fill` fill the next posted obj. False when none is posted or `fill` refuses the obj, which stays posted.
    #[inline(always)]
    pub(super) fn send(&mut self, fill: impl FnOnce(&mut T) -> bool) -> bool {
        let slot = self.lane.slot(self.at);
        if !slot.posted.load(Ordering::Acquire) {
            return false;
        }
        // SAFETY: posted, so it is `Some`, and the sender's, of which there is one, borrowed mutably.
        let filled = slot.obj.with_mut(|obj| unsafe { fill((*obj).as_mut().unwrap_unchecked()) });
        if filled {
            slot.posted.store(false, Ordering::Release);
            self.at = self.at.wrapping_add(1);
        }
        filled
    }
}

/// Posts objs and takes them when they are filled.
///
/// The slots from `head` on are posted or filled, but for the last `missing` of the ring: these hold `None`.
pub(super) struct Receiver<'l, T> {
    lane: &'l Lane<T>,
    /// The oldest slot posted.
    head: u32,
    /// Slots without an obj.
    missing: u32,
}

impl<T> Receiver<'_, T> {
    /// The next filled obj.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        let slot = self.lane.slot(self.head);
        if slot.posted.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: not posted, so it is the receiver's, of which there is one, borrowed mutably. Never posted: `None`.
        let obj = slot.obj.with_mut(|obj| unsafe { (*obj).take() })?;
        self.head = self.head.wrapping_add(1);
        self.missing += 1;
        Some(obj)
    }

    /// The next filled obj, and whether another one, `fresh`, is posted for it: in its place when the ring is full, as
    /// it nearly always is, else behind the newest.
    #[inline(always)]
    pub(super) fn exchange(&mut self, fresh: impl FnOnce() -> Option<T>) -> Option<(T, bool)> {
        let slot = self.lane.slot(self.head);
        if slot.posted.load(Ordering::Acquire) {
            return None;
        }
        if self.missing != 0 {
            return self.exchange_apart(fresh);
        }
        let fresh = fresh();
        let posted = fresh.is_some();
        // SAFETY: not posted, so it is the receiver's, of which there is one, borrowed mutably; none is missing, so it
        // was posted before: `Some`. The old value is read and overwritten without dropping.
        let obj = slot.obj.with_mut(|obj| unsafe {
            let old = obj.read().unwrap_unchecked();
            obj.write(fresh);
            old
        });
        self.head = self.head.wrapping_add(1);
        if posted {
            slot.posted.store(true, Ordering::Release);
        } else {
            self.missing = 1;
        }
        Some((obj, posted))
    }

    #[cold]
    #[inline(never)]
    fn exchange_apart(&mut self, fresh: impl FnOnce() -> Option<T>) -> Option<(T, bool)> {
        let obj = self.take()?;
        let fresh = fresh();
        let posted = fresh.is_some();
        if let Some(fresh) = fresh {
            self.post(fresh);
        }
        Some((obj, posted))
    }

    /// Whether another obj can be posted.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.missing != 0
    }

    /// Posts an obj; without room it is dropped.
    #[inline]
    pub(super) fn post(&mut self, fresh: T) {
        if !self.has_room() {
            return;
        }
        // The ring's length is left out: a multiple of it.
        let slot = self.lane.slot(self.head.wrapping_sub(self.missing));
        // SAFETY: without an obj and so not posted: it is the receiver's, of which there is one, borrowed mutably.
        slot.obj.with_mut(|obj| unsafe { *obj = Some(fresh) });
        slot.posted.store(true, Ordering::Release);
        self.missing -= 1;
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    /// The sender numbers what it fills while the receiver takes and posts again: all arrive once and in order, and no
    /// slot is touched by both sides.
    #[test]
    fn filled_objs_arrive_once_and_in_order() {
        loom::model(|| {
            let lane: &'static mut Lane<u32> = Box::leak(Box::new(Lane::new()));
            let (mut tx, mut rx) = lane.split();
            rx.post(100);
            rx.post(100);
            let sender = loom::thread::spawn(move || {
                let mut sent = 0;
                for _ in 0..3 {
                    sent += u32::from(tx.send(|obj| {
                        *obj = sent;
                        true
                    }));
                }
                sent
            });
            let mut seen = Vec::new();
            // Lets the sender run first: of its loads and stores loom notices only the last as racing with a load of
            // ours that came before, and would explore a single execution.
            loom::thread::yield_now();
            // Once in its place, once behind (the first left a slot without obj), as far as the sender got.
            seen.extend(rx.exchange(|| Some(100)).map(|(n, _)| n));
            seen.extend(rx.exchange(|| None).map(|(n, _)| n));
            seen.extend(rx.exchange(|| Some(100)).map(|(n, _)| n));
            let sent = sender.join().unwrap();
            while let Some(n) = rx.take() {
                seen.push(n);
            }
            assert!(sent >= 2, "two were posted");
            assert_eq!(seen, (0..sent).collect::<Vec<_>>());
        });
    }
}
