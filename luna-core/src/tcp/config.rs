//! Settings of connections, with presets.

use crate::time::Duration;

/// Every constant that a deployment may want otherwise. One set per stack; a connection takes what holds when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpConfig {
    /// Largest window advertised, in bytes of payload.
    pub rcv_wnd: u32,
    /// Most memory that received, still held data may pin per connection, in bytes of whole objs (true size). The
    /// window closes as it fills: keep it at least twice `rcv_wnd`.
    pub rcv_budget: u32,
    /// Most bytes queued for sending per connection.
    pub snd_buf: u32,
    /// Upper bound of the segment size beside the port's MTU; 0 for none.
    pub max_mss: u16,
    /// Initial congestion window, in segments (RFC 6928 has 10).
    pub initial_window: u16,
    /// Floor of the retransmission timeout (paper §9: 4 ms).
    pub min_rto: Duration,
    /// Cap of the retransmission timeout.
    pub max_rto: Duration,
    /// Retransmission timeout before the first RTT sample (RFC 6298 has 1 s).
    pub initial_rto: Duration,
    /// How long the peer may delay an acknowledgment: the timeout is never below SRTT plus this.
    pub max_ack_delay: Duration,
    /// How long an acknowledgment of in-order data waits for company.
    pub ack_delay: Duration,
    /// Segments owed before an acknowledgment leaves at a burst's end.
    pub ack_ratio: u8,
    /// Give up a connection attempt after this.
    pub connect_timeout: Duration,
    /// Give up a connection whose data is not acknowledged for this long (RFC 5482's meaning, local).
    pub user_timeout: Duration,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// How long FIN-WAIT-2 waits for the peer's FIN after `close`.
    pub fin_wait_2: Duration,
    /// Offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer SACK (RFC 2018).
    pub sack: bool,
    /// Offer window scaling (RFC 7323).
    pub window_scaling: bool,
    /// Hold back small segments while data is in flight (RFC 896).
    pub nagle: bool,
    /// IPv4 TTL and IPv6 hop limit.
    pub ttl: u8,
}

impl TcpConfig {
    /// Luna to Luna within a data centre: the default.
    pub const DATACENTER: Self = Self {
        rcv_wnd: 512 << 10,
        rcv_budget: 2 << 20,
        snd_buf: 4 << 20,
        max_mss: 0,
        initial_window: 32,
        min_rto: Duration::from_millis(4),
        max_rto: Duration::from_secs(1),
        initial_rto: Duration::from_millis(20),
        max_ack_delay: Duration::from_micros(200),
        ack_delay: Duration::from_micros(100),
        ack_ratio: 2,
        connect_timeout: Duration::from_secs(5),
        user_timeout: Duration::from_secs(10),
        time_wait: Duration::from_secs(1),
        fin_wait_2: Duration::from_secs(5),
        timestamps: true,
        sack: true,
        window_scaling: true,
        nagle: false,
        ttl: 64,
    };

    /// For peers that delay acknowledgments as Linux does (40 ms): a floor of 200 ms under the timeout.
    pub const INTEROP: Self = Self {
        initial_window: 10,
        min_rto: Duration::from_millis(200),
        max_rto: Duration::from_secs(60),
        initial_rto: Duration::from_secs(1),
        max_ack_delay: Duration::from_millis(40),
        connect_timeout: Duration::from_secs(30),
        user_timeout: Duration::from_secs(100),
        ..Self::DATACENTER
    };
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self::DATACENTER
    }
}
