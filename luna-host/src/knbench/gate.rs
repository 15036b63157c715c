//! Where a benchmark's threads wait for each other, so that all of them are connected before one begins.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Opens when all have arrived; one that fails ends the run of the others.
#[derive(Debug)]
pub struct Gate {
    awaited: AtomicUsize,
    failed: AtomicBool,
}

impl Gate {
    /// For that many.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { awaited: AtomicUsize::new(threads), failed: AtomicBool::new(false) }
    }

    /// One is ready.
    pub fn arrive(&self) {
        self.awaited.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.awaited.load(Ordering::Acquire) == 0
    }

    /// One cannot go on.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether one could not.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}
