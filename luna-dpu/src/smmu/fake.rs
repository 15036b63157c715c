//! An SMMUv3 in plain Rust, after the architecture: registers, command queue, and translation by walking what the driver
//! wrote, byte by byte, as a second opinion about every field.

use core::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::vec::Vec;

use super::device::*;
use crate::mmio::Registers;
use crate::virtio::ring::fake::pointer;

#[derive(Default)]
struct State {
    words: HashMap<usize, u32>,
    /// Commands that it was given, in order.
    commands: Vec<u64>,
    stuck: bool,
}

/// An SMMU; its copies are the same.
#[derive(Clone, Default)]
pub(super) struct Fake(Rc<RefCell<State>>);

/// Why an access is refused (§7.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Off,
    Stream,
    Entry,
    Context,
    Translation,
    Permission,
}

fn read64(io: u64) -> u64 {
    // SAFETY: the driver's tables, which live for ever.
    unsafe { pointer(io).cast::<u64>().read_volatile() }
}

const fn bits(word: u64, high: u32, low: u32) -> u64 {
    word >> low & ((1 << (high - low + 1)) - 1)
}

impl Registers for Fake {
    fn read8(&self, _: usize) -> u8 {
        unreachable!("the driver reads words")
    }
    fn read16(&self, _: usize) -> u16 {
        unreachable!("the driver reads words")
    }
    fn write8(&self, _: usize, _: u8) {
        unreachable!("the driver writes words")
    }
    fn write16(&self, _: usize, _: u16) {
        unreachable!("the driver writes words")
    }

    fn read32(&self, offset: usize) -> u32 {
        let s = self.0.borrow();
        s.words.get(&offset).copied().unwrap_or(0)
    }

    fn write32(&self, offset: usize, value: u32) {
        assert!(offset < LEN);
        self.0.borrow_mut().words.insert(offset, value);
        if self.0.borrow().stuck {
            return;
        }
        match offset {
            reg::CR0 => {
                self.0.borrow_mut().words.insert(reg::CR0ACK, value);
            }
            reg::CMDQ_PROD => self.take_commands(value),
            _ => {}
        }
    }
}

impl Fake {
    /// With these identification registers.
    pub(super) fn new(idr0: u32, idr1: u32, idr5: u32) -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().words.extend([(reg::IDR0, idr0), (reg::IDR1, idr1), (reg::IDR5, idr5)]);
        fake
    }

    pub(super) fn stick(&self) {
        self.0.borrow_mut().stuck = true;
    }

    pub(super) fn get64(&self, offset: usize) -> u64 {
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    /// Commands since the last time.
    pub(super) fn commands(&self) -> Vec<u64> {
        core::mem::take(&mut self.0.borrow_mut().commands)
    }

    fn take_commands(&self, produced: u32) {
        if self.read32(reg::CR0) & CMDQEN == 0 {
            return;
        }
        let base = self.get64(reg::CMDQ_BASE);
        let log2 = bits(base, 4, 0);
        let mut at = self.read32(reg::CMDQ_CONS);
        while at != produced {
            let command = read64((base & 0xf_ffff_ffff_ffe0) + 16 * u64::from(at & ((1 << log2) - 1)));
            let mut s = self.0.borrow_mut();
            s.commands.push(command & 0xff);
            at = (at + 1) & ((2 << log2) - 1);
            s.words.insert(reg::CMDQ_CONS, at);
        }
    }

    /// Puts an event into its queue.
    pub(super) fn tell(&self, kind: u8, stream: u32, address: u64) {
        let base = self.get64(reg::EVENTQ_BASE);
        let log2 = bits(base, 4, 0);
        let at = self.read32(reg::EVENTQ_PROD);
        let slot = (base & 0xf_ffff_ffff_ffe0) + 32 * u64::from(at & ((1 << log2) - 1));
        // SAFETY: the driver's queue, which lives for ever.
        unsafe {
            pointer(slot).cast::<[u64; 4]>().write_volatile([u64::from(kind) | u64::from(stream) << 32, 0, address, 0]);
        }
        self.write32(reg::EVENTQ_PROD, (at + 1) & ((2 << log2) - 1));
    }

    /// Where device `stream` gets to at `io`: the physical address.
    pub(super) fn translate(&self, stream: u32, io: u64) -> Result<u64, Refused> {
        if self.read32(reg::CR0) & SMMUEN == 0 {
            return Err(Refused::Off);
        }
        let config = self.read32(reg::STRTAB_BASE_CFG);
        assert_eq!(config >> 16 & 3, 0, "a linear table");
        if stream >> (config & 63) != 0 {
            return Err(Refused::Stream);
        }
        let base = self.get64(reg::STRTAB_BASE) & 0xf_ffff_ffff_ffc0;
        assert!(base.is_multiple_of(64 << (config & 63)), "aligned to its size");
        let at = base + 64 * u64::from(stream);
        let (low, high) = (read64(at), read64(at + 8));
        if bits(low, 0, 0) == 0 {
            return Err(Refused::Entry);
        }
        assert_eq!(bits(low, 3, 1), 0b101, "stage 1, no stage 2");
        assert_eq!((bits(low, 5, 4), bits(low, 63, 59)), (0, 0), "one context");
        assert_eq!(bits(high, 31, 30), 0, "EL1's");
        let context = low & 0xf_ffff_ffff_ffc0;
        self.walk(context, io)
    }

    fn walk(&self, context: u64, io: u64) -> Result<u64, Refused> {
        let cd = read64(context);
        // V, AArch64, A and R; no upper half, little-endian; what QEMU refuses: S, HA, HD.
        let bad = bits(cd, 31, 31) == 0 || bits(cd, 41, 41) == 0 || bits(cd, 46, 46) == 0 || bits(cd, 45, 45) == 0;
        if bad || bits(cd, 30, 30) == 0 || bits(cd, 15, 15) == 1 || bits(cd, 14, 14) == 1 || bits(cd, 44, 42) != 0 {
            return Err(Refused::Context);
        }
        assert_eq!(bits(cd, 7, 6), 0, "4 KiB");
        let input = 64 - bits(cd, 5, 0);
        assert_eq!(input, 39);
        if io >> input != 0 {
            return Err(Refused::Translation);
        }
        let attributes = read64(context + 24);
        let mut table = read64(context + 8) & 0xffff_ffff_fff0;
        for level in 1..=3 {
            let shift = 39 - 9 * level;
            let entry = read64(table + 8 * bits(io, shift + 8, shift));
            match (bits(entry, 0, 0), bits(entry, 1, 1), level) {
                (0, ..) | (1, 0, 3) => return Err(Refused::Translation),
                (1, 1, 1 | 2) => table = entry & 0xffff_ffff_f000,
                _ => {
                    // AF, and AP: readable and writable.
                    if bits(entry, 10, 10) == 0 || bits(entry, 7, 7) == 1 {
                        return Err(Refused::Permission);
                    }
                    assert_eq!(attributes >> (8 * bits(entry, 4, 2)) & 0xff, 0xff, "normal, write-back");
                    let inside = (1u64 << shift) - 1;
                    let base = entry & 0xffff_ffff_f000;
                    assert_eq!(base & inside, 0, "a block is aligned");
                    return Ok(base | io & inside);
                }
            }
        }
        Err(Refused::Translation)
    }
}
