//! DPDK ports, for real: every case runs in processes of its own, as EAL starts once in the life of a process.
//!
//! `cargo test -p luna-host --features dpdk --test dpdk [FILTER]`, as root, with 512 free hugepages. The parent starts
//! this same binary again with a role in its environment; a role that ends with exit code 0 has checked everything it saw.

mod cases;
mod frames;
mod netns;
mod roles;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(cases::ROLE) {
        return roles::run(&role);
    }
    let filter: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    cases::run_all(&filter)
}
