//! The paper's Figure 16: congestion controllers side by side under storage traffic, in the simulator's network.
//!
//! Sixteen hosts and a receiver at one switch, every link 25 Gb/s. Two kinds of traffic: *incast*, in which 1 to 256
//! connections answer at once with 64 KiB each, again and again; and *mixed*, short flows of 16 KiB beside two that never
//! end. The stacks, links and NICs are those of [`crate::sim`]; the hosts are infinitely fast, so that what is seen is the
//! network and the controller. A run depends on nothing but its parameters.
//!
//! Each controller has what it was made for: DCTCP a switch that marks, HPCC one that stamps. NewReno and CUBIC see a queue
//! that drops at its end.

pub mod chart;
pub mod net;
pub mod table;

use luna_core::tcp::TcpConfig;
use luna_core::tcp::congestion::{CongestionKind, HpccConfig};
use luna_core::time::Duration;

use crate::sim::events::Time;
use net::Net;

/// Bits per second of every link.
pub const RATE: u64 = 25_000_000_000;
/// From one end of a link to the other.
pub const DELAY: Time = 4_000;
/// What the switch's port to the receiver holds.
pub const QUEUE: u64 = 1 << 20;
/// From how many bytes queued on it marks, where it marks.
pub const MARK_AT: u64 = 80_000;
/// A flow of the incast.
pub const BURST: usize = 64 << 10;
/// A short flow of the mixed traffic.
pub const SHORT: usize = 16 << 10;
/// Senders of the incast.
pub const SENDERS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

const US: Time = 1_000;
const MS: Time = 1_000_000;

/// Settings of both ends.
#[must_use]
pub fn config(kind: CongestionKind) -> TcpConfig {
    let hpcc = HpccConfig {
        base_rtt: Duration::from_nanos(4 * DELAY + 2_000),
        line_rate: RATE / 8,
        additive: 60,
        ..HpccConfig::DEFAULT
    };
    TcpConfig { congestion: kind, hpcc, user_timeout: Duration::from_secs(60), ..TcpConfig::DATACENTER }
}

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The controller.
    pub kind: CongestionKind,
    /// Connections that sent the measured flows.
    pub senders: usize,
    /// How long each flow took, from being sent to being acknowledged: sorted, in ns.
    pub times: Vec<Time>,
    /// Bytes in the queue to the receiver, each µs in which something was under way.
    pub depths: Vec<(Time, u64)>,
    /// Frames that found that queue full.
    pub dropped: u64,
    /// Retransmission timeouts of all senders.
    pub timeouts: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Bytes per second that the receiver got, of what the link carries.
    pub load: f64,
}

impl Outcome {
    /// The `p`th percentile of the flows' times, in µs.
    #[must_use]
    pub fn percentile(&self, p: usize) -> f64 {
        let last = self.times.len().saturating_sub(1);
        self.times.get(last * p / 100).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }

    /// The queue's mean length in kB.
    #[must_use]
    pub fn mean_depth(&self) -> f64 {
        let sum: u64 = self.depths.iter().map(|d| d.1).sum();
        sum as f64 / self.depths.len().max(1) as f64 / 1000.0
    }

    /// The queue's greatest length in kB.
    #[must_use]
    pub fn most_depth(&self) -> f64 {
        self.depths.iter().map(|d| d.1).max().unwrap_or(0) as f64 / 1000.0
    }
}

/// `n` connections send [`BURST`] at once, `rounds` times.
///
/// # Errors
/// What did not come to its end.
pub fn incast(kind: CongestionKind, n: usize, rounds: usize) -> Result<Outcome, String> {
    let mut net = Net::new(kind, n)?;
    let mut out = Outcome {
        kind,
        senders: n,
        times: Vec::new(),
        depths: Vec::new(),
        dropped: 0,
        timeouts: 0,
        retransmits: 0,
        load: 0.0,
    };
    let mut busy = 0;
    for round in 0..rounds {
        // Long enough for idle windows to decay, as between requests.
        net.run_for(10 * MS);
        net.sample(true);
        let begin = net.now();
        for conn in 0..n {
            net.send(conn, BURST, (round * n + conn) as u64)?;
        }
        net.run_until_idle(10_000 * MS)?;
        net.sample(false);
        busy += net.last_delivery() - begin;
    }
    let bytes = (rounds * n * BURST) as f64;
    out.load = bytes * 8.0 / (busy as f64 / 1e9) / RATE as f64;
    net.fill(&mut out, |_| true);
    Ok(out)
}

/// Two connections never stop; sixteen more each send [`SHORT`] every 400 µs, at moments of their own.
///
/// # Errors
/// What did not come to its end.
pub fn mixed(kind: CongestionKind, length: Time) -> Result<Outcome, String> {
    const LONG: usize = 2;
    const SHORTS: usize = 16;
    const PERIOD: Time = 400 * US;
    let mut net = Net::new(kind, LONG + SHORTS)?;
    for conn in 0..LONG {
        net.send_for_ever(conn)?;
    }
    // The long ones find their windows first.
    net.run_for(20 * MS);
    net.sample(true);
    let before = net.delivered();
    let begin = net.now();
    let mut token = 0;
    let step = PERIOD / SHORTS as Time;
    while net.now() < begin + length {
        let conn = LONG + token as usize % SHORTS;
        // Not all at the same distance: a fixed pattern of offsets, the same for every controller.
        net.run_for(step / 2 + token * 7_919 % step);
        net.send(conn, SHORT, token)?;
        token += 1;
    }
    net.run_for(20 * MS);
    let took = net.now() - begin;
    net.sample(false);
    let load = (net.delivered() - before) as f64 * 8.0 / (took as f64 / 1e9) / RATE as f64;
    let mut out = Outcome {
        kind,
        senders: SHORTS,
        times: Vec::new(),
        depths: Vec::new(),
        dropped: 0,
        timeouts: 0,
        retransmits: 0,
        load,
    };
    net.fill(&mut out, |flow| flow < token);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_completes_an_incast_and_hpcc_keeps_its_queue_short() {
        let outcomes: Vec<Outcome> = CongestionKind::ALL.iter().map(|k| incast(*k, 8, 2).expect("complete")).collect();
        for o in &outcomes {
            assert_eq!(o.times.len(), 16, "{}", o.kind);
            // 8 times 64 KiB take 168 µs on the link.
            assert!(o.percentile(100) >= 168.0, "{}: {}", o.kind, o.percentile(100));
            assert!(o.load > 0.2 && o.load < 1.0, "{}: {}", o.kind, o.load);
        }
        let of = |k: CongestionKind| &outcomes[k as usize];
        assert!(of(CongestionKind::Hpcc).mean_depth() < of(CongestionKind::NewReno).mean_depth());
    }

    #[test]
    fn a_run_depends_on_its_parameters_alone() {
        let run = || incast(CongestionKind::Dctcp, 16, 1).expect("complete").times;
        assert_eq!(run(), run());
    }
}
