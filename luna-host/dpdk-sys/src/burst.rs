//! The burst functions, inlined.
//!
//! `rte_eth_rx_burst` and its like are inline C that ends in one indirect call through `rte_eth_fp_ops`. Through a
//! generated wrapper they cost a second call per burst; here they are that one indirect call. Where a callback
//! is installed on a queue (packet capture), the wrapped C function runs instead, so captures keep working.

use crate::{rte_eth_fp_ops, rte_eth_rx_burst, rte_eth_tx_burst, rte_eth_tx_prepare, rte_mbuf};

/// Receives up to `count` frames into `frames`.
///
/// # Safety
/// The port is started, the queue exists and belongs to this thread, `frames` has room for `count` pointers.
#[inline(always)]
pub unsafe fn eth_rx_burst(port: u16, queue: u16, frames: *mut *mut rte_mbuf, count: u16) -> u16 {
    // SAFETY: a started port has its entry in the table filled in; no Rust reference to the static is formed.
    unsafe {
        let ops = (&raw const rte_eth_fp_ops).cast::<rte_eth_fp_ops>().add(usize::from(port));
        let queue_index = usize::from(queue);
        let clbk = (*ops).rxq.clbk;
        if !clbk.is_null() && !(*clbk.add(queue_index)).is_null() {
            return rte_eth_rx_burst(port, queue, frames, count);
        }
        let data = *(*ops).rxq.data.add(queue_index);
        match (*ops).rx_pkt_burst {
            Some(burst) => burst(data, frames, count),
            None => 0,
        }
    }
}

/// Sends up to `count` frames; those not taken stay the caller's.
///
/// # Safety
/// As [`eth_rx_burst`], and the frames are valid chains that the caller owns.
#[inline(always)]
pub unsafe fn eth_tx_burst(port: u16, queue: u16, frames: *mut *mut rte_mbuf, count: u16) -> u16 {
    // SAFETY: as in `eth_rx_burst`.
    unsafe {
        let ops = (&raw const rte_eth_fp_ops).cast::<rte_eth_fp_ops>().add(usize::from(port));
        let queue_index = usize::from(queue);
        let clbk = (*ops).txq.clbk;
        if !clbk.is_null() && !(*clbk.add(queue_index)).is_null() {
            return rte_eth_tx_burst(port, queue, frames, count);
        }
        let data = *(*ops).txq.data.add(queue_index);
        match (*ops).tx_pkt_burst {
            Some(burst) => burst(data, frames, count),
            None => 0,
        }
    }
}

/// Checks and completes offload requests before a transmit; returns how many frames are fit to send.
///
/// # Safety
/// As [`eth_tx_burst`].
#[inline(always)]
pub unsafe fn eth_tx_prepare(port: u16, queue: u16, frames: *mut *mut rte_mbuf, count: u16) -> u16 {
    // SAFETY: as in `eth_rx_burst`.
    unsafe { rte_eth_tx_prepare(port, queue, frames, count) }
}
