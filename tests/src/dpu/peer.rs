//! luna-host's RPC server and benchmark client over a [`SocketQueue`], frames lost on purpose included.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use luna_core::stack::{Cidr, PathConfig};
use luna_core::tcp::TcpConfig;
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;
use luna_dpu::lossy::Lossy;
use luna_host::knbench::{Gate, Knbench, KnbenchConfig, Load};
use luna_host::link::{Driver, Endpoint};
use luna_host::luna_stack::{LunaConfig, LunaStack};
use luna_host::memory::{self, Pages};
use luna_host::report::Counters;
use luna_host::run::{self as loops, Idle};
use luna_host::server::Server;
use luna_host::service::Services;
use luna_host::storage::Capacity;

use super::queue::SocketQueue;

/// Hardware address of this end; the image's is the next.
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// What this end does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Echo, until killed.
    Serve,
    /// So many verified requests of a size, so many in flight.
    Bench {
        /// Payload bytes.
        size: u32,
        /// Requests.
        count: u64,
        /// In flight.
        depth: u32,
    },
}

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
pub fn run(config: &PeerConfig) -> Result<String, String> {
    let pool = |objs, size| -> Result<&'static Pool, String> {
        let pool = memory::pool(objs, size, Pages::Ordinary).map_err(|e| e.to_string())?;
        Ok(Box::leak(Box::new(pool)))
    };
    let (rx, header, payload) = (pool(4096, 2048)?, pool(4096, 640)?, pool(512, 16 << 10)?);
    let queue = SocketQueue::new(&config.local, config.remote.clone(), MAC, rx, header).map_err(|e| e.to_string())?;
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
    let started = Instant::now();
    match config.role {
        Role::Serve => {
            stack.listen(SocketAddr::from((ADDR, 7480))).map_err(|e| e.to_string())?;
            println!("listening");
            let mut server = Server::new(Services::new(None), 16);
            let mut seen = false;
            turn(&mut stack, &mut server, |server| {
                seen |= server.connections() > 0;
                seen && server.connections() == 0 || started.elapsed() > config.patience
            })?;
            if !seen {
                return Err("nobody came".into());
            }
            Ok(summary(&server.counters(), &mut stack))
        }
        Role::Bench { size, count, depth } => {
            let bench = KnbenchConfig {
                remotes: vec![SocketAddr::from((PEER, 7480))],
                thread: 0,
                size,
                iodepth: depth,
                connections: 1,
                load: Load::Closed,
                warmup: Duration::ZERO,
                duration: config.patience,
                verify: true,
            };
            let mut bench = Knbench::new(bench, payload, Arc::new(Gate::new(1))).map_err(|e| e.to_string())?;
            turn(&mut stack, &mut bench, |bench| {
                if bench.completed() >= count || started.elapsed() > config.patience {
                    bench.stop();
                }
                bench.is_over()
            })?;
            let completed = bench.completed();
            let done = bench.finish().map_err(|e| e.to_string())?;
            if completed < count || done.errors > 0 {
                return Err(format!("{completed} of {count} requests, {} errors", done.errors));
            }
            let rate = completed as f64 / done.elapsed.as_secs_f64();
            let median = done.latencies.summary().p50 as f64 / 1000.0;
            let summary = summary(&done.counters, &mut stack);
            Ok(format!("{completed} requests of {size} bytes, {rate:.0} RPC/s, median {median:.0} us\n{summary}"))
        }
    }
}

/// Turns until `over`; naps when there is nothing to do, since QEMU wants the CPU.
fn turn<E: Endpoint>(
    stack: &mut LunaStack<Lossy<SocketQueue>>,
    endpoint: &mut E,
    over: impl FnMut(&mut E) -> bool,
) -> Result<(), String> {
    loops::run(stack, endpoint, Idle::Yield, over).map_err(|e| e.to_string())
}

fn summary(counters: &Counters, stack: &mut LunaStack<Lossy<SocketQueue>>) -> String {
    let report = stack.report();
    format!("sessions: {counters:?}\nstack: {report:?}")
}
