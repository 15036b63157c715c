//! Luna on Linux.
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod storage;
