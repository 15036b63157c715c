//! When to look whether the device is still at work, and when to give it up.

use super::device::SetupError;
use super::registers::{RCTL, TCTL, rctl, tctl};
use crate::mmio::Registers;
use crate::resets::{LOOK_EVERY, MOST};

/// Whether it receives and sends: after a reset it does neither. One that is gone reads as all ones.
pub(super) fn device_works<R: Registers>(registers: &R) -> bool {
    let on = |register, bit| {
        let value = registers.read32(register);
        value != u32::MAX && value & bit != 0
    };
    on(RCTL, rctl::EN) && on(TCTL, tctl::EN)
}

/// What is remembered for it.
#[derive(Debug, Default)]
pub(super) struct Care {
    polls: u32,
    /// Frames that were received at the last reset.
    frames: u64,
    vain: u32,
}

impl Care {
    /// Whether to look, this time.
    #[inline(always)]
    pub(super) fn is_due(&mut self) -> bool {
        self.polls = self.polls.wrapping_add(1);
        self.polls.is_multiple_of(LOOK_EVERY)
    }

    /// Counts a reset, after `frames` frames were received in all.
    ///
    /// # Errors
    /// [`SetupError::Again`].
    pub(super) fn may_reset(&mut self, frames: u64) -> Result<(), SetupError> {
        self.vain = if frames == self.frames { self.vain + 1 } else { 1 };
        self.frames = frames;
        if self.vain > MOST { Err(SetupError::Again) } else { Ok(()) }
    }
}
