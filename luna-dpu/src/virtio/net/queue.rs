//! One pair of queues as luna-core's `NicQueue`, owned by one core.
//!
//! Receive: the device fills objs of the receive pool, each posted as one piece that begins with the header, in the
//! obj's prefix. Transmit: header obj and payload fragments become one chain; their references are held until the device
//! returns it. Nothing is copied either way, but for what a device spread over several buffers. Nothing interrupts: the stack polls, and the device is told so.

use core::ptr::NonNull;

use luna_core::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::RxChecksum;
use luna_core::zbuf::{Frag, FragRef, FrameHead, IoAddr, Pool, ZbufMut};

use super::gather::{Gathered, Gathering};
use super::header::{HEADER_LEN, Header, ONE};
use crate::dma::{DmaPiece, DmaSync};
use crate::mmio::Registers;
use crate::parts::LOSS;
use crate::virtio::ring::{Buffer, Fault, Node, Ring, RingConfig};
use crate::virtio::transport::{Doorbell, InitError, Watch};

/// Looks for sent frames, without any, after which the device is reminded of them: a millisecond or so.
const REMIND_EVERY: u32 = 4096;

/// What a driver remembers of its descriptors, for one pair of queues.
pub struct QueueMemory<'m> {
    /// A power of two.
    pub rx: &'m mut [Node<ZbufMut>],
    /// A power of two.
    pub tx: &'m mut [Node<Frag>],
}

/// What a device did that it must not; cumulative.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetFaults {
    /// Received lengths below the header's or above the buffer's: the frame was dropped.
    pub bad_lengths: u64,
    /// Frames in no buffer at all, or in more than the ring has: the header's count was taken for 1.
    pub bad_counts: u64,
    /// Receive rings that were given up: see [`NetQueue::fault`].
    pub rx_ring: u64,
    /// Transmit rings that were given up.
    pub tx_ring: u64,
}

/// A pair of queues.
pub struct NetQueue<'m, R, D> {
    caps: Caps,
    rx: Ring<'m, ZbufMut>,
    tx: Ring<'m, Frag>,
    rx_bell: Doorbell<R>,
    tx_bell: Doorbell<R>,
    watch: Watch<R>,
    rx_pool: &'m Pool,
    header_pool: &'m Pool,
    sync: D,
    /// Longest frame, Ethernet header included.
    max_frame: u32,
    guest_csum: bool,
    mergeable: bool,
    /// A frame in several buffers, of which some are still to come.
    gathering: Option<Gathering>,
    /// Looks for sent frames in a row that found none, with some under way.
    waited: u32,
    stats: QueueStats,
    faults: NetFaults,
}

/// A ring to be.
#[derive(Debug)]
pub(super) struct RingMemory {
    pub(super) config: RingConfig,
    pub(super) memory: DmaPiece,
}

/// A pair of queues on its way to the core that will own it.
#[derive(Debug)]
pub struct QueuePair<R> {
    pub(super) caps: Caps,
    pub(super) rx: RingMemory,
    pub(super) tx: RingMemory,
    pub(super) rx_bell: Doorbell<R>,
    pub(super) tx_bell: Doorbell<R>,
    pub(super) guest_csum: bool,
    pub(super) mergeable: bool,
    pub(super) watch: Watch<R>,
}

impl<R: Registers> QueuePair<R> {
    /// What the queue will be like.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The queue, on its core, with as many nodes as descriptors, receiving into objs of `rx_pool`. Nothing is posted yet.
    ///
    /// # Errors
    /// [`InitError`] when memory and device do not go together.
    pub fn open<'m, D: DmaSync>(
        self,
        memory: QueueMemory<'m>,
        rx_pool: &'m Pool,
        header_pool: &'m Pool,
        sync: D,
    ) -> Result<NetQueue<'m, R, D>, InitError> {
        let Self { caps, rx, tx, rx_bell, tx_bell, guest_csum, mergeable, watch } = self;
        let rx = Ring::new(rx.config, rx.memory, memory.rx).ok_or(InitError::NoMemory)?;
        let tx = Ring::new(tx.config, tx.memory, memory.tx).ok_or(InitError::NoMemory)?;
        // VLAN tag included.
        let max_frame = u32::from(caps.mtu) + 18;
        if rx_pool.layout().prefix < HEADER_LEN || header_pool.layout().prefix < HEADER_LEN {
            return Err(InitError::Pool("objs need a prefix of 12 bytes or more, for virtio's header"));
        }
        if rx_pool.data_capacity() < max_frame {
            return Err(InitError::Pool("receive objs are smaller than a frame of the MTU"));
        }
        Ok(NetQueue {
            caps,
            rx,
            tx,
            rx_bell,
            tx_bell,
            watch,
            rx_pool,
            header_pool,
            sync,
            max_frame,
            guest_csum,
            mergeable,
            gathering: None,
            waited: 0,
            stats: QueueStats::default(),
            faults: NetFaults::default(),
        })
    }
}

