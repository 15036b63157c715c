//! Foreign memory: what a guest would lend. Somebody else writes it, so it is spoilt the moment that a send of it is
//! reported over: whoever still reads it then sends rubbish, which the other end and the device's check notice.

use core::cell::Cell;
use core::ptr::NonNull;

use luna_core::zbuf::{DeviceKey, ForeignIo, ForeignRegion, Frag, IoAddr, Pool};

use super::pattern::Pattern;

/// Bytes of one buffer, and how many there are: a mask names several.
const SLOT: usize = 4096;
const SLOTS: usize = u32::BITS as usize;

/// One side's memory.
pub struct Guest {
    region: ForeignRegion,
    memory: Box<[Cell<u8>]>,
    used: u32,
}

impl Guest {
    /// Registers memory; its descriptor comes from `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Option<Self> {
        let memory = vec![Cell::new(0); SLOT * SLOTS].into_boxed_slice();
        let base = NonNull::from(&*memory).cast();
        let io = ForeignIo::Contiguous(IoAddr(0x40_0000_0000));
        // SAFETY: the memory lives as long as the region, which is dropped before it; whoever holds buffers of it longer
        // (a stack that a violation left behind) only drops them.
        let region = unsafe { ForeignRegion::register(pool, base, (SLOT * SLOTS) as u64, io, DeviceKey(5)) };
        Some(Self { region: region.ok()?, memory, used: 0 })
    }

    /// A buffer with up to `len` bytes of a stream from `offset` on, and its mask. None without a free one.
    pub fn buffer(&mut self, pool: &Pool, len: u32, offset: u64, pattern: Pattern) -> Option<(Frag, u32)> {
        let slot = (!self.used).trailing_zeros();
        let mask = 1u32.checked_shl(slot)?;
        let len = len.min(SLOT as u32);
        let at = slot as usize * SLOT;
        let mut bytes = [0; SLOT];
        let bytes = &mut bytes[..len as usize];
        pattern.fill(offset, bytes);
        let foreign = self.region.buffer(pool, at as u64, len).ok()?;
        for (cell, byte) in self.memory[at..].iter().zip(bytes) {
            cell.set(*byte);
        }
        self.used |= mask;
        Some((Frag::from(foreign), mask))
    }

    /// Buffers are the guest's again: it writes something else there at once.
    pub fn take_back(&mut self, mask: u32) {
        self.used &= !mask;
        for slot in (0..SLOTS).filter(|s| mask & 1 << s != 0) {
            self.memory[slot * SLOT..][..SLOT].iter().for_each(|cell| cell.set(0xee));
        }
    }

    /// No new use of any of it.
    pub fn revoke(&self) {
        self.region.revoke();
    }

    /// Whether nobody holds any of it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.region.is_idle()
    }
}
