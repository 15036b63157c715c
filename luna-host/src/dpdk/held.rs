//! Frames to ports that copy them: held over the burst, and freed here instead of through DPDK.
//!
//! vhost and memif without zero-copy are done with a frame when the burst returns. Left to them, each segment is freed by
//! calls through the mempool's operations and each payload by a callback, which took a seventh of a server's time at 64 KiB.
//! With a second reference the PMD only counts down, and what is to be done is done in line. Whether a port copies is seen
//! from its first frame: one that still has both references afterwards is the PMD's, as without this.

use dpdk_sys as sys;

use super::port::QueuePools;
use super::{mbuf, tx};

/// The segments of a chain.
///
/// # Safety
/// `frame` is a chain that stays as it is until each segment was taken from the iterator.
#[inline(always)]
unsafe fn segments(frame: *mut sys::rte_mbuf) -> impl Iterator<Item = *mut sys::rte_mbuf> {
    let mut next = frame;
    core::iter::from_fn(move || {
        let m = next;
        if m.is_null() {
            return None;
        }
        // SAFETY: by contract.
        next = unsafe { sys::mbuf::next(m) };
        Some(m)
    })
}

/// Takes a second reference of every segment, for the time of a burst.
///
/// # Safety
/// Frames are chains of this queue that were not given to the device.
#[inline]
pub(super) unsafe fn hold(frames: &[*mut sys::rte_mbuf]) {
    // SAFETY: by contract.
    unsafe { frames.iter().for_each(|frame| segments(*frame).for_each(|m| sys::mbuf::set_refcnt(m, 2))) }
}

/// After the burst: frees what was `sent`, and gives the second reference of the `rest` up. False when the device does not
/// copy but keeps frames.
///
/// # Safety
/// All were given to [`hold`], and then those that were `sent` to the device; chains of this queue on its thread.
#[inline]
pub(super) unsafe fn settle(pools: &QueuePools, sent: &[*mut sys::rte_mbuf], rest: &[*mut sys::rte_mbuf]) -> bool {
    // SAFETY: by contract. A count of 1 is ours, so nobody else knows the chain any more; a PMD that keeps it frees it
    // later, in a burst of this thread.
    unsafe {
        rest.iter().for_each(|frame| let_go(*frame));
        let copies = sent.first().is_none_or(|frame| sys::mbuf::refcnt(*frame) == 1);
        if copies {
            sent.iter().for_each(|frame| free(pools, *frame));
        } else {
            sent.iter().for_each(|frame| let_go(*frame));
        }
        copies
    }
}

/// # Safety
/// As [`settle`].
#[cold]
unsafe fn let_go(frame: *mut sys::rte_mbuf) {
    // SAFETY: by contract.
    unsafe { segments(frame).for_each(|m| sys::mbuf::set_refcnt(m, 1)) }
}

/// # Safety
/// A frame of this queue that nobody else has.
#[inline(always)]
unsafe fn free(pools: &QueuePools, frame: *mut sys::rte_mbuf) {
    // SAFETY: by contract; all segments behind the first are external ones, of `tx::chain`.
    unsafe {
        let mut all = segments(frame);
        if let Some(head) = all.next() {
            debug_assert_eq!(sys::mbuf::refcnt(head), 1, "a device that copies some frames and keeps others");
            pools.header.as_ref().unwrap_or(&pools.rx).put_frame(head);
        }
        for m in all {
            debug_assert_eq!(sys::mbuf::refcnt(m), 1, "a device that copies some segments and keeps others");
            tx::detach(mbuf::ext_priv(m));
            pools.ext.put_mbuf(m);
        }
    }
}
