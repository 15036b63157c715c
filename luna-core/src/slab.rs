//! A bounded slab over caller memory: items by index, free ones in a list through the items themselves.
//!
//! Indices are not compared with the length in release builds: that comparison was a tenth of the work per frame. It
//! rests on what the crate does with indices, not on types: they come from [`Slab::alloc`] of the same slab (as do the
//! links between items, which only [`Slab`] and its user's lists write), from a loop below [`Slab::capacity`], or, in
//! a connection's name given by the application, from a look-up that compares with the capacity first. None comes
//! from the wire, [`NIL`] is compared before it is followed, and debug builds check every access.

/// No item.
pub(crate) const NIL: u32 = u32::MAX;

/// What lives in a [`Slab`]: it lends its link to the free list while it is free.
pub(crate) trait Node {
    fn next(&self) -> u32;
    fn set_next(&mut self, next: u32);
}

pub(crate) struct Slab<'m, T> {
    items: &'m mut [T],
    free: u32,
    available: u32,
}

impl<'m, T: Node> Slab<'m, T> {
    pub(crate) fn new(items: &'m mut [T]) -> Self {
        let n = items.len().min(NIL as usize - 1);
        for (i, item) in items.iter_mut().enumerate().take(n) {
            item.set_next(if i + 1 < n { i as u32 + 1 } else { NIL });
        }
        Self { items: &mut items[..n], free: if n == 0 { NIL } else { 0 }, available: n as u32 }
    }

    /// Free items.
    #[inline(always)]
    pub(crate) fn available(&self) -> u32 {
        self.available
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.items.len() as u32
    }

    /// An item, as its last user left it but with no successor.
    #[inline]
    pub(crate) fn alloc(&mut self) -> Option<u32> {
        if self.available == 0 {
            return None;
        }
        self.available -= 1;
        self.alloc_reserved()
    }

    /// Keeps one of the free items, of which there must be one, for [`Slab::alloc_reserved`].
    #[inline(always)]
    pub(crate) fn reserve(&mut self) {
        debug_assert!(self.available > 0);
        self.available -= 1;
    }

    /// What was reserved is not wanted.
    #[inline(always)]
    pub(crate) fn cancel(&mut self) {
        self.available += 1;
    }

    /// An item that was reserved.
    #[inline]
    pub(crate) fn alloc_reserved(&mut self) -> Option<u32> {
        let i = self.free;
        if i == NIL {
            return None;
        }
        let item = self.at_mut(i);
        let next = item.next();
        item.set_next(NIL);
        self.free = next;
        Some(i)
    }

    /// The first free item; each links to the next. [`NIL`] when there is none.
    #[inline(always)]
    pub(crate) fn first_free(&self) -> u32 {
        self.free
    }

    /// Takes the first `count` free items, of which there are as many; `rest` is the one behind them.
    #[inline(always)]
    pub(crate) fn take_chain(&mut self, rest: u32, count: u32) {
        debug_assert!(count <= self.available);
        self.free = rest;
        self.available -= count;
    }

    #[inline]
    pub(crate) fn release(&mut self, i: u32) {
        let free = self.free;
        self.at_mut(i).set_next(free);
        self.free = i;
        self.available += 1;
    }

    /// Frees `count` items, linked from `first` to `last`.
    #[inline]
    pub(crate) fn release_chain(&mut self, first: u32, last: u32, count: u32) {
        let free = self.free;
        self.at_mut(last).set_next(free);
        self.free = first;
        self.available += count;
    }

    /// Whether the free list has as many items as are counted and `reserved`, each once.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn free_list_is_whole(&self, reserved: u32) -> bool {
        let (mut at, mut n) = (self.free, 0);
        let free = self.available + reserved;
        while at != NIL && n <= free {
            let Some(item) = self.items.get(at as usize) else { return false };
            at = item.next();
            n += 1;
        }
        at == NIL && n == free
    }

    /// The item `i`, an index of this slab: one from its [`Slab::alloc`], or one compared with [`Slab::capacity`].
    #[inline(always)]
    pub(crate) fn at(&self, i: u32) -> &T {
        debug_assert!((i as usize) < self.items.len(), "index of another slab");
        // SAFETY: see the head of the file: every index is one of this slab's.
        unsafe { self.items.get_unchecked(i as usize) }
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, i: u32) -> &mut T {
        debug_assert!((i as usize) < self.items.len(), "index of another slab");
        // SAFETY: see the head of the file: every index is one of this slab's.
        unsafe { self.items.get_unchecked_mut(i as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Item(u32);

    impl Node for Item {
        fn next(&self) -> u32 {
            self.0
        }
        fn set_next(&mut self, next: u32) {
            self.0 = next;
        }
    }

    #[test]
    fn what_is_reserved_nobody_else_gets() {
        let mut items: [Item; 2] = Default::default();
        let mut slab = Slab::new(&mut items);
        slab.reserve();
        let other = slab.alloc().unwrap();
        assert_eq!((slab.available(), slab.alloc()), (0, None));
        assert!(slab.free_list_is_whole(1) && !slab.free_list_is_whole(0));
        let mine = slab.alloc_reserved().unwrap();
        assert_ne!(mine, other);
        slab.release(mine);
        slab.release(other);
        slab.reserve();
        slab.cancel();
        assert_eq!(slab.available(), 2);
        assert!(slab.free_list_is_whole(0));
    }
}
