//! A device's side of a ring, in plain Rust, which may misbehave.

use core::alloc::Layout as Memory;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::collections::VecDeque;

use luna_core::zbuf::IoAddr;

use super::{Buffer, Layout, RingConfig, packed, split};
use crate::dma::{DmaArea, DmaPiece};
use crate::virtio::transport::RingAddresses;

/// Devices see memory here, and not where the core does.
pub(crate) const IO_OFFSET: u64 = 0x7000_0000_0000;

/// Zeroed memory for rings that is never freed.
pub(crate) fn area(len: usize) -> DmaArea {
    let layout = Memory::from_size_align(len, 4096).unwrap();
    // SAFETY: the length is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    // Devices' addresses are turned into pointers by number.
    let at = base.as_ptr().expose_provenance() as u64;
    // SAFETY: fresh memory, never freed.
    unsafe { DmaArea::new(base, IoAddr(at + IO_OFFSET), len) }
}

pub(crate) fn piece(config: RingConfig) -> DmaPiece {
    area(1 << 16).take(config.memory(), 16).unwrap()
}

/// The core's pointer for a device's address.
pub(crate) fn pointer(io: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((io - IO_OFFSET) as usize)
}

/// What the device took from the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    pub(crate) id: u16,
    pub(crate) buffers: Vec<Buffer>,
}

pub(crate) struct FakeDevice {
    config: RingConfig,
    at: RingAddresses,
    taken: u16,
    pub(crate) used: u16,
    /// Packed: positions and wrap counters; of chains, how many descriptors each has.
    wrap: bool,
    used_wrap: bool,
    pub(crate) held: VecDeque<Chain>,
}

impl FakeDevice {
    pub(crate) fn new(config: RingConfig, at: RingAddresses) -> Self {
        let held = VecDeque::new();
        Self { config, at, taken: 0, used: 0, wrap: true, used_wrap: true, held }
    }

    fn read<T: Copy>(&self, io: IoAddr, offset: usize) -> T {
        // SAFETY: inside the ring's memory, which lives for ever.
        unsafe { pointer(io.0).add(offset).cast::<T>().read_volatile() }
    }

    fn write<T: Copy>(&self, io: IoAddr, offset: usize, value: T) {
        // SAFETY: as in `read`.
        unsafe { pointer(io.0).add(offset).cast::<T>().write_volatile(value) };
    }

    fn mask(&self) -> u16 {
        self.config.size - 1
    }

    /// Takes the next available chain, and keeps it among those it holds.
    pub(crate) fn take(&mut self) -> Option<Chain> {
        let chain = match self.config.layout {
            Layout::Split => self.take_split(),
            Layout::Packed => self.take_packed(),
        }?;
        self.held.push_back(chain.clone());
        Some(chain)
    }

    fn take_split(&mut self) -> Option<Chain> {
        let idx: u16 = self.read(self.at.driver, 2);
        if idx == self.taken {
            return None;
        }
        let id: u16 = self.read(self.at.driver, 4 + 2 * usize::from(self.taken & self.mask()));
        self.taken = self.taken.wrapping_add(1);
        let (mut at, mut buffers) = (id, Vec::new());
        loop {
            let d: split::Descriptor = self.read(self.at.descriptors, 16 * usize::from(at));
            let device_writes = d.flags & split::WRITE != 0;
            buffers.push(Buffer { addr: IoAddr(d.addr), len: d.len, device_writes });
            assert!(buffers.len() <= usize::from(self.config.size), "the driver made a loop");
            if d.flags & split::NEXT == 0 {
                return Some(Chain { id, buffers });
            }
            at = d.next;
        }
    }

