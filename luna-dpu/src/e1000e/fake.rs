//! The device's side: registers and what it does with rings, in plain Rust, after the datasheet. It may misbehave.

use core::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::vec::Vec;

use luna_core::wire::{Checksum, MacAddr};

use super::registers::*;
use crate::mmio::Registers;
use crate::virtio::ring::fake::pointer;

#[derive(Debug, Default)]
struct State {
    words: HashMap<usize, u32>,
    /// Reads of CTRL until a reset is over; for ever when it is stuck.
    resetting: u32,
    mac: Option<MacAddr>,
    absent: bool,
    reads: u32,
    /// The context that holds: where the checksum begins, where it goes.
    context: (usize, usize),
}

/// A device; its copies are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(Rc<RefCell<State>>);

/// What is to be said of a received frame.
#[derive(Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) status: u32,
    /// Instead of the bytes written.
    pub(crate) len: Option<u16>,
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
        let mut s = self.0.borrow_mut();
        s.reads += 1;
        if s.absent {
            return u32::MAX;
        }
        if offset == CTRL && s.resetting > 0 {
            s.resetting -= 1;
            if s.resetting == 0 {
                s.words.clear();
                if let Some(MacAddr([a, b, c, d, e, f])) = s.mac {
                    s.words.insert(RAL0, u32::from_le_bytes([a, b, c, d]));
                    s.words.insert(RAH0, u32::from_le_bytes([e, f, 0, 0x80]));
                }
            }
        }
        s.words.get(&offset).copied().unwrap_or(0)
    }

    fn write32(&self, offset: usize, value: u32) {
        assert!(offset < LEN && offset.is_multiple_of(4), "a register that is none: {offset:#x}");
        let mut s = self.0.borrow_mut();
        if offset == CTRL && value & ctrl::RST != 0 && s.resetting == 0 {
            s.resetting = 3;
        }
        s.words.insert(offset, value);
    }
}

impl Fake {
    pub(crate) fn new(mac: Option<MacAddr>) -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().mac = mac;
        fake
    }

    pub(crate) fn absent() -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().absent = true;
        fake
    }

    pub(crate) fn stuck() -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().resetting = u32::MAX;
        fake
    }

    pub(crate) fn get(&self, register: usize) -> u32 {
        self.0.borrow().words.get(&register).copied().unwrap_or(0)
    }

    /// Reads of registers so far.
    pub(crate) fn reads(&self) -> u32 {
        self.0.borrow().reads
    }

    /// It is unplugged.
    pub(crate) fn vanish(&self) {
        self.0.borrow_mut().absent = true;
    }

    /// It resets itself.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().words.clear();
    }

    /// From its next reset on it has this address.
    pub(crate) fn become_another(&self, mac: MacAddr) {
        self.0.borrow_mut().mac = Some(mac);
    }

    pub(crate) fn set(&self, register: usize, value: u32) {
        self.0.borrow_mut().words.insert(register, value);
    }

    fn size(&self, len: usize) -> u32 {
        self.get(len) / 16
    }

    /// Descriptor `i` of the ring at `low`.
    fn descriptor(&self, low: usize, i: u32) -> *mut u64 {
        let base = u64::from(self.get(low)) | u64::from(self.get(low + 4)) << 32;
        pointer(base + 16 * u64::from(i)).cast()
    }

    pub(crate) fn read(&self, low: usize, i: u32) -> (u64, u64) {
        let at = self.descriptor(low, i);
        // SAFETY: inside the ring's memory, which lives for ever.
        unsafe { (at.read_volatile(), at.add(1).read_volatile()) }
    }

    pub(crate) fn write(&self, low: usize, i: u32, high: u64) {
        // SAFETY: as in `read`.
        unsafe { self.descriptor(low, i).add(1).write_volatile(high) };
    }

    /// Bytes of a receive buffer, as RCTL says.
    fn buffer(&self) -> usize {
        let rctl = self.get(RCTL);
        let base = 2048 >> (rctl >> rctl::BSIZE_SHIFT & 3);
        if rctl & rctl::BSEX == 0 { base } else { base * 16 }
    }

    /// Receive descriptors that it has.
    pub(crate) fn posted(&self) -> u32 {
        self.get(RDT).wrapping_sub(self.get(RDH)) & (self.size(RDLEN) - 1)
    }

    /// A frame from the wire. False when there is no descriptor for it.
    pub(crate) fn receive(&self, frame: &[u8], report: Report) -> bool {
        assert!(self.get(RCTL) & rctl::EN != 0 && self.get(RFCTL) & rfctl::EXSTEN != 0);
        let pieces: Vec<&[u8]> = frame.chunks(self.buffer()).collect();
        for (i, piece) in pieces.iter().enumerate() {
            if self.posted() == 0 {
                return false;
            }
            let head = self.get(RDH);
            let (addr, zero) = self.read(RDBAL, head);
            assert_eq!(zero, 0, "a descriptor is given with its status clear");
            // SAFETY: the driver gave the buffer to the device, and has not got it back.
            unsafe { core::ptr::copy_nonoverlapping(piece.as_ptr(), pointer(addr), piece.len()) };
            let end = if i + 1 == pieces.len() { 2 } else { 0 };
            let len = report.len.unwrap_or(piece.len() as u16);
            self.write(RDBAL, head, u64::from(report.status | 1 | end) | u64::from(len) << 32);
            self.set(RDH, (head + 1) & (self.size(RDLEN) - 1));
        }
        true
    }

    /// Sends what it was given: the frames as they stand on the wire.
    pub(crate) fn transmit(&self) -> Vec<Vec<u8>> {
        assert!(self.get(TCTL) & tctl::EN != 0);
        let mut out = Vec::new();
        let mut frame = Vec::new();
        while self.get(TDH) != self.get(TDT) {
            let head = self.get(TDH);
            let (low, high) = self.read(TDBAL, head);
            let (kind, command) = (high >> 20 & 0xf, high >> 24 & 0xff);
            assert!(command & 0x20 != 0, "extended descriptors only");
            if kind == 0 {
                let at = |shift: u64| (low >> shift & 0xff) as usize;
                self.0.borrow_mut().context = (at(32), at(40));
            } else {
                let len = (high & 0xf_ffff) as usize;
                // SAFETY: the driver lends the bytes until the descriptor is reported.
                frame.extend_from_slice(unsafe { core::slice::from_raw_parts(pointer(low), len) });
                if command & 1 != 0 {
                    if high >> 41 & 1 != 0 {
                        let (start, at) = self.0.borrow().context;
                        // What stands in the field already counts: the pseudo-header's sum.
                        let mut sum = Checksum::new();
                        sum.add(&frame[start..]);
                        frame[at..at + 2].copy_from_slice(&sum.finish().to_be_bytes());
                    }
                    out.push(core::mem::take(&mut frame));
                }
            }
            if command & 8 != 0 {
                self.write(TDBAL, head, high | 1 << 32);
            }
            self.set(TDH, (head + 1) & (self.size(TDLEN) - 1));
        }
        assert!(frame.is_empty(), "a frame without an end");
        out
    }
}
