//! What Luna's system tests and benches share: memory without DPDK, sockets over bare packets, stacks joined by the in-memory pair, the RPC echo over
//! them, the same echo over smoltcp, and the counting of instructions by callgrind.
//!
//! Everything here runs both ends in one thread on a clock of its own, so that two runs do exactly the same.

pub mod account;
pub mod callgrind;
pub mod dpu;
pub mod echo;
pub mod fig16;
pub mod frame_queue;
pub mod growth;
#[cfg(feature = "dpdk")]
pub mod linux;
pub mod memory;
pub mod pair;
pub mod scenario;
pub mod script;
pub mod segments;
pub mod sim;
pub mod smoltcp_echo;
pub mod sockets;
pub mod stream_echo;
