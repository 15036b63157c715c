//! The PCI transport (virtio 1.2, section 4.1): register blocks that vendor capabilities point to.

use core::fmt;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, PCI_CAP_ID_VNDR};

use super::features::Features;
use super::transport::{DeviceType, Doorbell, RingAddresses, Transport, Watch};
use crate::mmio::{Mmio, Registers};
use crate::pci::{Bars, DeviceFunction, DeviceFunctionInfo, PciRoot};

const VENDOR: u16 = 0x1af4;
/// Device ids of virtio 1 are this and the device's kind; those of devices that also speak the legacy protocol come before.
const MODERN: u16 = 0x1040;
const TRANSITIONAL: u16 = 0x1000;

/// Capability types.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

const DEVICE_FEATURE_SELECT: usize = 0x00;
const DEVICE_FEATURE: usize = 0x04;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0c;
const DEVICE_STATUS: usize = 0x14;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_NOTIFY_OFF: usize = 0x1e;
const QUEUE_DESC: usize = 0x20;
const QUEUE_DRIVER: usize = 0x28;
const QUEUE_DEVICE: usize = 0x30;
const COMMON_LEN: usize = 0x38;

/// Why a function is no virtio device that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PciError {
    /// It lacks this capability, or that points to no memory BAR.
    NoCapability(u8),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapability(t) => write!(f, "the PCI function lacks the virtio capability of type {t}"),
        }
    }
}

impl core::error::Error for PciError {}

/// A device behind PCI capabilities.
#[derive(Debug)]
pub struct PciTransport<R> {
    device_type: DeviceType,
    common: R,
    notify: R,
    multiplier: u32,
    device: Option<R>,
}

/// What kind of virtio device a function is, if it is one.
#[must_use]
pub fn device_type(info: &DeviceFunctionInfo) -> Option<DeviceType> {
    if info.vendor_id != VENDOR {
        return None;
    }
    match info.device_id {
        // Of the transitional ids those that this crate drives.
        TRANSITIONAL => Some(DeviceType::NET),
        0x1005 => Some(DeviceType::ENTROPY),
        id if (MODERN..MODERN + 0x40).contains(&id) => Some(DeviceType(u32::from(id - MODERN))),
        _ => None,
    }
}

impl PciTransport<Mmio> {
    /// The device `function` of kind `device_type`, whose memory BARs were given addresses; `map` makes registers of them.
    ///
    /// # Errors
    /// [`PciError`].
    pub fn new<C: ConfigurationAccess>(
        root: &PciRoot<C>,
        config: &C,
        function: DeviceFunction,
        device_type: DeviceType,
        bars: &Bars,
        map: impl Fn(u64, usize) -> Mmio,
    ) -> Result<Self, PciError> {
        let (mut common, mut notify, mut device, mut multiplier) = (None, None, None, 0);
        for capability in root.capabilities(function).filter(|c| c.id == PCI_CAP_ID_VNDR) {
            let word = |i: u8| config.read_word(function, capability.offset.wrapping_add(4 * i));
            let kind = (word(0) >> 24) as u8;
            let (bar, offset, len) = (word(1) as u8, word(2) as usize, word(3) as usize);
            let Some((address, size)) = bars.get(usize::from(bar)).copied().flatten() else { continue };
            let Some(part) = map(address, size).part(offset, len) else { continue };
            match kind {
                COMMON if common.is_none() && len >= COMMON_LEN => common = Some(part),
                NOTIFY if notify.is_none() => {
                    notify = Some(part);
                    multiplier = word(4);
                }
                DEVICE if device.is_none() => device = Some(part),
                _ => {}
            }
        }
        let common = common.ok_or(PciError::NoCapability(COMMON))?;
        let notify = notify.ok_or(PciError::NoCapability(NOTIFY))?;
        Ok(Self { device_type, common, notify, multiplier, device })
    }
}

impl<R: Registers + Clone> Transport for PciTransport<R> {
    type Registers = R;

    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn status(&self) -> u8 {
        self.common.read8(DEVICE_STATUS)
    }

    fn set_status(&mut self, status: u8) {
        self.common.write8(DEVICE_STATUS, status);
    }

    fn offered(&mut self) -> Features {
        let half = |sel| {
            self.common.write32(DEVICE_FEATURE_SELECT, sel);
            u64::from(self.common.read32(DEVICE_FEATURE))
        };
        Features(half(0) | half(1) << 32)
    }

    fn accept(&mut self, features: Features) {
        for (sel, half) in [(0, features.0 as u32), (1, (features.0 >> 32) as u32)] {
            self.common.write32(DRIVER_FEATURE_SELECT, sel);
            self.common.write32(DRIVER_FEATURE, half);
        }
    }

    fn queue_limit(&mut self, queue: u16) -> u16 {
        self.common.write16(QUEUE_SELECT, queue);
        self.common.read16(QUEUE_SIZE).min(1 << 15)
    }

    fn set_queue(&mut self, queue: u16, size: u16, addresses: RingAddresses) {
        let r = &self.common;
        r.write16(QUEUE_SELECT, queue);
        r.write16(QUEUE_SIZE, size);
        r.write64(QUEUE_DESC, addresses.descriptors.0);
        r.write64(QUEUE_DRIVER, addresses.driver.0);
        r.write64(QUEUE_DEVICE, addresses.device.0);
        r.write16(QUEUE_ENABLE, 1);
    }

    fn doorbell(&mut self, queue: u16) -> Doorbell<R> {
        self.common.write16(QUEUE_SELECT, queue);
        let offset = usize::from(self.common.read16(QUEUE_NOTIFY_OFF)) * self.multiplier as usize;
        Doorbell::new(self.notify.clone(), offset, queue, false)
    }

    fn watch(&self) -> Watch<R> {
        Watch::new(self.common.clone(), DEVICE_STATUS, false)
    }

    fn config8(&self, offset: usize) -> u8 {
        self.device.as_ref().map_or(0, |d| d.read8(offset))
    }

    fn config16(&self, offset: usize) -> u16 {
        self.device.as_ref().map_or(0, |d| d.read16(offset))
    }
}
