//! Stage 1 page tables, VMSAv8-64 with 4 KiB granules and 39 bits of input address: three levels, whose entries are 1 GiB,
//! 2 MiB and 4 KiB. Blocks of 2 MiB where addresses allow, which is every zone of packet memory.

use luna_core::zbuf::IoAddr;

use crate::dma::{DmaArea, DmaPiece};
use crate::shared::Shared;

/// Why a range was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// Addresses and lengths are multiples of 4096.
    Misaligned,
    /// Beyond the input addresses (39 bits) or the output addresses (48 bits), or nothing at all.
    OutOfRange,
    /// Something is mapped there.
    Taken,
    /// No memory for tables.
    NoMemory,
}

const PAGE: u64 = 1 << 12;
const BLOCK: u64 = 1 << 21;
/// Bits of input address.
pub(super) const INPUT_BITS: u32 = 39;
const ENTRIES: u16 = 512;
/// Bits of an address in a descriptor.
const ADDRESS: u64 = 0xffff_ffff_f000;

/// Valid; a table (or, at the last level, a page).
const VALID: u64 = 1;
const TABLE: u64 = 1 << 1;
/// Attribute 0 of MAIR, no execution (XN, PXN), accessed (AF), inner shareable, any privilege (AP 01), not global.
const LEAF: u64 = VALID | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11 | 1 << 53 | 1 << 54;

/// Whether a range can be mapped at all.
pub(super) fn check(pa: u64, len: u64) -> Result<(), MapError> {
    if !(pa | len).is_multiple_of(PAGE) {
        return Err(MapError::Misaligned);
    }
    match pa.checked_add(len) {
        Some(end) if len > 0 && end <= 1 << 48 => Ok(()),
        _ => Err(MapError::OutOfRange),
    }
}

/// One table, and where the device finds it.
struct Level {
    entries: Shared<u64>,
    io: IoAddr,
}

impl Level {
    fn new(area: &mut DmaArea) -> Result<Self, MapError> {
        Ok(Self::at(&area.take(PAGE as usize, PAGE as usize).ok_or(MapError::NoMemory)?))
    }

    fn at(piece: &DmaPiece) -> Self {
        Self { entries: Shared::new(piece, 0, ENTRIES), io: piece.io(0) }
    }
}

/// Tables of the two lower levels that are remembered: so many GiB and pieces of 2 MiB may be in use.
const MAX_TABLES: usize = 64;

/// A tree of tables.
pub(super) struct Tables {
    root: Level,
    /// Tables below, by the first address that they translate and the size of their entries.
    below: heapless::Vec<(u64, u64, Level), MAX_TABLES>,
    area: DmaArea,
}

impl Tables {
    /// An empty tree, with memory for more.
    pub(super) fn new(mut area: DmaArea) -> Result<Self, MapError> {
        let root = Level::new(&mut area)?;
        Ok(Self { root, below: heapless::Vec::new(), area })
    }

    /// Where its root is.
    pub(super) fn root(&self) -> IoAddr {
        self.root.io
    }

    /// Maps `len` bytes at `io` to `pa`. After an error, what was mapped of it before stays mapped.
    pub(super) fn map(&mut self, io: u64, pa: u64, len: u64) -> Result<(), MapError> {
        check(pa, len)?;
        check(io, len)?;
        if io + len > 1 << INPUT_BITS {
            return Err(MapError::OutOfRange);
        }
        let mut done = 0;
        while done < len {
            let (from, to) = (io + done, pa + done);
            let large = (from | to).is_multiple_of(BLOCK) && len - done >= BLOCK;
            let size = if large { BLOCK } else { PAGE };
            let kind = if large { 0 } else { TABLE };
            let level = self.level(from, size)?;
            let slot = (from / size) as u16 & (ENTRIES - 1);
            if level.read(slot) & VALID != 0 {
                return Err(MapError::Taken);
            }
            level.write(slot, to & ADDRESS | LEAF | kind);
            done += size;
        }
        Ok(())
    }

    /// The table whose entries of `size` bytes translate `io`, made when there is none.
    fn level(&mut self, io: u64, size: u64) -> Result<&Shared<u64>, MapError> {
        let span = size * u64::from(ENTRIES);
        let base = io & !(span - 1);
        if let Some(i) = self.below.iter().position(|t| (t.0, t.1) == (base, size)) {
            return self.below.get(i).map(|t| &t.2.entries).ok_or(MapError::NoMemory);
        }
        if self.below.is_full() {
            return Err(MapError::NoMemory);
        }
        let slot = (io / span) as u16 & (ENTRIES - 1);
        let parent = if size == BLOCK { &self.root.entries } else { self.level(io, BLOCK)? };
        if parent.read(slot) & VALID != 0 {
            // A block: what is wanted lies inside it.
            return Err(MapError::Taken);
        }
        let level = Level::new(&mut self.area)?;
        let parent = if size == BLOCK { &self.root.entries } else { self.level(io, BLOCK)? };
        // The new table is empty before it can be seen.
        crate::barrier::write();
        parent.write(slot, level.io.0 | VALID | TABLE);
        if self.below.push((base, size, level)).is_err() {
            return Err(MapError::NoMemory);
        }
        self.below.last().map(|t| &t.2.entries).ok_or(MapError::NoMemory)
    }
}
