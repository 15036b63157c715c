//! Ends over DPDK's `net_vhost` port, which is the device that QEMU's virtio-net shows to the image: a thread for each
//! queue, thread i with the image's core i.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use luna_core::tcp::TcpConfig;
use luna_dpu::lossy::Lossy;
use luna_host::dpdk_port::{self, DpdkSeed};
use luna_host::knbench::Gate;
use luna_host::nic::Nic;
use luna_host::storage::Capacity;

use super::ends::{Report, Role, bench, lost, serve};

/// One run.
#[derive(Clone, Debug)]
pub struct VhostConfig {
    /// The socket, which is made.
    pub socket: PathBuf,
    /// Threads, each with a queue and a stack of its own.
    pub threads: usize,
    /// The image's NIC is behind an IOMMU.
    pub iommu: bool,
    /// What each does, and how many requests all do together.
    pub role: Role,
    /// Of a thousand frames, so many are lost, each way.
    pub loss: u16,
    /// Settings of connections.
    pub tcp: TcpConfig,
    /// How long it may take.
    pub patience: Duration,
}

/// Runs to the end and returns what was counted, all threads together.
///
/// # Errors
/// What went wrong, in words.
pub fn run(config: &VhostConfig) -> Result<Report, String> {
    let VhostConfig { threads, tcp, .. } = *config;
    let path = config.socket.display();
    let iommu = if config.iommu { "on" } else { "off" };
    let nic = format!(
        "virtio:path={path},role=vhost,iommu={iommu},mac=02:00:00:00:00:01,addr=10.0.0.1/24,peer=10.0.0.2@02:00:00:00:00:02"
    );
    let nic: Nic = nic.parse().map_err(|e| format!("{e}"))?;
    // Whoever calls listens too: what listens does not wait for the other side, which comes when this one is ready.
    let listen = Some(([10, 0, 0, 1], 7480).into());
    let capacity = Capacity { connections: 64, ..Capacity::default() };
    let (port, seeds) = dpdk_port::open(&nic, threads, listen, tcp, capacity).map_err(|e| e.to_string())?;
    println!("ready");
    let gate = Arc::new(Gate::new(threads));
    let reports = thread::scope(|scope| {
        let all: Vec<_> = seeds
            .into_iter()
            .enumerate()
            .map(|(i, seed)| {
                let gate = gate.clone();
                scope.spawn(move || {
                    let done = end(config, i, seed, gate.clone());
                    if done.is_err() {
                        gate.fail();
                    }
                    done
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect::<Vec<_>>()
    });
    drop(port);
    let mut reports = reports.into_iter();
    let first = reports.next().unwrap_or_else(|| Err("no queue".into()))?;
    reports.try_fold(first, |sum, report| Ok(sum.and(report?)))
}

fn end(config: &VhostConfig, i: usize, seed: DpdkSeed, gate: Arc<Gate>) -> Result<Report, String> {
    let loses = 0x5eed + 2 * i as u64;
    let mut stack = seed.open_wrapped(|queue| Lossy::new(queue, config.loss, loses)).map_err(|e| e.to_string())?;
    let report = match config.role {
        Role::Serve => serve(&mut stack, config.patience)?,
        Role::Bench { size, count, depth } => {
            let part = count.div_ceil(config.threads as u64);
            bench(&mut stack, ([10, 0, 0, 2], 7480).into(), (size, part, depth), gate, config.patience)?
        }
    };
    Ok(Report { lost: lost(&mut stack), ..report })
}
