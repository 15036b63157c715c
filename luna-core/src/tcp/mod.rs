//! TCP (RFC 9293) as data and pure steps; the [`crate::stack`] joins it to queues, timers and applications.
//!
//! | file | what |
//! | --- | --- |
//! | [`connection`](self) | the state of one connection, hot part first |
//! | `info` | what can be seen of it from outside |
//! | `input` | an arriving segment, in RFC 9293 §3.10.7's order, behind the in-order fast path |
//! | `outcome` | what it meant |
//! | `ack` | acknowledgments of a connection in order |
//! | `recovery` | all others: SACK, RACK-TLP, PRR, undo (RFC 2018, 2883, 6675, 8985, 9937, 5682, 3522) |
//! | `handshake` | SYN processing and options |
//! | `cookie` | half-open connections without memory (RFC 4987) |
//! | `send_queue` | references to what the application gave to send |
//! | `segments` | one record for each segment in flight |
//! | `reassembly` | data ahead of its turn |
//! | `config`, `profiles` | settings, and how connections of one stack get different ones |
//! | `path_mtu` | the packet size that the path takes (RFC 1191, 8201, 4821) |
//! | `rtt` | RFC 6298 |
//! | [`congestion`] | NewReno, CUBIC, DCTCP, HPCC |
//! | `ecn` | RFC 3168, RFC 8257's echo |
//!
//! Deviations: the urgent pointer is ignored, urgent data is data; a path's black holes are found without probe segments
//! (see `path_mtu`); a FIN or data in a SYN is not taken; TSecr is not checked (round trips come from send times); after a
//! SYN that was lost the timeout begins at the initial one, not at 3 s (RFC 6298 §5.7), until there is a round trip; the
//! oldest connections in TIME-WAIT are not given up for new ones when the table is full.

mod ack;
mod config;
pub mod congestion;
pub(crate) mod connection;
pub(crate) mod cookie;
pub(crate) mod ecn;
pub(crate) mod handshake;
mod info;
pub(crate) mod input;
#[cfg(any(test, feature = "invariants"))]
mod invariants;
mod outcome;
pub(crate) mod path_mtu;
mod profiles;
pub(crate) mod reassembly;
pub(crate) mod recovery;
mod rtt;
pub(crate) mod segments;
pub(crate) mod send_queue;
mod state;

pub(crate) use ack::AckEnv;
pub use config::TcpConfig;
pub use congestion::Control;
pub use connection::Connection;
pub use ecn::Ecn;
pub use info::TcpInfo;
#[cfg(any(test, feature = "invariants"))]
pub(crate) use invariants::{Waits, ensure};
pub(crate) use profiles::Profiles;
pub use profiles::{MAX_PROFILES, ProfileId, ProfilesFull};
pub use reassembly::OutOfOrder;
pub use recovery::Recovery;
pub use segments::Segment;
pub use send_queue::{SendEntry, TxCopies};
pub use state::{State, Transitions};
