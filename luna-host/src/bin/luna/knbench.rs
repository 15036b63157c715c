//! `luna knbench`.

mod points;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use luna_host::client::ClientError;
use luna_host::knbench::report::{Report, RunConfig};
use luna_host::knbench::{Arrivals, Knbench, KnbenchConfig, Load, Outcome};
use luna_host::link::Driver;
use luna_host::open::{ServeOptions, Served, StackKind, Use};
use luna_host::report::StackReport;
use luna_host::run::{self, Idle};

use crate::args::{ArrivalsArg, KnbenchArgs};
use crate::error::CliError;
use crate::progress::Progress;
pub(crate) use points::{Orders, Point, Run};

/// One thread of the client.
struct Worker<'a> {
    args: &'a KnbenchArgs,
    thread: usize,
    orders: Orders,
    sink: &'a Sink,
    stop: Arc<AtomicBool>,
}

/// What one thread measured.
pub(crate) type Measured = (Outcome, StackReport);

/// Where the threads put what they measured.
pub(crate) struct Sink {
    threads: usize,
    parts: Mutex<Vec<Measured>>,
}

impl Sink {
    /// For the threads of this run.
    pub(crate) fn new(args: &KnbenchArgs) -> Self {
        Self { threads: args.threads.into(), parts: Mutex::default() }
    }

    /// Adds one thread's part; that of the last gets all of them.
    pub(crate) fn put(&self, part: Measured) -> Option<Vec<Measured>> {
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        parts.push(part);
        (parts.len() == self.threads).then(|| core::mem::take(&mut *parts))
    }
}

impl Worker<'_> {
    fn remotes(&self, server: Option<SocketAddr>) -> Result<Vec<SocketAddr>, CliError> {
        let Some(first) = self.args.connect else {
            return server.map(|addr| vec![addr]).ok_or_else(|| CliError::Usage("no server to connect to".into()));
        };
        // Over Luna every queue of the server has the same address.
        let n = if self.args.transport.is_kernel() { self.args.server_threads.unwrap_or(self.args.threads) } else { 1 };
        let port = |i| {
            let why = || CliError::Usage(format!("{first} leaves no ports for {n} threads of the server"));
            Ok(SocketAddr::new(first.ip(), first.port().checked_add(i).ok_or_else(why)?))
        };
        (0..n).map(port).collect()
    }

    fn measure<D: Driver>(
        &self,
        driver: &mut D,
        remotes: &[SocketAddr],
        idle: Idle,
        run: Run,
    ) -> Result<Measured, CliError> {
        let Run { point, gate } = run;
        let threads = f64::from(self.args.threads);
        let config = KnbenchConfig {
            remotes: remotes.to_vec(),
            thread: self.thread,
            size: point.size,
            iodepth: point.iodepth,
            connections: point.connections,
            load: point
                .rate
                .map_or(Load::Closed, |rate| Load::Open { rate: rate / threads, arrivals: self.arrivals() }),
            warmup: point.warmup,
            duration: point.duration,
            verify: self.args.verify,
        };
        let quiet = self.args.transport.json || self.thread > 0;
        #[cfg(feature = "cycles")]
        driver.count_cycles(self.args.cycles);
        let before = driver.report();
        let mut bench = Knbench::new(config, driver.payload_pool(), gate)?;
        let mut progress = Progress::run("connecting".into(), quiet);
        let (mut done, mut at) = (0, Instant::now());
        run::run(driver, &mut bench, idle, |bench| {
            if run::stopped(&self.stop) {
                bench.stop();
            }
            if progress.is_due()
                && let Some(part) = bench.progress()
            {
                let rps = (bench.completed() - done) as f64 / at.elapsed().as_secs_f64();
                (done, at) = (bench.completed(), Instant::now());
                progress.say(format!("{rps:.0} RPC/s"));
                progress.set((part * 1e3) as u64, 1_000);
            }
            bench.is_over()
        })?;
        drop(progress);
        let outcome = bench.finish()?;
        // Without a signal it is a result that nothing was answered in time.
        if outcome.latencies.count() == 0 && run::stopped(&self.stop) {
            return Err(ClientError::Interrupted.into());
        }
        Ok((outcome, driver.report().since(&before)))
    }

    fn arrivals(&self) -> Arrivals {
        match self.args.arrivals {
            ArrivalsArg::Poisson => Arrivals::Poisson,
            ArrivalsArg::Fixed => Arrivals::Fixed,
        }
    }
}

