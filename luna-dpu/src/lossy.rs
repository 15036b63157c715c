//! A queue that loses frames on purpose, both ways: for showing that nothing depends on their arrival.

use core::cell::Cell;

use luna_core::nic::{Caps, NicQueue, QueueStats, RxBurst, TxMeta};
use luna_core::zbuf::{FragRef, FrameHead, Pool};

use crate::parts::LOSS;

/// Loses frames of `inner` at random.
#[derive(Debug)]
pub struct Lossy<Q> {
    inner: Q,
    /// Of 65,536 frames, so many are lost.
    threshold: u32,
    state: Cell<u64>,
    lost: Cell<u64>,
}

impl<Q: NicQueue> Lossy<Q> {
    /// Loses `per_mille` of a thousand frames in each direction, by dice that `seed` loads. None at 0, nor without the
    /// feature `loss`.
    pub const fn new(inner: Q, per_mille: u16, seed: u64) -> Self {
        Self { inner, threshold: per_mille as u32 * 65_536 / 1000, state: Cell::new(seed | 1), lost: Cell::new(0) }
    }

    /// Frames lost so far, both ways.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// The queue that loses nothing.
    pub fn inner(&mut self) -> &mut Q {
        &mut self.inner
    }

    #[inline(always)]
    fn loses(&self) -> bool {
        LOSS && self.threshold != 0 && self.throw()
    }

    #[cold]
    fn throw(&self) -> bool {
        // xorshift64.
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        let lost = (x >> 40) as u32 & 0xffff < self.threshold;
        self.lost.set(self.lost.get() + u64::from(lost));
        lost
    }
}

impl<Q: NicQueue> NicQueue for Lossy<Q> {
    #[inline(always)]
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    #[inline(always)]
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }

    #[inline(always)]
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        if !LOSS || self.threshold == 0 {
            return self.inner.rx_burst(burst);
        }
        let before = burst.len();
        self.inner.rx_burst(burst);
        burst.divert(before, |_| self.loses(), drop);
    }

    #[inline(always)]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        if self.loses() {
            return Ok(());
        }
        self.inner.tx(header, payload, meta)
    }

    #[inline(always)]
    fn flush(&mut self) {
        self.inner.flush();
    }

    #[inline(always)]
    fn reap(&mut self) -> usize {
        self.inner.reap()
    }

    fn stats(&self) -> QueueStats {
        self.inner.stats()
    }
}
