//! Linux's TCP as the other end of Luna's, over veth and AF_XDP: checksummed bulk both ways, with and without loss, while
//! the kernel answers ping on the very address that Luna's ports live on.
//!
//! `cargo test -p luna-tests --features dpdk --test linux [FILTER]`, as root, with 512 free hugepages. Every end is a
//! process of its own in a network namespace of the test's; the parent starts this same binary again with a role.
//! `LUNA_INTEROP_MIB` sets how many MiB go each way (256).

mod drops;
mod kernel;
mod lossy;
mod luna;
#[path = "../../../luna-host/tests/dpdk/netns.rs"]
mod netns;
mod scenario;
mod stream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match std::env::var(scenario::ROLE).as_deref() {
        Ok("luna-server") => luna::server(),
        Ok("luna-client") => luna::client(),
        Ok("kernel-server") => kernel::server(),
        Ok("kernel-client") => kernel::client(),
        Ok(other) => panic!("no role {other}"),
        Err(_) => return scenario::run_all(&args),
    }
    ExitCode::SUCCESS
}
