//! What can be seen of a connection from outside.

use super::config::TcpConfig;
use super::congestion::{CongestionKind, Controls};
use super::connection::Connection;
use super::recovery::{Recoveries, Recovery};
use super::state::State;
use crate::time::{Duration, Instant};

/// State and statistics of a connection, for people and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// State.
    pub state: State,
    /// Payload bytes of a full segment.
    pub mss: u16,
    /// Smoothed round-trip time; zero before the first sample.
    pub srtt: Duration,
    /// Its variation.
    pub rttvar: Duration,
    /// Retransmission timeout without backoff.
    pub rto: Duration,
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Window that the peer grants, in bytes.
    pub snd_wnd: u32,
    /// Window that we grant, in bytes.
    pub rcv_wnd: u32,
    /// Memory that received data pins, in bytes.
    pub rcv_held: u32,
    /// Bytes queued and not acknowledged.
    pub queued: u32,
    /// Bytes sent and not acknowledged.
    pub in_flight: u32,
    /// Timestamps are in use.
    pub timestamps: bool,
    /// SACK is in use.
    pub sack: bool,
    /// Our window scale and the peer's.
    pub window_scale: (u8, u8),
    /// Segments retransmitted.
    pub retransmits: u32,
    /// Timeouts.
    pub rtos: u32,
    /// Tail loss probes sent.
    pub tlp_probes: u32,
    /// Episodes of recovery that were found unnecessary and taken back.
    pub undos: u32,
    /// D-SACKs received.
    pub dsacks: u32,
    /// Segments reported received behind a gap.
    pub sacked: u32,
    /// Segments taken for lost and not sent again yet.
    pub lost: u32,
    /// Retransmissions under way.
    pub retrans: u32,
    /// Segments of this path have overtaken one another.
    pub reordering_seen: bool,
    /// RACK's reordering window, in quarters of the least round-trip time.
    pub reo_wnd_mult: u8,
    /// Least round-trip time of the last minute.
    pub min_rtt: Duration,
    /// Congestion control.
    pub congestion: CongestionKind,
    /// Slow start threshold in bytes; `u32::MAX` before the first sign of congestion.
    pub ssthresh: u32,
    /// Bytes per second at which transmissions are paced.
    pub pacing_rate: Option<u64>,
    /// ECN was agreed on.
    pub ecn: bool,
    /// Segments received that a router had marked.
    pub ce_received: u32,
    /// Acknowledgments received that echo a mark.
    pub ece_received: u32,
    /// How long the timer for retransmissions and probes still runs; `None` when nothing waits for one.
    pub timer: Option<Duration>,
}

impl Connection {
    pub(crate) fn info(
        &self,
        now: Instant,
        config: &TcpConfig,
        recoveries: &Recoveries<'_>,
        controls: &Controls<'_>,
    ) -> TcpInfo {
        let marks = self.record(recoveries).map(Recovery::marks).unwrap_or_default();
        TcpInfo {
            state: self.state,
            mss: self.mss,
            srtt: Duration::from_nanos(self.rtt.srtt.into()),
            rttvar: Duration::from_nanos(self.rtt.rttvar.into()),
            rto: self.rtt.rto(0, config),
            cwnd: self.send_window(recoveries),
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.rcv_adv.distance_from(self.rcv_nxt),
            rcv_held: self.rcv_held,
            queued: self.send.unacked(self.snd_una),
            in_flight: self.in_flight(),
            timestamps: self.flags.timestamps(),
            sack: self.flags.sack(),
            window_scale: (self.rcv_scale, self.snd_scale),
            retransmits: self.cold.retransmits,
            rtos: self.cold.rtos,
            tlp_probes: self.cold.probes,
            undos: self.cold.undos.into(),
            dsacks: self.cold.dsacks.into(),
            sacked: marks.sacked,
            lost: marks.lost,
            retrans: marks.retrans,
            reordering_seen: self.flags.reordering_seen(),
            reo_wnd_mult: self.cold.reo_wnd_mult,
            min_rtt: Duration::from_nanos(self.rtt.least().into()),
            congestion: self.congestion_kind(controls),
            ssthresh: self.congestion.window.ssthresh,
            pacing_rate: self.pacing_rate(controls),
            ecn: self.cold.modes.ecn(),
            ce_received: self.cold.ce_in,
            ece_received: self.cold.ece_in,
            timer: (self.rto_at != Instant::FAR).then(|| self.rto_at.since(now)),
        }
    }
}
