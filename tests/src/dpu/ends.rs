//! luna-host's RPC server and benchmark client, over any transport, until so many requests were answered.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use luna_core::nic::NicQueue;
use luna_dpu::lossy::Lossy;
use luna_host::knbench::{Gate, Knbench, KnbenchConfig, Load};
use luna_host::link::Driver;
use luna_host::luna_stack::LunaStack;
use luna_host::run::{self as loops, Idle};
use luna_host::server::Server;
use luna_host::service::Services;
use serde::Serialize;

/// What an end does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Echo, until whoever came is gone.
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

/// What an end, all its threads together, did.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// Requests of ours that were answered with the bytes that they carried.
    pub completed: u64,
    /// Requests of ours that ended otherwise.
    pub errors: u64,
    /// From the first thread's begin to the last one's end.
    pub seconds: f64,
    /// Median of a request, the slowest thread's.
    pub p50_us: f64,
    /// Segments sent again; `null` where the stack does not tell.
    pub retransmits: Option<u64>,
    /// Retransmission timeouts.
    pub rtos: Option<u64>,
    /// Frames lost on purpose.
    pub lost: u64,
    /// Everything that the stack counted, for whoever looks for a reason.
    pub details: String,
}

impl Report {
    /// Adds another thread's.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b);
        Self {
            completed: self.completed + other.completed,
            errors: self.errors + other.errors,
            seconds: self.seconds.max(other.seconds),
            p50_us: self.p50_us.max(other.p50_us),
            retransmits: sum(self.retransmits, other.retransmits),
            rtos: sum(self.rtos, other.rtos),
            lost: self.lost + other.lost,
            details: format!("{}; {}", self.details, other.details),
        }
    }
}

/// Frames that this end lost.
pub(super) fn lost<Q: NicQueue>(stack: &mut LunaStack<Lossy<Q>>) -> u64 {
    stack.queue().map_or(0, |queue| queue.lost())
}

/// Answers until everybody who came is gone.
pub(super) fn serve<D: Driver>(driver: &mut D, patience: Duration) -> Result<Report, String> {
    let mut server = Server::new(Services::new(None), 16);
    let (started, mut seen) = (Instant::now(), false);
    loops::run(driver, &mut server, Idle::Yield, |server| {
        seen |= server.connections() > 0;
        seen && server.connections() == 0 || started.elapsed() > patience
    })
    .map_err(|e| e.to_string())?;
    if !seen {
        return Err("nobody came".into());
    }
    Ok(told(driver, Report::default(), &server.counters().to_string()))
}

/// Calls `remote` `count` times and compares every answer.
pub(super) fn bench<D: Driver>(
    driver: &mut D,
    remote: SocketAddr,
    (size, count, depth): (u32, u64, u32),
    gate: Arc<Gate>,
    patience: Duration,
) -> Result<Report, String> {
    let config = KnbenchConfig {
        remotes: vec![remote],
        thread: 0,
        size,
        iodepth: depth,
        connections: 1,
        load: Load::Closed,
        warmup: Duration::ZERO,
        duration: patience,
        verify: true,
    };
    let mut bench = Knbench::new(config, driver.payload_pool(), gate).map_err(|e| e.to_string())?;
    let started = Instant::now();
    let over = |bench: &mut Knbench| {
        if bench.completed() >= count || started.elapsed() > patience {
            bench.stop();
        }
        bench.is_over()
    };
    loops::run(driver, &mut bench, Idle::Yield, over).map_err(|e| e.to_string())?;
    let completed = bench.completed();
    let done = bench.finish();
    let stopped = |why: String| format!("{why}, after {completed} of {count} requests\n{:?}", driver.report());
    let done = done.map_err(|e| stopped(e.to_string()))?;
    if completed < count || done.errors > 0 {
        return Err(stopped(format!("{} errors", done.errors)));
    }
    let report = Report {
        completed,
        errors: done.errors,
        seconds: done.elapsed.as_secs_f64(),
        p50_us: done.latencies.summary().p50 as f64 / 1000.0,
        ..Report::default()
    };
    Ok(told(driver, report, &done.counters.to_string()))
}

/// With what the stack counted.
fn told<D: Driver>(driver: &D, report: Report, sessions: &str) -> Report {
    let stack = driver.report();
    Report {
        retransmits: stack.tcp.retransmits,
        rtos: stack.tcp.rtos,
        details: format!("sessions: {sessions}; tcp: {}; drops: {}", stack.tcp.others, stack.drops),
        ..report
    }
}
