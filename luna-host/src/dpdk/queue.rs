//! One queue of a DPDK port as luna-core's `NicQueue`.
//!
//! Receive: the PMD takes empty objs from the queue's pool (through its mempool view) and hands up filled ones; each
//! becomes a Zbuf where it is. Transmit: see `tx`. Frames collect in a small array until `flush`, so that a turn costs
//! one burst; what the device does not take stays there and goes first next time.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use dpdk_sys as sys;
use luna_core::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{ChecksumVerdict, RxChecksum};
use luna_core::zbuf::{CopyCounter, FragRef, FrameHead, Pool, copy_counted, raw};

use super::held;
use super::large::Pieces;
use super::mbuf;
use super::mempool::MbufPool;
use super::port::{PortShared, QueuePools};
use super::reap::ReapKind;
use super::tx::{self, NotBuilt};

/// Frames that collect before a burst is sent early.
const TX_BURST: usize = 64;
/// Shortest time between two looks for completions on an otherwise idle queue.
const REAP_INTERVAL_US: u64 = 20;
/// How long a closing queue waits for the device to finish what it was given.
const DRAIN: Duration = Duration::from_millis(50);

/// A queue, owned by the thread that activated it. `!Send`.
#[derive(Debug)]
pub struct DpdkQueue {
    caps: Caps,
    port: u16,
    queue: u16,
    reap: ReapKind,
    /// Longest frame, Ethernet header included.
    max_frame: u32,
    /// See [`PortInfo::tx_ring`](super::port::PortInfo::tx_ring).
    tx_ring: Option<u32>,
    /// Whether frames are held over a burst: the device copies, or nobody has seen yet that it does not.
    held: bool,
    pools: ManuallyDrop<Box<QueuePools>>,
    /// Frames built and not yet taken by the device: `pending[first..last]`.
    pending: [*mut sys::rte_mbuf; TX_BURST],
    first: usize,
    last: usize,
    /// Whether a pending frame asks for an offload.
    offloads_pending: bool,
    /// Frames accepted, ever: each holds one header obj until the device lets go.
    accepted: u64,
    /// Frames whose header came back, as last reported.
    reaped: u64,
    last_reap: u64,
    reap_interval: u64,
    stats: QueueStats,
    tso_flags: u64,
    /// A large packet of which not all is handed up yet, and what was received behind it.
    pieces: Option<Pieces>,
    behind: heapless::Deque<*mut sys::rte_mbuf, RX_BURST>,
    shared: Arc<PortShared>,
}

impl DpdkQueue {
    pub(super) fn new(shared: Arc<PortShared>, queue: u16, pools: Box<QueuePools>) -> Self {
        let info = shared.info();
        // SAFETY: EAL runs.
        let hz = unsafe { sys::rte_get_tsc_hz() };
        let mut this = Self {
            caps: info.caps,
            port: info.port,
            queue,
            reap: info.reap,
            max_frame: info.max_frame,
            tx_ring: info.tx_ring,
            held: info.may_copy,
            pools: ManuallyDrop::new(pools),
            pending: [core::ptr::null_mut(); TX_BURST],
            first: 0,
            last: 0,
            offloads_pending: false,
            accepted: 0,
            reaped: 0,
            last_reap: 0,
            reap_interval: hz / 1_000_000 * REAP_INTERVAL_US,
            stats: QueueStats::default(),
            tso_flags: info.tso_flags,
            pieces: None,
            behind: heapless::Deque::new(),
            shared,
        };
        // Frees from before (a failed start) are not completions of ours.
        this.accepted = this.freed();
        this.reaped = this.accepted;
        this
    }

    /// The pool that received frames are in.
    #[must_use]
    pub fn rx_pool(&self) -> &Pool {
        self.pools.rx.pool()
    }

