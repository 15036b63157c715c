//! Connections that wait for their pace: a ring of places of about a microsecond each, finer than the timer wheel, which
//! turns in ticks of 33 µs. The wheel is for what lies beyond the ring; the links are in the pooled controllers.

use super::Stack;
use crate::nic::NicQueue;
use crate::slab::NIL;
use crate::tcp::congestion::{Controls, Pacer};
use crate::time::{Duration, Instant};

const SHIFT: u32 = 10;
const PLACES: usize = 64;

pub(crate) struct PaceRing {
    heads: [u32; PLACES],
    occupied: u64,
    /// Every place before this tick is empty.
    tick: u64,
}

impl PaceRing {
    /// What is due later than this from now is for the timer wheel.
    pub(crate) const HORIZON: Duration = Duration::from_nanos(((PLACES as u64) - 2) << SHIFT);

    pub(crate) fn new(now: Instant) -> Self {
        Self { heads: [NIL; PLACES], occupied: 0, tick: now.as_nanos() >> SHIFT }
    }

    /// Whether nobody waits.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Control `i` waits until its `next_send`, which is within the horizon of `now`.
    pub(crate) fn wait(&mut self, controls: &mut Controls<'_>, i: u32, now: Instant) {
        let pacer = &mut controls.at_mut(i).pacer;
        if pacer.place != Pacer::NOWHERE {
            return;
        }
        if self.occupied == 0 {
            self.tick = self.tick.max(now.as_nanos() >> SHIFT);
        }
        // Rounded up: never early. Nothing is ahead of the ring: entries are due within it.
        let due = (pacer.next_send.as_nanos().div_ceil(1 << SHIFT)).clamp(self.tick, self.tick + PLACES as u64 - 1);
        let place = due as usize % PLACES;
        pacer.place = place as u8;
        pacer.link = self.heads[place];
        self.heads[place] = i;
        self.occupied |= 1 << place;
    }

    /// Takes control `i` out, if it waits.
    pub(crate) fn cancel(&mut self, controls: &mut Controls<'_>, i: u32) {
        let pacer = &mut controls.at_mut(i).pacer;
        let (place, link) = (pacer.place, pacer.link);
        if place == Pacer::NOWHERE {
            return;
        }
        pacer.place = Pacer::NOWHERE;
        let place = usize::from(place) % PLACES;
        if self.heads[place] == i {
            self.heads[place] = link;
            if link == NIL {
                self.occupied &= !(1 << place);
            }
            return;
        }
        let mut at = self.heads[place];
        while at != NIL {
            let before = &mut controls.at_mut(at).pacer;
            if before.link == i {
                before.link = link;
                return;
            }
            at = before.link;
        }
    }

    /// The next connection that is due at `now`, taken out.
    fn pop_due(&mut self, controls: &mut Controls<'_>, now: Instant) -> Option<u32> {
        let target = now.as_nanos() >> SHIFT;
        loop {
            let place = self.next_tick()?;
            if place > target {
                self.tick = self.tick.max(target);
                return None;
            }
            self.tick = place;
            let head = self.heads[place as usize % PLACES];
            if head == NIL {
                // Emptied by `cancel` meanwhile.
                self.occupied &= !(1 << (place as usize % PLACES));
                continue;
            }
            self.cancel(controls, head);
            return Some(controls.at(head).pacer.conn);
        }
    }

    fn next_tick(&self) -> Option<u64> {
        let ahead = self.occupied.rotate_right((self.tick % PLACES as u64) as u32);
        (ahead != 0).then(|| self.tick + u64::from(ahead.trailing_zeros()))
    }

    /// When the first is due; [`Instant::FAR`] when nobody waits.
    pub(crate) fn next(&self) -> Instant {
        self.next_tick().map_or(Instant::FAR, |tick| Instant::from_nanos(tick.saturating_mul(1 << SHIFT)))
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Whose pace allows more now.
    #[cold]
    pub(super) fn resume_paced(&mut self) {
        while let Some(slot) = self.pace.pop_due(&mut self.controls, self.now) {
            self.mark_dirty(slot);
        }
    }

    /// New data of a paced connection must wait: it is put where it wakes in time. False: it may go.
    #[cold]
    pub(super) fn must_wait(&mut self, slot: u32) -> bool {
        let c = self.conns.at(slot);
        if !c.cold.modes.paced() {
            return false;
        }
        let at = self.controls.at(c.cold.control).pacer.next_send;
        if at <= self.now {
            return false;
        }
        self.counters.paced += 1;
        self.controls.at_mut(c.cold.control).pacer.waits = true;
        let control = c.cold.control;
        if at.since(self.now) <= PaceRing::HORIZON {
            self.pace.wait(&mut self.controls, control, self.now);
        } else {
            // From there on the ring is exact.
            let soon = Instant::from_nanos(at.as_nanos() - PaceRing::HORIZON.as_nanos());
            self.wheel.set(&mut self.conns, slot, soon);
        }
        true
    }

    /// `bytes` of new data left.
    #[cold]
    pub(super) fn pace(&mut self, slot: u32, bytes: u32) {
        let c = self.conns.at(slot);
        if c.cold.modes.paced()
            && let Some(rate) = c.pacing_rate(&self.controls)
        {
            self.controls.at_mut(c.cold.control).pacer.sent(self.now, bytes, rate);
        }
    }

    /// The controller of a connection that ends goes back to its pool.
    #[cold]
    pub(super) fn release_control(&mut self, slot: u32) {
        let c = self.conns.at_mut(slot);
        if c.flags.controlled() {
            self.pace.cancel(&mut self.controls, c.cold.control);
            c.release_control(&mut self.controls);
        }
    }
}

#[cfg(test)]
mod tests;
