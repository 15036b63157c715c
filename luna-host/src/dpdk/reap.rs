//! Getting sent buffers back from an idle queue within a millisecond, port by port.
//!
//! DPDK leaves it to each PMD when sent mbufs are freed, and most free only on the way of a later transmit:
//! - memif (zero-copy client) and af_xdp collect completions at the start (end) of every transmit burst, an empty one
//!   included. For af_xdp that is also the system call that makes the kernel go on, so it is made only while something is out.
//! - virtio collects only when it wants descriptors, ignores empty bursts, and has no `tx_done_cleanup`. It does
//!   want descriptors, though, for a frame of more segments than its ring has slots: it frees all that was used, finds the frame still
//!   too long, and refuses it unread. That frame is the [`Probe`].
//! - vhost, memif (copying) and ring are done with a frame when the burst returns.
//! - Hardware has `tx_done_cleanup`.

use core::ptr::NonNull;

use dpdk_sys as sys;

/// How a port's sent buffers come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReapKind {
    /// With the burst itself.
    Immediate,
    /// With any burst, an empty one included.
    EmptyBurst,
    /// With a burst that wants more descriptors than there are.
    Probe,
    /// By rte_eth_tx_done_cleanup.
    Cleanup,
    /// Only with later transmits.
    Never,
}

impl ReapKind {
    /// By the PMD's name; what is not listed may still turn out to offer rte_eth_tx_done_cleanup.
    pub(super) fn of_driver(driver: &str) -> Self {
        match driver {
            "net_memif" | "net_af_xdp" => Self::EmptyBurst,
            "net_virtio_user" | "net_virtio" => Self::Probe,
            "net_vhost" | "net_ring" | "net_null" | "net_tap" | "net_af_packet" => Self::Immediate,
            _ => Self::Never,
        }
    }

    /// Whether the PMD may be one that copies frames, and then frees them: see `held`.
    pub(super) fn may_copy(driver: &str) -> bool {
        matches!(driver, "net_memif" | "net_vhost")
    }

    /// Whether an idle queue's last buffer comes back within 1 ms of `reap` calls.
    pub(super) fn is_prompt(self) -> bool {
        self != Self::Never
    }
}

/// An mbuf that claims more segments than any ring has descriptors. Never sent, never read beyond that claim.
#[derive(Debug)]
pub(super) struct Probe(NonNull<sys::rte_mbuf>);

impl Probe {
    /// Segments that it claims: above the largest ring in use (`port` refuses more than 8192), and far from overflowing the PMD's 16 bits.
    const SEGMENTS: u16 = 0x8000;

    /// Makes one of an mbuf that stays out of circulation as long as the probe lives.
    ///
    /// # Safety
    /// `mbuf` is a live mbuf that the caller gives away.
    pub(super) unsafe fn new(mbuf: NonNull<sys::rte_mbuf>) -> Self {
        // SAFETY: by contract.
        unsafe { sys::mbuf::set_nb_segs(mbuf.as_ptr(), Self::SEGMENTS) };
        Self(mbuf)
    }

    /// Makes a virtio queue free what its peer has used.
    ///
    /// # Safety
    /// The queue is a started virtio queue of this thread, with a ring smaller than [`Probe::SEGMENTS`].
    #[inline]
    pub(super) unsafe fn fire(&self, port: u16, queue: u16) {
        let mut frame = self.0.as_ptr();
        // SAFETY: by contract.
        let sent = unsafe { sys::burst::eth_tx_burst(port, queue, &raw mut frame, 1) };
        debug_assert_eq!(sent, 0, "the probe frame was taken for a real one");
    }

    /// The mbuf, an ordinary one again.
    pub(super) fn into_mbuf(self) -> *mut sys::rte_mbuf {
        // SAFETY: the probe owns the mbuf.
        unsafe { sys::mbuf::set_nb_segs(self.0.as_ptr(), 1) };
        self.0.as_ptr()
    }
}