impl<R: Registers, D: DmaSync> NetQueue<'_, R, D> {
    /// What the device did wrong, once it did: the queue is of no use any more.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.rx.fault().or(self.tx.fault())
    }

    /// Rings again for frames that the device has not returned: for whoever slept meanwhile, whose looks for them are far
    /// apart. (While looks are frequent, some thousand of them without a frame do it.)
    pub fn nudge(&self) {
        if self.tx.in_flight() > 0 {
            self.remind();
        }
    }

    /// Whether the device neither asks for a reset nor was reset: a register's read.
    #[must_use]
    pub fn device_works(&self) -> bool {
        self.watch.works()
    }

    /// Frames received so far.
    pub(super) fn received(&self) -> u64 {
        self.stats.rx_frames
    }

    /// Takes back all that the device held, which is lost on its way, and begins anew. What is next received posts buffers: the
    /// queue is not to be used before the device goes again.
    ///
    /// # Safety
    /// The device was reset, touches no memory any more, and is told of its queues again before that.
    #[cold]
    pub unsafe fn restart(&mut self) {
        self.gathering = None;
        self.waited = 0;
        // SAFETY: by contract.
        unsafe {
            self.rx.restart(drop);
            self.tx.restart(drop);
        }
    }

    /// Gives the device what none takes, for seeing what becomes of one that then asks for a reset: a frame to send that it is
    /// to write. Nothing without the feature `loss`.
    #[cold]
    #[inline(never)]
    pub fn confuse(&mut self) {
        let Some(obj) = self.rx_pool.alloc().filter(|_| LOSS) else { return };
        let buffer = Buffer { addr: obj.io_addr(), len: 64, device_writes: true };
        let _refused = self.tx.add_one(buffer, obj.freeze().into());
        self.flush();
    }

    /// What it did wrong so far.
    #[must_use]
    pub fn faults(&self) -> NetFaults {
        NetFaults {
            rx_ring: u64::from(self.rx.fault().is_some()),
            tx_ring: u64::from(self.tx.fault().is_some()),
            ..self.faults
        }
    }

    /// Objs posted for receiving, and pieces of frames being sent.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        (self.rx.in_flight(), self.tx.in_flight())
    }

    /// Posts objs until the ring is full.
    #[inline(always)]
    fn refill(&mut self) {
        while self.rx.room() > 0 {
            let Some(obj) = self.rx_pool.alloc() else { break };
            let Some((start, io)) = piece_before(data_of(&obj), obj.io_addr()) else { break };
            let len = HEADER_LEN + self.rx_pool.data_capacity();
            self.sync.device_writes(start, len as usize);
            let buffer = Buffer { addr: io, len, device_writes: true };
            if self.rx.add_one(buffer, obj).is_err() {
                break;
            }
        }
        if self.rx.publish() {
            self.rx_bell.ring();
        }
    }

    /// A frame, or nothing when it is to be dropped: `len` is what the device claims to have written.
    #[inline(always)]
    fn accept(&mut self, mut obj: ZbufMut, len: u32) -> Option<RxFrame> {
        let capacity = self.rx_pool.data_capacity();
        if self.gathering.is_some() {
            return self.go_on(&obj, len);
        }
        if len < HEADER_LEN || len - HEADER_LEN > capacity {
            self.faults.bad_lengths += 1;
            return None;
        }
        let data = data_of(&obj);
        // SAFETY: the pool's prefix holds a header; the device returned the obj.
        let header = unsafe {
            self.sync.device_wrote(data.sub(HEADER_LEN as usize), len as usize);
            Header::read_before(data)
        };
        let frame = len - HEADER_LEN;
        obj.set_len(frame);
        let checksum = if self.guest_csum { header.verdict() } else { RxChecksum::UNKNOWN };
        if header.num_buffers != ONE && self.mergeable {
            obj = self.begin(obj, checksum, u16::from_le_bytes(header.num_buffers))?;
        }
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += u64::from(frame);
        Some(RxFrame { data: obj.freeze(), meta: RxMeta { checksum, rss_hash: 0 } })
    }

    /// The first of several buffers was filled; it comes back when it is the only one after all.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, obj: ZbufMut, checksum: RxChecksum, buffers: u16) -> Option<ZbufMut> {
        if buffers == 0 || usize::from(buffers) > self.rx.size() {
            self.faults.bad_counts += 1;
            return Some(obj);
        }
        self.gathering = Some(Gathering::new(obj, checksum, buffers));
        None
    }

    /// Another buffer of a frame was filled: no header, its bytes begin where the first one's header would.
    #[cold]
    #[inline(never)]
    fn go_on(&mut self, obj: &ZbufMut, len: u32) -> Option<RxFrame> {
        let mut gathering = self.gathering.take()?;
        let bytes = if len == 0 || len > HEADER_LEN + self.rx_pool.data_capacity() {
            self.faults.bad_lengths += 1;
            gathering.spoil();
            &[]
        } else {
            // SAFETY: the header's place in the pool's prefix, and the data behind it: what was posted. The device returned
            // the obj, which nobody else has.
            unsafe {
                let start = data_of(obj).sub(HEADER_LEN as usize);
                self.sync.device_wrote(start, len as usize);
                core::slice::from_raw_parts(start.as_ptr(), len as usize)
            }
        };
        match gathering.add(bytes, &mut self.stats) {
            Gathered::Part(rest) => {
                self.gathering = Some(rest);
                None
            }
            Gathered::Whole(frame, checksum) => {
                self.stats.rx_frames += 1;
                self.stats.rx_bytes += u64::from(frame.len());
                Some(RxFrame { data: frame.freeze(), meta: RxMeta { checksum, rss_hash: 0 } })
            }
            Gathered::Dropped => None,
        }
    }

    /// Drops what was sent. Returns how many frames.
    #[inline(always)]
    fn reap_sent(&mut self) -> usize {
        let mut frames = 0;
        while self.tx.pop(drop).is_some() {
            frames += 1;
        }
        frames
    }

    /// Rings for what was rung for before: a device may have missed it (QEMU 7.2 does, when the backend of a packed
    /// queue with an event index was busy).
    #[cold]
    fn remind(&self) {
        if self.tx.fault().is_none() {
            self.tx_bell.ring();
        }
    }

    /// Descriptors that a frame takes; `None` when a fragment was revoked.
    #[inline(always)]
    fn count(payload: &[FragRef<'_>]) -> Option<(usize, u32)> {
        let (mut pieces, mut bytes) = (1, 0u32);
        for frag in payload {
            pieces += if frag.is_foreign() { foreign_pieces(frag)? } else { 1 };
            bytes = bytes.saturating_add(frag.len());
        }
        Some((pieces, bytes))
    }
}

