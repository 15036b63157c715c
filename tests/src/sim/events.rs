//! The event queue: one order of all that happens, by time and then by the order of being asked for.

use core::cmp::Ordering;
use std::collections::BinaryHeap;

/// Virtual time in nanoseconds since the run began.
pub type Time = u64;

struct Entry<E> {
    at: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives its greatest: the earliest is that.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Events to come, and the clock.
pub struct Events<E> {
    heap: BinaryHeap<Entry<E>>,
    now: Time,
    order: u64,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), now: 0, order: 0 }
    }
}

impl<E> Events<E> {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Adds an event, at the earliest now.
    pub fn at(&mut self, at: Time, event: E) {
        self.order += 1;
        self.heap.push(Entry { at: at.max(self.now), order: self.order, event });
    }

    /// Adds an event `delay` from now.
    pub fn after(&mut self, delay: Time, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// When the next event is.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Lets time pass up to `at`, but not past an event.
    pub fn skip_to(&mut self, at: Time) {
        let limit = self.next_at().map_or(at, |next| next.min(at));
        self.now = self.now.max(limit);
    }

    /// Takes the next event and lets its time come.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_order() {
        let mut q = Events::default();
        q.at(5, 'c');
        q.at(1, 'a');
        q.at(5, 'd');
        q.at(3, 'b');
        let mut seen = Vec::new();
        while let Some(e) = q.pop() {
            seen.push((q.now(), e));
            if e == 'b' {
                q.after(1, 'x');
                q.at(0, 'y');
            }
        }
        assert_eq!(seen, [(1, 'a'), (3, 'b'), (3, 'y'), (4, 'x'), (5, 'c'), (5, 'd')]);
    }
}
