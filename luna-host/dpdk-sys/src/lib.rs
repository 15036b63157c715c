//! Thin bindings to DPDK (libdpdk 22.11 or newer), generated at build time from the headers that are installed.
//!
//! What is here: everything that `luna-host` calls, named as in DPDK, inline functions included (bindgen wraps
//! them in generated C). The two functions called for every burst exist a second time in [`burst`], written
//! in Rust so that they inline; [`mbuf`] reaches the fields of `rte_mbuf` by offset, since the generated paths
//! through its anonymous unions differ between releases. What is absent: any safety. That is `luna-host`'s work.

pub mod burst;
pub mod mbuf;

/// The generated bindings.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_qualifications,
    unsafe_op_in_unsafe_fn,
    elided_lifetimes_in_paths,
    dead_code,
    improper_ctypes,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::std_instead_of_core,
    clippy::use_self,
    clippy::manual_let_else
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use generated::*;

/// DPDK's release as (year, month, minor), from the headers that were compiled against.
pub const RELEASE: (u32, u32, u32) = (LUNA_VERSION >> 24, (LUNA_VERSION >> 16) & 0xff, (LUNA_VERSION >> 8) & 0xff);

/// The I/O address that stands for none.
pub const BAD_IOVA: rte_iova_t = rte_iova_t::MAX;
