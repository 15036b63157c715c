//! Congestion control: one trait, dispatched by an enum so that nothing on the way of an acknowledgment is an indirect
//! call.
//!
//! | file | what |
//! | --- | --- |
//! | `newreno` | RFC 5681, 3465, 6582: the default (paper §9) |
//! | `cubic` | RFC 9438 |
//! | `dctcp` | RFC 8257 |
//! | `hpcc` | the paper's reference 26: in-band telemetry, window and pacing rate |
//! | `hystart` | RFC 9406, slow start's end for `cubic` |
//! | `pool` | where controllers other than NewReno keep their state |
//! | `drive` | what a [`Connection`](super::Connection) tells its controller, and when |
//!
//! Every connection has a [`Window`], whoever moves it: reading it costs one load. NewReno needs four bytes more and
//! lives in the connection; the others take a [`Control`] from a pool when the connection opens. A full pool is a refusal
//! with a counter, never another controller in silence.

mod cubic;
mod dctcp;
mod drive;
mod hpcc;
mod hystart;
mod newreno;
mod pool;

use core::fmt;

use crate::time::{Duration, Instant};
use crate::wire::SeqNum;
use crate::wire::int::Telemetry;

pub use cubic::Cubic;
pub use dctcp::Dctcp;
pub(crate) use drive::Congestion;
pub use hpcc::{Hpcc, HpccConfig};
pub use hystart::HyStart;
pub use newreno::NewReno;
pub use pool::Control;
pub(crate) use pool::{Controls, Pacer};

/// Larger windows are never useful: the advertised window ends at 1 GiB.
pub(crate) const MAX_WINDOW: u32 = 1 << 30;

/// Which controller a connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum CongestionKind {
    /// RFC 5681 with RFC 6582's recovery (paper §9).
    #[default]
    NewReno,
    /// RFC 9438.
    Cubic,
    /// RFC 8257; offers ECN, whatever [`TcpConfig::ecn`](super::TcpConfig::ecn) says.
    Dctcp,
    /// HPCC (the paper's reference 26); offers telemetry. With a peer that does not echo it the connection runs NewReno.
    Hpcc,
}

impl CongestionKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NewReno, Self::Cubic, Self::Dctcp, Self::Hpcc];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
            Self::Dctcp => "dctcp",
            Self::Hpcc => "hpcc",
        }
    }
}

impl fmt::Display for CongestionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a controller moves, in bytes. The window may be below one segment: then the pacing rate is what counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Bytes that may be in flight.
    pub cwnd: u32,
    /// Below it: slow start.
    pub ssthresh: u32,
}

impl Window {
    /// An initial window of `cwnd` bytes.
    #[must_use]
    pub const fn new(cwnd: u32) -> Self {
        Self { cwnd, ssthresh: u32::MAX }
    }

    /// Whether the window is still searching for the path's capacity.
    #[must_use]
    #[inline(always)]
    pub const fn slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }
}

/// What an acknowledgment of new data tells the controller.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// Now.
    pub now: Instant,
    /// Bytes newly acknowledged.
    pub acked: u32,
    /// It carries ECE: under DCTCP all of these bytes were marked.
    pub marked: bool,
    /// Segment size.
    pub mss: u32,
    /// The window may grow: it was what held the sender back since the last acknowledgment (RFC 7661 §4.3), and no
    /// recovery is going on.
    pub grow: bool,
    /// The RTT sample that it gave.
    pub rtt: Option<Duration>,
    /// Smoothed RTT; zero before the first sample.
    pub srtt: Duration,
    /// Bytes still in flight.
    pub flight: u32,
    /// What it acknowledges.
    pub una: SeqNum,
    /// What is sent next.
    pub nxt: SeqNum,
    /// Telemetry of the path, as the peer echoed it.
    pub telemetry: Option<&'a Telemetry>,
}

/// A sign of congestion.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Now.
    pub now: Instant,
    /// Bytes outstanding.
    pub flight: u32,
    /// Segment size.
    pub mss: u32,
    /// What is sent next: the window in which it happened ends there.
    pub nxt: SeqNum,
}

/// A controller. It moves a [`Window`] and may want transmissions paced.
pub trait CongestionControl {
    /// New data was acknowledged.
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>);
    /// Loss was detected by duplicate acknowledgments or SACK. Once per recovery.
    fn on_loss(&mut self, window: &mut Window, cut: &Cut);
    /// The peer echoed that a router marked our data (RFC 3168 §6.1.2). At most once per window of data.
    fn on_ecn(&mut self, window: &mut Window, cut: &Cut);
    /// Everything outstanding when loss was detected is acknowledged.
    fn on_recovered(&mut self, window: &mut Window, flight: u32, mss: u32);
    /// The retransmission timer fired; `first` for the first time in a row.
    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, first: bool);
    /// The loss (or the timeout) was none: back to what was before it. `prior` is the window of then.
    fn on_spurious(&mut self, window: &mut Window, prior: Window);
    /// The connection sends again after `periods` retransmission timeouts without sending (at least one). `restart` is
    /// the restart window.
    fn on_idle(&mut self, window: &mut Window, restart: u32, periods: u32);
    /// Bytes per second to pace at; `None` for no pacing.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

/// An unused window says ever less about the path. Each retransmission timeout that passes without sending takes RFC 7661
/// §4.4.3's step, which has it after five minutes and for wide-area paths: half the window, not below the restart window
/// (RFC 5681 §4.1), while `ssthresh` remembers three quarters of it, so that slow start finds back quickly.
fn decay(window: &mut Window, restart: u32, periods: u32) {
    if window.cwnd <= restart {
        return;
    }
    window.ssthresh = window.ssthresh.max(window.cwnd / 4 * 3);
    window.cwnd = window.cwnd.checked_shr(periods).unwrap_or(0).max(restart);
}

/// Slow start (RFC 5681 §3.1) by byte counting with RFC 3465's L = 2, which keeps stretch acknowledgments from bursting.
/// Returns what of `acked` is left beyond `ssthresh`.
#[inline(always)]
fn slow_start(window: &mut Window, acked: u32, mss: u32) {
    window.cwnd = (window.cwnd + acked.min(2 * mss)).min(MAX_WINDOW);
}

/// Half of what was in flight, never below two segments (RFC 5681 §3.1 equation 4).
fn half(flight: u32, mss: u32) -> u32 {
    (flight / 2).max(2 * mss)
}

/// RFC 6582 §3.2 step 3, first option: no burst when little is in flight.
fn after_recovery(window: &mut Window, flight: u32, mss: u32) {
    window.cwnd = window.ssthresh.min(flight.max(mss) + mss).max(2 * mss);
}

#[cfg(test)]
mod tests;
