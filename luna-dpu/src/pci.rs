//! PCIe without firmware: devices are found by reading configuration space (ECAM), and their BARs are given addresses here.
//!
//! The bus itself is virtio-drivers'; this adds what firmware would have done.

use virtio_drivers::transport::pci::bus::{BarInfo, Command, ConfigurationAccess, MemoryBarType};

use crate::mmio::{Mmio, Registers};

pub use virtio_drivers::transport::pci::bus::{DeviceFunction, DeviceFunctionInfo, PciRoot};

/// Configuration space by ECAM: 4 KiB a function, 1 MiB a bus.
#[derive(Clone, Copy, Debug)]
pub struct Ecam {
    registers: Mmio,
}

impl Ecam {
    /// The space at `registers`, which begins with bus 0.
    #[must_use]
    pub const fn new(registers: Mmio) -> Self {
        Self { registers }
    }

    fn offset(function: DeviceFunction, register: u8) -> usize {
        let DeviceFunction { bus, device, function } = function;
        usize::from(bus) << 20 | usize::from(device) << 15 | usize::from(function) << 12 | usize::from(register)
    }
}

impl ConfigurationAccess for Ecam {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        self.registers.read32(Self::offset(function, register))
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        self.registers.write32(Self::offset(function, register), data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Memory addresses that BARs may have.
#[derive(Debug)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// `len` bytes from `start`.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Self {
        Self { next: start, end: start + len }
    }

    /// `len` bytes, aligned as a BAR is: to its own length, which is a power of two.
    fn take(&mut self, len: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(len.max(1))?;
        let end = start.checked_add(len).filter(|end| *end <= self.end)?;
        self.next = end;
        Some(start)
    }
}

/// A function's requester ID: what its accesses to memory carry.
#[must_use]
pub fn requester(function: DeviceFunction) -> u16 {
    u16::from(function.bus) << 8 | u16::from(function.device) << 3 | u16::from(function.function)
}

/// Addresses and lengths of a function's memory BARs, by number.
pub type Bars = [Option<(u64, usize)>; 6];

/// Gives every memory BAR of `function` an address in `window`, and lets the function answer there and reach memory.
/// `None` when the window is too small.
pub fn enable<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    function: DeviceFunction,
    window: &mut Window,
) -> Option<Bars> {
    let mut bars = Bars::default();
    let mut i = 0;
    while i < 6 {
        let info = root.bar_info(function, i).ok()?;
        let wide = matches!(info, Some(BarInfo::Memory { address_type: MemoryBarType::Width64, .. }));
        if let Some(BarInfo::Memory { size, .. }) = info
            && size > 0
        {
            let address = window.take(size)?;
            if wide {
                root.set_bar_64(function, i, address);
            } else {
                root.set_bar_32(function, i, u32::try_from(address).ok()?);
            }
            bars[usize::from(i)] = Some((address, usize::try_from(size).ok()?));
        }
        i += if wide { 2 } else { 1 };
    }
    root.set_command(function, Command::MEMORY_SPACE | Command::BUS_MASTER);
    Some(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_gives_aligned_addresses_until_it_is_used_up() {
        let mut window = Window::new(0x1000_1000, 0x1_0000);
        assert_eq!(window.take(0x4000), Some(0x1000_4000));
        assert_eq!(window.take(0x100), Some(0x1000_8000));
        assert_eq!(window.take(0x8000), None, "would reach beyond");
        assert_eq!(window.take(0x1000), Some(0x1000_9000));
        assert_eq!(window.take(1 << 63), None);
    }

    #[test]
    fn ecam_has_4_kib_a_function() {
        let f = DeviceFunction { bus: 1, device: 2, function: 3 };
        assert_eq!(Ecam::offset(f, 0x10), (1 << 20) + 2 * 0x8000 + 3 * 0x1000 + 0x10);
        assert_eq!(requester(f), 0x113);
    }
}
