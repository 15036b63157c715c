//! One end over a [`socket_queue`], frames lost on purpose included.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use luna_core::stack::{Cidr, PathConfig};
use luna_core::tcp::TcpConfig;
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;
use luna_dpu::lossy::Lossy;
use luna_host::knbench::Gate;
use luna_host::luna_stack::{LunaConfig, LunaStack};
use luna_host::memory::{self, Pages};
use luna_host::storage::Capacity;

use super::ends::{Report, Role, bench, lost, serve};
use super::queue::socket_queue;

/// Hardware address of this end; the image's is the next.
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// One run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Our socket.
    pub local: PathBuf,
    /// QEMU's.
    pub remote: PathBuf,
    /// What to do.
    pub role: Role,
    /// Of a thousand frames, so many are lost, each way.
    pub loss: u16,
    /// How long it may take.
    pub patience: Duration,
}

/// Runs to the end and returns what was counted.
///
/// # Errors
/// What went wrong, in words.
pub fn run(config: &PeerConfig) -> Result<Report, String> {
    let pool = |objs, size| -> Result<&'static Pool, String> {
        let pool = memory::pool(objs, size, Pages::Ordinary).map_err(|e| e.to_string())?;
        Ok(Box::leak(Box::new(pool)))
    };
    let (rx, header, payload) = (pool(4096, 2048)?, pool(4096, 640)?, pool(512, 16 << 10)?);
    let queue = socket_queue(&config.local, config.remote.clone(), MAC, rx, header).map_err(|e| e.to_string())?;
    let queue = Lossy::new(queue, config.loss, 0x5eed);
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: ADDR.into(), prefix: 24 }).map_err(|_| "no room for an address")?;
    let luna = LunaConfig {
        nic: "QEMU's datagram link".into(),
        path,
        neighbors: vec![(IpAddr::V4(PEER), PEER_MAC)],
        kernel: None,
        tcp: TcpConfig::INTEROP,
        capacity: Capacity { connections: 64, ..Capacity::default() },
        payload,
    };
    let mut stack = LunaStack::new(queue, luna).map_err(|e| e.to_string())?;
    let report = match config.role {
        Role::Serve => {
            stack.listen(SocketAddr::from((ADDR, 7480))).map_err(|e| e.to_string())?;
            println!("ready");
            serve(&mut stack, config.patience)?
        }
        Role::Bench { size, count, depth } => {
            let (remote, gate) = (SocketAddr::from((PEER, 7480)), Arc::new(Gate::new(1)));
            bench(&mut stack, remote, (size, count, depth), gate, config.patience)?
        }
    };
    Ok(Report { lost: lost(&mut stack), ..report })
}
