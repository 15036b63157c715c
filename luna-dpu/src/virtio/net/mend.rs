//! A device that needs a reset, or was reset behind the driver's back: noticed, and started again with the same queues.
//!
//! Each core looks at the status register now and then while it has nothing to do: a device in that state moves no frames, so
//! that all cores come to be idle. Then all let go of it, core 0 resets it, each takes its objs back and empties its rings,
//! core 0 agrees on the same features and sets the device going, and each goes on. What was under way is lost, as on any
//! wire: connections send it again.

use core::fmt;

use super::device::NetDevice;
use super::queue::NetQueue;
use crate::dma::DmaSync;
use crate::meeting::{Meeting, Missing};
use crate::resets::{LOOK_EVERY, MOST};
use crate::virtio::transport::{InitError, Transport};

/// Why a device was not started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MendError {
    /// It does not come back.
    Device(InitError),
    /// It needs a reset again and again, and moves nothing between.
    Again,
    /// A core did not come, or has ended; or another one found what is wrong.
    Core,
}

impl fmt::Display for MendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the network device needs a reset, and ")?;
        match self {
            Self::Device(e) => write!(f, "does not come back: {e}"),
            Self::Again => f.write_str("needed some before, which were of no use"),
            Self::Core => f.write_str("not all cores are there for it"),
        }
    }
}

impl core::error::Error for MendError {}

impl From<Missing> for MendError {
    fn from(_: Missing) -> Self {
        Self::Core
    }
}

/// One core's part in it.
pub struct Mender<'m, 's, T: Transport> {
    /// Core 0's.
    device: Option<NetDevice<'m, T>>,
    key: [u8; 40],
    meeting: &'s Meeting,
    cores: u32,
    round: u32,
    polls: u32,
    /// Frames that the queue had received at the last reset.
    frames: u64,
    /// Resets without a frame between.
    vain: u32,
}

impl<'m, 's, T: Transport> Mender<'m, 's, T> {
    /// Of one of `cores` cores, all with a queue of the same device, which core 0 alone has. `key` is what
    /// [`NetDevice::start`] was given.
    #[must_use]
    pub const fn new(device: Option<NetDevice<'m, T>>, key: [u8; 40], meeting: &'s Meeting, cores: u32) -> Self {
        Self { device, key, meeting, cores, round: 0, polls: 0, frames: 0, vain: 0 }
    }

    /// To be called whenever the core has nothing to do. True when the device was started again.
    ///
    /// # Errors
    /// [`MendError`]: the queue is of no use any more.
    #[inline]
    pub fn look<D: DmaSync>(&mut self, queue: &mut NetQueue<'_, T::Registers, D>) -> Result<bool, MendError> {
        self.polls = self.polls.wrapping_add(1);
        if !self.meeting.called() && (!self.polls.is_multiple_of(LOOK_EVERY) || queue.device_works()) {
            return Ok(false);
        }
        self.mend(queue).inspect_err(|_| self.meeting.fail())?;
        Ok(true)
    }

    #[cold]
    #[inline(never)]
    fn mend<D: DmaSync>(&mut self, queue: &mut NetQueue<'_, T::Registers, D>) -> Result<(), MendError> {
        let Self { device, meeting, cores, round, .. } = self;
        meeting.call();
        let frames = queue.received();
        if frames != self.frames {
            meeting.say_worked();
        }
        self.frames = frames;
        meeting.meet(round, *cores)?;
        // From here on no core touches its queue.
        if let Some(device) = device {
            self.vain = if meeting.take_worked() { 1 } else { self.vain + 1 };
            if self.vain > MOST {
                return Err(MendError::Again);
            }
            device.reset().map_err(MendError::Device)?;
        }
        meeting.meet(round, *cores)?;
        // SAFETY: the device was reset, by core 0, before the meeting that just ended.
        unsafe { queue.restart() };
        meeting.meet(round, *cores)?;
        if let Some(device) = device {
            device.restart(&self.key).map_err(MendError::Device)?;
            meeting.over();
        }
        meeting.meet(round, *cores)?;
        Ok(())
    }
}

impl<T: Transport> Drop for Mender<'_, '_, T> {
    fn drop(&mut self) {
        self.meeting.leave();
    }
}
