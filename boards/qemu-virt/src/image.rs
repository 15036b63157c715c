//! The image.

use core::ptr::{self, NonNull};

use aarch64_rt::{InitialPagetable, entry, exception_handlers, initial_pagetable};
use luna_dpu::machine::{self, Exceptions, ExitBy, console};
use luna_dpu::mmio::Mmio;
use luna_dpu::say;

/// A gigabyte, the size of the blocks that the first table maps.
const GIB: usize = 1 << 30;
/// Valid block, accessed; device memory (attribute 0), never executed.
const DEVICE: usize = 1 | 1 << 10 | 1 << 53 | 1 << 54;
/// Valid block, accessed; cacheable normal memory (attribute 1), inner shareable.
const NORMAL: usize = 1 | 1 << 10 | 3 << 8 | 1 << 2;

initial_pagetable!({
    let mut table = [0; 512];
    // Flash, GIC, UART, virtio-mmio and the 32-bit PCI window.
    table[0] = DEVICE;
    // RAM.
    table[1] = NORMAL | GIB;
    // PCIe configuration space, at 0x40_1000_0000.
    table[256] = DEVICE | 256 * GIB;
    InitialPagetable(table)
});

exception_handlers!(Exceptions);
entry!(main);

const UART: usize = 0x0900_0000;

fn main(_: u64, _: u64, _: u64, _: u64) -> ! {
    machine::enable_simd();
    machine::exit_by(ExitBy::Semihosting);
    // SAFETY: the PL011 of this machine, mapped as device memory for good.
    let uart = unsafe { Mmio::new(NonNull::new_unchecked(ptr::with_exposed_provenance_mut(UART)), 0x1000) };
    console().open(uart);
    say!(
        "luna on qemu-virt: EL{}, core {:#x}, counter {} Hz",
        machine::level(),
        machine::core_id(),
        machine::counter_frequency()
    );
    machine::exit(0)
}