/// First byte of an empty obj's data.
#[inline(always)]
fn data_of(obj: &ZbufMut) -> NonNull<u8> {
    let start = obj.obj_start();
    let offset = obj.as_ptr().addr() - start.addr().get();
    // From the obj's start, so that what lies before the view may be reached too.
    // SAFETY: the view is inside the obj.
    unsafe { start.add(offset) }
}

/// Where the header before a view that begins at `data` is, for the core and for the device.
#[inline(always)]
fn piece_before(data: NonNull<u8>, io: IoAddr) -> Option<(NonNull<u8>, IoAddr)> {
    let io = io.0.checked_sub(u64::from(HEADER_LEN))?;
    // SAFETY: the prefix, checked when the queue was made, lies before every view of the obj.
    Some((unsafe { data.sub(HEADER_LEN as usize) }, IoAddr(io)))
}

/// Pieces of foreign memory that are contiguous for the device.
#[cold]
fn foreign_pieces(frag: &Frag) -> Option<usize> {
    let mut rest = frag.with_foreign(Clone::clone)?;
    let mut pieces = 0;
    while !rest.is_empty() {
        let (_, len) = rest.io_piece()?;
        rest.trim_front(len);
        pieces += 1;
    }
    Some(pieces)
}

/// The first piece of a fragment, with a reference of its own, and the rest. Whole where it is ours.
#[inline(always)]
fn split_first(frag: &Frag) -> Option<(Buffer, Frag, Option<Frag>)> {
    let Some(addr) = frag.io_addr() else {
        let (addr, len) = frag.with_foreign(|f| f.io_piece()).flatten()?;
        let rest = (len < frag.len()).then(|| frag.slice(len, frag.len() - len));
        return Some((Buffer { addr, len, device_writes: false }, frag.slice(0, len), rest));
    };
    Some((Buffer { addr, len: frag.len(), device_writes: false }, Frag::clone(frag), None))
}

