//! The packed layout (virtio 1.2, section 2.8): one ring of descriptors, in which available ones become used ones.

use super::shared::Shared;
use super::{Buffer, Fault, Returned};
use crate::barrier;
use crate::dma::DmaPiece;

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) id: u16,
    pub(super) flags: u16,
}

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const AVAIL: u16 = 1 << 7;
pub(super) const USED: u16 = 1 << 15;

/// Event suppression flags: always, never, at an offset.
pub(super) const EVENTS_ENABLE: u16 = 0;
pub(super) const EVENTS_DISABLE: u16 = 1;
pub(super) const EVENTS_AT: u16 = 2;

pub(super) const fn driver_at(size: u16) -> usize {
    16 * size as usize
}

pub(super) const fn device_at(size: u16) -> usize {
    (driver_at(size) + 4).next_multiple_of(64)
}

pub(super) const fn memory(size: u16) -> usize {
    device_at(size) + 4
}

pub(super) struct Packed {
    ring: Shared<Descriptor>,
    /// The device's event suppression: offset with wrap bit, flags.
    device_events: Shared<u16>,
    size: u16,
    event_idx: bool,
    /// Where the next chain begins, and the first descriptor of the chain under construction.
    next: u16,
    wrap: bool,
    first_flags: u16,
    described: u16,
    /// Where the next used descriptor is expected.
    used: u16,
    used_wrap: bool,
    /// Descriptors published since the device was last looked at.
    unannounced: u16,
}

impl Packed {
    #[inline(never)]
    pub(super) fn new(memory: &DmaPiece, size: u16, event_idx: bool) -> Option<Self> {
        let (driver, device) = (driver_at(size), device_at(size));
        let driver_events: Shared<u16> = Shared::new(memory, driver, 2);
        driver_events.write(1, EVENTS_DISABLE);
        Some(Self {
            ring: Shared::new(memory, 0, size),
            device_events: Shared::new(memory, device, 2),
            size,
            event_idx,
            next: 0,
            wrap: true,
            first_flags: 0,
            described: 0,
            used: 0,
            used_wrap: true,
            unannounced: 0,
        })
    }

    #[inline(always)]
    fn flags_at(&self, i: u16) -> core::ptr::NonNull<u16> {
        // SAFETY: a field of a descriptor in the ring.
        unsafe { core::ptr::NonNull::new_unchecked(&raw mut (*self.ring.at(i).as_ptr()).flags) }
    }

    #[inline(always)]
    fn write_flags(&self, i: u16, flags: u16) {
        // SAFETY: as in `Shared::write`.
        unsafe { self.flags_at(i).write_volatile(flags) };
    }

    /// Fills the next descriptor of the chain whose buffer id is `head`. Its first one's flags wait for the end.
    ///
    /// The id counts in the last one; devices that take it from the first (QEMU before 9.1) are served too.
    #[inline(always)]
    pub(super) fn describe(&mut self, head: u16, buffer: Buffer) {
        let Buffer { addr, len, device_writes } = buffer;
        let at = self.next.wrapping_add(self.described);
        let wrap = self.wrap ^ (at >= self.size);
        let phase = if wrap { AVAIL } else { USED };
        let flags = phase | if device_writes { WRITE } else { 0 };
        // SAFETY: fields of a descriptor in the ring, written one by one so that the flags are not touched here.
        unsafe {
            let d = self.ring.at(at).as_ptr();
            (&raw mut (*d).addr).write_volatile(addr.0);
            (&raw mut (*d).len).write_volatile(len);
            (&raw mut (*d).id).write_volatile(head);
        }
        if self.described == 0 {
            self.first_flags = flags;
        } else {
            self.write_flags(at, flags);
            // The one before goes on.
            if self.described == 1 {
                self.first_flags |= NEXT;
            } else {
                let before = at.wrapping_sub(1);
                // SAFETY: as in `Shared::read`.
                let flags = unsafe { self.flags_at(before).read_volatile() };
                self.write_flags(before, flags | NEXT);
            }
        }
        self.described += 1;
    }

    /// Ends a chain of `count` descriptors, and makes it available.
    #[inline(always)]
    pub(super) fn end(&mut self, count: u16) {
        barrier::write();
        self.write_flags(self.next, self.first_flags);
        self.described = 0;
        self.unannounced += count;
        self.next += count;
        if self.next >= self.size {
            self.next -= self.size;
            self.wrap = !self.wrap;
        }
    }

    #[inline(always)]
    pub(super) fn publish(&mut self) -> bool {
        let count = core::mem::take(&mut self.unannounced);
        if count == 0 {
            return false;
        }
        barrier::full();
        match self.device_events.read(1) & 3 {
            EVENTS_DISABLE => false,
            EVENTS_AT if self.event_idx => self.passes(count),
            // Always, and what has no meaning.
            EVENTS_ENABLE.. => true,
        }
    }

    /// Whether the last `count` descriptors include the one that the device waits for.
    fn passes(&self, count: u16) -> bool {
        let off_wrap = self.device_events.read(0);
        let (offset, wrap) = (off_wrap & 0x7fff, off_wrap >> 15 != 0);
        // Positions of the lap before are a ring's length behind.
        let event = if wrap == self.wrap { offset } else { offset.wrapping_sub(self.size) };
        super::split::passed(event, self.next, self.next.wrapping_sub(count))
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Returned>, Fault> {
        // SAFETY: as in `Shared::read`.
        let flags = unsafe { self.flags_at(self.used).read_volatile() };
        let (avail, used) = (flags & AVAIL != 0, flags & USED != 0);
        if avail != used || used != self.used_wrap {
            return Ok(None);
        }
        barrier::read();
        let d = self.ring.read(self.used);
        Ok(Some(Returned { id: u32::from(d.id), len: d.len }))
    }

    #[inline(always)]
    pub(super) fn advance(&mut self, count: u16) {
        self.used += count;
        if self.used >= self.size {
            self.used -= self.size;
            self.used_wrap = !self.used_wrap;
        }
    }
}
