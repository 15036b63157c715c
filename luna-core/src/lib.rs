#![cfg_attr(not(test), no_std)]
//! Luna's core: a TCP stack for storage RPC as a pure state machine over caller-supplied memory, time, entropy and queues.
//!
//! | module | what | paper |
//! | --- | --- | --- |
//! | [`zbuf`] | reference-counted objs in hugepage zones, by virtual and I/O address | §6 |
//! | [`nic`] | the seam to drivers, in bursts of zbufs; the in-memory pair | §4.2, §6.2 |
//! | [`wire`] | Ethernet, IPv4, IPv6, TCP: parsed once, built from templates | |
//! | [`tcp`] | the protocol (RFC 9293) as data and pure steps | §4.2, §9 |
//! | [`stack`] | one thread's loop, inline run-to-completion | §5 |
//! | [`socket`] | the same TCP as sockets over bare IP packets, without the loop | |
//! | [`rpc`] | slim frames and sessions over any byte stream | §4.1 |
//!
//! What small images may leave out are features, all on by default: see `whole` in the manifest.
//!
//! Absent on purpose: an operating system, a heap, globals, threads, clocks, and panics on anything from the wire.

/// The border to a stage of the loop: nothing without the feature `cycles`.
macro_rules! stage {
    // Keeps the stage on this side of it, to go back to.
    ($before:ident = $to:expr, $stage:ident) => {
        #[cfg(feature = "cycles")]
        let $before = $to.enter($crate::cycles::Stage::$stage);
    };
    ($to:expr, $stage:ident) => {
        #[cfg(feature = "cycles")]
        $to.enter($crate::cycles::Stage::$stage);
    };
    ($to:expr; back to $before:ident) => {
        #[cfg(feature = "cycles")]
        $to.enter($before);
    };
}

mod counters;
mod crc32c;
#[cfg(feature = "cycles")]
pub mod cycles;
mod fmt;
pub mod nic;
mod parts;
pub mod rpc;
mod slab;
pub mod socket;
pub mod stack;
pub mod tcp;
pub mod time;
#[cfg(target_arch = "x86_64")]
mod wide_sum;
pub mod wire;
pub mod zbuf;

pub use counters::Counters;
