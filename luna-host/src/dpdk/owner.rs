//! Which thread owns a pool: a token per thread, compared on every free.
//!
//! Some PMDs free from a thread of DPDK's own (memif on disconnect, virtio on a reset), and stop and close free on the
//! caller's. Counts are plain cells, so such a free must not touch them; this tells the two apart at the cost of one load.

use core::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static TOKEN: u8 = const { 0 };
}

/// A number that no other live thread has.
#[inline]
pub(super) fn this_thread() -> usize {
    TOKEN.with(|token| core::ptr::from_ref(token).addr())
}

/// The owner of something that moves between threads only while nobody uses it.
#[derive(Debug)]
pub(super) struct Owner(AtomicUsize);

impl Owner {
    /// Owned by this thread.
    pub(super) fn here() -> Self {
        Self(AtomicUsize::new(this_thread()))
    }

    /// Whether this thread owns it.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.0.load(Ordering::Relaxed) == this_thread()
    }

    /// Gives it up: nobody owns it.
    pub(super) fn release(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Takes it over, when nobody owns it.
    pub(super) fn claim(&self) -> bool {
        let here = this_thread();
        self.is_here() || self.0.compare_exchange(0, here, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