    /// Frames that the device still holds, those that wait for a burst included.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.accepted.saturating_sub(self.freed())
    }

    /// First byte and length of every segment of the frames that wait for [`NicQueue::flush`]: what the device will be
    /// given, for checking that payload goes out from where the application put it.
    pub fn pending_segments(&self) -> impl Iterator<Item = (NonNull<u8>, u32)> + '_ {
        let frames = self.pending.get(self.first..self.last).unwrap_or_default().iter().copied();
        frames.flat_map(|frame| {
            // SAFETY: pending frames are chains that this queue owns.
            core::iter::successors(NonNull::new(frame), |m| NonNull::new(unsafe { sys::mbuf::next(m.as_ptr()) }))
                .filter_map(|m| {
                    // SAFETY: as above.
                    let (data, len) = unsafe { (sys::mbuf::data(m.as_ptr()), sys::mbuf::data_len(m.as_ptr())) };
                    NonNull::new(data).map(|data| (data, u32::from(len)))
                })
        })
    }

    /// The port's name.
    #[must_use]
    pub fn port_name(&self) -> &str {
        self.shared.name()
    }

    #[inline(always)]
    fn header_mbufs(&self) -> &MbufPool {
        self.pools.header.as_ref().unwrap_or(&self.pools.rx)
    }

    /// Frames that came back, ever. Those of linearised frames are of the receive pool.
    #[inline(always)]
    fn freed(&self) -> u64 {
        self.pools.rx.freed() + self.pools.header.as_ref().map_or(0, MbufPool::freed)
    }

    /// Makes room for a frame in `pending`.
    #[inline]
    fn make_room(&mut self) -> bool {
        if self.last < TX_BURST {
            return true;
        }
        self.flush();
        if self.first > 0 {
            self.pending.copy_within(self.first..self.last, 0);
            self.last -= self.first;
            self.first = 0;
        }
        self.last < TX_BURST
    }

    /// How many of the next `count` frames the device's ring surely has descriptors for: one for each segment.
    fn fitting(&mut self, count: u16, ring: u32) -> u16 {
        // Far from full, as usual: not counted.
        if self.in_flight() * (MAX_TX_FRAGS as u64 + 1) <= u64::from(ring) {
            return count;
        }
        // SAFETY: pending frames are chains that this queue owns.
        let segments = |m: *mut sys::rte_mbuf| u32::from(unsafe { sys::mbuf::nb_segs(m) });
        let waiting = self.pending.get(self.first..self.last).unwrap_or_default();
        let waiting: u32 = waiting.iter().map(|m| segments(*m)).sum();
        let outstanding = |pools: &QueuePools| pools.tx_outstanding() as u32;
        if outstanding(&self.pools) > ring {
            self.collect();
        }
        // What waits is outstanding too: it has its objs.
        let mut room = (ring + waiting).saturating_sub(outstanding(&self.pools));
        let frames = self.pending.get(self.first..self.first + usize::from(count)).unwrap_or_default();
        let fit = frames.iter().take_while(|m| {
            let left = room.checked_sub(segments(**m));
            room = left.unwrap_or(0);
            left.is_some()
        });
        fit.count() as u16
    }

    fn drop_frame(&mut self) {
        self.stats.tx_dropped += 1;
    }

    /// A copy of a header that is of no pool of ours.
    #[cold]
    fn rehome(&self, header: FrameHead) -> Result<FrameHead, FrameHead> {
        let Some(mut copy) = self.header_mbufs().pool().alloc_with_headroom(mbuf::HEADROOM) else { return Err(header) };
        match copy.append(header.len()) {
            Some(to) => to.copy_from_slice(&header),
            None => return Err(header),
        }
        Ok(copy.into())
    }

    /// Hands up what earlier bursts had no room for. True when nothing is left of it.
    #[cold]
    fn catch_up(&mut self, burst: &mut RxBurst) -> bool {
        loop {
            while let Some(pieces) = &mut self.pieces {
                if burst.room() == 0 {
                    return false;
                }
                match pieces.next() {
                    Some(frame) => {
                        let pushed = burst.push(frame);
                        debug_assert!(pushed.is_ok(), "the burst had room");
                    }
                    None => self.pieces = None,
                }
            }
            if burst.room() == 0 {
                return self.behind.is_empty();
            }
            let Some(m) = self.behind.pop_front() else { return true };
            self.hand_up(m, burst);
        }
    }

    /// Hands up a received frame to a burst that has room, as far as it has.
    #[inline(always)]
    fn hand_up(&mut self, m: *mut sys::rte_mbuf, burst: &mut RxBurst) {
        // SAFETY: handed up by the PMD, so ours; read before anybody else gets it.
        let bytes = unsafe { sys::mbuf::pkt_len(m) };
        if let Some(frame) = self.adopt(m) {
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += u64::from(bytes);
            let pushed = burst.push(frame);
            debug_assert!(pushed.is_ok(), "the burst had room");
        }
    }

    /// Makes a Zbuf of a received mbuf; of a large packet, the first. None when there is none: it was dropped.
    #[inline(always)]
    fn adopt(&mut self, m: *mut sys::rte_mbuf) -> Option<RxFrame> {
        // SAFETY: the PMD handed `m` up, so it is ours now.
        unsafe {
            let address = NonNull::new(m.cast::<u8>())?;
            let meta = rx_meta(sys::mbuf::ol_flags(m), sys::mbuf::rss_hash(m));
            if sys::mbuf::nb_segs(m) != 1 || !self.pools.rx.pool().contains(address) {
                return self.adopt_other(m, meta);
            }
            let len = u32::from(sys::mbuf::data_len(m));
            let data = NonNull::new_unchecked(sys::mbuf::data(m));
            mbuf::take(m);
            Some(RxFrame { data: raw::from_parts(data, len).freeze(), meta })
        }
    }

    /// A frame in several buffers, or in buffers that are not this queue's (net_ring hands over the sender's own).
    ///
    /// # Safety
    /// `m` is a chain that this queue owns.
    #[cold]
    unsafe fn adopt_other(&mut self, m: *mut sys::rte_mbuf, meta: RxMeta) -> Option<RxFrame> {
        // SAFETY: by contract.
        if let Some(mut pieces) = unsafe { Pieces::of(&self.pools.rx, m, meta) } {
            let first = pieces.next();
            self.pieces = Some(pieces);
            return first;
        }
        let Some(mut frame) = self.pools.rx.pool().alloc() else {
            self.stats.rx_no_obj += 1;
            // SAFETY: by contract.
            unsafe { self.discard(m) };
            return None;
        };
        // SAFETY: by contract; segments are live until they are discarded.
        unsafe {
            let mut fits = sys::mbuf::pkt_len(m) <= frame.tailroom();
            let mut segment = m;
            while fits && !segment.is_null() {
                let bytes =
                    core::slice::from_raw_parts(sys::mbuf::data(segment), usize::from(sys::mbuf::data_len(segment)));
                match frame.append(bytes.len() as u32) {
                    Some(to) => {
                        copy_counted(to, bytes, &mut self.stats.rx_copied);
                    }
                    None => fits = false,
                }
                segment = sys::mbuf::next(segment);
            }
            self.discard(m);
            if !fits {
                self.stats.rx_too_long += 1;
                return None;
            }
        }
        Some(RxFrame { data: frame.freeze(), meta })
    }

    /// Frees a received chain; not through DPDK where the objs are this queue's own.
    ///
    /// # Safety
    /// `m` is a chain that this queue owns.
    unsafe fn discard(&self, mut m: *mut sys::rte_mbuf) {
        // SAFETY: by contract, segment by segment.
        unsafe {
            while let Some(address) = NonNull::new(m.cast::<u8>()) {
                let next = sys::mbuf::next(m);
                if self.pools.rx.pool().contains(address) {
                    self.pools.rx.put_mbuf(m);
                } else {
                    sys::mbuf::set_next(m, core::ptr::null_mut());
                    sys::mbuf::set_nb_segs(m, 1);
                    sys::rte_pktmbuf_free_seg(m);
                }
                m = next;
            }
        }
    }

    /// Asks the device for completions.
    fn collect(&mut self) {
        // SAFETY: a started queue of this thread.
        unsafe {
            match self.reap {
                ReapKind::Immediate | ReapKind::Never => {}
                ReapKind::EmptyBurst => {
                    let mut none = core::ptr::null_mut();
                    sys::burst::eth_tx_burst(self.port, self.queue, &raw mut none, 0);
                }
                ReapKind::Probe => {
                    if let Some(probe) = &self.pools.probe {
                        probe.fire(self.port, self.queue);
                    }
                }
                ReapKind::Cleanup => {
                    sys::rte_eth_tx_done_cleanup(self.port, self.queue, 0);
                }
            }
        }
    }
}

