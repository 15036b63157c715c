//! Luna on Linux.
pub mod storage;