impl<R: Registers, D: DmaSync> NicQueue for NetQueue<'_, R, D> {
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
        // Every look is bounded, whatever a device returns.
        for _ in 0..RX_BURST {
            if burst.room() == 0 {
                break;
            }
            let mut obj = None;
            let Some(len) = self.rx.pop(|o| obj = Some(o)) else { break };
            if let Some(obj) = obj
                && let Some(frame) = self.accept(obj, len)
            {
                let pushed = burst.push(frame);
                debug_assert!(pushed.is_ok(), "there was room");
            }
        }
        if self.rx.room() > 0 {
            self.refill();
            if self.rx.room() > 0 && self.rx.in_flight() == 0 && self.rx.fault().is_none() {
                self.stats.rx_no_obj += 1;
            }
        }
    }

    #[inline(always)]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        let Some((pieces, payload_len)) = Self::count(payload) else {
            self.stats.tx_dropped += 1;
            return Ok(());
        };
        let bytes = header.len().saturating_add(payload_len);
        if bytes > self.max_frame && meta.segment_size == 0 || self.tx.fault().is_some() {
            self.stats.tx_dropped += 1;
            return Ok(());
        }
        if self.tx.room() < pieces {
            self.reap_sent();
            if self.tx.room() < pieces {
                return Err(header);
            }
        }
        if !self.header_pool.contains(header.obj_start()) {
            // Not one of ours: it has no prefix to write to.
            self.stats.tx_dropped += 1;
            return Ok(());
        }
        let Some((start, io)) = piece_before(header.as_ptr(), header.io_addr()) else { return Err(header) };
        // SAFETY: `piece_before` is the header's place in the prefix, which is the head's alone.
        unsafe { Header::of(&meta).write_before(header.as_ptr()) };
        let len = HEADER_LEN + header.len();
        self.sync.device_reads(start, len as usize);
        let first = (Buffer { addr: io, len, device_writes: false }, Frag::from(header.into_zbuf()));
        let sync = &self.sync;
        let mut rest: Option<Frag> = None;
        let mut frags = payload.iter();
        let pieces = core::iter::from_fn(|| {
            let (buffer, piece, left) = match rest.take() {
                Some(rest) => split_first(&rest)?,
                None => split_first(frags.next()?)?,
            };
            rest = left;
            if let Some(bytes) = piece.bytes() {
                sync.device_reads(NonNull::from(bytes).cast(), bytes.len());
            }
            Some((buffer, piece))
        });
        self.tx.add(core::iter::once(first).chain(pieces));
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += u64::from(bytes);
        Ok(())
    }

    #[inline(always)]
    fn flush(&mut self) {
        if self.tx.publish() {
            self.tx_bell.ring();
        }
    }

    #[inline(always)]
    fn reap(&mut self) -> usize {
        let frames = self.reap_sent();
        if frames > 0 || self.tx.in_flight() == 0 {
            self.waited = 0;
        } else {
            self.waited = self.waited.wrapping_add(1);
            if self.waited.is_multiple_of(REMIND_EVERY) {
                self.remind();
            }
        }
        frames
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}

/// Segments of a frame that a queue takes.
pub(super) const MAX_SEGMENTS: u8 = (MAX_TX_FRAGS + 1) as u8;
