//! What an end is told to do, as JSON in its environment, and what it reports.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which way bytes go: client to server, or back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Requests and responses of one size, both ways over one connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Rpc {
    pub(crate) size: u64,
    /// Requests in flight.
    pub(crate) depth: u64,
}

/// What travels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Bytes from the client to the server.
    pub(crate) to_server: u64,
    /// Bytes from the server to the client.
    pub(crate) to_client: u64,
    /// The server begins when the client has finished sending.
    pub(crate) half_close: bool,
    /// The client waits for responses, the server for whole requests.
    pub(crate) rpc: Option<Rpc>,
    /// Senders stop after so many milliseconds, whatever is left.
    pub(crate) limit_ms: Option<u64>,
}

/// Reading stops at this many bytes, and goes on later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub(crate) at: u64,
    pub(crate) ms: u64,
}

/// How the connection ends at this end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// FIN both ways.
    Finished,
    /// By the peer's reset.
    Reset,
    /// By our own, when so many bytes went and came.
    Abort(u64),
}

/// How Luna reaches the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LunaPort {
    /// `None` for AF_XDP on the namespace's veth; otherwise the name of the tap to make, and its own address.
    pub(crate) tap: Option<(String, String)>,
    pub(crate) mtu: u16,
    pub(crate) gateway: IpAddr,
    pub(crate) gateway_mac: String,
    /// Commands that set the tap up once it is there.
    pub(crate) then: Vec<Vec<String>>,
    /// For a peer that delays acknowledgments.
    pub(crate) interop: bool,
}

/// One end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EndSpec {
    pub(crate) side: Side,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) congestion: String,
    pub(crate) work: Work,
    /// Receive buffer where the default is not wanted.
    pub(crate) window: Option<u32>,
    pub(crate) pause: Option<Pause>,
    pub(crate) ending: Ending,
    /// `None`: the kernel's TCP.
    pub(crate) luna: Option<LunaPort>,
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// From the first byte received to the end of the stream.
    pub(crate) seconds: f64,
    /// Counters that are not zero: the stack's, or the namespace's.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// Delay and reordering of the relay.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct RelaySpec {
    /// Each way, in microseconds.
    pub(crate) delay_us: u64,
    /// Frames of each thousand that are late.
    pub(crate) late_per_mille: u32,
    /// By so many microseconds more.
    pub(crate) late_us: u64,
}
