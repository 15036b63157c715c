//! Rings: what the driver gives to a device and gets back (virtio 1.2, sections 2.7 and 2.8). No hardware here.
//!
//! A [`Ring`] owns the objs that the device may touch: they go in with [`Ring::add`] and come out with [`Ring::pop`]. What
//! it must remember of them lies in [`Node`]s, in memory that the device does not see: whatever a device writes into the
//! shared memory, no obj comes out twice, and none while its descriptor was not returned.
//!
//! Dropping a ring forgets what the device holds: the memory is then never used again. After a reset of the device
//! [`Ring::restart`] gives it back.

mod nodes;
// Tests of drivers play devices of both kinds.
#[cfg(any(feature = "packed", test))]
mod packed;
#[cfg(not(any(feature = "packed", test)))]
#[path = "no_packed.rs"]
mod packed;
mod split;

use luna_core::zbuf::IoAddr;

pub use nodes::Node;

use super::transport::RingAddresses;
use crate::dma::DmaPiece;
use crate::shared;
use nodes::Nodes;
use packed::Packed;
use split::Split;

/// Memory that the device is to read or write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Where the device finds it.
    pub addr: IoAddr,
    /// Bytes.
    pub len: u32,
    /// The device writes it; else it reads it.
    pub device_writes: bool,
}

/// What a device did that makes no sense. Nothing is taken from it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It returned a buffer that does not exist or that it does not hold.
    UnknownId(u32),
    /// Its index says that it returned more buffers than it holds.
    IndexJump(u16),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownId(id) => write!(f, "the device returned buffer {id}, which it does not hold"),
            Self::IndexJump(by) => write!(f, "the device's index went on by {by}, more than it holds"),
        }
    }
}

impl core::error::Error for Fault {}

/// Which of the two layouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Descriptor table, available ring, used ring.
    Split,
    /// One ring of descriptors.
    Packed,
}

/// How a ring is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingConfig {
    /// The layout that was agreed on.
    pub layout: Layout,
    /// Descriptors: a power of two, at most 2^15.
    pub size: u16,
    /// `EVENT_IDX` was agreed on.
    pub event_idx: bool,
}

impl RingConfig {
    /// Bytes of shared memory that it takes, aligned to 16.
    #[must_use]
    pub const fn memory(self) -> usize {
        match self.layout {
            Layout::Split => split::memory(self.size),
            Layout::Packed => packed::memory(self.size),
        }
    }

    /// Where the device finds the parts of a ring in `memory`.
    #[must_use]
    pub fn addresses(self, memory: &DmaPiece) -> RingAddresses {
        let (driver, device) = match self.layout {
            Layout::Split => (split::avail_at(self.size), split::used_at(self.size)),
            Layout::Packed => (packed::driver_at(self.size), packed::device_at(self.size)),
        };
        RingAddresses { descriptors: memory.io(0), driver: memory.io(driver), device: memory.io(device) }
    }
}

enum Kind {
    Split(Split),
    Packed(Packed),
}

/// A ring, its driver's side. The device never interrupts: it is polled.
pub struct Ring<'m, T> {
    nodes: Nodes<'m, T>,
    kind: Kind,
    memory: DmaPiece,
    event_idx: bool,
    fault: Option<Fault>,
}

/// Where in a ring's shared memory its next returned buffer is: read, and not yet trusted.
struct Returned {
    id: u32,
    len: u32,
}

impl<'m, T> Ring<'m, T> {
    /// A ring in `memory`, of at least [`RingConfig::memory`] bytes, aligned to 16, with a node for every descriptor.
    /// `None` when sizes do not go together, or for a packed one without the feature of that name. What `nodes` held before is forgotten.
    #[must_use]
    pub fn new(config: RingConfig, memory: DmaPiece, nodes: &'m mut [Node<T>]) -> Option<Self> {
        let RingConfig { layout, size, event_idx } = config;
        let fits = size.is_power_of_two() && size <= 1 << 15 && memory.len() >= config.memory();
        if !fits || nodes.len() != usize::from(size) || !memory.base().addr().get().is_multiple_of(16) {
            return None;
        }
        let kind = match layout {
            Layout::Split => Kind::Split(Split::new(&memory, size, event_idx)),
            Layout::Packed => Kind::Packed(Packed::new(&memory, size, event_idx)?),
        };
        Some(Self { nodes: Nodes::new(nodes), kind, memory, event_idx, fault: None })
    }