impl Use for Worker<'_> {
    type Output = Result<Option<Vec<Measured>>, CliError>;

    /// Runs all that it is told to. What the last thread of a single run got from the sink is its output.
    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output {
        let remotes = self.remotes(server)?;
        let mut last = None;
        while let Some(run) = self.orders.next(&self.stop) {
            let point = run.point;
            let part = self.measure(driver, &remotes, idle, run)?;
            last = self.sink.put(part);
            if self.args.points
                && let Some(parts) = last.take()
            {
                print(self.args, &report(self.args, point, parts, None))?;
            }
        }
        Ok(last)
    }

    fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the threads measured, as one report.
pub(crate) fn report(args: &KnbenchArgs, point: Point, parts: Vec<Measured>, served: Option<Served>) -> Report {
    let config = RunConfig {
        size: point.size,
        iodepth: point.iodepth,
        connections: point.connections,
        duration_s: point.duration.as_secs_f64(),
        warmup_s: point.warmup.as_secs_f64(),
        threads: args.threads.into(),
        rate: point.rate,
        arrivals: point.rate.map(|_| match args.arrivals {
            ArrivalsArg::Poisson => "poisson",
            ArrivalsArg::Fixed => "fixed",
        }),
        verify: args.verify,
        embedded_server: args.connect.is_none(),
        cpus: args.transport.cpus(),
    };
    Report::new(config, parts, served)
}

/// As JSON on a line, or in words.
pub(crate) fn print(args: &KnbenchArgs, report: &Report) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if args.transport.json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}

pub(crate) fn run(args: &KnbenchArgs) -> Result<(), CliError> {
    let options = args.transport.options(args.threads, args.connections)?;
    if let StackKind::Limit(checksums) = options.stack {
        return crate::limit::knbench(args, checksums);
    }
    if args.server_threads.is_some() && !args.transport.is_kernel() {
        return Err(CliError::Usage(
            "--server-threads is for --stack kernel; over Luna each thread's queue leads to one thread of the server"
                .into(),
        ));
    }
    let (first, orders) = Orders::of(args)?;
    let stop = run::stop_on_signals()?;
    let sink = Sink::new(args);
    let worker = |(thread, orders)| Worker { args, thread, orders, sink: &sink, stop: stop.clone() };
    let workers: Vec<_> = orders.into_iter().enumerate().map(worker).collect();
    let (outputs, served) = match args.connect {
        Some(_) => (options.connect(workers)?, None),
        None => {
            let serve = ServeOptions { root: None, connections: args.connections as usize };
            let (outputs, served) = options.embedded(&serve, workers)?;
            (outputs, Some(served))
        }
    };
    complete(args, first, outputs, served)
}

/// Prints what came of a single run; the points of several are printed already.
pub(crate) fn complete(
    args: &KnbenchArgs,
    first: Point,
    outputs: Vec<Result<Option<Vec<Measured>>, CliError>>,
    served: Option<Served>,
) -> Result<(), CliError> {
    let mut parts = None;
    let mut interrupted = None;
    for output in outputs {
        match output {
            Ok(all) => parts = parts.or(all),
            // Of several threads one has the reason, and the others were interrupted by it.
            Err(e @ CliError::Client(ClientError::Interrupted)) => interrupted = Some(e),
            Err(e) => return Err(e),
        }
    }
    match (interrupted, parts) {
        (Some(e), _) => Err(e),
        (None, Some(parts)) => print(args, &report(args, first, parts, served)),
        (None, None) if args.points => Ok(()),
        (None, None) => Err(ClientError::Interrupted.into()),
    }
}
