//! A queue that loses received frames at random: the way from the kernel to Luna, where the kernel's packet filter in the
//! peer's namespace cannot drop without telling its own TCP.

use luna_core::nic::{Caps, NicQueue, QueueStats, RxBurst, RxFrame, TxMeta};
use luna_core::zbuf::{FragRef, FrameHead, Pool};

pub(crate) struct Lossy<Q> {
    inner: Q,
    burst: RxBurst,
    /// Frames lost of each million.
    per_million: u64,
    state: u64,
    pub(crate) lost: u64,
}

impl<Q: NicQueue> Lossy<Q> {
    pub(crate) fn new(inner: Q, per_million: u64) -> Self {
        Self { inner, burst: RxBurst::new(), per_million, state: 0x1234_5678_9abc_def1, lost: 0 }
    }

    fn lose(&mut self) -> bool {
        // xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % 1_000_000 < self.per_million
    }
}

impl<Q: NicQueue> NicQueue for Lossy<Q> {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        if self.per_million == 0 {
            return self.inner.rx_burst(burst);
        }
        self.inner.rx_burst(&mut self.burst);
        for i in 0..self.burst.len() {
            let frame: Option<RxFrame> = self.burst.take(i);
            if self.lose() {
                self.lost += 1;
            } else if let Some(frame) = frame {
                assert!(burst.push(frame).is_ok());
            }
        }
        self.burst.clear();
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        self.inner.tx(header, payload, meta)
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
