//! What a segment meant: data to deliver and events, for the stack to act on.

use crate::stack::CloseReason;
use crate::zbuf::Zbuf;

bitfield::bitfield! {
    /// What happened, for the application or the stack to act on.
    #[derive(Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Events(u8);
    impl Debug;
    pub(crate) connected, set_connected: 0;
    /// The peer finished sending.
    pub(crate) fin, set_fin: 1;
    /// The connection is over; see the reason.
    pub(crate) closed, set_closed: 2;
    /// Answer the segment with a reset.
    pub(crate) reset, set_reset: 3;
    /// Acknowledge this very segment, before the next of the burst.
    pub(crate) ack_at_once, set_ack_at_once: 4;
}

impl Events {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CONNECTED: Self = Self(1);
    pub(crate) const CLOSED: Self = Self(4);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    const RESET: Self = Self(8);
}

/// What became of a segment.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// In-order data for the application. More may follow from the reassembly list.
    pub(crate) deliver: Option<Zbuf>,
    pub(crate) events: Events,
    pub(crate) reason: CloseReason,
}

impl Outcome {
    pub(crate) const NOTHING: Self = Self { deliver: None, events: Events::NONE, reason: CloseReason::Finished };

    pub(crate) fn closed(reason: CloseReason) -> Self {
        Self { events: Events::CLOSED, reason, ..Self::NOTHING }
    }

    pub(crate) fn reset() -> Self {
        Self { events: Events::RESET, ..Self::NOTHING }
    }

    pub(crate) fn closed_with_reset(reason: CloseReason) -> Self {
        Self { events: Events(Events::CLOSED.0 | Events::RESET.0), reason, ..Self::NOTHING }
    }
}
