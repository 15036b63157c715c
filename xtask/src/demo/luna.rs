//! The `luna` command as the demo uses it: the only place that knows its verbs, options and JSON.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use super::link::{Link, Side};
use crate::netns::VethPair;
use crate::process::Process;
use crate::progress::Progress;

#[cfg(test)]
mod tests;

/// DPDK's start-up and a memory region to clear.
const START: Duration = Duration::from_secs(30);
const TRANSFER: Duration = Duration::from_secs(180);

/// The binary and where its files go.
pub(crate) struct Luna {
    binary: PathBuf,
    work: PathBuf,
}

/// What one run of knbench is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    pub(crate) size: u32,
    pub(crate) depth: u32,
    pub(crate) duration: Duration,
    /// The how manieth try.
    pub(crate) attempt: u32,
}

/// What it measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) link: Link,
    pub(crate) depth: u32,
    pub(crate) rps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) health: Health,
}

/// What the counters of both sides say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Health {
    /// Segments sent again, both sides; `None` where the stack does not tell.
    pub(crate) retransmits: Option<u64>,
    /// Retransmission timeouts, both sides.
    pub(crate) rtos: Option<u64>,
    /// Copies per payload byte on the client: sending, receiving.
    pub(crate) copies: Option<(f64, f64)>,
}

/// What put or get told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) sha256_local: String,
    pub(crate) sha256_remote: String,
}

impl Health {
    /// Whether nothing was sent again; where that is not told, nothing is known against it.
    pub(crate) fn is_clean(self) -> bool {
        self.retransmits.unwrap_or(0) == 0 && self.rtos.unwrap_or(0) == 0
    }
}

impl Row {
    /// For the progress line.
    pub(crate) fn summary(&self) -> String {
        format!("{:.0} RPC/s, p50 {:.1} us, p99 {:.1} us", self.rps, self.p50_us, self.p99_us)
    }
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    /// Where it keeps blobs.
    pub(crate) root: PathBuf,
    socket: PathBuf,
}

impl Luna {
    pub(crate) fn new(binary: PathBuf, work: PathBuf) -> Self {
        Self { binary, work }
    }

