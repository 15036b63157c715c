//! `cargo xtask dpu run`: an image against luna-host over DPDK's vhost port, with no kernel between them.
//!
//! The image's memory is shared with `luna serve`, whose vhost port is the device that the image drives: what one sends
//! is copied once, by DPDK, into the objs that the other posted.

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::qemu::Machine;
use crate::cargo::{cargo, target_dir};
use crate::process::Process;
use crate::setup;

/// DPDK's start-up and a memory region to clear.
const START: Duration = Duration::from_secs(60);

/// What the image is to do.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Load {
    /// Requests of each size
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    rpcs: u32,
    /// Payload bytes; 4096 and 65536 when it is not given
    #[arg(long, value_name = "BYTES")]
    size: Option<u32>,
    /// Requests in flight
    #[arg(long, value_name = "N", default_value_t = 8)]
    depth: u16,
    /// Frames of a thousand that the image loses on purpose, each way; both 0 and 10 when it is not given
    #[arg(long, value_name = "N")]
    loss: Option<u16>,
    /// Cores, each with a queue and a stack of its own, against as many threads of luna-host
    #[arg(long, value_name = "N", default_value_t = 1)]
    cores: u16,
    /// Seconds that one of them may take
    #[arg(long, value_name = "S", default_value_t = 900)]
    patience: u32,
}

/// Runs every size, without loss and with it, and prints what both ends say.
pub(super) fn run(image: &Path, load: Load, yes: bool) -> Result<()> {
    let _prepared = setup::prepare(yes)?;
    let args = ["build", "--release", "--package", "luna-host", "--bin", "luna", "--features", "dpdk"];
    let status = cargo(&args).status()?;
    if !status.success() {
        bail!("luna-host does not build ({status})");
    }
    let luna = target_dir().join("release/luna");
    let sizes = load.size.map_or(vec![4096, 65536], |size| vec![size]);
    let losses = load.loss.map_or(vec![0, 10], |loss| vec![loss]);
    for size in sizes {
        for &loss in &losses {
            once(image, &luna, load, size, loss)?;
        }
    }
    Ok(())
}

fn once(image: &Path, luna: &Path, load: Load, size: u32, loss: u16) -> Result<()> {
    let Load { rpcs, depth, cores, patience, .. } = load;
    let percent = f64::from(loss) / 10.0;
    println!("--- {cores} cores, {rpcs} requests each of {size} bytes, {depth} in flight, {percent} % loss");
    let dir = tempfile::tempdir().context("cannot make a directory")?;
    let (socket, root) = (dir.path().join("vhost.sock"), dir.path().join("blobs"));
    std::fs::create_dir(&root)?;
    let mut command = Command::new(luna);
    let nic = format!("virtio:path={},role=vhost,addr=10.9.0.1/24,peer=10.9.0.2@02:00:00:00:00:02", socket.display());
    command.args(["serve", "--nic", &nic, "--listen", "10.9.0.1:7480", "--root"]).arg(&root);
    command.args(["--threads", &cores.to_string()]);
    let mut server = Process::spawn("luna serve", command)?;
    server.wait_for_line("ready on", START)?;
    // The port's own hardware address, as DPDK makes it of its number.
    let words = format!(
        "net.addr=10.9.0.2/24 net.detect=off peer=10.9.0.1@56:48:4f:53:54:00 connect=10.9.0.1:7480 \
         size={size} count={rpcs} depth={depth} loss={loss} patience={patience} cores={cores}"
    );
    let several = if cores > 1 { format!(",mq=on,vectors={}", 2 * cores + 2) } else { String::new() };
    let device = "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,packed=on,disable-legacy=on,romfile=";
    let mut qemu = Machine::virt()
        .args(&["-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-machine", "memory-backend=mem"])
        .args(&["-chardev", &format!("socket,id=c0,path={}", socket.display())])
        .args(&["-smp", &cores.to_string(), "-netdev", &format!("vhost-user,id=n0,chardev=c0,queues={cores}")])
        .args(&["-device", &format!("{device}{several}")])
        .append(&words)
        .boot(image)?;
    let patience = Duration::from_secs(u64::from(patience) + 30);
    let status = qemu.wait(Some(patience), |line| println!("image | {}", line.text))?;
    server.finish()?;
    for line in server.stdout().lines() {
        println!("host  | {line}");
    }
    if !status.success() {
        bail!("the image ended with {status}");
    }
    Ok(())
}
