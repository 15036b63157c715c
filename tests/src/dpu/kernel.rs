//! The kernel's TCP as the image's client, from the network namespace that this process is in.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use luna_host::kernel::{KernelConfig, KernelStack};
use luna_host::knbench::Gate;

use super::ends::{Report, Role, bench};

/// Calls `remote`.
///
/// # Errors
/// What went wrong, in words.
pub fn call(remote: SocketAddr, role: Role, patience: Duration) -> Result<Report, String> {
    let Role::Bench { size, count, depth } = role else { return Err("the kernel's end only calls".into()) };
    let mut stack = KernelStack::new(KernelConfig::default()).map_err(|e| e.to_string())?;
    println!("ready");
    bench(&mut stack, remote, (size, count, depth), Arc::new(Gate::new(1)), patience)
}