    /// The directory for the demo's files.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn serve(&self, veth: &VethPair, link: Link, tag: &str) -> Result<Server> {
        let (root, socket) = (self.work.join(format!("{tag}-root")), self.work.join(format!("{tag}.sock")));
        fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let endpoint = link.endpoint(veth);
        let mut command = self.command(veth, link, Side::Server, "serve", &socket);
        command.args(["--listen", &endpoint, "--root"]).arg(&root).arg("--json");
        let mut process = Process::spawn(format!("luna serve ({})", link.title()), command)?;
        process.wait_for_line("luna serve: ready on", START)?;
        Ok(Server { process, root, socket })
    }

    /// Stops a server; its closing statistics.
    pub(crate) fn stop(&self, mut server: Server, tag: &str) -> Result<Value> {
        server.process.finish()?;
        self.keep_log(&format!("{tag}-serve"), &server.process)?;
        json_of(&server.process.stdout()).context("luna serve --json")
    }

    /// Runs knbench against a server of its own.
    pub(crate) fn bench(&self, veth: &VethPair, link: Link, bench: Bench, progress: &mut Progress) -> Result<Row> {
        let tag = format!("{link:?}-bench-{}-{}", bench.depth, bench.attempt);
        progress.note("starting the server");
        let server = self.serve(veth, link, &tag)?;
        let mut command = self.command(veth, link, Side::Client, "knbench", &server.socket);
        command.args(["--connect", &link.endpoint(veth), "--size", &bench.size.to_string()]);
        command.args(["--iodepth", &bench.depth.to_string(), "--connections", "1"]);
        command.args(["--duration", &format!("{}s", bench.duration.as_secs()), "--json"]);
        let client = self.run_client(command, &tag, START + bench.duration * 2, progress)?;
        let served = self.stop(server, &tag)?;
        row(link, bench.depth, &client, &served)
    }

    /// Sends `file` to the server, as `name`.
    pub(crate) fn put(
        &self,
        veth: &VethPair,
        link: Link,
        server: &Server,
        name: &str,
        file: &Path,
        progress: &mut Progress,
    ) -> Result<(Transfer, Value)> {
        self.transfer(veth, link, server, "put", name, file, progress)
    }

    /// Fetches `name` from the server into `file`.
    pub(crate) fn get(
        &self,
        veth: &VethPair,
        link: Link,
        server: &Server,
        name: &str,
        file: &Path,
        progress: &mut Progress,
    ) -> Result<(Transfer, Value)> {
        self.transfer(veth, link, server, "get", name, file, progress)
    }

    #[expect(clippy::too_many_arguments, reason = "put and get above are the interface")]
    fn transfer(
        &self,
        veth: &VethPair,
        link: Link,
        server: &Server,
        verb: &str,
        name: &str,
        file: &Path,
        progress: &mut Progress,
    ) -> Result<(Transfer, Value)> {
        let mut command = self.command(veth, link, Side::Client, verb, &server.socket);
        command.args(["--connect", &link.endpoint(veth), "--name", name, "--json"]).arg(file);
        let told = self.run_client(command, &format!("{link:?}-{verb}"), TRANSFER, progress)?;
        Ok((transfer_of(&told).with_context(|| format!("luna {verb} --json"))?, told))
    }

    fn run_client(&self, command: Command, tag: &str, patience: Duration, progress: &mut Progress) -> Result<Value> {
        let mut process = Process::spawn(format!("luna ({tag})"), command)?;
        let status = process.wait(Some(patience), |line| progress.note(&line.text))?;
        self.keep_log(&format!("{tag}-client"), &process)?;
        anyhow::ensure!(status.success(), "luna ({tag}) failed ({status}):\n{}", process.tail(20));
        json_of(&process.stdout()).with_context(|| format!("luna ({tag}) --json"))
    }

    /// `luna VERB` with port, stack and core, in the namespace where it belongs.
    fn command(&self, veth: &VethPair, link: Link, side: Side, verb: &str, socket: &Path) -> Command {
        let mut command = match link.end(veth, side) {
            Some(end) => end.command(&self.binary),
            None => Command::new(&self.binary),
        };
        command.arg(verb).args(link.arguments(veth, side, socket));
        // A core each, where there are two.
        let cores = thread::available_parallelism().map_or(1, core::num::NonZero::get);
        let core = if side == Side::Server { 0 } else { 1 % cores };
        command.args(["--cpu", &core.to_string()]);
        command
    }

    fn keep_log(&self, tag: &str, process: &Process) -> Result<()> {
        let path = self.work.join(format!("{tag}.log"));
        fs::write(&path, process.tail(usize::MAX)).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The last JSON object on standard output, on one line or several; it begins at a line's start.
fn json_of(stdout: &str) -> Result<Value> {
    let starts =
        stdout.rmatch_indices('{').map(|(at, _)| at).filter(|&at| at == 0 || stdout.as_bytes()[at - 1] == b'\n');
    let first_value = |at: usize| serde_json::Deserializer::from_str(&stdout[at..]).into_iter::<Value>().next()?.ok();
    let mut values = starts.filter_map(first_value);
    values.next().with_context(|| format!("no JSON object in:\n{stdout}"))
}

fn row(link: Link, depth: u32, client: &Value, server: &Value) -> Result<Row> {
    let number = |path: &str| {
        client.pointer(path).and_then(Value::as_f64).with_context(|| format!("luna knbench --json has no {path}"))
    };
    let errors = number("/errors")?;
    anyhow::ensure!(errors == 0.0, "{errors} requests of knbench did not get their right answer");
    Ok(Row {
        link,
        depth,
        rps: number("/rps")?,
        p50_us: number("/latency_ns/p50")? / 1e3,
        p99_us: number("/latency_ns/p99")? / 1e3,
        health: health(&[client], server),
    })
}

/// Adds up what both sides counted; a server serves several clients. Copies are the first client's sending and the
/// last one's receiving: put and get, or knbench's both.
pub(crate) fn health(clients: &[&Value], server: &Value) -> Health {
    let all = |path: &str| clients.iter().chain([&server]).map(|told| told.pointer(path)?.as_u64()).sum();
    let copies = |told: Option<&&Value>, path: &str| told?.pointer(path)?.as_f64();
    Health {
        retransmits: all("/tcp/retransmits"),
        rtos: all("/tcp/rtos"),
        copies: copies(clients.first(), "/copies/tx_per_byte").zip(copies(clients.last(), "/copies/rx_per_byte")),
    }
}

fn transfer_of(told: &Value) -> Result<Transfer> {
    let field = |path: &str| told.pointer(path).with_context(|| format!("no {path}"));
    let text = |path: &str| {
        Ok::<_, anyhow::Error>(field(path)?.as_str().with_context(|| format!("{path} is no text"))?.to_owned())
    };
    Ok(Transfer {
        bytes: field("/bytes")?.as_u64().context("/bytes is no number")?,
        seconds: field("/seconds")?.as_f64().context("/seconds is no number")?,
        sha256_local: text("/sha256_local")?,
        sha256_remote: text("/sha256_remote")?,
    })
}
