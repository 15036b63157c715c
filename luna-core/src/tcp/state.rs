//! The states of a connection (RFC 9293 §3.3.2). LISTEN is a table of its own; CLOSED is a free slot.

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum State {
    /// No connection: the slot is free.
    #[default]
    Closed,
    /// SYN sent (or waiting for the neighbour's address to send it).
    SynSent,
    /// SYN received, ours sent, waiting for its acknowledgment.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// Our FIN is sent or queued, not acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// The peer sent FIN; we may still send.
    CloseWait,
    /// Both sent FIN; ours is not acknowledged.
    Closing,
    /// The peer sent FIN first, then we; ours is not acknowledged.
    LastAck,
    /// All done; waiting out old segments.
    TimeWait,
}

impl State {
    /// Whether the peer's data is accepted.
    #[inline(always)]
    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether new data may be queued.
    #[inline(always)]
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }

    /// Whether both SYNs were exchanged.
    #[inline(always)]
    pub(crate) fn synchronised(self) -> bool {
        self >= Self::Established
    }
}
