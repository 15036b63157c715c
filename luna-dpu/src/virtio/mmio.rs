//! The MMIO transport, version 2 (virtio 1.2, section 4.2).

use super::features::Features;
use super::transport::{DeviceType, Doorbell, RingAddresses, Transport, Watch};
use crate::mmio::Registers;

const MAGIC: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE_ID: usize = 0x008;
const DEVICE_FEATURES: usize = 0x010;
const DEVICE_FEATURES_SEL: usize = 0x014;
const DRIVER_FEATURES: usize = 0x020;
const DRIVER_FEATURES_SEL: usize = 0x024;
const QUEUE_SEL: usize = 0x030;
const QUEUE_NUM_MAX: usize = 0x034;
const QUEUE_NUM: usize = 0x038;
const QUEUE_READY: usize = 0x044;
const QUEUE_NOTIFY: usize = 0x050;
const STATUS: usize = 0x070;
const QUEUE_DESC: usize = 0x080;
const QUEUE_DRIVER: usize = 0x090;
const QUEUE_DEVICE: usize = 0x0a0;
const CONFIG: usize = 0x100;

/// A device behind MMIO registers.
#[derive(Debug)]
pub struct MmioTransport<R> {
    registers: R,
}

impl<R: Registers> MmioTransport<R> {
    /// The device at `registers`; `None` when there is none, or none of version 2 (QEMU:
    /// `-global virtio-mmio.force-legacy=false`).
    pub fn new(registers: R) -> Option<Self> {
        let is_virtio = registers.read32(MAGIC) == u32::from_le_bytes(*b"virt") && registers.read32(VERSION) == 2;
        (is_virtio && registers.read32(DEVICE_ID) != 0).then_some(Self { registers })
    }
}

impl<R: Registers + Clone> Transport for MmioTransport<R> {
    type Registers = R;

    fn device_type(&self) -> DeviceType {
        DeviceType(self.registers.read32(DEVICE_ID))
    }

    fn status(&self) -> u8 {
        self.registers.read32(STATUS) as u8
    }

    fn set_status(&mut self, status: u8) {
        self.registers.write32(STATUS, u32::from(status));
    }

    fn offered(&mut self) -> Features {
        let half = |sel| {
            self.registers.write32(DEVICE_FEATURES_SEL, sel);
            u64::from(self.registers.read32(DEVICE_FEATURES))
        };
        Features(half(0) | half(1) << 32)
    }

    fn accept(&mut self, features: Features) {
        for (sel, half) in [(0, features.0 as u32), (1, (features.0 >> 32) as u32)] {
            self.registers.write32(DRIVER_FEATURES_SEL, sel);
            self.registers.write32(DRIVER_FEATURES, half);
        }
    }

    fn queue_limit(&mut self, queue: u16) -> u16 {
        self.registers.write32(QUEUE_SEL, u32::from(queue));
        self.registers.read32(QUEUE_NUM_MAX).min(1 << 15) as u16
    }

    fn set_queue(&mut self, queue: u16, size: u16, addresses: RingAddresses) {
        let r = &self.registers;
        r.write32(QUEUE_SEL, u32::from(queue));
        r.write32(QUEUE_NUM, u32::from(size));
        r.write64(QUEUE_DESC, addresses.descriptors.0);
        r.write64(QUEUE_DRIVER, addresses.driver.0);
        r.write64(QUEUE_DEVICE, addresses.device.0);
        r.write32(QUEUE_READY, 1);
    }

    fn doorbell(&mut self, queue: u16) -> Doorbell<R> {
        Doorbell::new(self.registers.clone(), QUEUE_NOTIFY, queue, true)
    }

    fn watch(&self) -> Watch<R> {
        Watch::new(self.registers.clone(), STATUS, true)
    }

    fn config8(&self, offset: usize) -> u8 {
        self.registers.read8(CONFIG + offset)
    }

    fn config16(&self, offset: usize) -> u16 {
        self.registers.read16(CONFIG + offset)
    }
}
