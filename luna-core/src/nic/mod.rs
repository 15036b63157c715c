//! The NIC seam: the only thing that a driver writes (design: §3 of the paper's Figure 7, steps 1 and 8).
//!
//! A queue works in bursts and in terms of zbufs. Receive: the driver keeps objs of its own pool posted to the device
//! and hands up those that were filled. Transmit: a frame is a header obj, made fresh for this transmission, which moves
//! to the driver, and payload fragments of the retransmission queue, which are lent: a driver whose device reads them later
//! takes references of its own and drops them when the device let go. Capabilities are data ([`Caps`]); what a port lacks, the stack does in software.

mod mem;

use crate::wire::{MacAddr, RxChecksum};
use crate::zbuf::{CopyCounter, FragRef, FrameHead, Pool, Zbuf};

pub use mem::{MEM_RING, MemEnd, MemLink, MemPort, MemQueue, MemQueueError};

/// Most frames handed up by one [`NicQueue::rx_burst`].
pub const RX_BURST: usize = 32;
/// Most payload fragments of one frame.
pub const MAX_TX_FRAGS: usize = 17;
/// Most payload of a frame that a device cuts: what the length field of IPv4 leaves behind the longest headers. IPv6's leaves
/// more.
pub const MAX_TSO_PAYLOAD: u32 = 65_535 - 20 - 60;

/// What a queue can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Hardware address of the port.
    pub mac: MacAddr,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Segments of one transmitted frame, the header's included; 1 means that the driver makes one of them, however many
    /// fragments there are.
    pub max_tx_segments: u8,
    /// The device computes TCP (and IPv4) checksums of what is sent.
    pub tx_checksum: bool,
    /// The device reaches foreign memory by bus address; otherwise foreign fragments are copied into objs of ours.
    pub foreign: bool,
    /// Buffers of an idle queue come back within 1 ms, without further transmits.
    pub prompt_completion: bool,
    /// Most payload bytes of a frame over IPv4 that the device cuts into segments itself (TSO); 0 when it cuts none. A device
    /// that does computes checksums as well (`tx_checksum`). What is no multiple of a segment ends in a shorter one.
    pub max_tso_payload: u32,
    /// The same over IPv6.
    pub max_tso_payload_v6: u32,
}

impl Caps {
    /// Most payload fragments of one transmitted frame.
    #[inline(always)]
    pub(crate) fn max_tx_frags(&self) -> usize {
        if self.max_tx_segments <= 1 { MAX_TX_FRAGS } else { usize::from(self.max_tx_segments) - 1 }
    }

    /// Most payload of a frame that the device cuts, over this family.
    #[inline]
    pub(crate) fn max_tso(&self, ipv6: bool) -> u32 {
        if ipv6 { self.max_tso_payload_v6 } else { self.max_tso_payload }.min(MAX_TSO_PAYLOAD)
    }
}

/// A received frame, from its Ethernet header on.
#[derive(Debug)]
pub struct RxFrame {
    /// The frame, in the obj that was posted.
    pub data: Zbuf,
    /// What the device says of it.
    pub meta: RxMeta,
}

/// What a device says of a received frame.
#[derive(Clone, Copy, Debug)]
pub struct RxMeta {
    /// Checksums that the device verified.
    pub checksum: RxChecksum,
    /// RSS hash, 0 where the device gives none.
    pub rss_hash: u32,
}

/// A burst of received frames, filled by the driver and emptied by the stack.
pub struct RxBurst {
    frames: [core::mem::MaybeUninit<RxFrame>; RX_BURST],
    first: usize,
    len: usize,
}

