//! Received packets of many segments (a peer's TSO, or a device's LRO), which DPDK hands up as a chain of buffers.
//!
//! Each buffer of the chain becomes a frame of its own: the headers are written into the headroom that every buffer has,
//! so the payload stays where the device put it, and the stack sees segments in order like any others.

use core::ptr::NonNull;

use dpdk_sys as sys;
use luna_core::nic::{RxFrame, RxMeta};
use luna_core::wire::{ChecksumVerdict, LargePacket, MAX_HEADER_LEN};
use luna_core::zbuf::raw;

use super::mbuf;
use super::mempool::MbufPool;

/// A chain that is being handed up.
#[derive(Debug)]
pub(super) struct Pieces {
    large: LargePacket,
    header: [u8; MAX_HEADER_LEN],
    meta: RxMeta,
    /// The next buffer; null behind the last one.
    next: *mut sys::rte_mbuf,
    /// Payload bytes before it.
    at: u32,
    total: u32,
}

impl Pieces {
    /// Takes the chain that begins with `m`, if it is a whole TCP packet whose checksum the port vouches for, in buffers of
    /// `pool` with room for headers; nothing of it is changed otherwise.
    ///
    /// # Safety
    /// `m` is a live chain that the caller owns; when this returns some, it is these pieces'.
    pub(super) unsafe fn of(pool: &MbufPool, m: *mut sys::rte_mbuf, meta: RxMeta) -> Option<Self> {
        // SAFETY: by contract, segment by segment.
        unsafe {
            let first = core::slice::from_raw_parts(sys::mbuf::data(m), usize::from(sys::mbuf::data_len(m)));
            let large = LargePacket::parse(first)?;
            let vouched = meta.checksum.l4 == ChecksumVerdict::Good
                && (meta.checksum.ip == ChecksumVerdict::Good || large.ip_checksum_holds(first));
            let len = large.header_len();
            let total = sys::mbuf::pkt_len(m).checked_sub(len as u32)?;
            let mut header = [0; MAX_HEADER_LEN];
            header.get_mut(..len)?.copy_from_slice(first.get(..len)?);
            if !vouched || total != large.payload_len() || first.len() == len {
                return None;
            }
            let mut segment = m;
            let mut bytes = 0;
            while let Some(address) = NonNull::new(segment.cast::<u8>()) {
                let room = segment == m || usize::from(sys::mbuf::data_off(segment)) >= len;
                if !pool.pool().contains(address) || !room || sys::mbuf::data_len(segment) == 0 {
                    return None;
                }
                bytes += u32::from(sys::mbuf::data_len(segment));
                segment = sys::mbuf::next(segment);
            }
            (bytes == sys::mbuf::pkt_len(m)).then_some(Self { large, header, meta, next: m, at: 0, total })
        }
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Option<RxFrame> {
        let (m, len) = (self.next, self.large.header_len());
        if m.is_null() {
            return None;
        }
        // SAFETY: the chain is ours, and `of` looked at every buffer: the first one begins with the headers, the others have
        // room for them before their data, which nobody else reads.
        unsafe {
            let data_len = usize::from(sys::mbuf::data_len(m));
            let (start, payload) = match self.at {
                0 => (sys::mbuf::data(m), data_len - len),
                _ => (sys::mbuf::data(m).sub(len), data_len),
            };
            let header = core::slice::from_raw_parts_mut(start, len);
            header.copy_from_slice(self.header.get(..len)?);
            let last = self.at + payload as u32 == self.total;
            let cut = self.large.cut(header, self.at, payload as u32, last);
            debug_assert!(cut, "shorter than the whole, which fitted");
            self.next = sys::mbuf::next(m);
            self.at += payload as u32;
            sys::mbuf::set_next(m, core::ptr::null_mut());
            sys::mbuf::set_nb_segs(m, 1);
            mbuf::take(m);
            let data = NonNull::new_unchecked(start);
            Some(RxFrame { data: raw::from_parts(data, (len + payload) as u32).freeze(), meta: self.meta })
        }
    }

    /// What was not handed up: a chain, or null.
    pub(super) fn into_rest(self) -> *mut sys::rte_mbuf {
        self.next
    }
}
