//! Descriptor rings, receive and transmit. No hardware here: what the device is told by registers is returned.
//!
//! A descriptor is 16 bytes. The device owns those from its head to the driver's tail; it takes them in order and sets DD
//! in each that it is done with. The driver looks only at the oldest one that it gave, and remembers what belongs to it
//! in [`Slot`]s, in memory that the device does not see: whatever the device writes, each obj comes out once, in order.
//! One descriptor always stays unused, since equal head and tail mean an empty ring (datasheet §7.1.5.1).

use luna_core::zbuf::IoAddr;

use crate::barrier;
use crate::dma::DmaPiece;
use crate::shared::Shared;

/// A descriptor, in either direction: the meaning of its halves is below.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) low: u64,
    pub(super) high: u64,
}

const _: () = assert!(size_of::<Descriptor>() == 16);

/// Bytes of a ring's memory: aligned to 16, and a multiple of 128 (§10.2.5.7).
#[must_use]
pub const fn memory(size: u16) -> usize {
    size as usize * size_of::<Descriptor>()
}

/// What a driver remembers of a descriptor.
#[derive(Debug)]
pub struct Slot<T>(Option<T>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// A ring, the driver's side.
pub(super) struct Ring<'m, T> {
    table: Shared<Descriptor>,
    io: IoAddr,
    slots: &'m mut [Slot<T>],
    mask: u16,
    /// The next descriptor to give to the device, and the oldest that it has.
    tail: u16,
    head: u16,
    /// What the device's tail register holds.
    told: u16,
}

impl<'m, T> Ring<'m, T> {
    /// A ring of as many descriptors as there are slots: a power of two from 8 (128 bytes) to 4096. `None` when sizes do
    /// not go together.
    pub(super) fn new(piece: &DmaPiece, slots: &'m mut [Slot<T>]) -> Option<Self> {
        let size = u16::try_from(slots.len()).ok().filter(|n| n.is_power_of_two() && (8..=4096).contains(n))?;
        if piece.len() < memory(size) || !piece.io(0).0.is_multiple_of(16) {
            return None;
        }
        for slot in slots.iter_mut() {
            slot.0 = None;
        }
        let table = Shared::new(piece, 0, size);
        for i in 0..size {
            table.write(i, Descriptor::default());
        }
        Some(Self { table, io: piece.io(0), slots, mask: size - 1, tail: 0, head: 0, told: 0 })
    }

    /// Where the device finds it, and its length in bytes.
    pub(super) fn place(&self) -> (IoAddr, u32) {
        (self.io, memory(self.mask + 1) as u32)
    }

    /// Descriptors that the device has.
    #[inline(always)]
    pub(super) fn in_flight(&self) -> u16 {
        self.tail.wrapping_sub(self.head) & self.mask
    }

    /// Descriptors that can be given.
    #[inline(always)]
    pub(super) fn room(&self) -> u16 {
        self.mask - self.in_flight()
    }

    /// Gives a descriptor and what belongs to it. The caller has seen that there is room.
    #[inline(always)]
    pub(super) fn give(&mut self, descriptor: Descriptor, obj: Option<T>) {
        debug_assert!(self.room() > 0, "no room in the ring");
        self.table.write(self.tail, descriptor);
        if let Some(slot) = self.slots.get_mut(usize::from(self.tail & self.mask)) {
            slot.0 = obj;
        }
        self.tail = self.tail.wrapping_add(1) & self.mask;
    }

    /// The new value of the tail register, when it changed. What was given is visible to the device before it.
    #[inline(always)]
    pub(super) fn publish(&mut self) -> Option<u32> {
        if self.told == self.tail {
            return None;
        }
        barrier::write();
        self.told = self.tail;
        Some(self.tail.into())
    }

    /// The descriptor `ahead` of the oldest one that the device has.
    #[inline(always)]
    pub(super) fn peek(&self, ahead: u16) -> Option<Descriptor> {
        (ahead < self.in_flight()).then(|| self.table.read(self.head.wrapping_add(ahead) & self.mask))
    }

    /// What belongs to the oldest descriptor that the device has.
    #[inline(always)]
    pub(super) fn front(&self) -> Option<&T> {
        self.slots.get(usize::from(self.head & self.mask)).filter(|_| self.in_flight() > 0)?.0.as_ref()
    }

