//! The NIC of a simulated stack: luna-core's `NicQueue` between a stack's turn and the simulated wire.
//!
//! As a NIC does, it gathers a frame when it is given one, cuts large ones into segments, and lets go of the memory when all
//! was sent; it fills
//! objs of the stack's receive pool, and with offloads it computes and verifies checksums. What passed in a turn, both
//! ways and in order, is kept for those who watch ([`Wire::passed`]).

use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use luna_core::nic::{Caps, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{ChecksumVerdict, LargePacket, ParseError, RxChecksum, TcpPacket};
use luna_core::zbuf::{Frag, FragRef, FrameHead, Pool};

use super::frame::{Frame, Tag};

/// A frame that passed between stack and wire.
pub enum Passed {
    /// The stack took it.
    In(Frame),
    /// It arrived, and there was no obj for it.
    NoObj(Frame),
    /// The stack sent it.
    Out(Frame),
}

/// What stack and world share of a NIC.
#[derive(Default)]
pub struct Wire {
    /// Arrived, not taken.
    pub rx: VecDeque<Frame>,
    /// Most of those.
    pub rx_ring: usize,
    /// Given by the stack, not yet sent by the link.
    pub in_flight: usize,
    /// Most of those.
    pub tx_ring: usize,
    /// Frames sent whose memory is still held.
    pub done: usize,
    /// What passed since somebody looked, in order.
    pub passed: Vec<Passed>,
    /// Memory changed that a frame still held.
    pub spoilt: bool,
    /// Buffers to use again.
    pub spare: Vec<Vec<u8>>,
}

/// What a frame holds until it was sent. Of the segments of a large one, the last holds everything.
struct Held {
    _header: Option<FrameHead>,
    payload: Vec<Frag>,
    /// A sum over the payload when it was taken, if others may write it.
    sum: Option<u16>,
}

impl Held {
    /// Whether the memory still says what it did: it belongs to the device until it lets go.
    fn is_whole(&self) -> bool {
        self.sum.is_none() || self.payload.iter().any(Frag::is_revoked) || sum_of(&self.payload) == self.sum
    }
}

/// A sum over payload with foreign memory in it; none over any other.
fn sum_of(payload: &[Frag]) -> Option<u16> {
    if !payload.iter().any(Frag::is_foreign) {
        return None;
    }
    let mut bytes = Vec::new();
    for frag in payload {
        let at = bytes.len();
        bytes.resize(at + frag.len() as usize, 0);
        frag.copy_to(&mut bytes[at..])?;
    }
    let mut sum = luna_core::wire::Checksum::new();
    sum.add(&bytes);
    Some(sum.finish())
}

/// A queue over a [`Wire`].
pub struct SimQueue<'p> {
    wire: Rc<RefCell<Wire>>,
    caps: Caps,
    rx_pool: &'p Pool,
    header_pool: &'p Pool,
    /// Short frames are padded to 60 bytes, as on Ethernet.
    pad: bool,
    held: VecDeque<Held>,
    stats: QueueStats,
}

impl<'p> SimQueue<'p> {
    /// A queue that receives into `rx_pool`.
    #[must_use]
    pub fn new(wire: Rc<RefCell<Wire>>, caps: Caps, rx_pool: &'p Pool, header_pool: &'p Pool, pad: bool) -> Self {
        Self { wire, caps, rx_pool, header_pool, pad, held: VecDeque::new(), stats: QueueStats::default() }
    }

    fn verdict(&self, bytes: &[u8]) -> RxChecksum {
        if !self.caps.tx_checksum {
            return RxChecksum::UNKNOWN;
        }
        let bad = RxChecksum { ip: ChecksumVerdict::Good, l4: ChecksumVerdict::Bad };
        match TcpPacket::parse_frame(bytes, RxChecksum::UNKNOWN) {
            Ok(_) => RxChecksum::GOOD,
            Err(ParseError::BadTcpChecksum) => bad,
            Err(ParseError::BadIpChecksum) => RxChecksum { ip: ChecksumVerdict::Bad, ..bad },
            // Not what a NIC knows to verify.
            Err(_) => RxChecksum::UNKNOWN,
        }
    }
}