/// What the port says of a received frame.
#[inline(always)]
fn rx_meta(flags: u64, rss_hash: u32) -> RxMeta {
    // "None" is DPDK's word for a checksum that was left unfinished on data that cannot have been damaged.
    let l4 = match flags & sys::LUNA_MBUF_F_RX_L4_CKSUM_MASK {
        sys::LUNA_MBUF_F_RX_L4_CKSUM_GOOD | sys::LUNA_MBUF_F_RX_L4_CKSUM_NONE => ChecksumVerdict::Good,
        sys::LUNA_MBUF_F_RX_L4_CKSUM_BAD => ChecksumVerdict::Bad,
        _ => ChecksumVerdict::Unknown,
    };
    let ip = match flags & sys::LUNA_MBUF_F_RX_IP_CKSUM_MASK {
        sys::LUNA_MBUF_F_RX_IP_CKSUM_GOOD | sys::LUNA_MBUF_F_RX_IP_CKSUM_NONE => ChecksumVerdict::Good,
        sys::LUNA_MBUF_F_RX_IP_CKSUM_BAD => ChecksumVerdict::Bad,
        _ => ChecksumVerdict::Unknown,
    };
    let rss_hash = if flags & sys::LUNA_MBUF_F_RX_RSS_HASH != 0 { rss_hash } else { 0 };
    RxMeta { checksum: RxChecksum { ip, l4 }, rss_hash }
}

