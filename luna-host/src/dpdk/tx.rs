//! Frames to mbuf chains: the header travels in its own obj's mbuf, payload in mbufs that point to the application's objs.
//!
//! Every transmission of a payload obj has an external mbuf of its own, with the shared info that DPDK counts on in its
//! private area; when the device let go, its callback drops the one reference that the transmission held. Where a port
//! sends only single segments the payload is copied behind the header, in the same obj, and counted.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use dpdk_sys as sys;
use luna_core::nic::{MAX_TX_FRAGS, TxMeta};
use luna_core::zbuf::raw::{self, RawZbuf};
use luna_core::zbuf::{CopyCounter, FragRef, FrameHead, Zbuf, ZbufMut};

use super::mbuf;
use super::mempool::MbufPool;
use super::owner::Owner;

/// References that a driver let go on a thread that may not touch counts: the owner drops them later.
#[derive(Debug)]
pub(super) struct Deferred {
    owner: Owner,
    any: AtomicBool,
    list: Mutex<Vec<Travelling>>,
}

#[derive(Debug)]
struct Travelling(RawZbuf);

// SAFETY: only carried; its count is touched again by the owner alone.
unsafe impl Send for Travelling {}

impl Deferred {
    /// Of this thread.
    pub(super) fn new() -> Self {
        Self { owner: Owner::here(), any: AtomicBool::new(false), list: Mutex::new(Vec::new()) }
    }

    /// A list made for another thread becomes this thread's.
    pub(super) fn adopt(&mut self) {
        self.owner = Owner::here();
    }

    /// Drops what came in meanwhile; false when this is not the owner's thread and something is left.
    pub(super) fn settle(&self) -> bool {
        self.drain();
        !self.any.load(Ordering::Acquire)
    }

    /// Drops what came in meanwhile. Owner only.
    #[inline]
    pub(super) fn drain(&self) {
        if self.any.load(Ordering::Acquire) && self.owner.is_here() {
            self.drain_list();
        }
    }

    #[cold]
    fn drain_list(&self) {
        self.any.store(false, Ordering::Relaxed);
        let list = self.list.lock().map(|mut list| core::mem::take(&mut *list)).unwrap_or_default();
        for Travelling(zbuf) in list {
            // SAFETY: taken apart in `attach`, put together once, and this is the owner's thread.
            drop(unsafe { raw::from_raw(zbuf) });
        }
    }

    #[inline]
    fn put(&self, zbuf: RawZbuf) {
        if self.owner.is_here() {
            // SAFETY: as in `drain_list`.
            drop(unsafe { raw::from_raw(zbuf) });
        } else if let Ok(mut list) = self.list.lock() {
            list.push(Travelling(zbuf));
            self.any.store(true, Ordering::Release);
        }
    }
}

/// Drops the payload's reference of an external mbuf that nobody has.
///
/// # Safety
/// `private` is that of an mbuf that [`chain`] attached and that nobody detached since; on the owner's thread.
#[inline(always)]
pub(super) unsafe fn detach(private: *const mbuf::ExtPriv) {
    // SAFETY: by contract, so the reference is used once.
    drop(unsafe { raw::from_raw((*private).payload) });
}

/// DPDK's callback when the last reference to an external buffer is gone: the device let go of the payload.
unsafe extern "C" fn payload_done(_addr: *mut c_void, opaque: *mut c_void) {
    // SAFETY: `opaque` is the private area of the mbuf that is being freed; `home` outlives the port's mbufs.
    unsafe {
        let private = &*opaque.cast::<mbuf::ExtPriv>();
        (*private.home).put(private.payload);
    }
}

/// Why a frame was not built.
#[derive(Debug)]
pub(super) enum NotBuilt {
    /// No obj for it; nothing was consumed.
    NoObjs(FrameHead),
    /// Its sender gave up part of the data meanwhile: there is nothing to send any more.
    Revoked,
}

