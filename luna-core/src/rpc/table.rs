//! Slots in the caller's memory, named by (slot, generation): a name that was given back never finds somebody else's.

/// End of the free list.
const NONE: u32 = u32::MAX;
/// Most slots of a table: a name has 16 bits for them.
pub const MAX_SLOTS: usize = 1 << 16;
const ONE_GENERATION: u64 = 1 << 32;
/// A name's part that only its table has, for names that are not mixed up with those of another.
const TAG_BITS: u32 = 16;

/// One entry of a table in the caller's memory; starts as [`Default`].
#[derive(Clone, Copy, Debug)]
pub struct Slot<T> {
    /// generation:32 slot:16 tag:16, of the present or the last user.
    name: u64,
    next_free: u32,
    live: bool,
    value: T,
}

impl<T: Default> Default for Slot<T> {
    fn default() -> Self {
        Self { name: 0, next_free: NONE, live: false, value: T::default() }
    }
}

/// A name without its table's tag: 48 bits, what a peer needs to know of it.
#[inline(always)]
pub(super) const fn untagged(name: u64) -> u64 {
    name >> TAG_BITS
}

#[inline(always)]
const fn slot_of(name: u64) -> usize {
    (untagged(name) & 0xffff) as usize
}

/// A bounded set of `T`, O(1) by name.
#[derive(Debug)]
pub(super) struct Table<'m, T> {
    slots: &'m mut [Slot<T>],
    free: u32,
    live: u32,
    tag: u16,
}

impl<'m, T: Copy> Table<'m, T> {
    /// Takes over `slots` (at most [`MAX_SLOTS`] of them are used), whatever they held. `tag` becomes part of every name.
    pub(super) fn new(slots: &'m mut [Slot<T>], tag: u16) -> Self {
        let used = slots.len().min(MAX_SLOTS);
        let slots = slots.split_at_mut(used).0;
        for (i, slot) in slots.iter_mut().enumerate() {
            slot.name = u64::from(tag) | (i as u64) << TAG_BITS;
            slot.next_free = if i + 1 < used { i as u32 + 1 } else { NONE };
            slot.live = false;
        }
        Self { slots, free: if used == 0 { NONE } else { 0 }, live: 0, tag }
    }

    /// The memory.
    pub(super) fn into_slots(self) -> &'m mut [Slot<T>] {
        self.slots
    }

    /// Live entries.
    #[inline]
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// The name that a peer knows as `id`.
    #[inline(always)]
    pub(super) fn tagged(&self, id: u64) -> u64 {
        id << TAG_BITS | u64::from(self.tag)
    }

    /// Stores `value`; `None` when the table is full.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> Option<u64> {
        let slot = self.slots.get_mut(self.free as usize)?;
        slot.name = slot.name.wrapping_add(ONE_GENERATION);
        slot.value = value;
        slot.live = true;
        self.free = slot.next_free;
        self.live += 1;
        Some(slot.name)
    }

    #[inline]
    fn slot_mut(&mut self, name: u64) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(slot_of(name))?;
        (slot.live && slot.name == name).then_some(slot)
    }

    #[inline]
    pub(super) fn get(&self, name: u64) -> Option<&T> {
        let slot = self.slots.get(slot_of(name))?;
        (slot.live && slot.name == name).then_some(&slot.value)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, name: u64) -> Option<&mut T> {
        self.slot_mut(name).map(|slot| &mut slot.value)
    }

    /// Frees the slot; the name is stale from now on.
    #[inline]
    pub(super) fn remove(&mut self, name: u64) -> Option<T> {
        self.remove_if(name, |_| true)
    }

    /// [`Table::remove`], unless `want` says no.
    #[inline(always)]
    pub(super) fn remove_if(&mut self, name: u64, want: impl FnOnce(&T) -> bool) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(name).filter(|slot| want(&slot.value))?;
        slot.live = false;
        slot.next_free = free;
        let value = slot.value;
        self.free = slot_of(name) as u32;
        self.live -= 1;
        Some(value)
    }

    /// Slots, used or not: the bound of [`Table::at`].
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What lives in slot `i`: for scans that call out between two entries.
    pub(super) fn at(&self, i: usize) -> Option<(u64, &T)> {
        let slot = self.slots.get(i)?;
        slot.live.then_some((slot.name, &slot.value))
    }

    /// The name of the first entry for which `want` holds.
    pub(super) fn find(&self, want: impl Fn(&T) -> bool) -> Option<u64> {
        self.slots.iter().find(|s| s.live && want(&s.value)).map(|s| s.name)
    }
}

#[cfg(test)]
mod tests;
