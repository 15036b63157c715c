//! `luna put` and `luna get`.

use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use luna_core::zbuf::Pool;
use luna_host::client::{Client, ClientError, Job};
use luna_host::link::Driver;
use luna_host::open::{ServeOptions, Use};
use luna_host::report::{CopyReport, StackReport, TcpReport};
use luna_host::run::{self, Idle};
use luna_host::service::store::{Hash, hex};
use luna_host::transfer::{Get, Put};
use serde::Serialize;

use crate::args::TransferArgs;
use crate::error::CliError;
use crate::progress::Progress;

/// What put and get have in common.
trait Transfer: Job + Sized {
    const VERB: &'static str;
    fn start(name: &str, file: &Path, pool: &'static Pool) -> Result<Self, ClientError>;
    /// Bytes done, and of how many.
    fn state(&self) -> (u64, u64);
    fn elapsed(&self) -> Duration;
    /// Here and there.
    fn hashes(&self) -> Option<(Hash, Hash)>;
}

impl Transfer for Put {
    const VERB: &'static str = "put";
    fn start(name: &str, file: &Path, pool: &'static Pool) -> Result<Self, ClientError> {
        Self::new(file, name, pool)
    }
    fn state(&self) -> (u64, u64) {
        (self.progress(), self.size())
    }
    fn elapsed(&self) -> Duration {
        self.elapsed()
    }
    fn hashes(&self) -> Option<(Hash, Hash)> {
        self.hashes()
    }
}

impl Transfer for Get {
    const VERB: &'static str = "get";
    fn start(name: &str, file: &Path, _pool: &'static Pool) -> Result<Self, ClientError> {
        Self::new(name, file)
    }
    fn state(&self) -> (u64, u64) {
        (self.progress(), self.size())
    }
    fn elapsed(&self) -> Duration {
        self.elapsed()
    }
    fn hashes(&self) -> Option<(Hash, Hash)> {
        self.hashes()
    }
}

/// What is told of a transfer.
#[derive(Serialize)]
struct Report {
    verb: &'static str,
    name: String,
    file: String,
    bytes: u64,
    /// From the first request to the last byte; without the server's making it durable, and without hashing.
    seconds: f64,
    gbps: f64,
    sha256_local: String,
    sha256_remote: String,
    tcp: TcpReport,
    copies: CopyReport,
    client: StackReport,
    server: Option<StackReport>,
}

struct Run<'a, J> {
    args: &'a TransferArgs,
    name: &'a str,
    stop: Arc<AtomicBool>,
    job: core::marker::PhantomData<fn() -> J>,
}

impl<J: Transfer> Use for Run<'_, J> {
    type Output = Result<Report, CliError>;

    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output {
        let Self { args, name, stop, .. } = self;
        let remote = args.connect.or(server).ok_or_else(|| CliError::Usage("no server to connect to".into()))?;
        let job = J::start(name, &args.file, driver.payload_pool())?;
        let mut progress = Progress::bytes(format!("{} {name}", J::VERB), args.transport.json);
        let mut client = Client::new(remote, job);
        run::run(driver, &mut client, idle, |client| {
            if progress.is_due() {
                let (done, of) = client.job().state();
                progress.set(done, of);
            }
            run::stopped(&stop) || client.is_over()
        })?;
        drop(progress);
        let job = client.finish()?;
        let (local, remote) = job.hashes().ok_or(ClientError::Interrupted)?;
        if local != remote {
            return Err(ClientError::Mismatch { local: hex(&local), remote: hex(&remote) }.into());
        }
        let (bytes, seconds) = (job.state().1, job.elapsed().as_secs_f64());
        let client = driver.report();
        Ok(Report {
            verb: J::VERB,
            name: name.to_owned(),
            file: args.file.display().to_string(),
            bytes,
            seconds,
            gbps: if seconds > 0.0 { bytes as f64 * 8.0 / seconds / 1e9 } else { 0.0 },
            sha256_local: hex(&local),
            sha256_remote: hex(&remote),
            tcp: client.tcp.clone(),
            copies: client.copies,
            client,
            server: None,
        })
    }
}

pub(crate) fn put(args: &TransferArgs) -> Result<(), CliError> {
    transfer::<Put>(args)
}

pub(crate) fn get(args: &TransferArgs) -> Result<(), CliError> {
    transfer::<Get>(args)
}

fn transfer<J: Transfer>(args: &TransferArgs) -> Result<(), CliError> {
    let options = args.transport.options(1, 1)?;
    let file_name = args.file.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = args.name.clone().or(file_name).ok_or_else(|| CliError::Usage("the blob needs a --name".into()))?;
    let stop = run::stop_on_signals()?;
    let jobs = vec![Run::<J> { args, name: &name, stop, job: core::marker::PhantomData }];
    let report = match args.connect {
        Some(_) => only(options.connect(jobs)?)?,
        None => {
            let Some(root) = &args.root else {
                return Err(CliError::Usage(
                    "--connect ADDR:PORT says where the server is; for a server in this process, --root DIR says where \
                     it keeps its blobs"
                        .into(),
                ));
            };
            let serve = ServeOptions { root: Some(root.clone()), connections: 1 };
            let (reports, (server, _)) = options.embedded(&serve, jobs)?;
            Report { server: Some(server), ..only(reports)? }
        }
    };
    if args.transport.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    let Report { verb, bytes, seconds, gbps, sha256_local, sha256_remote, client, server, .. } = &report;
    println!("{verb} {name}: {bytes} bytes in {seconds:.3} s ({gbps:.2} Gb/s)");
    println!("  sha256 here      {sha256_local}");
    println!("  sha256 there     {sha256_remote}");
    println!("client\n{client}");
    if let Some(server) = server {
        println!("server\n{server}");
    }
    Ok(())
}

/// What the one thread said.
fn only(outputs: Vec<Result<Report, CliError>>) -> Result<Report, CliError> {
    outputs.into_iter().next().unwrap_or(Err(ClientError::Interrupted.into()))
}