    /// Takes the oldest descriptor back, which the device reported before, and what belongs to it.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<(Descriptor, Option<T>)> {
        if self.in_flight() == 0 {
            return None;
        }
        // The rest of what the device wrote is read after the report.
        barrier::read();
        let descriptor = self.table.read(self.head);
        let obj = self.slots.get_mut(usize::from(self.head & self.mask)).and_then(|slot| slot.0.take());
        self.head = self.head.wrapping_add(1) & self.mask;
        Some((descriptor, obj))
    }

    /// Takes everything back, and begins anew.
    ///
    /// # Safety
    /// The device was reset and touches none of it any more; it is told of the ring again before it is given anything.
    pub(super) unsafe fn restart(&mut self) {
        while self.take().is_some() {}
        for i in 0..=self.mask {
            self.table.write(i, Descriptor::default());
        }
        (self.tail, self.head, self.told) = (0, 0, 0);
    }
}

/// Extended receive descriptors (§7.1.5.2).
pub(super) mod rx {
    use super::{Descriptor, IoAddr};

    /// Status.
    pub(in super::super) const DD: u32 = 1 << 0;
    pub(in super::super) const EOP: u32 = 1 << 1;
    /// Ignore the checksum bits.
    pub(in super::super) const IXSM: u32 = 1 << 2;
    /// The TCP (or UDP) checksum was computed.
    pub(in super::super) const TCPCS: u32 = 1 << 5;
    /// The IPv4 header's was.
    pub(in super::super) const IPCS: u32 = 1 << 6;
    /// Errors: checksums; and of the frame itself (CRC, symbol, sequence, carrier, length).
    pub(in super::super) const TCPE: u32 = 1 << 29;
    pub(in super::super) const IPE: u32 = 1 << 30;
    pub(in super::super) const FRAME: u32 = 1 << 31 | 1 << 28 | 1 << 26 | 1 << 25 | 1 << 24;

    /// A buffer for the device.
    #[inline(always)]
    pub(in super::super) const fn buffer(addr: IoAddr) -> Descriptor {
        Descriptor { low: addr.0, high: 0 }
    }

    /// Status and errors of a descriptor that the device wrote back.
    #[inline(always)]
    pub(in super::super) const fn status(d: Descriptor) -> u32 {
        d.high as u32
    }

    /// Bytes in the buffer.
    #[inline(always)]
    pub(in super::super) const fn len(d: Descriptor) -> u32 {
        (d.high >> 32) as u32 & 0xffff
    }
}

/// Extended transmit descriptors (§7.2.10): contexts say where checksums are, data descriptors where bytes are.
pub(super) mod tx {
    use super::{Descriptor, IoAddr};

    const DEXT: u64 = 1 << 29;
    const DATA: u64 = 1 << 20;
    const EOP: u64 = 1 << 24;
    const IFCS: u64 = 1 << 25;
    const RS: u64 = 1 << 27;
    /// TUCMD of a context: TCP.
    const TCP: u64 = 1 << 24;
    const IPV4: u64 = 1 << 25;
    /// Status: done.
    const DD: u64 = 1 << 32;
    /// Options: insert the TCP checksum.
    const TXSM: u64 = 1 << 41;

    /// Where a frame's checksum begins and where it is put.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(in super::super) struct Context {
        pub(in super::super) ip_at: u8,
        pub(in super::super) tcp_at: u8,
        pub(in super::super) ipv6: bool,
    }

    impl Context {
        pub(in super::super) const fn descriptor(self) -> Descriptor {
            let Self { ip_at, tcp_at, ipv6 } = self;
            let (ip, tcp) = (ip_at as u64, tcp_at as u64);
            // The IP header's own fields are filled in already: its checksum is never asked for. An end of 0 is the frame's.
            let low = ip | (ip + 10) << 8 | (tcp - 1) << 16 | tcp << 32 | (tcp + 16) << 40;
            let kind = if ipv6 { TCP } else { TCP | IPV4 };
            Descriptor { low, high: DEXT | kind }
        }
    }

    /// `len` bytes at `addr`, the frame's last or not.
    #[inline(always)]
    pub(in super::super) const fn data(addr: IoAddr, len: u32, last: bool, checksum: bool) -> Descriptor {
        let end = if last { EOP | RS } else { 0 };
        let options = if checksum { TXSM } else { 0 };
        Descriptor { low: addr.0, high: (len & 0xf_ffff) as u64 | DATA | DEXT | IFCS | end | options }
    }

    /// Whether the device reported it.
    #[inline(always)]
    pub(in super::super) const fn is_done(d: Descriptor) -> bool {
        d.high & DD != 0
    }
}
