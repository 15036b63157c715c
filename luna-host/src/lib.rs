//! Luna on Linux: what the pure core needs from an operating system, and what a user sees of it.
//!
//! - memory and time for the core: [`memory`], [`storage`], [`clock`];
//! - where packets come from: [`nic`] (which port), [`neighbor`] (the kernel's ARP and ND tables);
//! - transports with one callback interface, [`link`]: [`luna_stack`], and [`kernel`] sockets;
//! - applications on it: [`server`] with its [`service`]s, [`knbench`], [`transfer`];
//! - what they tell: [`report`], [`machine`].
//!
//! The `luna` command is a thin user of all this.

pub mod client;
pub mod clock;
#[cfg(feature = "cycles")]
pub mod cycles;
#[cfg(feature = "dpdk")]
pub mod dpdk;
#[cfg(feature = "dpdk")]
pub mod dpdk_port;
pub mod kernel;
pub mod knbench;
pub mod limit;
pub mod link;
pub mod luna_stack;
pub mod machine;
pub mod mem_pair;
pub mod memory;
pub mod neighbor;
pub mod nic;
pub mod open;
pub mod pattern;
pub mod peer;
pub mod report;
pub mod run;
pub mod server;
pub mod service;
pub mod storage;
pub mod transfer;