impl RxBurst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: [const { core::mem::MaybeUninit::uninit() }; RX_BURST], first: 0, len: 0 }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    #[inline(always)]
    pub fn push(&mut self, frame: RxFrame) -> Result<(), RxFrame> {
        match self.frames.get_mut(self.len) {
            Some(slot) => {
                slot.write(frame);
                self.len += 1;
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// Adds frames until `next` has none or the burst is full.
    ///
    /// # Safety
    /// `next` returns true when it has written the frame, and only then.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, mut next: impl FnMut(&mut core::mem::MaybeUninit<RxFrame>) -> bool) {
        let mut len = self.len;
        while let Some(slot) = self.frames.get_mut(len)
            && next(slot)
        {
            len += 1;
        }
        self.len = len;
    }

    /// Takes the frames from the `from`th on out that `other` is for, and gives them to `take`; the rest close up, in order.
    /// For a queue that stands between another and the stack.
    #[inline(always)]
    pub fn divert(&mut self, from: usize, other: impl Fn(&RxFrame) -> bool, mut take: impl FnMut(RxFrame)) {
        let (from, len) = (from.max(self.first), self.len);
        // SAFETY: initialised below `len`, and moved out only below `first`.
        let at = |frames: &[core::mem::MaybeUninit<RxFrame>; RX_BURST], i: usize| unsafe {
            other(frames.get_unchecked(i).assume_init_ref())
        };
        let Some(first) = (from..len).find(|i| at(&self.frames, *i)) else { return };
        // Should a closure panic, the rest is leaked rather than dropped twice.
        self.len = first;
        for i in first..len {
            let aside = at(&self.frames, i);
            // SAFETY: as above; each is moved out once, since `self.len` (where it may go to) never passes `i`.
            let frame = unsafe { self.frames.get_unchecked(i).assume_init_read() };
            if aside {
                take(frame);
            } else if let Some(slot) = self.frames.get_mut(self.len) {
                slot.write(frame);
                self.len += 1;
            }
        }
    }

    /// Frames in it.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Room left.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        RX_BURST - self.len
    }

    /// Takes frame `i` out.
    #[inline(always)]
    pub fn take(&mut self, i: usize) -> Option<RxFrame> {
        if i != self.first || i >= self.len {
            return None;
        }
        self.first += 1;
        // SAFETY: initialised, moved out once.
        Some(unsafe { self.frames.get_unchecked(i).assume_init_read() })
    }

    /// The frame that is taken out after `ahead` others.
    #[inline(always)]
    pub(crate) fn peek(&self, ahead: usize) -> Option<&RxFrame> {
        let i = self.first + ahead;
        // SAFETY: initialised below `len`, and moved out only below `first`.
        (i < self.len).then(|| unsafe { self.frames.get_unchecked(i).assume_init_ref() })
    }

    /// Takes the next frame out.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<RxFrame> {
        self.take(self.first)
    }

    /// Drops what is left.
    #[inline(always)]
    pub fn clear(&mut self) {
        while self.pop().is_some() {}
        self.first = 0;
        self.len = 0;
    }
}

impl Drop for RxBurst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Default for RxBurst {
    fn default() -> Self {
        Self::new()
    }
}

/// Payload fragments of a frame under construction.
pub type TxFrags<'a> = heapless::Vec<FragRef<'a>, MAX_TX_FRAGS>;

/// What a device must know of a frame to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxMeta {
    /// Bytes of Ethernet (and VLAN) header.
    pub l2_len: u8,
    /// Bytes of IP header.
    pub l3_len: u8,
    /// Bytes of TCP header.
    pub l4_len: u8,
    /// Whether the IP header is IPv6's.
    pub ipv6: bool,
    /// The TCP checksum field holds the pseudo-header's sum, and the device completes it; IPv4's is already there.
    pub offload_checksum: bool,
    /// Payload bytes of each segment that the device shall make of the frame ([`Caps::max_tso_payload`] or its like for IPv6); 0: it is one. The
    /// headers speak of the whole: its length, the flags of the last segment, and in the checksum field the pseudo-header's
    /// sum with the whole's length (virtio's way).
    pub segment_size: u16,
}

/// Counters of a queue, cumulative.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames accepted for sending.
    pub tx_frames: u64,
    /// Bytes accepted for sending.
    pub tx_bytes: u64,
    /// Received frames dropped for want of objs.
    pub rx_no_obj: u64,
    /// Received frames dropped because they did not fit one obj.
    pub rx_too_long: u64,
    /// Frames lost behind the queue: the device or the peer had no room.
    pub tx_dropped: u64,
    /// Payload copied by the driver on its way in.
    pub rx_copied: CopyCounter,
    /// Payload copied by the driver on its way out (linearising).
    pub tx_copied: CopyCounter,
}

/// One queue of one port, owned by one thread.
pub trait NicQueue {
    /// What it can do; fixed while the queue lives.
    fn caps(&self) -> &Caps;

    /// Where headers come from: small objs, a fresh one for every transmission.
    fn header_pool(&self) -> &Pool;

    /// Adds received frames to `burst`, at most its room, and posts new objs to the device.
    fn rx_burst(&mut self, burst: &mut RxBurst);

    /// Takes a frame, `header` and the bytes of `payload` behind it. It leaves at the latest with [`NicQueue::flush`].
    /// `payload` is only lent: a queue takes references of its own ([`FragRef::to_frag`]) to what the device reads later.
    ///
    /// # Errors
    /// The header, when the queue is full.
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead>;

    /// Rings the doorbell for what was taken since the last time.
    fn flush(&mut self);

    /// Drops references to what the device has sent, without further transmits being needed. Returns how many frames.
    fn reap(&mut self) -> usize;

    /// Counters since the queue was made.
    fn stats(&self) -> QueueStats;
}
