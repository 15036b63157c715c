//! Settings of connections, with presets.

use super::congestion::{CongestionKind, HpccConfig};
use super::ecn::Ecn;
use crate::time::Duration;

/// Every constant that a deployment, a peer or a conformance suite may want otherwise.
///
/// A stack begins with one set and takes more as profiles ([`crate::stack::Stack::add_profile`]); `connect` and `listen`
/// name one, and each connection keeps the number of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpConfig {
    /// Largest window advertised, in bytes of payload (a socket's receive buffer).
    pub rcv_wnd: u32,
    /// Most memory that received, still held data may pin per connection, in bytes of whole objs (true size). The
    /// window closes as it fills: keep it at least twice `rcv_wnd`.
    pub rcv_budget: u32,
    /// Most bytes queued for sending per connection; more than [`TcpConfig::MAX_SND_BUF`] counts as that.
    pub snd_buf: u32,
    /// Upper bound of the segment size beside the port's MTU; 0 for none.
    pub max_mss: u16,
    /// Segment size of an IPv4 peer whose SYN does not say (RFC 9293 §3.7.1: 536).
    pub default_mss: u16,
    /// The same for IPv6 (RFC 9293 §3.7.1: 1220).
    pub default_mss_v6: u16,
    /// Initial congestion window, in segments (RFC 6928 has 10).
    pub initial_window: u16,
    /// Floor of the retransmission timeout (paper §9: 4 ms).
    pub min_rto: Duration,
    /// Cap of the retransmission timeout.
    pub max_rto: Duration,
    /// Retransmission timeout before the first RTT sample (RFC 6298 has 1 s).
    pub initial_rto: Duration,
    /// Floor of the probe timeout (RFC 8985 §7.2), below which a probe says more about the peer's scheduling than about
    /// loss. Where it is not below the retransmission timeout, no probes are sent.
    pub min_pto: Duration,
    /// How long the peer may delay an acknowledgment: the timeout is never below SRTT plus this.
    pub max_ack_delay: Duration,
    /// How long an acknowledgment of in-order data waits for company.
    pub ack_delay: Duration,
    /// Segments owed before an acknowledgment leaves at a burst's end; at least 1.
    pub ack_ratio: u8,
    /// Give up a connection attempt when so many repetitions of our SYN (or SYN-ACK) were not answered; 0: only by time.
    pub syn_retries: u8,
    /// Give up a connection attempt after this.
    pub connect_timeout: Duration,
    /// Give up a connection whose data is not acknowledged for this long (RFC 5482's meaning, local).
    pub user_timeout: Duration,
    /// Give up a connection whose peer answers window probes but opens its window to nothing for this long (RFC 6429 §3);
    /// zero: never, as RFC 9293 §3.8.6.1 wants it.
    pub zero_window_timeout: Duration,
    /// Probe a peer that was silent for this long (RFC 9293 §3.8.4); zero: never.
    pub keepalive_idle: Duration,
    /// Time between two such probes that are not answered.
    pub keepalive_interval: Duration,
    /// How many of them may stay unanswered: with the next that would be due the connection is given up.
    pub keepalive_count: u8,
    /// After so many timeouts in a row of a full segment smaller ones are sent: nobody may say that the path takes less
    /// (RFC 4821 §7.7's black holes); 0: never.
    pub black_hole_timeouts: u8,
    /// How long a smaller segment size is kept before the full one is tried again (RFC 1191 §6.3: 10 minutes); zero: for
    /// good.
    pub pmtu_raise: Duration,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// How long FIN-WAIT-2 waits for the peer's FIN after `close`.
    pub fin_wait_2: Duration,
    /// Answer SYNs with cookies when a listener's backlog is full (RFC 4987); otherwise they are dropped.
    pub syn_cookies: bool,
    /// Offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer SACK (RFC 2018).
    pub sack: bool,
    /// Where SACK is used: detect loss by time and probe for lost tails (RACK-TLP, RFC 8985). Otherwise by counting
    /// (RFC 6675).
    pub rack: bool,
    /// A tail loss probe is new data where there is some (RFC 8985 §7.3). Otherwise it is always the last segment again,
    /// to which a receiver answers at once, and not after its delay.
    pub probe_new_data: bool,
    /// Probe in fast recovery as well: when nothing is heard for the probe timeout, the first segment goes out once more
    /// before the retransmission timer runs out. RFC 8985 §7.2 has no probes there, and a retransmission that is lost, or
    /// whose acknowledgment is, with nothing behind it, costs a timeout; QUIC probes always (RFC 9002 §6.2).
    pub probe_repairs: bool,
    /// Length of a burst: what is sent or received within one has one time stamp. RACK's reordering window is never
    /// shorter.
    pub clock_granularity: Duration,
    /// Offer window scaling (RFC 7323).
    pub window_scaling: bool,
    /// The scale to offer, at most 14; `None` for the smallest that lets the window field say `rcv_wnd`.
    pub window_scale: Option<u8>,
    /// Hold back small segments while data is in flight (RFC 896).
    pub nagle: bool,
    /// IPv4 TTL and IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 type of service or IPv6 traffic class; its two low bits belong to ECN and are not taken from here.
    pub tos: u8,
    /// Which controller a connection begins with. All but NewReno take state from
    /// [`Storage::controls`](crate::stack::Storage::controls).
    pub congestion: CongestionKind,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Ecn,
    /// What HPCC must know of the network.
    pub hpcc: HpccConfig,
}

