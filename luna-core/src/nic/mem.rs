//! The in-memory pair: two queues joined back to back, in one thread or across two.
//!
//! Each end keeps empty objs of its own pool posted; the other end *gathers* every frame into one of them, as a
//! NIC's DMA engine would. So received data never aliases the sender's retransmission queue. The gather stands for the
//! hardware: [`gather`] is one function out of line, so that its instructions can be counted apart.

use core::sync::atomic::{AtomicBool, Ordering};

mod lane;

use super::{Caps, MAX_TSO_PAYLOAD, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use crate::wire::{LargePacket, MacAddr, RxChecksum};
use crate::zbuf::{FragRef, FrameHead, Parcel, Pool};
use lane::{Lane, Receiver, Sender};

/// Slots of each ring.
pub const MEM_RING: usize = 512;

/// The rings between two [`MemQueue`]s; the caller's memory, borrowed by both ends.
pub struct MemLink {
    a_to_b: Lane<Parcel>,
    b_to_a: Lane<Parcel>,
    up: AtomicBool,
}

/// What an end of a link is like. Both ends of a link are given the same `mtu` and `checksum_offload`.
#[derive(Clone, Copy, Debug)]
pub struct MemPort {
    /// Hardware address.
    pub mac: MacAddr,
    /// Largest IP packet.
    pub mtu: u16,
    /// Declare checksums as done by the device, both ways: as a NIC with offloads, this link does not corrupt.
    pub checksum_offload: bool,
}

/// Why a [`MemQueue`] cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemQueueError {
    /// The receive pool's objs are smaller than a frame of this MTU.
    ObjTooSmall,
}

impl core::fmt::Display for MemQueueError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the receive pool's objs are smaller than MTU + 18 bytes")
    }
}

impl core::error::Error for MemQueueError {}

impl MemLink {
    /// A link with nothing on it.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { a_to_b: Lane::new(), b_to_a: Lane::new(), up: AtomicBool::new(true) }
    }

    /// As above; loom's atomics are no constants.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { a_to_b: Lane::new(), b_to_a: Lane::new(), up: AtomicBool::new(true) }
    }

    /// The two ends; each may go to a thread of its own and is made a [`MemQueue`] there.
    pub fn split(&mut self) -> (MemEnd<'_>, MemEnd<'_>) {
        let Self { a_to_b, b_to_a, up } = self;
        let up = &*up;
        let (ab_tx, ab_rx) = a_to_b.split();
        let (ba_tx, ba_rx) = b_to_a.split();
        let a = MemEnd { tx: ab_tx, rx: ba_rx, up };
        let b = MemEnd { tx: ba_tx, rx: ab_rx, up };
        (a, b)
    }
}

impl Default for MemLink {
    fn default() -> Self {
        Self::new()
    }
}

/// An end of a link on its way to its thread.
pub struct MemEnd<'l> {
    tx: Sender<'l, Parcel>,
    rx: Receiver<'l, Parcel>,
    up: &'l AtomicBool,
}

/// A queue of the in-memory pair.
pub struct MemQueue<'l, 'p> {
    end: MemEnd<'l>,
    rx_pool: &'p Pool,
    header_pool: &'p Pool,
    caps: Caps,
    checksum: RxChecksum,
    stats: QueueStats,
}

impl<'l, 'p> MemQueue<'l, 'p> {
    /// Makes a queue of a link's end, on the thread that owns the pools, and posts receive objs.
    ///
    /// # Errors
    /// [`MemQueueError::ObjTooSmall`].
    pub fn new(
        end: MemEnd<'l>,
        port: MemPort,
        rx_pool: &'p Pool,
        header_pool: &'p Pool,
    ) -> Result<Self, MemQueueError> {
        if rx_pool.data_capacity() < u32::from(port.mtu) + 18 {
            return Err(MemQueueError::ObjTooSmall);
        }
        let caps = Caps {
            mac: port.mac,
            mtu: port.mtu,
            max_tx_segments: (super::MAX_TX_FRAGS + 1) as u8,
            tx_checksum: port.checksum_offload,
            foreign: true,
            prompt_completion: true,
            max_tso_payload: 0,
            max_tso_payload_v6: 0,
        };
        let checksum = if port.checksum_offload { RxChecksum::GOOD } else { RxChecksum::UNKNOWN };
        let mut queue = Self { end, rx_pool, header_pool, caps, checksum, stats: QueueStats::default() };
        queue.post();
        Ok(queue)
    }

    /// Stands for a device that cuts frames of up to `max_payload` bytes into segments (TSO), over either family, which takes
    /// one that computes checksums: without [`MemPort::checksum_offload`] nothing changes.
    #[must_use]
    pub fn with_tso(mut self, max_payload: u32) -> Self {
        if self.caps.tx_checksum {
            self.caps.max_tso_payload = max_payload.min(MAX_TSO_PAYLOAD);
            self.caps.max_tso_payload_v6 = max_payload.min(MAX_TSO_PAYLOAD);
        }
        self
    }

    /// Whether the other end still exists.
    #[must_use]
    pub fn peer_alive(&self) -> bool {
        self.end.up.load(Ordering::Acquire)
    }

