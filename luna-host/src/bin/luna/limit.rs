//! `luna serve` and `luna knbench` with `--stack limit`: the port's frames alone.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::io::Write;
use std::sync::Arc;

use luna_core::nic::NicQueue;
use luna_host::limit::{Checksums, LimitClient, LimitEnd, LimitPoint, LimitServer};
use luna_host::open::{Served, UseQueue};
use luna_host::run::{self, Idle, Idler};

use crate::args::{KnbenchArgs, ServeArgs};
use crate::error::CliError;
use crate::knbench::{Measured, Orders, Sink, complete, report};

/// Turns between two looks at flags.
const LOOK_EVERY: u32 = 64;

/// One thread of the server.
struct Serving<'a> {
    checksums: Checksums,
    awaited: &'a AtomicUsize,
    listen: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl UseQueue for Serving<'_> {
    type Output = Result<Served, CliError>;

    fn run<Q: NicQueue>(self, end: LimitEnd<Q>, _counterpart: Option<LimitServer<Q>>, idle: Idle) -> Self::Output {
        let mut server = LimitServer::new(end, self.checksums);
        if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            println!("luna serve: ready on {}", self.listen);
            std::io::stdout().flush()?;
        }
        let mut idler = Idler::new(idle);
        let mut until_look = 0;
        loop {
            if until_look == 0 {
                if run::stopped(&self.stop) {
                    return Ok(server.report());
                }
                until_look = LOOK_EVERY;
            }
            until_look -= 1;
            if server.turn() {
                idler.busy();
            } else if let Some(nap) = idler.idle() {
                std::thread::sleep(nap);
                until_look = 0;
            }
        }
    }

    fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Serves on every thread until the command is ended; what each counted.
pub(crate) fn serve(
    args: &ServeArgs,
    checksums: Checksums,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Result<Served, CliError>>, CliError> {
    let options = args.transport.options(args.threads, args.connections)?;
    let listen = args.listen.unwrap_or_else(|| options.default_listen());
    let awaited = AtomicUsize::new(args.threads.into());
    let thread = |_| Serving { checksums, awaited: &awaited, listen, stop: stop.clone() };
    Ok(options.limit(checksums, Some(listen), (0..args.threads).map(thread).collect())?)
}

/// One thread of the client.
struct Asking<'a> {
    args: &'a KnbenchArgs,
    checksums: Checksums,
    orders: Orders,
    sink: &'a Sink,
    stop: Arc<AtomicBool>,
}

impl UseQueue for Asking<'_> {
    type Output = Result<Option<Vec<Measured>>, CliError>;

    fn run<Q: NicQueue>(self, end: LimitEnd<Q>, counterpart: Option<LimitServer<Q>>, idle: Idle) -> Self::Output {
        let mut client = LimitClient::new(end, self.checksums);
        let mut server = counterpart;
        let mut last = None;
        while let Some(order) = self.orders.next(&self.stop) {
            let point = order.point;
            if point.rate.is_some() {
                return Err(CliError::Usage("--stack limit has no open loop: leave out --rate".into()));
            }
            let limit = LimitPoint {
                size: point.size,
                in_flight: point.iodepth * point.connections,
                warmup: point.warmup,
                duration: point.duration,
                verify: self.args.verify,
            };
            order.gate.arrive();
            while !order.gate.is_open() && !run::stopped(&self.stop) {
                std::thread::yield_now();
            }
            let before = client.report();
            let (mut idler, mut until_look) = (Idler::new(idle), 0);
            let outcome = client.run(limit, |client| {
                let served = server.as_mut().is_some_and(LimitServer::turn);
                if client.turn() || served {
                    idler.busy();
                } else {
                    // Never for long: a lost frame ends the run.
                    let _ = idler.idle();
                }
                until_look = (until_look + 1) % LOOK_EVERY;
                until_look != 0 || !run::stopped(&self.stop)
            })?;
            last = self.sink.put((outcome, client.report().since(&before)));
            if self.args.points
                && let Some(parts) = last.take()
            {
                crate::knbench::print(self.args, &report(self.args, point, parts, None))?;
            }
        }
        Ok(last)
    }

    fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Measures as the options say.
pub(crate) fn knbench(args: &KnbenchArgs, checksums: Checksums) -> Result<(), CliError> {
    let options = args.transport.options(args.threads, args.connections)?;
    if args.connect.is_none() && options.nic.net().is_some() {
        return Err(CliError::Usage(format!(
            "--nic {} needs --connect ADDR:PORT, of a `luna serve --stack limit` at its other end",
            options.nic.kind()
        )));
    }
    if args.connect.is_some() && options.nic.net().is_none() {
        return Err(CliError::Usage("--nic mem joins two ends inside one process: leave out --connect".into()));
    }
    let (first, orders) = Orders::of(args)?;
    let stop = run::stop_on_signals()?;
    let sink = Sink::new(args);
    let asking = |orders| Asking { args, checksums, orders, sink: &sink, stop: stop.clone() };
    let outputs = options.limit(checksums, None, orders.into_iter().map(asking).collect())?;
    complete(args, first, outputs, None)
}
