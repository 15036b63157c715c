//! Linux as the other end, through a router that loses, delays and reorders: the cases that are quick.
//!
//! `cargo test -p luna-tests --features dpdk --test matrix [FILTER]`, as root, with 512 free hugepages. All cases and the
//! goodput table: `cargo xtask linux`.

use std::process::ExitCode;

fn main() -> ExitCode {
    luna_tests::linux::main(luna_tests::linux::Scope::Quick)
}
