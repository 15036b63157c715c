//! What drivers need of a transport, and the steps of initialisation that all devices share (virtio 1.2, section 3.1).

use core::fmt;

use luna_core::zbuf::IoAddr;

use super::features::{Features, feature};
use crate::barrier;
use crate::mmio::Registers;

/// Bits of the device status field.
pub mod status {
    /// The driver has seen the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// It knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// It does.
    pub const DRIVER_OK: u8 = 4;
    /// Features are agreed on.
    pub const FEATURES_OK: u8 = 8;
    /// The device met an error from which only a reset helps.
    pub const NEEDS_RESET: u8 = 64;
    /// The driver gave up.
    pub const FAILED: u8 = 128;
}

/// Kinds of devices (section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceType(pub u32);

impl DeviceType {
    /// Network.
    pub const NET: Self = Self(1);
    /// Entropy.
    pub const ENTROPY: Self = Self(4);
}

/// Where a queue's three parts are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingAddresses {
    /// Descriptors.
    pub descriptors: IoAddr,
    /// What the driver writes: the available ring, or its event suppression.
    pub driver: IoAddr,
    /// What the device writes: the used ring, or its event suppression.
    pub device: IoAddr,
}

/// A device's registers, however they are reached.
pub trait Transport {
    /// Registers that doorbells are in.
    type Registers: Registers + Clone;

    /// What kind of device it is.
    fn device_type(&self) -> DeviceType;
    /// The status field.
    fn status(&self) -> u8;
    /// Writes the status field; 0 resets the device.
    fn set_status(&mut self, status: u8);
    /// What the device offers.
    fn offered(&mut self) -> Features;
    /// What the driver takes of it.
    fn accept(&mut self, features: Features);
    /// Most descriptors of queue `queue`; 0 when there is no such queue.
    fn queue_limit(&mut self, queue: u16) -> u16;
    /// Gives the device the memory of a queue, with `size` descriptors, and enables it.
    fn set_queue(&mut self, queue: u16, size: u16, addresses: RingAddresses);
    /// What is rung when buffers were added to queue `queue`.
    fn doorbell(&mut self, queue: u16) -> Doorbell<Self::Registers>;
    /// For looking at the status while the device is at work.
    fn watch(&self) -> Watch<Self::Registers>;
    /// A byte of the device's configuration.
    fn config8(&self, offset: usize) -> u8;
    /// 16 bits of it.
    fn config16(&self, offset: usize) -> u16;
}

/// A queue's doorbell: usable by the core that owns the queue, without the transport.
#[derive(Clone, Debug)]
pub struct Doorbell<R> {
    registers: R,
    offset: usize,
    queue: u16,
    wide: bool,
}

impl<R: Registers> Doorbell<R> {
    /// Rung by a write of `queue` at `offset`, of 32 bits when `wide`, else of 16.
    pub fn new(registers: R, offset: usize, queue: u16, wide: bool) -> Self {
        Self { registers, offset, queue, wide }
    }

    /// Tells the device that there are new buffers.
    #[inline(always)]
    pub fn ring(&self) {
        barrier::write();
        if self.wide {
            self.registers.write32(self.offset, u32::from(self.queue));
        } else {
            self.registers.write16(self.offset, self.queue);
        }
    }
}

/// A device's status register: read by any core, without the transport.
#[derive(Clone, Debug)]
pub struct Watch<R> {
    registers: R,
    offset: usize,
    wide: bool,
}

impl<R: Registers> Watch<R> {
    /// The register at `offset`, of 32 bits when `wide`, else of 8.
    pub fn new(registers: R, offset: usize, wide: bool) -> Self {
        Self { registers, offset, wide }
    }

    /// Whether the device does what it was set going for: it neither asks for a reset, nor was it reset, nor is it gone, when
    /// all bits read as 1.
    #[must_use]
    pub fn works(&self) -> bool {
        let status =
            if self.wide { self.registers.read32(self.offset) as u8 } else { self.registers.read8(self.offset) };
        status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }
}

/// Why a device cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitError {
    /// It is of another kind.
    WrongType(DeviceType),
    /// It did not come out of its reset.
    NoReset,
    /// It lacks features without which it cannot be driven: these.
    Missing(Features),
    /// It does not take what it offered.
    FeaturesRefused(Features),
    /// It lacks this queue.
    NoQueue(u16),
    /// It allows so few descriptors in this queue.
    QueueTooSmall(u16, u16),
    /// No memory is left for a ring.
    NoMemory,
    /// The memory of objs and the device do not go together: why.
    Pool(&'static str),
    /// A command on the control queue failed: which.
    Command(&'static str),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType(t) => write!(f, "the device is of kind {}, not the one expected", t.0),
            Self::NoReset => f.write_str("the device does not come out of its reset"),
            Self::Missing(x) => write!(f, "the device lacks features that are needed: {x:?}"),
            Self::FeaturesRefused(x) => write!(f, "the device refuses features that it offered: {x:?}"),
            Self::NoQueue(q) => write!(f, "the device has no queue {q}"),
            Self::QueueTooSmall(q, n) => write!(f, "the device allows only {n} descriptors in queue {q}"),
            Self::NoMemory => f.write_str("no memory is left for a ring"),
            Self::Pool(why) => write!(f, "memory for frames: {why}"),
            Self::Command(what) => write!(f, "the device refused a command: {what}"),
        }
    }
}

impl core::error::Error for InitError {}

/// Looks at the status before a reset counts as failed.
const RESET_PATIENCE: u32 = 1_000_000;

/// Resets the device: it touches no memory any more.
///
/// # Errors
/// [`InitError::NoReset`].
pub fn reset<T: Transport>(t: &mut T) -> Result<(), InitError> {
    t.set_status(0);
    if (0..RESET_PATIENCE).any(|_| t.status() == 0) { Ok(()) } else { Err(InitError::NoReset) }
}

/// Resets the device and agrees on features: all of `needed`, and what of `wanted` it offers. Returns the agreement.
///
/// # Errors
/// [`InitError`]; the device is left with the FAILED status.
#[inline(never)]
pub fn begin<T: Transport>(t: &mut T, needed: Features, wanted: Features) -> Result<Features, InitError> {
    reset(t)?;
    t.set_status(status::ACKNOWLEDGE);
    t.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let offered = t.offered();
    let needed = needed.or(feature::VERSION_1);
    // Both say something about the way to memory; a device that offers one wants it accepted.
    let wanted = wanted.or(feature::ACCESS_PLATFORM).or(feature::ORDER_PLATFORM);
    let agreed = offered.and(needed.or(wanted));
    if !agreed.has(needed) {
        t.set_status(status::FAILED);
        return Err(InitError::Missing(needed.without(agreed)));
    }
    t.accept(agreed);
    t.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    if t.status() & status::FEATURES_OK == 0 {
        t.set_status(status::FAILED);
        return Err(InitError::FeaturesRefused(agreed));
    }
    Ok(agreed)
}

/// Sets the device going, its queues being set up.
pub fn finish<T: Transport>(t: &mut T) {
    t.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK);
}