    /// Descriptors that are free.
    #[must_use]
    #[inline(always)]
    pub fn room(&self) -> usize {
        if self.fault.is_some() { 0 } else { self.nodes.free() }
    }

    /// Descriptors that it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Buffers that the device holds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.nodes.in_flight()
    }

    /// What the device did wrong, once it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Gives the device a buffer of one piece.
    ///
    /// # Errors
    /// The obj, when the ring is full or at fault.
    #[inline(always)]
    pub fn add_one(&mut self, buffer: Buffer, obj: T) -> Result<(), T> {
        if self.room() == 0 {
            return Err(obj);
        }
        let id = self.nodes.begin();
        match &mut self.kind {
            Kind::Split(ring) => ring.describe(id, None, buffer),
            Kind::Packed(ring) => ring.describe(id, buffer),
        }
        self.nodes.hold(id, obj);
        self.end(id, 1);
        Ok(())
    }

    /// Gives the device a buffer of several pieces, which come from `pieces`, at most as many as [`Ring::room`] says;
    /// the rest is dropped. Returns how many it took.
    #[inline(always)]
    pub fn add(&mut self, pieces: impl Iterator<Item = (Buffer, T)>) -> usize {
        let room = self.room();
        let (mut head, mut last, mut count) = (0, 0, 0);
        for (buffer, obj) in pieces.take(room) {
            let id = self.nodes.begin();
            if count == 0 {
                head = id;
            } else {
                self.nodes.link(last, id);
            }
            match &mut self.kind {
                Kind::Split(ring) => ring.describe(id, (count > 0).then_some(last), buffer),
                Kind::Packed(ring) => ring.describe(head, buffer),
            }
            self.nodes.hold(id, obj);
            last = id;
            count += 1;
        }
        if count > 0 {
            self.end(head, count);
        }
        usize::from(count)
    }

    #[inline(always)]
    fn end(&mut self, head: u16, count: u16) {
        self.nodes.end(head, count);
        match &mut self.kind {
            Kind::Split(ring) => ring.end(head),
            Kind::Packed(ring) => ring.end(count),
        }
    }

    /// Makes what was added visible to the device. True when it wants its doorbell rung.
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        match &mut self.kind {
            Kind::Split(ring) => ring.publish(),
            Kind::Packed(ring) => ring.publish(),
        }
    }

    /// The next buffer that the device returned: `each` gets its objs, in order, and the result is the bytes that the
    /// device says it wrote, which is not checked here. `None` when there is none, or the device is at fault.
    #[inline(always)]
    pub fn pop(&mut self, each: impl FnMut(T)) -> Option<u32> {
        if self.fault.is_some() {
            return None;
        }
        let returned = match &mut self.kind {
            Kind::Split(ring) => ring.next(self.nodes.in_flight()),
            Kind::Packed(ring) => ring.next(),
        };
        let Returned { id, len } = match returned {
            Ok(returned) => returned?,
            Err(fault) => return self.fail(fault),
        };
        let Some(count) = self.nodes.release(id, each) else { return self.fail(Fault::UnknownId(id)) };
        match &mut self.kind {
            Kind::Split(ring) => ring.advance(),
            Kind::Packed(ring) => ring.advance(count),
        }
        Some(len)
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, fault: Fault) -> Option<u32> {
        self.fault = Some(fault);
        None
    }

    /// Takes back everything that the device holds, and begins anew: without a fault, its shared memory as it was at first.
    ///
    /// # Safety
    /// The device was reset and touches none of it any more; it is told of the ring again before it is given anything.
    #[cold]
    #[inline(never)]
    pub unsafe fn restart(&mut self, each: impl FnMut(T)) {
        self.nodes.drain(each);
        self.memory.clear();
        let size = self.nodes.len() as u16;
        match &mut self.kind {
            Kind::Split(ring) => *ring = Split::new(&self.memory, size, self.event_idx),
            Kind::Packed(ring) => {
                if let Some(anew) = Packed::new(&self.memory, size, self.event_idx) {
                    *ring = anew;
                }
            }
        }
        self.fault = None;
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
