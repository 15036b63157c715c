//! The states of a connection (RFC 9293 §3.3.2). LISTEN is a table of its own; CLOSED is a free slot.
//!
//! A connection changes its state in [`Connection::set_state`] and nowhere else, so that every transition is counted.

use super::connection::Connection;
use crate::counters::Counters;

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
    /// All of them, in the order of [`State::index`].
    pub const ALL: [Self; 10] = [
        Self::Closed,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// Its place in [`State::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

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

/// How often connections went from one state to another. CLOSED as origin is also LISTEN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions([[u32; State::ALL.len()]; State::ALL.len()]);

impl Transitions {
    /// How often a connection went from `from` to `to`.
    #[must_use]
    pub fn get(&self, from: State, to: State) -> u32 {
        self.0.get(from.index()).and_then(|row| row.get(to.index())).copied().unwrap_or(0)
    }

    /// Every pair of states with its count.
    pub fn iter(&self) -> impl Iterator<Item = (State, State, u32)> + '_ {
        State::ALL
            .into_iter()
            .flat_map(move |from| State::ALL.into_iter().map(move |to| (from, to, self.get(from, to))))
    }

    fn count(&mut self, from: State, to: State) {
        if let Some(n) = self.0.get_mut(from.index()).and_then(|row| row.get_mut(to.index())) {
            *n = n.wrapping_add(1);
        }
    }
}

impl Connection {
    /// The one way from state to state.
    #[cold]
    #[inline(never)]
    pub(crate) fn set_state(&mut self, counters: &mut Counters, to: State) {
        counters.transitions.count(self.state, to);
        self.state = to;
    }
}