impl NicQueue for DpdkQueue {
    #[inline(always)]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline(always)]
    fn header_pool(&self) -> &Pool {
        self.header_mbufs().pool()
    }

    #[inline]
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        if (self.pieces.is_some() || !self.behind.is_empty()) && !self.catch_up(burst) {
            return;
        }
        let mut mbufs = [core::ptr::null_mut(); RX_BURST];
        let room = burst.room().min(RX_BURST) as u16;
        // SAFETY: a started queue of this thread; room for RX_BURST pointers.
        let n = unsafe { sys::burst::eth_rx_burst(self.port, self.queue, mbufs.as_mut_ptr(), room) };
        for &m in mbufs.iter().take(usize::from(n)) {
            if self.pieces.is_some() {
                // Behind a large packet: in its turn.
                let kept = self.behind.push_back(m);
                debug_assert!(kept.is_ok(), "as many as a burst");
                continue;
            }
            self.hand_up(m, burst);
        }
        if self.pieces.is_some() {
            self.catch_up(burst);
        }
    }

    #[inline]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        if !self.make_room() {
            return Err(header);
        }
        let mut bytes = header.len();
        let mut foreign = false;
        for frag in payload.iter() {
            bytes = bytes.saturating_add(frag.len());
            foreign |= frag.is_foreign();
        }
        if bytes > self.max_frame && meta.segment_size == 0 {
            self.drop_frame();
            return Ok(());
        }
        let header =
            if self.header_mbufs().pool().contains(header.obj_start()) { header } else { self.rehome(header)? };
        let segments = payload.len() + 1;
        let built = if !foreign && segments <= usize::from(self.caps.max_tx_segments) {
            tx::chain(&self.pools.ext, &self.pools.deferred, header, payload, meta, self.tso_flags)
        } else if meta.segment_size != 0 {
            // Larger than any obj, and refused for good.
            self.drop_frame();
            return Ok(());
        } else {
            let counter: &mut CopyCounter = &mut self.stats.tx_copied;
            tx::linearise(&self.pools.rx, header, payload, meta, counter)
        };
        match built {
            Ok(m) => {
                if let Some(slot) = self.pending.get_mut(self.last) {
                    *slot = m.as_ptr();
                    self.last += 1;
                }
                self.offloads_pending |= meta.offload_checksum;
                self.accepted += 1;
                self.stats.tx_frames += 1;
                self.stats.tx_bytes += u64::from(bytes);
                Ok(())
            }
            Err(NotBuilt::NoObjs(header)) => Err(header),
            Err(NotBuilt::Revoked) => {
                self.drop_frame();
                Ok(())
            }
        }
    }

    fn flush(&mut self) {
        let mut count = (self.last - self.first) as u16;
        if count == 0 {
            return;
        }
        if let Some(ring) = self.tx_ring {
            count = self.fitting(count, ring);
            if count == 0 {
                return;
            }
        }
        // SAFETY: a started queue of this thread; `first..last` are chains that this queue owns, and what the burst
        // takes is forgotten here.
        unsafe {
            let frames = self.pending.as_mut_ptr().add(self.first);
            if self.offloads_pending {
                let fit = sys::burst::eth_tx_prepare(self.port, self.queue, frames, count);
                if fit < count {
                    // The device cannot send frame `fit`: drop it, send those before it, come back for the rest.
                    sys::rte_pktmbuf_free(*frames.add(usize::from(fit)));
                    self.stats.tx_dropped += 1;
                    self.pending
                        .copy_within(self.first + usize::from(fit) + 1..self.last, self.first + usize::from(fit));
                    self.last -= 1;
                    count = fit;
                }
            }
            if self.held {
                held::hold(core::slice::from_raw_parts(frames, count.into()));
            }
            let sent = sys::burst::eth_tx_burst(self.port, self.queue, frames, count);
            if self.held {
                let (sent, rest) = core::slice::from_raw_parts(frames, count.into()).split_at(sent.into());
                self.held = held::settle(&self.pools, sent, rest);
            }
            self.first += usize::from(sent);
        }
        if self.first == self.last {
            self.first = 0;
            self.last = 0;
            self.offloads_pending = false;
        }
    }

    #[inline]
    fn reap(&mut self) -> usize {
        let mut freed = self.freed();
        if freed != self.accepted {
            // SAFETY: reads the time-stamp counter.
            let now = unsafe { sys::rte_rdtsc() };
            if now.wrapping_sub(self.last_reap) >= self.reap_interval {
                self.last_reap = now;
                self.collect();
                freed = self.freed();
            }
        }
        self.pools.deferred.drain();
        let n = freed - self.reaped;
        self.reaped = freed;
        n as usize
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}

impl Drop for DpdkQueue {
    fn drop(&mut self) {
        self.flush();
        for &m in self.pending.get(self.first..self.last).unwrap_or_default() {
            // SAFETY: a chain that was never given to the device.
            unsafe { sys::rte_pktmbuf_free(m) };
            self.stats.tx_dropped += 1;
        }
        let rest = self.pieces.take().map_or(core::ptr::null_mut(), Pieces::into_rest);
        for m in core::iter::once(rest).chain(core::iter::from_fn(|| self.behind.pop_front())).collect::<Vec<_>>() {
            // SAFETY: received and not handed up: chains of this queue, or null.
            unsafe { self.discard(m) };
        }
        let start = Instant::now();
        while self.in_flight() > 0 && self.reap.is_prompt() && start.elapsed() < DRAIN {
            self.last_reap = 0;
            self.reap();
            std::thread::yield_now();
        }
        self.pools.deferred.drain();
        // SAFETY: taken once, here; the queue is gone afterwards.
        let pools = unsafe { ManuallyDrop::take(&mut self.pools) };
        self.shared.park(pools);
    }
}
