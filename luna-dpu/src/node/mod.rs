//! What an image does: on each core a stack with its queue and its control plane, an RPC echo service, and, when asked to,
//! the benchmark's client (paper §8.1.1).
//!
//! Nothing here knows hardware: it is tested on the development host over the in-memory pair. A board makes the queue,
//! the memory and the clock, and calls [`Node::new`] and [`Node::run`].

mod app;
#[cfg(feature = "client")]
mod bench;
#[cfg(not(feature = "client"))]
#[path = "no_client.rs"]
mod bench;
mod bench_types;
#[cfg(feature = "client")]
mod pair;
#[cfg(feature = "client")]
mod pattern;
mod run;
mod settings;
#[cfg(all(test, feature = "client", feature = "whole"))]
mod tests;

pub use app::{Lane, Sessions};
pub use bench_types::{BenchError, BenchReport};
#[cfg(feature = "client")]
pub use pair::{PairReport, bytes_per_connection, run_pair};
pub use run::{Ending, Node, NodeError, NodeParts, NodeReport};
pub use settings::{Die, Peers, Rings, Settings, SettingsError, Transports};