    fn take_packed(&mut self) -> Option<Chain> {
        let first: packed::Descriptor = self.read(self.at.descriptors, 16 * usize::from(self.taken));
        let (avail, used) = (first.flags & packed::AVAIL != 0, first.flags & packed::USED != 0);
        if avail == used || avail != self.wrap {
            return None;
        }
        let mut buffers = Vec::new();
        loop {
            let d: packed::Descriptor = self.read(self.at.descriptors, 16 * usize::from(self.taken));
            assert_eq!((d.flags & packed::AVAIL != 0, d.flags & packed::USED != 0), (self.wrap, !self.wrap));
            buffers.push(Buffer { addr: IoAddr(d.addr), len: d.len, device_writes: d.flags & packed::WRITE != 0 });
            self.taken += 1;
            if self.taken == self.config.size {
                self.taken = 0;
                self.wrap = !self.wrap;
            }
            if d.flags & packed::NEXT == 0 {
                return Some(Chain { id: d.id, buffers });
            }
        }
    }

    /// Returns the chain that it has held for `i` others' time.
    pub(crate) fn give(&mut self, i: usize, len: u32) -> Option<Chain> {
        let chain = self.held.remove(i)?;
        self.say_used(u32::from(chain.id), len, chain.buffers.len() as u16);
        Some(chain)
    }

    /// Says that it returns `id`, whether it holds it or not.
    pub(crate) fn say_used(&mut self, id: u32, len: u32, descriptors: u16) {
        match self.config.layout {
            Layout::Split => {
                let at = 4 + 8 * usize::from(self.used & self.mask());
                self.write(self.at.device, at, split::Used { id, len });
                self.used = self.used.wrapping_add(1);
                self.write(self.at.device, 2, self.used);
            }
            Layout::Packed => {
                let phase = if self.used_wrap { packed::AVAIL | packed::USED } else { 0 };
                let d = packed::Descriptor { addr: 0xdead, len, id: id as u16, flags: phase };
                self.write(self.at.descriptors, 16 * usize::from(self.used), d);
                self.used += descriptors;
                if self.used >= self.config.size {
                    self.used -= self.config.size;
                    self.used_wrap = !self.used_wrap;
                }
            }
        }
    }

    /// Split: sets the index to anything.
    pub(crate) fn jump(&mut self, idx: u16) {
        self.used = idx;
        self.write(self.at.device, 2, idx);
    }

    /// Overwrites all that the driver wrote and that a device may not write.
    pub(crate) fn scribble(&self, byte: u8) {
        let last = match self.config.layout {
            Layout::Split => split::used_at(self.config.size),
            Layout::Packed => 16 * usize::from(self.config.size),
        };
        for i in 0..last {
            self.write(self.at.descriptors, i, byte);
        }
    }

    /// Whether the driver wants no interrupt, whatever is used.
    pub(crate) fn is_to_be_quiet(&self) -> bool {
        match self.config.layout {
            Layout::Split if self.config.event_idx => {
                // The index behind which an interrupt is wanted is the one that was passed last.
                self.read::<u16>(self.at.driver, 4 + 2 * usize::from(self.config.size)) == self.used.wrapping_sub(1)
            }
            Layout::Split => self.read::<u16>(self.at.driver, 0) == 1,
            Layout::Packed => self.read::<u16>(self.at.driver, 2) == packed::EVENTS_DISABLE,
        }
    }

    /// Asks for no doorbell, or for one.
    pub(crate) fn want_doorbell(&self, want: bool) {
        match self.config.layout {
            Layout::Split => self.write(self.at.device, 0, u16::from(!want)),
            Layout::Packed => {
                self.write(self.at.device, 2, if want { packed::EVENTS_ENABLE } else { packed::EVENTS_DISABLE });
            }
        }
    }

    /// Asks for a doorbell once the chain (split) or descriptor (packed) `ahead` of what it took is available.
    pub(crate) fn want_doorbell_at(&self, ahead: u16) {
        match self.config.layout {
            Layout::Split => {
                let at = 4 + 8 * usize::from(self.config.size);
                self.write(self.at.device, at, self.taken.wrapping_add(ahead));
            }
            Layout::Packed => {
                let position = self.taken + ahead;
                let wrap = self.wrap ^ (position >= self.config.size);
                self.write(self.at.device, 0, (position & self.mask()) | u16::from(wrap) << 15);
                self.write(self.at.device, 2, packed::EVENTS_AT);
            }
        }
    }
}
