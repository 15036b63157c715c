//! Congestion control: one trait, dispatched by an enum so that the fast path has no indirect call.

mod newreno;

pub use newreno::NewReno;

/// What an acknowledgment tells the controller.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Bytes newly acknowledged.
    pub acked: u32,
    /// Segment size.
    pub mss: u32,
    /// The window was what held the sender back since the last acknowledgment (RFC 7661's validity).
    pub limited: bool,
}

/// A controller: a window in bytes (which may be below one segment) and, where it wants one, a pacing rate.
pub trait CongestionControl {
    /// Bytes that may be in flight.
    fn window(&self) -> u32;
    /// Bytes per second to pace at; `None` for no pacing.
    fn pacing_rate(&self) -> Option<u64>;
    /// New data was acknowledged outside recovery, or after a timeout.
    fn on_ack(&mut self, ack: &Ack);
    /// Loss was detected by duplicate acknowledgments or SACK; `flight` bytes were outstanding.
    fn on_loss(&mut self, flight: u32, mss: u32);
    /// Everything outstanding when loss was detected is acknowledged.
    fn on_recovered(&mut self, flight: u32, mss: u32);
    /// The retransmission timer fired; `first` for the first time in a row.
    fn on_timeout(&mut self, flight: u32, mss: u32, first: bool);
    /// The last loss or timeout was none: what it took, compared with `before`, is given back (RFC 4015 §3.1).
    fn on_spurious(&mut self, before: &Self);
}

/// The controllers that a connection can have.
#[derive(Clone, Copy, Debug)]
pub enum Congestion {
    /// RFC 5681 with RFC 6582's recovery: the default (paper §9).
    NewReno(NewReno),
}

impl Default for Congestion {
    fn default() -> Self {
        Self::NewReno(NewReno::new(0))
    }
}

macro_rules! dispatch {
    ($self:expr, $c:ident => $e:expr) => {
        match $self {
            Congestion::NewReno($c) => $e,
        }
    };
}

impl CongestionControl for Congestion {
    #[inline(always)]
    fn window(&self) -> u32 {
        dispatch!(self, c => c.window())
    }
    #[inline(always)]
    fn pacing_rate(&self) -> Option<u64> {
        dispatch!(self, c => c.pacing_rate())
    }
    #[inline(always)]
    fn on_ack(&mut self, ack: &Ack) {
        dispatch!(self, c => c.on_ack(ack));
    }
    fn on_loss(&mut self, flight: u32, mss: u32) {
        dispatch!(self, c => c.on_loss(flight, mss));
    }
    fn on_recovered(&mut self, flight: u32, mss: u32) {
        dispatch!(self, c => c.on_recovered(flight, mss));
    }
    fn on_timeout(&mut self, flight: u32, mss: u32, first: bool) {
        dispatch!(self, c => c.on_timeout(flight, mss, first));
    }
    fn on_spurious(&mut self, before: &Self) {
        match (self, before) {
            (Self::NewReno(c), Self::NewReno(before)) => c.on_spurious(before),
        }
    }
}
