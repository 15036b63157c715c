//! Where all cores of an image come together, off the packet path: nothing else makes one wait for another.
//!
//! Cores share a device, each with queues of its own. When it must be reset, all of them let go of it first, and touch it
//! again only when it goes. Who notices calls; everybody looks now and then ([`Meeting::called`], a load of a line that
//! nobody writes) and comes. A core that does not come makes the meeting fail for all, after a bounded time.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Looks at who came before the others count as lost.
const PATIENCE: u32 = if cfg!(test) { 10_000_000 } else { 200_000_000 };

/// A place to meet. One for each device.
#[derive(Debug, Default)]
pub struct Meeting {
    called: AtomicBool,
    failed: AtomicBool,
    left: AtomicBool,
    worked: AtomicBool,
    arrived: AtomicU32,
}

/// A core did not come, or has ended, or the meeting failed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing;

impl Meeting {
    /// Nobody is called.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            called: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            worked: AtomicBool::new(false),
            arrived: AtomicU32::new(0),
        }
    }

    /// Whether all are to come.
    #[inline(always)]
    #[must_use]
    pub fn called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// All are to come.
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::Release);
    }

    /// What they were called for is done.
    pub(crate) fn over(&self) {
        self.called.store(false, Ordering::Release);
    }

    /// It cannot go on: whoever waits, or comes later, hears of it.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.call();
    }

    /// A core ends, and comes no more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// A core's queue did something since the last time.
    pub(crate) fn say_worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// Whether one did; forgotten thereby.
    pub(crate) fn take_worked(&self) -> bool {
        let worked = self.worked.load(Ordering::Relaxed);
        self.worked.store(false, Ordering::Relaxed);
        worked
    }

    /// Waits until all of `cores` came as often as this one, whose count is `round`.
    ///
    /// # Errors
    /// [`Missing`].
    #[cold]
    #[inline(never)]
    pub(crate) fn meet(&self, round: &mut u32, cores: u32) -> Result<(), Missing> {
        *round = round.wrapping_add(1);
        let all = round.wrapping_mul(cores);
        self.arrived.fetch_add(1, Ordering::AcqRel);
        for _ in 0..PATIENCE {
            if self.failed.load(Ordering::Acquire) {
                return Err(Missing);
            }
            if self.arrived.load(Ordering::Acquire).wrapping_sub(all) as i32 >= 0 {
                return Ok(());
            }
            if self.left.load(Ordering::Acquire) {
                break;
            }
            spin_loop();
        }
        self.fail();
        Err(Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_on_before_all_came() {
        let meeting = Meeting::new();
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut round = 0;
                    for i in 0..200 {
                        meeting.meet(&mut round, 3).unwrap();
                        assert!(done.load(Ordering::SeqCst) >= 3 * i, "somebody is behind");
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 600);
    }

    #[test]
    fn who_does_not_come_or_has_left_ends_it_for_all() {
        let meeting = Meeting::new();
        assert!(!meeting.called());
        let mut round = 0;
        assert_eq!(meeting.meet(&mut round, 2), Err(Missing), "one of two");
        assert!(meeting.called(), "the other one is to hear of it");
        assert_eq!(meeting.meet(&mut round, 1), Err(Missing), "for good");
        let meeting = Meeting::new();
        meeting.leave();
        assert!(!meeting.called(), "nobody need mind");
        let mut round = 0;
        assert_eq!(meeting.meet(&mut round, 1), Ok(()), "all that there are");
        assert_eq!(meeting.meet(&mut round, 2), Err(Missing), "it comes no more");
    }
}