impl TcpConfig {
    /// The largest send buffer: well below half of the sequence space.
    pub const MAX_SND_BUF: u32 = (1 << 30) - 1;

    /// As it is used: what the rest of the code relies on.
    pub(super) fn within_limits(&self) -> Self {
        Self { snd_buf: self.snd_buf.min(Self::MAX_SND_BUF), ack_ratio: self.ack_ratio.max(1), ..*self }
    }

    /// Luna to Luna within a data centre: the default.
    pub const DATACENTER: Self = Self {
        rcv_wnd: 512 << 10,
        rcv_budget: 2 << 20,
        snd_buf: 4 << 20,
        max_mss: 0,
        default_mss: 536,
        default_mss_v6: 1220,
        initial_window: 32,
        min_rto: Duration::from_millis(4),
        max_rto: Duration::from_secs(1),
        initial_rto: Duration::from_millis(20),
        min_pto: Duration::from_micros(500),
        max_ack_delay: Duration::from_micros(200),
        ack_delay: Duration::from_micros(100),
        ack_ratio: 2,
        syn_retries: 0,
        connect_timeout: Duration::from_secs(5),
        user_timeout: Duration::from_secs(10),
        zero_window_timeout: Duration::ZERO,
        keepalive_idle: Duration::from_secs(30),
        keepalive_interval: Duration::from_secs(2),
        keepalive_count: 5,
        black_hole_timeouts: 3,
        pmtu_raise: Duration::from_secs(600),
        time_wait: Duration::from_secs(1),
        fin_wait_2: Duration::from_secs(5),
        syn_cookies: true,
        timestamps: true,
        sack: true,
        rack: true,
        probe_new_data: true,
        probe_repairs: true,
        clock_granularity: Duration::from_micros(20),
        window_scaling: true,
        window_scale: None,
        nagle: false,
        ttl: 64,
        tos: 0,
        congestion: CongestionKind::NewReno,
        ecn: Ecn::Accept,
        hpcc: HpccConfig::DEFAULT,
    };

    /// For peers that delay acknowledgments as Linux does (40 ms): a floor of 200 ms under the timeout, and probes to which
    /// they answer without delay.
    pub const INTEROP: Self = Self {
        initial_window: 10,
        min_rto: Duration::from_millis(200),
        max_rto: Duration::from_secs(60),
        initial_rto: Duration::from_secs(1),
        min_pto: Duration::from_millis(10),
        max_ack_delay: Duration::from_millis(40),
        probe_new_data: false,
        connect_timeout: Duration::from_secs(30),
        user_timeout: Duration::from_secs(100),
        keepalive_idle: Duration::ZERO,
        ..Self::DATACENTER
    };

    /// What the RFCs say where they give a number: RFC 9293 (MSL of 2 minutes, hence TIME-WAIT of 4; user timeout of 5;
    /// Nagle's algorithm on), 6298 (initial and minimum timeout 1 s, cap 60 s), 6928 (initial window of 10 segments), 5681
    /// §4.2 and 9293 §3.8.6.3 (an acknowledgment for every second segment, within 500 ms; 200 ms here, as is usual), 1122
    /// §4.2.3.5 (3 minutes for a SYN), §4.2.3.6 (no keepalive unless asked for), 8985 §7.2 (no floor of the probe timeout).
    pub const RFC: Self = Self {
        initial_window: 10,
        min_rto: Duration::from_secs(1),
        max_rto: Duration::from_secs(60),
        initial_rto: Duration::from_secs(1),
        min_pto: Duration::ZERO,
        max_ack_delay: Duration::from_millis(200),
        probe_repairs: false,
        ack_delay: Duration::from_millis(200),
        ack_ratio: 2,
        connect_timeout: Duration::from_secs(180),
        user_timeout: Duration::from_secs(300),
        keepalive_idle: Duration::ZERO,
        time_wait: Duration::from_secs(240),
        fin_wait_2: Duration::from_secs(300),
        nagle: true,
        ..Self::DATACENTER
    };

    /// The window scale to offer.
    pub(crate) fn scale(&self) -> u8 {
        self.window_scale.unwrap_or_else(|| super::handshake::scale_for(self.rcv_wnd)).min(14)
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self::DATACENTER
    }
}