    /// Sends a large frame segment by segment, as the device it stands for would. One that is no TCP is dropped.
    #[cold]
    fn cut(&mut self, whole: &[u8], payload: &[FragRef<'_>], segment_size: u16) {
        let Self { end, stats, .. } = self;
        let total = payload.iter().map(|f| f.len()).sum::<u32>();
        let Some(large) = LargePacket::parse(whole) else {
            stats.tx_dropped += 1;
            return;
        };
        // Small payload may stand behind the headers.
        let inline = (whole.len() - large.header_len()) as u32;
        let total = inline + total;
        let mut at = 0;
        while at < total {
            let len = (total - at).min(segment_size.into());
            let mut bytes = 0;
            let sent = end.tx.send(|obj| {
                bytes = large.header_len() + len as usize;
                obj.set_len(bytes as u32) as usize == bytes
                    && cut_into(obj, &large, whole, payload, at, at + len == total)
            });
            if sent {
                stats.tx_frames += 1;
                stats.tx_bytes += bytes as u64;
            } else {
                stats.tx_dropped += 1;
            }
            at += len;
        }
    }

    #[cold]
    fn post(&mut self) {
        while self.end.rx.has_room() {
            let Some(obj) = self.rx_pool.alloc() else { return };
            self.end.rx.post(Parcel::new(obj));
        }
    }
}

impl Drop for MemQueue<'_, '_> {
    fn drop(&mut self) {
        self.end.up.store(false, Ordering::Release);
        // What the peer filled for us comes home now; what it still has comes home when it or the link is dropped.
        while self.end.rx.take().is_some() {}
    }
}

/// Copies a frame's pieces into a posted obj, as a DMA engine would. Stands for hardware, so it is not one of the
/// counted copies, and it stays out of line so that profilers can tell it apart. Returns false when it does not fit.
#[inline(never)]
fn gather(into: &mut Parcel, header: &[u8], payload: &[FragRef<'_>]) -> bool {
    let total = header.len() + payload.iter().map(|f| f.len() as usize).sum::<usize>();
    if into.set_len(total as u32) as usize != total {
        return false;
    }
    let Some((head, mut rest)) = into.split_at_mut_checked(header.len()) else { return false };
    head.copy_from_slice(header);
    for frag in payload {
        let Some(n) = frag.copy_to(rest) else { return false };
        let Some(tail) = rest.get_mut(n..) else { return false };
        rest = tail;
    }
    rest.is_empty()
}

/// Fills `into` with the segment that begins `at` bytes into the payload of a large frame. Stands for hardware, as [`gather`].
#[inline(never)]
fn cut_into(into: &mut [u8], large: &LargePacket, whole: &[u8], payload: &[FragRef<'_>], at: u32, last: bool) -> bool {
    let (Some(headers), Some((header, mut rest))) =
        (whole.get(..large.header_len()), into.split_at_mut_checked(large.header_len()))
    else {
        return false;
    };
    header.copy_from_slice(headers);
    let mut skip = at as usize;
    let behind = whole.get(large.header_len()..).unwrap_or_default();
    for piece in core::iter::once(Some(behind)).chain(payload.iter().map(|f| f.bytes())) {
        let Some(piece) = piece else { return false };
        let skipped = skip.min(piece.len());
        skip -= skipped;
        let piece = piece.get(skipped..).unwrap_or_default();
        let n = piece.len().min(rest.len());
        let (to, tail) = rest.split_at_mut(n);
        to.copy_from_slice(piece.get(..n).unwrap_or_default());
        rest = tail;
    }
    let len = (into.len() - large.header_len()) as u32;
    large.cut(into, at, len, last)
}

impl NicQueue for MemQueue<'_, '_> {
    #[inline(always)]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline(always)]
    fn header_pool(&self) -> &Pool {
        self.header_pool
    }

    #[inline(always)]
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        let Self { end, rx_pool, checksum, stats, .. } = self;
        let pool = *rx_pool;
        let meta = RxMeta { checksum: *checksum, rss_hash: 0 };
        let before = burst.len();
        let mut bytes = 0;
        let next = |frame: &mut core::mem::MaybeUninit<RxFrame>| {
            let Some((parcel, posted)) = end.rx.exchange(|| pool.alloc().map(Parcel::new)) else { return false };
            if !posted {
                stats.rx_no_obj += 1;
            }
            // SAFETY: this queue posts objs of this pool only, and the other end fills them in their slots.
            let buf = unsafe { parcel.open_own(pool) };
            bytes += u64::from(buf.len());
            frame.write(RxFrame { data: buf.freeze(), meta });
            true
        };
        // SAFETY: it wrote the frame when it says so.
        unsafe { burst.fill(next) };
        stats.rx_frames += (burst.len() - before) as u64;
        stats.rx_bytes += bytes;
        if burst.is_empty() && end.rx.has_room() {
            self.post();
        }
    }

    #[inline(always)]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        if meta.segment_size != 0 {
            self.cut(&header, payload, meta.segment_size);
            return Ok(());
        }
        let mut len = 0;
        let sent = self.end.tx.send(|obj| {
            let fits = gather(obj, &header, payload);
            len = obj.len();
            fits
        });
        // No obj posted over there: a NIC would drop the frame on the wire, and so does this.
        if sent {
            self.stats.tx_frames += 1;
            self.stats.tx_bytes += len as u64;
        } else {
            self.stats.tx_dropped += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn flush(&mut self) {}

    #[inline(always)]
    fn reap(&mut self) -> usize {
        0
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}

#[cfg(test)]
mod tests;
