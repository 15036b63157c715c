//! The split layout (virtio 1.2, section 2.7): a table of descriptors, a ring of chains that are available to the device,
//! a ring of those that it used.

use super::shared::Shared;
use super::{Buffer, Fault, Returned};
use crate::barrier;
use crate::dma::DmaPiece;

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Used {
    pub(super) id: u32,
    pub(super) len: u32,
}

/// The chain goes on.
pub(super) const NEXT: u16 = 1;
/// The device writes.
pub(super) const WRITE: u16 = 2;
/// Available ring's flags: no interrupt, please.
const NO_INTERRUPT: u16 = 1;
/// Used ring's flags: no doorbell, please.
const NO_NOTIFY: u16 = 1;

/// Offsets in the shared memory.
pub(super) const fn avail_at(size: u16) -> usize {
    16 * size as usize
}

pub(super) const fn used_at(size: u16) -> usize {
    (avail_at(size) + 4 + 2 * size as usize + 2).next_multiple_of(64)
}

pub(super) const fn memory(size: u16) -> usize {
    used_at(size) + 4 + 8 * size as usize + 2
}

pub(super) struct Split {
    table: Shared<Descriptor>,
    avail: Shared<u16>,
    used: Shared<Used>,
    /// Single fields: flags and index of each ring, and the event indices behind them.
    avail_flags: Shared<u16>,
    avail_idx: Shared<u16>,
    used_event: Shared<u16>,
    used_flags: Shared<u16>,
    used_idx: Shared<u16>,
    avail_event: Shared<u16>,
    event_idx: bool,
    /// Chains made available, ever; published; taken back.
    added: u16,
    published: u16,
    taken: u16,
    /// The device's index as last read.
    seen: u16,
}

impl Split {
    #[inline(never)]
    pub(super) fn new(memory: &DmaPiece, size: u16, event_idx: bool) -> Self {
        let (avail, used) = (avail_at(size), used_at(size));
        let field = |at| Shared::new(memory, at, 1);
        let this = Self {
            table: Shared::new(memory, 0, size),
            avail: Shared::new(memory, avail + 4, size),
            used: Shared::new(memory, used + 4, size),
            avail_flags: field(avail),
            avail_idx: field(avail + 2),
            used_event: field(avail + 4 + 2 * usize::from(size)),
            used_flags: field(used),
            used_idx: field(used + 2),
            avail_event: field(used + 4 + 8 * usize::from(size)),
            event_idx,
            added: 0,
            published: 0,
            taken: 0,
            seen: 0,
        };
        // With EVENT_IDX flags are not looked at: the index to be told at is then kept one behind, which is one
        // interrupt in 65,536 that nobody takes.
        this.avail_flags.write(0, if event_idx { 0 } else { NO_INTERRUPT });
        this.used_event.write(0, u16::MAX);
        this
    }

    /// Fills descriptor `id`, and links it behind `previous`.
    #[inline(always)]
    pub(super) fn describe(&mut self, id: u16, previous: Option<u16>, buffer: Buffer) {
        let Buffer { addr, len, device_writes } = buffer;
        let flags = if device_writes { WRITE } else { 0 };
        self.table.write(id, Descriptor { addr: addr.0, len, flags, next: 0 });
        if let Some(previous) = previous {
            let link = Descriptor { next: id, ..self.table.read(previous) };
            self.table.write(previous, Descriptor { flags: link.flags | NEXT, ..link });
        }
    }

    #[inline(always)]
    pub(super) fn end(&mut self, head: u16) {
        self.avail.write(self.added, head);
        self.added = self.added.wrapping_add(1);
    }

    #[inline(always)]
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.added);
        if old == new {
            return false;
        }
        barrier::write();
        self.avail_idx.write(0, new);
        self.published = new;
        // The device looks at the index after it said that it wants the doorbell; we, the other way round.
        barrier::full();
        if self.event_idx {
            passed(self.avail_event.read(0), new, old)
        } else {
            self.used_flags.read(0) & NO_NOTIFY == 0
        }
    }

    #[inline(always)]
    pub(super) fn next(&mut self, in_flight: usize) -> Result<Option<Returned>, Fault> {
        if self.seen == self.taken {
            let seen = self.used_idx.read(0);
            let returned = seen.wrapping_sub(self.taken);
            if returned == 0 {
                return Ok(None);
            }
            if usize::from(returned) > in_flight {
                return Err(Fault::IndexJump(returned));
            }
            barrier::read();
            self.seen = seen;
        }
        let Used { id, len } = self.used.read(self.taken);
        Ok(Some(Returned { id, len }))
    }

    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.taken = self.taken.wrapping_add(1);
        if self.event_idx {
            self.used_event.write(0, self.taken.wrapping_sub(1));
        }
    }
}

/// Whether going from `old` to `new` passes the point behind `event` (section 2.7.10).
#[inline(always)]
pub(super) const fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
