//! A region: memory that the caller gives to Luna, with the address by which devices reach each 2 MiB of it.

use core::fmt;
use core::ptr::NonNull;

use super::zone::{ZONE_SIZE, ZoneHeader};

/// A bus address: what a device puts on the wire to reach memory (IOVA or physical address).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct IoAddr(pub u64);

/// What some devices want beside an address (mlx5's memory key); 0 where a device needs none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeviceKey(pub u64);

/// Why memory cannot become a [`Region`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// The base is not a multiple of 2 MiB.
    Unaligned,
    /// There are no zones, or more than 2^20 of them.
    BadZoneCount,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "region base is not aligned to 2 MiB",
            Self::BadZoneCount => "a region has between 1 and 2^20 zones of 2 MiB",
        })
    }
}

impl core::error::Error for RegionError {}

/// Caller-supplied memory, not yet carved: `zones` times 2 MiB, exclusively Luna's.
///
/// It may move to the thread that will own it; that thread makes a [`super::Pool`] of it.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    zones: usize,
}

// SAFETY: a region is exclusive memory without any handle pointing in; moving it to another thread moves all of it.
unsafe impl Send for Region {}

impl Region {
    /// Takes `zones * 2 MiB` at `base`; `io(i)` is the bus address of zone `i`, `key` its device key.
    ///
    /// # Errors
    /// [`RegionError`] when the base is not 2 MiB aligned or the count is out of range.
    ///
    /// # Safety
    /// The memory must be writable, used by nobody else, and stay mapped until the pool made from it is gone, no handle
    /// is left ([`super::Pool::outstanding`] was 0 then) and no device holds its address. `io` must tell the truth: devices write there.
    pub unsafe fn new(
        base: NonNull<u8>,
        zones: usize,
        mut io: impl FnMut(usize) -> IoAddr,
        key: DeviceKey,
    ) -> Result<Self, RegionError> {
        if !base.addr().get().is_multiple_of(ZONE_SIZE) {
            return Err(RegionError::Unaligned);
        }
        if zones == 0 || zones > 1 << 20 {
            return Err(RegionError::BadZoneCount);
        }
        for i in 0..zones {
            // SAFETY: the caller gives `zones` zones of writable memory at an aligned base.
            unsafe { ZoneHeader::init(base.add(i * ZONE_SIZE), io(i), key) };
        }
        Ok(Self { base, zones })
    }

    /// Number of 2 MiB zones.
    #[must_use]
    pub fn zones(&self) -> usize {
        self.zones
    }

    /// First byte.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Cuts off the first `zones` zones as a region of their own, for a pool of another obj size.
    ///
    /// # Errors
    /// The region itself, when it has not more than `zones` zones or `zones` is 0.
    pub fn split_off_front(self, zones: usize) -> Result<(Self, Self), Self> {
        if zones == 0 || zones >= self.zones {
            return Err(self);
        }
        // SAFETY: `zones < self.zones`, so the sum stays inside the region.
        let rest = unsafe { self.base.add(zones * ZONE_SIZE) };
        Ok((Self { base: self.base, zones }, Self { base: rest, zones: self.zones - zones }))
    }
}
