//! Frames that a device spread over several buffers (MRG_RXBUF, section 5.1.6.4): rare, as every buffer takes a frame of the
//! MTU. The seam hands up one obj for each frame, so they are copied together, in the first one, and counted.

use luna_core::nic::QueueStats;
use luna_core::wire::RxChecksum;
use luna_core::zbuf::{ZbufMut, copy_counted};

/// A frame of which some buffers are still to come.
#[derive(Debug)]
pub(super) struct Gathering {
    /// What came so far, in the obj of the first buffer. `None`: it is too long, or damaged, and goes when it is complete.
    frame: Option<ZbufMut>,
    checksum: RxChecksum,
    /// Buffers to come.
    left: u16,
}

/// How it stands with a frame behind one more buffer.
#[derive(Debug)]
pub(super) enum Gathered {
    /// There is more to come.
    Part(Gathering),
    /// It is whole.
    Whole(ZbufMut, RxChecksum),
    /// It was dropped, and counted.
    Dropped,
}

impl Gathering {
    /// Begins with the first of `buffers` (two at least).
    pub(super) fn new(frame: ZbufMut, checksum: RxChecksum, buffers: u16) -> Self {
        Self { frame: Some(frame), checksum, left: buffers.saturating_sub(1) }
    }

    /// The frame is of no use, whatever comes.
    pub(super) fn spoil(&mut self) {
        self.frame = None;
    }

    /// The next buffer holds `bytes`.
    #[cold]
    #[inline(never)]
    pub(super) fn add(mut self, bytes: &[u8], stats: &mut QueueStats) -> Gathered {
        self.left -= 1;
        if let Some(frame) = &mut self.frame {
            match frame.append(bytes.len() as u32) {
                Some(to) => {
                    copy_counted(to, bytes, &mut stats.rx_copied);
                }
                None => {
                    stats.rx_too_long += 1;
                    self.frame = None;
                }
            }
        }
        match self {
            Self { left: 1.., .. } => Gathered::Part(self),
            Self { frame: Some(frame), checksum, .. } => Gathered::Whole(frame, checksum),
            Self { frame: None, .. } => Gathered::Dropped,
        }
    }
}
