//! Fields of `rte_mbuf` by offset.
//!
//! The offsets come from the installed headers (`wrapper.h` exports `offsetof`), so a release that moves a field
//! needs no change here. All functions are unchecked: the pointer must be a live mbuf that nothing else uses.

use crate::generated as g;
use crate::{rte_mbuf, rte_mbuf_ext_shared_info, rte_mempool};

macro_rules! field {
    ($(#[$doc:meta])* $get:ident, $set:ident, $ty:ty, $offset:ident) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `m` is a live mbuf and nothing writes it meanwhile.
        #[inline(always)]
        pub unsafe fn $get(m: *const rte_mbuf) -> $ty {
            // SAFETY: the offset is that of a field of this type, by the headers; the mbuf is live by contract.
            unsafe { m.byte_add(g::$offset as usize).cast::<$ty>().read() }
        }

        /// Writes the field of the same name.
        ///
        /// # Safety
        /// `m` is a live mbuf and the caller is its only user.
        #[inline(always)]
        pub unsafe fn $set(m: *mut rte_mbuf, value: $ty) {
            // SAFETY: as above, and the caller is the only user.
            unsafe { m.byte_add(g::$offset as usize).cast::<$ty>().write(value) }
        }
    };
}

field!(
    /// Start of the buffer.
    buf_addr, set_buf_addr, *mut u8, LUNA_MBUF_BUF_ADDR);
field!(
    /// Start of the data, counted from `buf_addr`.
    data_off, set_data_off, u16, LUNA_MBUF_DATA_OFF);
field!(
    /// Reference count of the mbuf.
    refcnt, set_refcnt, u16, LUNA_MBUF_REFCNT);
field!(
    /// Segments of the chain that begins here.
    nb_segs, set_nb_segs, u16, LUNA_MBUF_NB_SEGS);
field!(
    /// Port of reception.
    port, set_port, u16, LUNA_MBUF_PORT);
field!(
    /// Offload flags.
    ol_flags, set_ol_flags, u64, LUNA_MBUF_OL_FLAGS);
field!(
    /// Packet type as the port parsed it.
    packet_type, set_packet_type, u32, LUNA_MBUF_PACKET_TYPE);
field!(
    /// Bytes in the whole chain.
    pkt_len, set_pkt_len, u32, LUNA_MBUF_PKT_LEN);
field!(
    /// Bytes in this segment.
    data_len, set_data_len, u16, LUNA_MBUF_DATA_LEN);
field!(
    /// VLAN tag that the port took out.
    vlan_tci, set_vlan_tci, u16, LUNA_MBUF_VLAN_TCI);
field!(
    /// RSS hash.
    rss_hash, set_rss_hash, u32, LUNA_MBUF_HASH_RSS);
field!(
    /// Length of the buffer.
    buf_len, set_buf_len, u16, LUNA_MBUF_BUF_LEN);
field!(
    /// Owner pool.
    pool, set_pool, *mut rte_mempool, LUNA_MBUF_POOL);
field!(
    /// Next segment.
    next, set_next, *mut rte_mbuf, LUNA_MBUF_NEXT);
field!(
    /// Header lengths and segment size for transmit offloads, packed as DPDK packs them.
    tx_offload, set_tx_offload, u64, LUNA_MBUF_TX_OFFLOAD);
field!(
    /// Shared info of an attached external buffer.
    shinfo, set_shinfo, *mut rte_mbuf_ext_shared_info, LUNA_MBUF_SHINFO);
field!(
    /// Size of the private area behind the mbuf.
    priv_size, set_priv_size, u16, LUNA_MBUF_PRIV_SIZE);

/// Sets the bus address of the buffer, where the build of DPDK keeps one in the mbuf.
///
/// # Safety
/// `m` is a live mbuf and the caller is its only user.
#[inline(always)]
pub unsafe fn set_buf_iova(m: *mut rte_mbuf, iova: u64) {
    if g::LUNA_MBUF_HAS_IOVA != 0 {
        // SAFETY: `buf_iova` follows `buf_addr` in every release that has it (asserted in `build.rs`'s shim).
        unsafe { m.byte_add(BUF_IOVA).cast::<u64>().write(iova) }
    }
}

/// Bus address of the buffer; the virtual address where the build of DPDK keeps none in the mbuf.
///
/// # Safety
/// `m` is a live mbuf and nothing writes it meanwhile.
#[inline(always)]
pub unsafe fn buf_iova(m: *const rte_mbuf) -> u64 {
    if g::LUNA_MBUF_HAS_IOVA != 0 {
        // SAFETY: see `set_buf_iova`.
        unsafe { m.byte_add(BUF_IOVA).cast::<u64>().read() }
    } else {
        // SAFETY: live by contract.
        unsafe { buf_addr(m) as u64 }
    }
}

const BUF_IOVA: usize = 8;

/// First data byte of this segment.
///
/// # Safety
/// `m` is a live mbuf and nothing writes it meanwhile.
#[inline(always)]
pub unsafe fn data(m: *const rte_mbuf) -> *mut u8 {
    // SAFETY: `data_off` stays inside the buffer for every live mbuf.
    unsafe { buf_addr(m).add(usize::from(data_off(m))) }
}

/// Packs header lengths for [`set_tx_offload`].
#[inline(always)]
pub const fn pack_tx_offload(l2: u64, l3: u64, l4: u64, tso_segsz: u64) -> u64 {
    (l2 << g::LUNA_TX_L2_LEN_SHIFT)
        | (l3 << g::LUNA_TX_L3_LEN_SHIFT)
        | (l4 << g::LUNA_TX_L4_LEN_SHIFT)
        | (tso_segsz << g::LUNA_TX_TSO_SEGSZ_SHIFT)
}
