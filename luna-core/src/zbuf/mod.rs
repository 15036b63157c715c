//! Zbuf: reference-counted objs in 2 MiB zones that a NIC reaches by I/O address (paper §6).
//!
//! A [`Region`] is memory that the caller hands over once. A [`Pool`] carves its 2 MiB zones into objs of one size.
//! [`ZbufMut`] is the only writer of an obj, [`Zbuf`] a shared view of one, and a [`Frag`] what a send accepts: a
//! [`Zbuf`] or a piece of [`ForeignRegion`] memory. A [`FrameHead`] is what a frame begins with. Zones are 2 MiB *aligned*, so the zone of a byte is a mask of its
//! address and the I/O address an addition: no table walk, no pool pointer in the handle, no division (§6.1).
//!
//! Invariants:
//! - Counts are plain cells and every handle is `!Send`; [`Parcel`] is the one way to another thread.
//! - Every pointer descends from the region's base, never from a `&mut [u8]` of one obj.
//! - Objs are zeroed when the pool is made, so a `&[u8]` of one is always initialised memory.
//! - No code masks an address that was not proved to lie in one of our zones.

mod arena;
mod copy;
mod foreign;
mod frag;
mod handle;
mod head;
mod parcel;
mod pool;
pub mod raw;
mod region;
mod return_list;
#[cfg(test)]
pub(crate) mod testing;
mod zone;

pub(crate) use arena::{Arena, Room};
pub use copy::{CopyCounter, copy_counted};
pub use foreign::{Foreign, ForeignError, ForeignIo, ForeignRegion};
pub(crate) use frag::drain_all;
pub use frag::{Frag, FragRef};
pub use handle::{Zbuf, ZbufMut};
pub use head::FrameHead;
pub(crate) use head::LEAD_LEN;
pub use parcel::Parcel;
pub(crate) use pool::Fresh;
pub use pool::{Pool, PoolError};
pub use region::{DeviceKey, IoAddr, Region, RegionError};
pub use zone::{ZONE_SIZE, ZoneLayout, ZoneRef};
