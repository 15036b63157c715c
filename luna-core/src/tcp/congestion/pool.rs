//! The state of controllers that is more than a window and a counter, in a pool that all connections of a stack share.

use super::{Ack, CongestionControl, CongestionKind, Cubic, Cut, Dctcp, Hpcc, Window};
use crate::slab::{NIL, Node, Slab};
use crate::time::{Duration, Instant};
use crate::wire::int::Telemetry;

/// The controllers that live here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Cubic(Cubic),
    Dctcp(Dctcp),
    Hpcc(Hpcc),
}

macro_rules! dispatch {
    ($self:expr, $c:ident => $e:expr) => {
        match $self {
            Algorithm::Cubic($c) => $e,
            Algorithm::Dctcp($c) => $e,
            Algorithm::Hpcc($c) => $e,
        }
    };
}

impl CongestionControl for Algorithm {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>) {
        dispatch!(self, c => c.on_ack(window, ack));
    }
    fn on_loss(&mut self, window: &mut Window, cut: &Cut) {
        dispatch!(self, c => c.on_loss(window, cut));
    }
    fn on_ecn(&mut self, window: &mut Window, cut: &Cut) {
        dispatch!(self, c => c.on_ecn(window, cut));
    }
    fn on_recovered(&mut self, window: &mut Window, flight: u32, mss: u32) {
        dispatch!(self, c => c.on_recovered(window, flight, mss));
    }
    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, first: bool) {
        dispatch!(self, c => c.on_timeout(window, cut, first));
    }
    fn on_spurious(&mut self, window: &mut Window, prior: Window) {
        dispatch!(self, c => c.on_spurious(window, prior));
    }
    fn on_idle(&mut self, window: &mut Window, restart: u32, periods: u32) {
        dispatch!(self, c => c.on_idle(window, restart, periods));
    }
    fn pacing_rate(&self) -> Option<u64> {
        dispatch!(self, c => c.pacing_rate())
    }
}

impl Algorithm {
    pub(crate) const fn kind(&self) -> CongestionKind {
        match self {
            Self::Cubic(_) => CongestionKind::Cubic,
            Self::Dctcp(_) => CongestionKind::Dctcp,
            Self::Hpcc(_) => CongestionKind::Hpcc,
        }
    }
}

/// Telemetry on its way through a connection, both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Echo {
    /// Stamped into what the peer sent last: goes back with the next segment.
    pub(crate) returns: Option<Telemetry>,
    /// What the peer echoed with the segment being taken in.
    pub(crate) arrived: Option<Telemetry>,
}

/// When a paced connection may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    /// Nothing new leaves before.
    pub(crate) next_send: Instant,
    /// Data has been waiting for `next_send`: being late then gives credit.
    pub(crate) waits: bool,
    /// Whose it is.
    pub(crate) conn: u32,
    /// Next in the same place of the stack's ring of waiting connections.
    pub(crate) link: u32,
    /// Which place; [`Pacer::NOWHERE`] while it does not wait there.
    pub(crate) place: u8,
}

impl Pacer {
    pub(crate) const NOWHERE: u8 = u8::MAX;

    const fn new(conn: u32) -> Self {
        Self { next_send: Instant::ZERO, waits: false, conn, link: NIL, place: Self::NOWHERE }
    }

    /// Most that lateness gives back.
    const CREDIT: Duration = Duration::from_micros(100);

    /// `bytes` leave at `now` at `rate` bytes per second: what follows waits. An unused past gives no credit, but a turn
    /// that came late to data that waited does, or the rate would never be reached.
    pub(crate) fn sent(&mut self, now: Instant, bytes: u32, rate: u64) {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let gap = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        let late = self.waits && now.since(self.next_send) <= Self::CREDIT;
        self.next_send = if late { self.next_send } else { self.next_send.max(now) } + gap;
        self.waits &= self.next_send <= now;
    }
}

/// A pooled controller with what belongs to it. [`Default`] is a free one.
#[derive(Debug)]
pub struct Control {
    pub(crate) algorithm: Algorithm,
    pub(crate) pacer: Pacer,
    pub(crate) echo: Echo,
    next: u32,
}

impl Control {
    pub(crate) fn new(algorithm: Algorithm, conn: u32) -> Self {
        Self { algorithm, pacer: Pacer::new(conn), echo: Echo::default(), next: NIL }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new(Algorithm::Cubic(Cubic::new()), NIL)
    }
}

impl Node for Control {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

pub(crate) type Controls<'m> = Slab<'m, Control>;

#[cfg(test)]
mod tests;
