//! The page table. RAM at 1 TiB is beyond what one table of 1 GiB blocks covers (512 GiB), and a table of tables needs
//! addresses that are known to the linker only. With 64 KiB granules a single table of 512 MiB blocks covers 2 TiB.

use aarch64_rt::{DEFAULT_MAIR, DEFAULT_SCTLR, DEFAULT_TCR_EL2, DEFAULT_TCR_EL3, enable_mmu};

/// 512 MiB.
const BLOCK_SHIFT: usize = 29;
const BLOCK: usize = 1 << BLOCK_SHIFT;
/// Valid block, accessed; device memory (attribute 0), never executed.
const DEVICE: usize = 1 | 1 << 10 | 1 << 53 | 1 << 54;
/// Valid block, accessed; cacheable normal memory (attribute 1), inner shareable.
const NORMAL: usize = 1 | 1 << 10 | 3 << 8 | 1 << 2;

/// 41 bits of addresses (T0SZ), 64 KiB granules (TG0), table walks cacheable and inner shareable; nothing in the upper
/// half (EPD1; TG1 4 KiB). aarch64-rt adds the size of physical addresses.
const TCR_EL1: u64 = (64 - 41) | 1 << 14 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 23 | 2 << 30;

/// RAM, as much of it as is mapped.
pub(super) const RAM: usize = 1 << 40;
pub(super) const RAM_LEN: usize = 2 * BLOCK;

#[repr(C, align(65536))]
struct Table([usize; 4096]);

static TABLE: Table = {
    let mut table = [0; 4096];
    // UART at 0x6000_0000; the PCI window from 0x8000_0000; configuration space at 0xf000_0000.
    let mut i = 0x6000_0000 >> BLOCK_SHIFT;
    while i <= 0xffff_ffff >> BLOCK_SHIFT {
        table[i] = i << BLOCK_SHIFT | DEVICE;
        i += 1;
    }
    let mut i = 0;
    while i < RAM_LEN >> BLOCK_SHIFT {
        table[(RAM >> BLOCK_SHIFT) + i] = (RAM + i * BLOCK) | NORMAL;
        i += 1;
    }
    Table(table)
};

// The image drops to EL1 before; the other levels' settings are never used.
enable_mmu!(TABLE, DEFAULT_MAIR, DEFAULT_SCTLR, TCR_EL1, DEFAULT_TCR_EL2, DEFAULT_TCR_EL3);
