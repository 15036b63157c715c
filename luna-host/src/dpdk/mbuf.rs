//! How an obj of a port's pool is laid out, and the way between an obj and its mbuf.
//!
//! ```text
//! obj ─┬ mempool object header (64)          ┐
//!      ├ rte_mbuf (128)                      │ the driver's prefix
//!      ├ private area (external mbufs only)  ┘
//!      └ data: headroom, frame
//! ```
//! The mbuf is at a fixed place before the data, so a received mbuf becomes a Zbuf, and a header obj an mbuf, by addition.
//!
//! An mbuf's own reference count says who holds its obj: 1 while DPDK or a device does, 0 while the obj is free or in
//! Luna's hands. After a port was closed, objs with 1 are those that its driver forgot (memif never frees what it had
//! posted), and can be taken back.

use core::ptr::NonNull;

use dpdk_sys as sys;
use luna_core::zbuf::ZoneLayout;
use luna_core::zbuf::raw::RawZbuf;

/// Bytes before the mbuf: DPDK's object header, padded to a cache line.
pub(super) const HEADER_SIZE: usize = (sys::LUNA_OBJHDR_SIZE as usize).next_multiple_of(64);
/// Bytes of the mbuf.
pub(super) const MBUF_SIZE: usize = sys::LUNA_MBUF_SIZE as usize;
/// Free bytes that DPDK keeps before a received frame.
pub(super) const HEADROOM: u32 = sys::LUNA_PKTMBUF_HEADROOM;

/// Marks the first mbuf of a frame that was given to a device: in `tx_offload`, among the bits that DPDK leaves unused.
/// What a driver frees without it (a receive buffer, a payload segment) is not a frame's completion.
pub(super) const FRAME: u64 = 1 << sys::LUNA_TX_UNUSED_SHIFT;

/// The private area of an mbuf that carries payload from elsewhere.
#[repr(C, align(64))]
pub(super) struct ExtPriv {
    pub(super) shinfo: sys::rte_mbuf_ext_shared_info,
    pub(super) payload: RawZbuf,
    pub(super) home: *const super::tx::Deferred,
}

/// Bytes of [`ExtPriv`].
pub(super) const EXT_PRIV_SIZE: usize = size_of::<ExtPriv>();

/// The layout of objs with an mbuf, a private area and at least `data` bytes.
pub(super) fn layout(private: usize, data: u32) -> ZoneLayout {
    let prefix = (HEADER_SIZE + MBUF_SIZE + private) as u32;
    ZoneLayout { obj_size: (prefix + data).next_multiple_of(64), prefix }
}

/// The mbuf of the obj that starts at `obj`.
///
/// # Safety
/// `obj` is the start of an obj with one of the layouts above.
#[inline(always)]
pub(super) unsafe fn of_obj(obj: NonNull<u8>) -> *mut sys::rte_mbuf {
    // SAFETY: inside the prefix.
    unsafe { obj.as_ptr().add(HEADER_SIZE).cast() }
}

/// The private area of an external mbuf.
///
/// # Safety
/// `mbuf` is of the external pool.
#[inline(always)]
pub(super) unsafe fn ext_priv(mbuf: *mut sys::rte_mbuf) -> *mut ExtPriv {
    // SAFETY: the private area follows the mbuf.
    unsafe { mbuf.cast::<u8>().add(MBUF_SIZE).cast() }
}

/// Whether the driver holds the mbuf's obj.
///
/// # Safety
/// `mbuf` is a live mbuf of ours.
#[inline(always)]
pub(super) unsafe fn is_held(mbuf: *const sys::rte_mbuf) -> bool {
    // SAFETY: by contract.
    unsafe { sys::mbuf::refcnt(mbuf) != 0 }
}

/// Brings the mbuf into the state that DPDK expects of one fresh from its pool, and marks it as the driver's.
///
/// # Safety
/// `mbuf` is a live mbuf of ours that nobody else uses.
#[inline(always)]
pub(super) unsafe fn give(mbuf: *mut sys::rte_mbuf) {
    // SAFETY: by contract.
    unsafe {
        sys::mbuf::set_refcnt(mbuf, 1);
        sys::mbuf::set_nb_segs(mbuf, 1);
        sys::mbuf::set_ol_flags(mbuf, 0);
        sys::mbuf::set_next(mbuf, core::ptr::null_mut());
        sys::mbuf::set_tx_offload(mbuf, 0);
    }
}

/// Whether the mbuf was the first of a frame to send.
///
/// # Safety
/// `mbuf` is a live mbuf of ours that nobody else uses.
#[inline(always)]
pub(super) unsafe fn is_frame(mbuf: *const sys::rte_mbuf) -> bool {
    // SAFETY: by contract.
    unsafe { sys::mbuf::tx_offload(mbuf) & FRAME != 0 }
}

/// Marks the mbuf's obj as Luna's.
///
/// # Safety
/// As [`give`].
#[inline(always)]
pub(super) unsafe fn take(mbuf: *mut sys::rte_mbuf) {
    // SAFETY: by contract.
    unsafe { sys::mbuf::set_refcnt(mbuf, 0) }
}
