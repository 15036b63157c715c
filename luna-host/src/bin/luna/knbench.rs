//! `luna knbench`.

use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use luna_host::client::ClientError;
use luna_host::knbench::stats::{Latencies, Report, RunConfig};
use luna_host::knbench::{Knbench, KnbenchConfig};
use luna_host::link::Driver;
use luna_host::open::{ServeOptions, Use};
use luna_host::report::{Counters, StackReport};
use luna_host::run::{self, Idle};

use crate::args::KnbenchArgs;
use crate::error::CliError;
use crate::progress::Progress;

struct Bench<'a> {
    args: &'a KnbenchArgs,
    stop: Arc<AtomicBool>,
}

struct Measured {
    latencies: Latencies,
    elapsed: Duration,
    errors: u64,
    rpc: Counters,
    stack: StackReport,
}

impl Use for Bench<'_> {
    type Output = Result<Measured, CliError>;

    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output {
        let args = self.args;
        let remote = args.connect.or(server).ok_or_else(|| CliError::Usage("no server to connect to".into()))?;
        let config = KnbenchConfig {
            remote,
            size: args.size,
            iodepth: args.iodepth,
            connections: args.connections,
            warmup: args.warmup,
            duration: args.duration,
            verify: args.verify,
        };
        let mut bench = Knbench::new(config, driver.payload_pool())?;
        let mut progress = Progress::run(format!("connecting to {remote}"), args.transport.json);
        let (mut before, mut at) = (0, Instant::now());
        run::run(driver, &mut bench, idle, |bench| {
            if run::stopped(&self.stop) {
                bench.stop();
            }
            if progress.is_due()
                && let Some(done) = bench.progress()
            {
                let rps = (bench.completed() - before) as f64 / at.elapsed().as_secs_f64();
                (before, at) = (bench.completed(), Instant::now());
                progress.say(format!("{rps:.0} RPC/s"));
                progress.set((done * 1e3) as u64, 1_000);
            }
            bench.is_over()
        })?;
        drop(progress);
        let (latencies, elapsed, errors, rpc) = bench.finish()?;
        if latencies.count() == 0 {
            return Err(ClientError::Interrupted.into());
        }
        Ok(Measured { latencies, elapsed, errors, rpc, stack: driver.report() })
    }
}

pub(crate) fn run(args: &KnbenchArgs) -> Result<(), CliError> {
    let options = args.transport.options(args.connections)?;
    if args.duration < Duration::from_millis(10) {
        return Err(CliError::Usage("--duration is at least 10ms".into()));
    }
    let bench = Bench { args, stop: run::stop_on_signals()? };
    let (measured, served) = match args.connect {
        Some(_) => (options.connect(bench)??, None),
        None => {
            let serve = ServeOptions { root: None, connections: args.connections as usize };
            let (measured, served) = options.embedded(&serve, bench)?;
            (measured?, Some(served))
        }
    };
    let config = RunConfig {
        size: args.size,
        iodepth: args.iodepth,
        connections: args.connections,
        duration_s: measured.elapsed.as_secs_f64(),
        warmup_s: args.warmup.as_secs_f64(),
        verify: args.verify,
        embedded_server: args.connect.is_none(),
        cpu: args.transport.cpu,
    };
    let Measured { latencies, elapsed, errors, rpc, stack } = measured;
    let report = Report::new(config, &latencies, elapsed, errors, stack, rpc, served);
    if args.transport.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
