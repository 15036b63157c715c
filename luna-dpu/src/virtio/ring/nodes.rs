//! What the driver remembers of each descriptor, out of the device's reach.

/// Memory of a ring for one descriptor; filled by the ring.
#[derive(Debug)]
pub struct Node<T> {
    obj: Option<T>,
    /// The next one of its chain, or of the free list.
    next: u16,
    /// Of a chain's first: how many it has. 0 for all others.
    chain: u16,
}

impl<T> Node<T> {
    /// An unused one.
    pub const EMPTY: Self = Self { obj: None, next: 0, chain: 0 };
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// All nodes of a ring: chains that the device holds, and a free list. As many as descriptors, a power of two.
pub(super) struct Nodes<'m, T> {
    nodes: &'m mut [Node<T>],
    free_head: u16,
    free: u16,
    in_flight: u16,
}

impl<'m, T> Nodes<'m, T> {
    pub(super) fn new(nodes: &'m mut [Node<T>]) -> Self {
        let count = nodes.len() as u16;
        for (i, node) in nodes.iter_mut().enumerate() {
            // What it held is forgotten, not dropped: a device may have it.
            core::mem::forget(node.obj.take());
            *node = Node { next: (i as u16 + 1) % count, ..Node::EMPTY };
        }
        Self { nodes, free_head: 0, free: count, in_flight: 0 }
    }

    #[inline(always)]
    fn at(&mut self, i: u16) -> &mut Node<T> {
        // A mask makes every index one of theirs, without a panic in sight: there is at least one.
        let mask = self.nodes.len() - 1;
        &mut self.nodes[usize::from(i) & mask]
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    #[inline(always)]
    pub(super) fn free(&self) -> usize {
        usize::from(self.free)
    }

    #[inline(always)]
    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Takes a node off the free list, which is not empty.
    #[inline(always)]
    pub(super) fn begin(&mut self) -> u16 {
        let id = self.free_head;
        self.free_head = self.at(id).next;
        self.free -= 1;
        id
    }

    #[inline(always)]
    pub(super) fn hold(&mut self, id: u16, obj: T) {
        self.at(id).obj = Some(obj);
    }

    #[inline(always)]
    pub(super) fn link(&mut self, from: u16, to: u16) {
        self.at(from).next = to;
    }

    /// The chain that begins with `head` is complete.
    #[inline(always)]
    pub(super) fn end(&mut self, head: u16, count: u16) {
        self.at(head).chain = count;
        self.in_flight += 1;
    }

    /// Frees the chain that begins with `id` and hands over its objs. `None`, and nothing done, when none begins there.
    #[inline(always)]
    pub(super) fn release(&mut self, id: u32, mut each: impl FnMut(T)) -> Option<u16> {
        let head = u16::try_from(id).ok().filter(|&id| usize::from(id) < self.nodes.len())?;
        let count = core::mem::take(&mut self.at(head).chain);
        if count == 0 {
            return None;
        }
        let mut at = head;
        for i in 1..=count {
            let free_head = self.free_head;
            let node = self.at(at);
            if let Some(obj) = node.obj.take() {
                each(obj);
            }
            if i == count {
                node.next = free_head;
            } else {
                at = node.next;
            }
        }
        self.free_head = head;
        self.free += count;
        self.in_flight -= 1;
        Some(count)
    }

    /// Hands over all objs.
    pub(super) fn drain(&mut self, mut each: impl FnMut(T)) {
        for i in 0..self.nodes.len() {
            self.release(i as u32, &mut each);
        }
    }
}
