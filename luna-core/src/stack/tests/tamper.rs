//! A queue between the stack and the in-memory pair, for tests to meddle with.

use std::collections::VecDeque;

use crate::nic::{Caps, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use crate::wire::{RxChecksum, TcpPacket};
use crate::zbuf::{Frag, FragRef, FrameHead, Pool, Zbuf, ZbufMut};

/// What to do with a frame about to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Pass,
    Drop,
    /// Send it after the next frame.
    Late,
    /// Keep it until it is let go ([`Tamper::unpark`]).
    Park,
    /// Refuse it: the queue is full.
    Full,
}

pub(super) type FateFn = Box<dyn FnMut(&TcpPacket, u64) -> Fate>;

/// A queue that asks a function about every frame that it sends, and keeps what the driver was given.
pub(super) struct Tamper<Q> {
    pub(super) inner: Q,
    pub(super) fate: FateFn,
    held: VecDeque<(FrameHead, Vec<Frag>, TxMeta)>,
    parked: VecDeque<(FrameHead, Vec<Frag>, TxMeta)>,
    pub(super) count: u64,
    /// The last frames sent, when somebody wants them.
    pub(super) recent: Option<Vec<Vec<u8>>>,
    /// Frames to receive before what the wire brings.
    pub(super) inject: VecDeque<Zbuf>,
    /// The device vouches for the checksums of those.
    pub(super) vouched: bool,
    /// Addresses of payload fragments handed to the driver.
    pub(super) payload_seen: Vec<(usize, u32)>,
    /// Keep what is sent, as a device that has not completed yet.
    pub(super) hold_tx: Option<Vec<Frag>>,
    /// The same of what frames begin with.
    pub(super) hold_heads: Option<Vec<FrameHead>>,
    /// Every so many frames is sent twice; 0 for none.
    pub(super) duplicate: u64,
    /// Every so many frames arrives damaged; 0 for none.
    pub(super) damage: u64,
    caps: Caps,
}

impl<Q: NicQueue> Tamper<Q> {
    pub(super) fn new(inner: Q) -> Self {
        let caps = *inner.caps();
        Self {
            inner,
            fate: Box::new(|_, _| Fate::Pass),
            held: VecDeque::new(),
            parked: VecDeque::new(),
            count: 0,
            recent: None,
            inject: VecDeque::new(),
            vouched: false,
            payload_seen: Vec::new(),
            hold_tx: None,
            hold_heads: None,
            duplicate: 0,
            damage: 0,
            caps,
        }
    }

    /// Lets up to `n` parked frames go, the oldest first. How many are left.
    pub(super) fn unpark(&mut self, n: usize) -> usize {
        for _ in 0..n {
            let Some((h, f, m)) = self.parked.pop_front() else { break };
            self.forward(h, f, m);
        }
        self.inner.flush();
        self.parked.len()
    }

    pub(super) fn set_caps(&mut self, change: impl FnOnce(&mut Caps)) {
        change(&mut self.caps);
    }

    fn copy(&self, header: &FrameHead) -> ZbufMut {
        let mut copy = self.inner.header_pool().alloc().unwrap();
        copy.append(header.len()).unwrap().copy_from_slice(header);
        copy
    }

    fn forward(&mut self, mut header: FrameHead, frags: Vec<Frag>, meta: TxMeta) {
        let copy = self.hold_heads.is_some().then(|| self.copy(&header));
        if let (Some(copy), Some(held)) = (copy, &mut self.hold_heads) {
            held.push(core::mem::replace(&mut header, copy.into()));
        }
        for f in &frags {
            if let Some(b) = f.bytes() {
                self.payload_seen.push((b.as_ptr() as usize, f.len()));
            }
            if let Some(held) = &mut self.hold_tx {
                held.push(f.clone());
            }
        }
        let lent: Vec<_> = frags.iter().map(Frag::lend).collect();
        self.inner.tx(header, &lent, meta).unwrap();
    }
}

fn taken(payload: &[FragRef<'_>]) -> Vec<Frag> {
    payload.iter().map(FragRef::to_frag).collect()
}

impl<Q: NicQueue> NicQueue for Tamper<Q> {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        while burst.room() > 0
            && let Some(data) = self.inject.pop_front()
        {
            let checksum = if self.vouched { RxChecksum::GOOD } else { RxChecksum::UNKNOWN };
            let meta = RxMeta { checksum, rss_hash: 0 };
            burst.push(RxFrame { data, meta }).unwrap();
        }
        if burst.room() > 0 {
            self.inner.rx_burst(burst);
        }
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        let mut flat = header.to_vec();
        for f in payload.iter() {
            let start = flat.len();
            flat.resize(start + f.len() as usize, 0);
            f.copy_to(&mut flat[start..]).unwrap();
        }
        let longest =
            if meta.segment_size == 0 { u32::from(self.caps.mtu) } else { self.caps.max_tso(meta.ipv6) + 100 };
        assert!(flat.len() <= longest as usize + 18, "frame of {} bytes", flat.len());
        assert!(payload.len() <= self.caps.max_tx_frags());
        let checksum = if self.caps.tx_checksum { RxChecksum::GOOD } else { RxChecksum::UNKNOWN };
        let packet = TcpPacket::parse_frame(&flat, checksum).expect("what the stack sends is well formed");
        if let Some(recent) = &mut self.recent {
            recent.truncate(15);
            recent.insert(0, flat);
        }
        self.count += 1;
        match (self.fate)(&packet, self.count) {
            Fate::Full => {
                self.count -= 1;
                return Err(header);
            }
            Fate::Drop => {}
            Fate::Late => self.held.push_back((header, taken(payload), meta)),
            Fate::Park => self.parked.push_back((header, taken(payload), meta)),
            Fate::Pass => {
                let count = self.count;
                let hit = |every: u64| every > 0 && count.is_multiple_of(every);
                if hit(self.duplicate) {
                    let again = self.copy(&header);
                    self.forward(again.into(), taken(payload), meta);
                }
                let mut header = header;
                if hit(self.damage) {
                    // Somewhere behind the addresses, so that only a checksum can tell; on the wire, not what is kept.
                    let mut damaged = self.copy(&header);
                    let i = 34 + (self.count as usize * 7) % (header.len() as usize - 34);
                    damaged[i] ^= 1 << (self.count % 8);
                    header = damaged.into();
                }
                self.forward(header, taken(payload), meta);
                while let Some((h, f, m)) = self.held.pop_front() {
                    self.forward(h, f, m);
                }
            }
        }
        Ok(())
    }
    fn flush(&mut self) {
        self.inner.flush();
    }
    fn reap(&mut self) -> usize {
        self.inner.reap()
    }
    fn stats(&self) -> QueueStats {
        self.inner.stats()
    }
}
