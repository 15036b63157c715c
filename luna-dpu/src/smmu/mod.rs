//! I/O addresses: what a device must be told to reach a piece of memory.
//!
//! Without an IOMMU that is the physical address, or the physical address and a constant ([`Identity`], [`Offset`]). With
//! an SMMUv3 ([`Smmu`]) devices reach what was mapped for them, and nothing else: a device (or its driver) that goes
//! astray ends in an event instead of in somebody's memory.
//!
//! Of the architecture (Arm IHI 0070) as much is here as a DPU without an operating system needs: a linear stream table,
//! one context with stage 1 tables shared by all devices, a command queue that is waited for, an event queue that is read.
//! Absent: two-level stream tables, stage 2, several contexts (what is mapped for one device is mapped for each that is
//! attached), unmapping (memory of zones and rings is never given back), interrupts (a core looks: `machine::Reach`), ATS,
//! PRI.
//!
//! What it was tried with is QEMU 7.2's. That has no stage 2, no ATS, PRI, substreams or message interrupts; it never
//! stalls an access, but ends it; it is coherent, whatever the attributes say; an access that it refuses reads as nothing
//! and writes nothing, and the device is not told, so that the event is all there is to see. On `virt` it is in the way of PCI
//! bus 0 only, not of virtio over MMIO, and of a virtio device only with `iommu_platform=on` (`ACCESS_PLATFORM`): others
//! use physical addresses as if there were none.

mod device;
mod table;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use core::fmt;

use luna_core::zbuf::IoAddr;

pub use device::{LEN, MEMORY, Smmu, SmmuError, SmmuEvent};
pub use table::MapError;

/// Where devices find memory.
pub trait IoSpace {
    /// Lets devices reach `len` bytes at the physical address `pa`; both are multiples of 4096. Says where they find them:
    /// all in one stretch.
    ///
    /// # Errors
    /// [`MapError`].
    fn map(&mut self, pa: u64, len: u64) -> Result<IoAddr, MapError>;
}

/// Devices use physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity;

impl IoSpace for Identity {
    fn map(&mut self, pa: u64, len: u64) -> Result<IoAddr, MapError> {
        table::check(pa, len)?;
        Ok(IoAddr(pa))
    }
}

/// Devices see all memory at a distance: what is at `pa` for the core is at `pa + self.0` (wrapping) for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset(pub u64);

impl IoSpace for Offset {
    fn map(&mut self, pa: u64, len: u64) -> Result<IoAddr, MapError> {
        table::check(pa, len)?;
        let io = pa.wrapping_add(self.0);
        io.checked_add(len).map(|_| IoAddr(io)).ok_or(MapError::OutOfRange)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "not a multiple of 4096",
            Self::OutOfRange => "beyond the addresses that there are",
            Self::Taken => "mapped already",
            Self::NoMemory => "no memory for page tables",
        })
    }
}

impl core::error::Error for MapError {}