/// Makes a chain: `header` in its own mbuf, each fragment in an external one.
///
/// `header` is of `pool` and no fragment is foreign or longer than 65535 bytes; the mbufs take references of their own.
#[inline]
pub(super) fn chain(
    ext: &MbufPool,
    deferred: &Deferred,
    header: FrameHead,
    payload: &[FragRef<'_>],
    meta: TxMeta,
    tso_flags: u64,
) -> Result<NonNull<sys::rte_mbuf>, NotBuilt> {
    let mut mbufs = [core::ptr::null_mut(); MAX_TX_FRAGS];
    let count = payload.len();
    for i in 0..count {
        match (ext.take_mbuf(), mbufs.get_mut(i)) {
            (Some(m), Some(slot)) => *slot = m,
            (taken, _) => {
                for m in taken.into_iter().chain(mbufs.into_iter().take(i)) {
                    // SAFETY: taken above, not used.
                    unsafe { ext.put_mbuf(m) };
                }
                return Err(NotBuilt::NoObjs(header));
            }
        }
    }
    let head = own(header, meta, tso_flags);
    let (mut last, mut bytes, mut segments) = (head.as_ptr(), 0, 1);
    for (frag, m) in payload.iter().zip(mbufs) {
        let len = frag.len();
        let Ok(zbuf) = frag.to_frag().into_zbuf() else { unreachable!("the caller lets no foreign fragment in here") };
        // SAFETY: `m` is a fresh external mbuf, `last` one of this chain; nobody else knows them yet.
        unsafe {
            attach(m, zbuf, deferred);
            sys::mbuf::set_next(last, m);
        }
        last = m;
        bytes += len;
        segments += 1;
    }
    // SAFETY: `head` is ours until it is sent.
    unsafe {
        sys::mbuf::set_pkt_len(head.as_ptr(), sys::mbuf::pkt_len(head.as_ptr()) + bytes);
        sys::mbuf::set_nb_segs(head.as_ptr(), segments);
    }
    Ok(head)
}

/// What the device does to a frame, as DPDK's flags and lengths. `tso_flags` are those of a frame that it cuts.
#[inline(always)]
const fn offloads(meta: TxMeta, tso_flags: u64) -> (u64, u64) {
    if !meta.offload_checksum {
        return (0, 0);
    }
    let lengths = sys::mbuf::pack_tx_offload(
        meta.l2_len as u64,
        meta.l3_len as u64,
        meta.l4_len as u64,
        meta.segment_size as u64,
    );
    let cut = if meta.segment_size != 0 { tso_flags } else { 0 };
    let flags = if meta.ipv6 {
        // Its header has no checksum.
        sys::LUNA_MBUF_F_TX_IPV6 | cut & !sys::LUNA_MBUF_F_TX_IP_CKSUM
    } else {
        sys::LUNA_MBUF_F_TX_IPV4 | cut
    };
    (flags | sys::LUNA_MBUF_F_TX_TCP_CKSUM, lengths)
}

/// The mbuf of a head's obj, of one of our mbuf pools, covering its bytes.
#[inline]
fn own(head: FrameHead, meta: TxMeta, tso_flags: u64) -> NonNull<sys::rte_mbuf> {
    // SAFETY: an obj of an mbuf pool, by the callers' contract.
    let m = unsafe { mbuf::of_obj(head.obj_start()) };
    let (data, len) = raw::head_into_parts(head);
    let (flags, offload) = offloads(meta, tso_flags);
    // SAFETY: an obj has one head, so the mbuf is nobody else's; the data lies behind buf_addr.
    unsafe {
        mbuf::give(m);
        let offset = data.as_ptr().addr() - sys::mbuf::buf_addr(m).addr();
        sys::mbuf::set_data_off(m, offset as u16);
        sys::mbuf::set_data_len(m, len as u16);
        sys::mbuf::set_pkt_len(m, len);
        sys::mbuf::set_ol_flags(m, flags);
        sys::mbuf::set_tx_offload(m, offload | mbuf::FRAME);
        NonNull::new_unchecked(m)
    }
}

/// Lets `m` cover the bytes of `zbuf`, whose reference goes with it.
///
/// # Safety
/// `m` is a fresh mbuf of the external pool; `deferred` outlives the port's mbufs.
#[inline]
unsafe fn attach(m: *mut sys::rte_mbuf, zbuf: Zbuf, deferred: &Deferred) {
    let (data, len, io) = (zbuf.as_ptr(), zbuf.len(), zbuf.io_addr().0);
    // SAFETY: by contract.
    unsafe {
        let private = mbuf::ext_priv(m);
        private.write(mbuf::ExtPriv {
            shinfo: sys::rte_mbuf_ext_shared_info {
                free_cb: Some(payload_done),
                fcb_opaque: private.cast(),
                refcnt: 1,
            },
            payload: raw::into_raw(zbuf),
            home: deferred,
        });
        sys::mbuf::set_buf_addr(m, data.as_ptr());
        sys::mbuf::set_buf_iova(m, io);
        sys::mbuf::set_buf_len(m, len as u16);
        sys::mbuf::set_data_off(m, 0);
        sys::mbuf::set_data_len(m, len as u16);
        sys::mbuf::set_pkt_len(m, len);
        sys::mbuf::set_shinfo(m, &raw mut (*private).shinfo);
        sys::mbuf::set_ol_flags(m, sys::LUNA_MBUF_F_EXTERNAL);
    }
}

/// Copies header and payload into one obj, which is `header`'s own where there is room and nobody shares it, else a fresh one
/// of `pool`.
///
/// `header` is an obj of an mbuf pool of this queue. Fragments that hold headers of upper layers are not counted as payload.
pub(super) fn linearise(
    pool: &MbufPool,
    header: FrameHead,
    payload: &[FragRef<'_>],
    meta: TxMeta,
    counter: &mut CopyCounter,
) -> Result<NonNull<sys::rte_mbuf>, NotBuilt> {
    if payload.is_empty() {
        return Ok(own(header, meta, 0));
    }
    let bytes: u32 = payload.iter().map(|frag| frag.len()).sum();
    let mut frame = match header.try_into_mut() {
        Ok(header) if header.tailroom() >= bytes => header,
        Ok(header) => copied(pool, header.into(), bytes)?,
        Err(header) => copied(pool, header, bytes)?,
    };
    for frag in payload {
        let Some(to) = frame.append(frag.len()) else { break };
        // Not sent with whatever lay in the obj: the device would put a right checksum on it.
        let Some(copied) = frag.copy_to(to) else { return Err(NotBuilt::Revoked) };
        if !frag.is_header() {
            counter.bytes += copied as u64;
            counter.copies += 1;
        }
    }
    Ok(own(frame.into(), meta, 0))
}

/// A copy of `header` in an obj of `pool` that has room for `more` bytes behind it.
fn copied(pool: &MbufPool, header: FrameHead, more: u32) -> Result<ZbufMut, NotBuilt> {
    let Some(mut frame) = pool.pool().alloc_with_headroom(mbuf::HEADROOM) else {
        return Err(NotBuilt::NoObjs(header));
    };
    match frame.append(header.len()) {
        Some(to) if to.len() == header.len() as usize => to.copy_from_slice(&header),
        _ => return Err(NotBuilt::NoObjs(header)),
    }
    if frame.tailroom() < more { Err(NotBuilt::NoObjs(header)) } else { Ok(frame) }
}

#[cfg(test)]
mod tests;
