#![no_std]
//! Memory maps of the boards that `luna-dpu` is brought up on: where the devices are, as tables of numbers.
//!
//! A board's image (start-up code, linker script, `main`) becomes a crate of its own under this folder when it boots;
//! today there are only the maps that such an image and `xtask` share.

/// A range of physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// What is there.
    pub name: &'static str,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Range {
    /// Whether the two share an address.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.start + other.len && other.start < self.start + self.len
    }
}

/// `count` devices at equal distances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// The first.
    pub start: u64,
    /// Distance in bytes.
    pub stride: u64,
    /// How many.
    pub count: u32,
}

/// A machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Board {
    /// As in `--board`.
    pub name: &'static str,
    /// RAM as the machine starts; its length is what is asked for, the least here.
    pub ram: Range,
    /// PL011 UART.
    pub uart: Range,
    /// virtio-mmio transports, where the machine has them.
    pub virtio_mmio: Option<Slots>,
    /// PCIe configuration space.
    pub ecam: Range,
    /// PCIe memory window for BARs, which firmware would assign and we must.
    pub pci_memory: Range,
    /// PSCI answers to HVC: further cores can be started.
    pub psci: bool,
}

/// QEMU's `virt` machine (`-M virt,gic-version=3`).
pub const QEMU_VIRT: Board = Board {
    name: "qemu-virt",
    ram: Range { name: "ram", start: 0x4000_0000, len: 128 << 20 },
    uart: Range { name: "pl011", start: 0x0900_0000, len: 0x1000 },
    virtio_mmio: Some(Slots { start: 0x0a00_0000, stride: 0x200, count: 32 }),
    ecam: Range { name: "ecam", start: 0x40_1000_0000, len: 256 << 20 },
    pci_memory: Range { name: "pci memory", start: 0x1000_0000, len: 0x2eff_0000 },
    psci: true,
};

/// QEMU's `sbsa-ref` machine.
pub const SBSA_REF: Board = Board {
    name: "sbsa-ref",
    ram: Range { name: "ram", start: 0x100_0000_0000, len: 256 << 20 },
    uart: Range { name: "pl011", start: 0x6000_0000, len: 0x1000 },
    virtio_mmio: None,
    ecam: Range { name: "ecam", start: 0xf000_0000, len: 256 << 20 },
    pci_memory: Range { name: "pci memory", start: 0x8000_0000, len: 0x7000_0000 },
    psci: false,
};

/// Every board with a map.
pub const BOARDS: &[Board] = &[QEMU_VIRT, SBSA_REF];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_ram_do_not_overlap() {
        for b in BOARDS {
            let mmio =
                b.virtio_mmio.map(|s| Range { name: "virtio", start: s.start, len: s.stride * u64::from(s.count) });
            let ranges = [Some(b.ram), Some(b.uart), mmio, Some(b.ecam), Some(b.pci_memory)];
            for (i, x) in ranges.iter().flatten().enumerate() {
                for y in ranges.iter().flatten().skip(i + 1) {
                    assert!(!x.overlaps(y), "{}: {} and {}", b.name, x.name, y.name);
                }
            }
        }
    }
}
