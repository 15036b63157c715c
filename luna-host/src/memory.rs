//! Zbuf regions of ordinary Linux memory, for stacks that no device reaches: the in-memory pair and the kernel path.
//!
//! Every region is leaked: it stays mapped as long as the process, so no handle, posted obj or thread can outlive it.
//! The bus address of a byte is its virtual address, which only the in-memory pair takes. Regions that devices reach
//! come from DPDK's own memory instead.

use core::ptr::NonNull;
use std::io;

use luna_core::zbuf::{DeviceKey, IoAddr, Pool, PoolError, Region, RegionError, ZONE_SIZE, ZoneLayout};
use memmap2::{MmapMut, MmapOptions};

/// Which pages a region is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pages {
    /// Ordinary pages, with the kernel asked to merge them into huge ones where it can.
    #[default]
    Ordinary,
    /// 2 MiB pages of the kernel's reserved hugepages, or an error.
    Huge,
}

/// Why there is no region.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The kernel refused the memory.
    #[error("no {mib} MiB of {kind} memory: {source}")]
    Map {
        /// How much was asked for.
        mib: usize,
        /// Of which kind.
        kind: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memory does not suit [`Region`].
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The objs do not suit the zones.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// A region of `zones` times 2 MiB, mapped until the process ends.
///
/// # Errors
/// [`MemoryError::Map`] when the kernel does not give the memory.
pub fn region(zones: usize, pages: Pages) -> Result<Region, MemoryError> {
    let len = zones * ZONE_SIZE;
    let map_error = |kind| move |source| MemoryError::Map { mib: len >> 20, kind, source };
    let mut map = match pages {
        Pages::Huge => {
            MmapOptions::new().len(len).huge(Some(21)).populate().map_anon().map_err(map_error("hugepage"))?
        }
        Pages::Ordinary => ordinary(len).map_err(map_error("ordinary"))?,
    };
    let skip = map.as_ptr().align_offset(ZONE_SIZE);
    // SAFETY: `ordinary` maps one zone more than `len`, and hugepage maps are aligned already: `skip + len` is inside.
    let base = unsafe { NonNull::new_unchecked(map.as_mut_ptr().add(skip)) };
    core::mem::forget(map);
    let io = |zone| IoAddr(base.addr().get() as u64 + (zone * ZONE_SIZE) as u64);
    // SAFETY: fresh, zeroed, writable memory that is never unmapped; no device is told these addresses.
    Ok(unsafe { Region::new(base, zones, io, DeviceKey(0)) }?)
}

/// `len` bytes with slack for the alignment.
fn ordinary(len: usize) -> io::Result<MmapMut> {
    let map = MmapOptions::new().len(len + ZONE_SIZE).map_anon()?;
    if let Err(e) = map.advise(memmap2::Advice::HugePage) {
        log::debug!("no transparent hugepages: {e}");
    }
    Ok(map)
}

/// A pool with at least `objs` objs that hold `size` bytes each (rounded up to 64).
///
/// # Errors
/// [`MemoryError`], also when `size` does not fit a zone.
pub fn pool(objs: usize, size: u32, pages: Pages) -> Result<Pool, MemoryError> {
    let layout = ZoneLayout::plain(size.next_multiple_of(64));
    let Some((per_zone, _)) = layout.fit() else {
        return Err(PoolError::BadLayout(layout).into());
    };
    let zones = objs.div_ceil(per_zone as usize).max(1);
    Ok(Pool::new(region(zones, pages)?, layout)?)
}

#[cfg(test)]
mod tests;
