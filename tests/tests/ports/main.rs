//! The `luna` command between processes, over every DPDK port: files whose SHA-256 is compared at every station, checked
//! RPC, the kernel's TCP as the other end, and what a user does wrong.
//!
//! `cargo test -p luna-host -p luna-tests --features luna-host/dpdk,luna-tests/dpdk --test ports [FILTER]`, as root, with
//! 512 free hugepages. The binary is the one beside this test's (`target/debug/luna`), or the one that `LUNA_BIN` names.
//! What a case asserts of counters, it asserts of both sides' JSON, which a failure shows.

mod cases;
mod faults;
mod link;
mod luna;
#[path = "../../../luna-host/tests/dpdk/netns.rs"]
mod netns;
mod scenario;

use std::process::ExitCode;

fn main() -> ExitCode {
    let filter: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    scenario::run_all(&filter)
}
