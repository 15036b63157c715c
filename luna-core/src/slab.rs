//! A bounded slab over caller memory: items by index, free ones in a list through the items themselves.

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
        Self { items, free: if n == 0 { NIL } else { 0 }, available: n as u32 }
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
        let i = self.free;
        if i == NIL {
            return None;
        }
        let item = &mut self.items[i as usize];
        self.free = item.next();
        item.set_next(NIL);
        self.available -= 1;
        Some(i)
    }

    #[inline]
    pub(crate) fn release(&mut self, i: u32) {
        self.items[i as usize].set_next(self.free);
        self.free = i;
        self.available += 1;
    }

    /// Frees `count` items, linked from `first` to `last`.
    #[inline]
    pub(crate) fn release_chain(&mut self, first: u32, last: u32, count: u32) {
        self.items[last as usize].set_next(self.free);
        self.free = first;
        self.available += count;
    }

    /// Indices come from [`Slab::alloc`] only, never from the wire.
    #[inline(always)]
    pub(crate) fn at(&self, i: u32) -> &T {
        &self.items[i as usize]
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, i: u32) -> &mut T {
        &mut self.items[i as usize]
    }
}
