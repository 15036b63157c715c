//! knbench, the paper's benchmark (§8.1.1): threads with connections that have `iodepth` requests in flight, and a server
//! that answers each with as many bytes; in a closed loop, or in an open one at a given rate.

mod client;
mod gate;
mod lane;
mod load;
mod payload;
pub mod report;
pub mod stats;

pub use client::{Knbench, KnbenchConfig, MAX_SIZE, Outcome};
pub use gate::Gate;
pub use load::{Arrivals, Load, Schedule};
pub(crate) use payload::make as make_payload;
