//! The command line.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use luna_core::tcp::TcpConfig;
use luna_host::knbench::MAX_SIZE;
use luna_host::nic::{Nic, SYNTAX};
use luna_host::open::{Options, SAME_HOST, StackKind};

use crate::error::CliError;

/// Luna: a user-space TCP stack for storage RPC.
///
/// A taste of it, without root or packages: `luna knbench`
#[derive(Debug, Parser)]
#[command(name = "luna", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve RPC: an echo, and blobs in a directory
    Serve(ServeArgs),
    /// Measure RPC latency and throughput in a closed loop
    ///
    /// Without --connect it brings its own server: over the in-memory pair (the default), or over the loopback
    /// interface with --stack kernel.
    Knbench(KnbenchArgs),
    /// Store a file as a blob on a server, and compare SHA-256
    Put(TransferArgs),
    /// Fetch a blob from a server into a file, and compare SHA-256
    Get(TransferArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackArg {
    /// Luna's own TCP, on the port that --nic names
    Luna,
    /// The kernel's TCP, with the same RPC on it
    Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TcpArg {
    /// Luna to Luna, a core each: retransmission timeouts from 4 ms
    Datacenter,
    /// Luna to Luna on one machine, whose cores others use too: from 100 ms
    SameHost,
    /// For Linux peers, which delay acknowledgments: from 200 ms
    Interop,
    /// What the RFCs say: from 1 s, acknowledgments delayed by up to 200 ms, Nagle's algorithm on
    Rfc,
}

/// What all verbs share.
#[derive(Debug, Args)]
pub(crate) struct TransportArgs {
    /// Port that Luna's stack runs on [default: mem]
    #[arg(long, value_name = "NIC", long_help = format!("Port that Luna's stack runs on [default: mem]:\n\n{SYNTAX}"))]
    nic: Option<Nic>,
    /// Whose TCP
    #[arg(long, value_enum, default_value = "luna")]
    stack: StackArg,
    /// Settings of Luna's TCP [default: interop on af_xdp, else same-host]
    #[arg(long, value_enum)]
    tcp: Option<TcpArg>,
    /// Keep the thread on this CPU
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<usize>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    /// Where to listen [default: the address in --nic, or 0.0.0.0; port 7480]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of the blobs, made if absent; without it there are none
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Connections at once; more are refused
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,
}

#[derive(Debug, Args)]
pub(crate) struct KnbenchArgs {
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    /// Server to measure against; without it, one in this process
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) connect: Option<SocketAddr>,
    /// Payload bytes of every request and every response
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SIZE)))]
    pub(crate) size: u32,
    /// Requests in flight on every connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) iodepth: u32,
    /// How long to measure, as 3s or 500ms
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long to run before that
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) connections: u32,
    /// Give every request other bytes, and compare every response with them
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    /// Server; without it, one in this process that keeps its blobs in --root
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) connect: Option<SocketAddr>,
    /// Directory of the blobs of the server in this process
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub(crate) root: Option<PathBuf>,
    /// Name of the blob [default: the file's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The file here
    pub(crate) file: PathBuf,
}

impl TransportArgs {
    /// As the library has it.
    pub(crate) fn options(&self, connections: u32) -> Result<Options, CliError> {
        if let (StackArg::Kernel, Some(nic)) = (self.stack, &self.nic) {
            return Err(CliError::Usage(format!(
                "--nic {} is for Luna's stack; the kernel's stack finds its own way: leave out one of --nic and --stack",
                nic.kind()
            )));
        }
        Ok(Options {
            stack: match self.stack {
                StackArg::Luna => StackKind::Luna,
                StackArg::Kernel => StackKind::Kernel,
            },
            nic: self.nic.clone().unwrap_or_default(),
            tcp: self.tcp.map(|tcp| match tcp {
                TcpArg::Datacenter => TcpConfig::DATACENTER,
                TcpArg::SameHost => SAME_HOST,
                TcpArg::Interop => TcpConfig::INTEROP,
                TcpArg::Rfc => TcpConfig::RFC,
            }),
            cpu: self.cpu,
            connections: connections as usize,
        })
    }
}

/// A number with `ms` or `s`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| "a time is written as 3s, 0.5s or 500ms")? * unit;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("between 0 and a day".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "s", "-1s", "3m", "inf", "nan", "1e9s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
