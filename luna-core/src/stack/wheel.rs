//! The timing wheel: five levels of 64 slots over ticks of about 33 µs, O(1) to set and cancel, nothing allocated.
//!
//! A connection has at most one entry; it is set to the earliest of the connection's deadlines, and re-set lazily: a
//! deadline that moved later is noticed when the old entry fires. The links are in the connections.

use crate::slab::{NIL, Slab};
use crate::tcp::Connection;
use crate::tcp::connection::NO_SLOT;
use crate::time::Instant;

const TICK_SHIFT: u32 = 15;
const LEVELS: usize = 5;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

type Conns<'m> = Slab<'m, Connection>;

pub(crate) struct Wheel {
    /// Every slot whose tick is at or before this was emptied.
    tick: u64,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    len: u32,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tick: now.as_nanos() >> TICK_SHIFT, heads: [[NIL; SLOTS]; LEVELS], occupied: [0; LEVELS], len: 0 }
    }

    /// Makes sure that `slot` fires at `at` or earlier.
    #[inline]
    pub(crate) fn set(&mut self, conns: &mut Conns<'_>, slot: u32, at: Instant) {
        if at >= conns.at(slot).wheel_at {
            return;
        }
        self.cancel(conns, slot);
        conns.at_mut(slot).wheel_at = at;
        self.place(conns, slot, at);
    }

    /// Rounded up: never early.
    fn place(&mut self, conns: &mut Conns<'_>, slot: u32, at: Instant) {
        let due = (at.as_nanos() >> TICK_SHIFT).saturating_add(1).max(self.tick + 1);
        let delta = due - self.tick;
        let mut level = 0;
        while level < LEVELS - 1 && delta >= 1 << (SLOT_BITS * (level as u32 + 1)) {
            level += 1;
        }
        // What lies beyond the last level waits in its farthest slot and is placed again from there.
        let span = 1u64 << (SLOT_BITS * LEVELS as u32);
        let due = if delta >= span { self.tick + span - 1 } else { due };
        let index = (due >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        let head = self.heads[level][index];
        let c = &mut conns.at_mut(slot).cold;
        c.wheel_prev = NIL;
        c.wheel_next = head;
        c.wheel_slot = (level * SLOTS + index) as u16;
        if head != NIL {
            conns.at_mut(head).cold.wheel_prev = slot;
        }
        self.heads[level][index] = slot;
        self.occupied[level] |= 1 << index;
        self.len += 1;
    }

    /// Takes the entry out, if there is one.
    pub(crate) fn cancel(&mut self, conns: &mut Conns<'_>, slot: u32) {
        let c = &mut conns.at_mut(slot);
        c.wheel_at = Instant::FAR;
        let (place, prev, next) = (c.cold.wheel_slot, c.cold.wheel_prev, c.cold.wheel_next);
        if place == NO_SLOT {
            return;
        }
        c.cold.wheel_slot = NO_SLOT;
        let (level, index) = (place as usize / SLOTS, place as usize % SLOTS);
        if next != NIL {
            conns.at_mut(next).cold.wheel_prev = prev;
        }
        if prev != NIL {
            conns.at_mut(prev).cold.wheel_next = next;
        } else {
            self.heads[level][index] = next;
            if next == NIL {
                self.occupied[level] &= !(1 << index);
            }
        }
        self.len -= 1;
    }

    /// Whether [`Wheel::pop_due`] has nothing at `now`, as far as can be told at once: most turns fall into a tick that was
    /// dealt with.
    #[inline(always)]
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.tick >= now.as_nanos() >> TICK_SHIFT && self.heads[0][self.tick as usize & (SLOTS - 1)] == NIL
    }

    /// The next slot that is due at `now`, taken out; `None` when there is no more. Call until then.
    pub(crate) fn pop_due(&mut self, conns: &mut Conns<'_>, now: Instant) -> Option<u32> {
        let target = now.as_nanos() >> TICK_SHIFT;
        loop {
            let index = self.tick as usize & (SLOTS - 1);
            let head = self.heads[0][index];
            if head != NIL {
                self.cancel(conns, head);
                return Some(head);
            }
            if self.tick >= target {
                return None;
            }
            if self.len == 0 {
                self.tick = target;
                return None;
            }
            self.tick = self.next_tick().min(target).max(self.tick + 1);
            self.cascade(conns);
        }
    }

    /// The next tick at which a slot empties or a higher level comes down.
    fn next_tick(&self) -> u64 {
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let position = (self.tick >> shift) as u32 & (SLOTS as u32 - 1);
            // Slots in the order in which they come up after the current one; the current one last.
            let ahead = self.occupied[level].rotate_right(position + 1).trailing_zeros() + 1;
            let tick = ((self.tick >> shift) + u64::from(ahead)) << shift;
            best = best.min(tick);
        }
        best
    }

    /// Brings entries of higher levels down when the lower one has gone round.
    fn cascade(&mut self, conns: &mut Conns<'_>) {
        for level in (1..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if self.tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let index = (self.tick >> shift) as usize & (SLOTS - 1);
            let mut slot = self.heads[level][index];
            self.heads[level][index] = NIL;
            self.occupied[level] &= !(1 << index);
            while slot != NIL {
                let c = conns.at(slot);
                let (next, at) = (c.cold.wheel_next, c.wheel_at);
                self.len -= 1;
                // `place` looks ahead of the current tick; what is due right now goes to the current slot.
                if (at.as_nanos() >> TICK_SHIFT) < self.tick {
                    self.place_now(conns, slot);
                } else {
                    self.place(conns, slot, at);
                }
                slot = next;
            }
        }
    }

    fn place_now(&mut self, conns: &mut Conns<'_>, slot: u32) {
        let index = self.tick as usize & (SLOTS - 1);
        let head = self.heads[0][index];
        let c = &mut conns.at_mut(slot).cold;
        c.wheel_prev = NIL;
        c.wheel_next = head;
        c.wheel_slot = index as u16;
        if head != NIL {
            conns.at_mut(head).cold.wheel_prev = slot;
        }
        self.heads[0][index] = slot;
        self.occupied[0] |= 1 << index;
        self.len += 1;
    }

    /// Entries in all.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// When the loop must turn again for a timer's sake; never later than the first deadline plus a tick, possibly
    /// earlier (a higher level comes down).
    pub(crate) fn next(&self) -> Instant {
        if self.len == 0 {
            return Instant::FAR;
        }
        Instant::from_nanos(self.next_tick().saturating_mul(1 << TICK_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn conns(n: usize) -> Vec<Connection> {
        (0..n).map(|_| Connection::default()).collect()
    }

    #[test]
    fn fires_in_time_never_early_whatever_the_distance() {
        use proptest::prelude::*;
        proptest!(|(times in proptest::collection::vec(1u64..200_000_000_000, 1..40), step in 10_000u64..3_000_000_000, start in 0u64..u64::MAX / 4)| {
            let mut store = conns(times.len());
            let mut slab = Slab::new(&mut store);
            let start = Instant::from_nanos(start);
            let mut wheel = Wheel::new(start);
            for (i, t) in times.iter().enumerate() {
                wheel.set(&mut slab, i as u32, start + Duration::from_nanos(*t));
            }
            let mut fired = vec![None; times.len()];
            let mut now = start;
            let mut turns = 0u32;
            while fired.iter().any(Option::is_none) {
                let next = wheel.next();
                prop_assert!(next != Instant::FAR);
                // Either as told, or in steps of our own.
                now = if turns.is_multiple_of(2) { now.max(next) } else { now + Duration::from_nanos(step) };
                turns += 1;
                while let Some(slot) = wheel.pop_due(&mut slab, now) {
                    let at = start + Duration::from_nanos(times[slot as usize]);
                    prop_assert!(fired[slot as usize].is_none());
                    prop_assert!(now >= at, "early");
                    fired[slot as usize] = Some(now);
                }
                for (i, t) in times.iter().enumerate() {
                    let late = (start + Duration::from_nanos(*t) + Duration::from_nanos(2 << TICK_SHIFT)) < now;
                    prop_assert!(fired[i].is_some() || !late, "late");
                }
            }
            prop_assert_eq!(wheel.next(), Instant::FAR);
        });
    }

    #[test]
    fn an_earlier_deadline_moves_a_later_one_does_not_and_cancel_removes() {
        let mut store = conns(2);
        let mut slab = Slab::new(&mut store);
        let mut wheel = Wheel::new(Instant::ZERO);
        let ms = |n: u64| Instant::from_nanos(n * 1_000_000);
        wheel.set(&mut slab, 0, ms(100));
        wheel.set(&mut slab, 1, ms(50));
        wheel.set(&mut slab, 0, ms(10));
        wheel.set(&mut slab, 0, ms(500));
        wheel.cancel(&mut slab, 1);
        wheel.cancel(&mut slab, 1);
        assert_eq!(wheel.pop_due(&mut slab, ms(9)), None);
        assert_eq!(wheel.pop_due(&mut slab, ms(11)), Some(0));
        assert_eq!(wheel.pop_due(&mut slab, ms(100_000)), None);
        assert_eq!(wheel.next(), Instant::FAR);
    }
}
