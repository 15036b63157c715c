//! `luna serve`.

use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use std::io::Write;
use std::sync::Arc;

use luna_host::link::Driver;
use luna_host::machine::Machine;
use luna_host::open::{ServeOptions, Use};
use luna_host::report::{CopyReport, Counters, StackReport, TcpReport};
use luna_host::run::{self, Idle};
use serde::Serialize;

use crate::args::ServeArgs;
use crate::error::CliError;

struct Serve {
    options: ServeOptions,
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

impl Use for Serve {
    type Output = Result<(StackReport, Counters), CliError>;

    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output {
        let mut app = self.options.build(driver)?;
        if let Some(addr) = server {
            println!("luna serve: ready on {addr}");
            std::io::stdout().flush()?;
        }
        run::run(driver, &mut app, idle, |_| run::stopped(&self.stop))?;
        Ok((driver.report(), app.counters()))
    }
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let options = args.transport.options(args.connections)?;
    let stop = run::stop_on_signals()?;
    let listen = args.listen.unwrap_or_else(|| options.default_listen());
    let serve = ServeOptions { root: args.root.clone(), connections: args.connections as usize };
    let (server, rpc) = options.serve(listen, Serve { options: serve, stop })??;
    if args.transport.json {
        let report =
            Report { tcp: server.tcp.clone(), copies: server.copies, server, rpc, machine: Machine::describe() };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{server}\n  rpc              {rpc}");
    }
    Ok(())
}