/// Completes a TCP checksum whose field holds the pseudo-header's sum.
fn complete_checksum(frame: &mut [u8], meta: TxMeta) {
    let l4 = usize::from(meta.l2_len) + usize::from(meta.l3_len);
    let Some(segment) = frame.get(l4..) else { return };
    let mut sum = luna_core::wire::Checksum::new();
    sum.add(segment);
    let sum = sum.finish();
    luna_core::wire::write_tcp_checksum(frame, l4, sum);
}

impl NicQueue for SimQueue<'_> {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn header_pool(&self) -> &Pool {
        self.header_pool
    }

    fn rx_burst(&mut self, burst: &mut RxBurst) {
        let wire = &mut *self.wire.borrow_mut();
        while burst.room() > 0 {
            let Some(frame) = wire.rx.pop_front() else { return };
            let len = frame.bytes.len() as u32;
            let Some(mut obj) = self.rx_pool.alloc_len(len) else {
                let too_long = len > self.rx_pool.data_capacity();
                *if too_long { &mut self.stats.rx_too_long } else { &mut self.stats.rx_no_obj } += 1;
                wire.passed.push(Passed::NoObj(frame));
                continue;
            };
            obj.copy_from_slice(&frame.bytes);
            let meta = RxMeta { checksum: self.verdict(&frame.bytes), rss_hash: 0 };
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += u64::from(len);
            wire.passed.push(Passed::In(frame));
            // There was room.
            drop(burst.push(RxFrame { data: obj.freeze(), meta }));
        }
    }

    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.in_flight >= wire.tx_ring {
            return Err(header);
        }
        let mut bytes = wire.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(&header);
        for frag in payload.iter() {
            let at = bytes.len();
            bytes.resize(at + frag.len() as usize, 0);
            if frag.copy_to(&mut bytes[at..]).is_none() {
                // Revoked under the device: what a device sends then is not ours to say; here, nothing.
                bytes.truncate(at);
            }
        }
        let large = if meta.segment_size == 0 { None } else { LargePacket::parse(&bytes) };
        if let Some(large) = large {
            // All segments but the last, which is what is left in `bytes`.
            let (head, size) = (large.header_len(), u32::from(meta.segment_size));
            let payload = (bytes.len() - head) as u32;
            let mut at = 0;
            while payload - at > size {
                let from = head + at as usize;
                let mut segment = bytes[..head].to_vec();
                segment.extend_from_slice(&bytes[from..from + size as usize]);
                assert!(large.cut(&mut segment, at, size, false), "a segment is shorter than the whole");
                complete_checksum(&mut segment, meta);
                self.stats.tx_frames += 1;
                self.stats.tx_bytes += segment.len() as u64;
                wire.in_flight += 1;
                wire.passed.push(Passed::Out(Frame { bytes: segment, tag: Tag::default() }));
                self.held.push_back(Held { _header: None, payload: Vec::new(), sum: None });
                at += size;
            }
            bytes.drain(head..head + at as usize);
            assert!(large.cut(&mut bytes, at, payload - at, true), "a segment is shorter than the whole");
        }
        if meta.offload_checksum {
            complete_checksum(&mut bytes, meta);
        }
        if self.pad && bytes.len() < 60 {
            bytes.resize(60, 0);
        }
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += bytes.len() as u64;
        wire.in_flight += 1;
        wire.passed.push(Passed::Out(Frame { bytes, tag: Tag::default() }));
        let payload: Vec<_> = payload.iter().map(FragRef::to_frag).collect();
        let sum = sum_of(&payload);
        self.held.push_back(Held { _header: Some(header), payload, sum });
        Ok(())
    }

    fn flush(&mut self) {}

    fn reap(&mut self) -> usize {
        let wire = &mut *self.wire.borrow_mut();
        let n = core::mem::take(&mut wire.done).min(self.held.len());
        for held in self.held.drain(..n) {
            wire.spoilt |= !held.is_whole();
        }
        n
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}
