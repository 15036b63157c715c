//! knbench, the paper's benchmark (§8.1.1): every connection keeps `iodepth` requests in flight, and the server answers
//! each with as many bytes.

mod client;
pub mod stats;

pub use client::{Knbench, KnbenchConfig, MAX_SIZE};
