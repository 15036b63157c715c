//! `luna serve`.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::io::Write;
use std::sync::Arc;

use luna_host::link::Driver;
use luna_host::machine::Machine;
use luna_host::open::{ServeOptions, Served, StackKind, Use};
use luna_host::report::{CopyReport, Counters, StackReport, TcpReport};
use luna_host::run::{self, Idle};
use serde::Serialize;

use crate::args::ServeArgs;
use crate::error::CliError;

/// One thread of the server.
struct Serve<'a> {
    options: &'a ServeOptions,
    /// Threads that do not listen yet.
    awaited: &'a AtomicUsize,
    first: SocketAddr,
    stop: Arc<AtomicBool>,
}

/// What a server tells when it ends. The first two are the stack's, where `luna knbench --json` has them too.
#[derive(Serialize)]
struct Report {
    tcp: TcpReport,
    copies: CopyReport,
    server: StackReport,
    rpc: Counters,
    machine: Machine,
}

impl Serve<'_> {
    fn serve<D: Driver>(&self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Result<Served, CliError> {
        let mut app = self.options.build(driver)?;
        // The last one speaks for all. A port of the kernel's choice is only known here, and then there is one thread.
        if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(addr) = server
        {
            println!("luna serve: ready on {}", if self.first.port() == 0 { addr } else { self.first });
            std::io::stdout().flush()?;
        }
        run::run(driver, &mut app, idle, |_| run::stopped(&self.stop))?;
        Ok((driver.report(), app.counters()))
    }
}

impl Use for Serve<'_> {
    type Output = Result<Served, CliError>;

    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output {
        let result = self.serve(driver, server, idle);
        if result.is_err() {
            self.abandon();
        }
        result
    }

    /// One that fails ends the others.
    fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let options = args.transport.options(args.threads, args.connections)?;
    let stop = run::stop_on_signals()?;
    let listen = args.listen.unwrap_or_else(|| options.default_listen());
    if listen.port() == 0 && args.threads > 1 {
        return Err(CliError::Usage(
            "--threads needs a --listen with a port: thread N listens on the Nth after it".into(),
        ));
    }
    if let StackKind::Limit(checksums) = options.stack {
        return tell(args, crate::limit::serve(args, checksums, &stop)?);
    }
    let serve = ServeOptions { root: args.root.clone(), connections: args.connections as usize };
    let awaited = AtomicUsize::new(args.threads.into());
    let thread = |_| Serve { options: &serve, awaited: &awaited, first: listen, stop: stop.clone() };
    tell(args, options.serve(listen, (0..args.threads).map(thread).collect())?)
}

/// Prints what all threads counted.
fn tell(args: &ServeArgs, threads: Vec<Result<Served, CliError>>) -> Result<(), CliError> {
    let mut sum: Option<Served> = None;
    for thread in threads {
        let (stack, counters) = thread?;
        match &mut sum {
            Some((all, rpc)) => {
                all.add(&stack);
                rpc.add(&counters);
            }
            None => sum = Some((stack, counters)),
        }
    }
    let (server, rpc) = sum.unwrap_or_default();
    if args.transport.json {
        let report =
            Report { tcp: server.tcp.clone(), copies: server.copies, server, rpc, machine: Machine::describe() };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{server}\n  rpc              {rpc}");
    }
    Ok(())
}
