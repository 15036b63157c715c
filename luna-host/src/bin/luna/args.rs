//! The command line.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use luna_core::tcp::TcpConfig;
use luna_host::knbench::MAX_SIZE;
use luna_host::limit::Checksums;
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
    /// Measure RPC latency and throughput, in a closed loop or at a given rate
    ///
    /// Without --connect it brings its own servers, one for each thread: over in-memory pairs (the default), or over the
    /// loopback interface with --stack kernel. With --cpu both ends of a pair then share a thread.
    ///
    /// A closed loop keeps --iodepth requests in flight on every connection: it shows what the stacks can do, and hides
    /// how long requests would have waited while a server stalled. With --rate requests fall due whether or not earlier
    /// ones were answered, and their latency counts from then.
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
    /// None: as many frames of the same shape, moved by the port's queue alone; what a stack on that port cannot exceed
    Limit,
    /// The same, and nobody sums up what the frames carry
    LimitNoChecksums,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsArg {
    /// As those of many independent clients: exponential gaps
    Poisson,
    /// Evenly
    Fixed,
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
    /// Keep threads on these CPUs, as 1 or 0,2-3: one after the other, and round again
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) cpu: Option<Cpus>,
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
    /// Threads, each with a stack and a queue of the port of its own; over the kernel's stack thread N listens on the Nth
    /// port after --listen's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Connections of each thread at once; more are refused
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
    /// Requests in flight on every connection; with --rate, at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) iodepth: u32,
    /// Open loop: requests per second, of all connections together [default: closed loop]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// How the requests of an open loop are spread
    #[arg(long, value_enum, default_value = "poisson", requires = "rate")]
    pub(crate) arrivals: ArrivalsArg,
    /// Threads, each with a stack and a queue of the port of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Threads of the kernel-stack server at --connect; connection K of thread N goes to thread N + K, round and round
    /// [default: as many as --threads]
    #[arg(long, value_name = "N", requires = "connect", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) server_threads: Option<u16>,
    /// How long to measure, as 3s or 500ms
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long to run before that
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Connections of each thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) connections: u32,
    /// Count cycles by stage of Luna's loop, in one turn of N; the server's too where it shares the thread (--cpu, no
    /// --connect)
    #[cfg(feature = "cycles")]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "16", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) cycles: Option<u32>,
    /// Give every request other bytes, and compare every response with them
    #[arg(long)]
    pub(crate) verify: bool,
    /// Run what each line of standard input asks for, one after the other, and print one JSON object for each
    ///
    /// A line has some of size=, iodepth=, connections=, rate=, duration= and warmup=, with spaces between; what it leaves
    /// out is as the options say. Ports and threads stay as they are.
    #[arg(long, requires = "json")]
    pub(crate) points: bool,
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
    /// CPUs of the threads; none when they are not pinned.
    pub(crate) fn cpus(&self) -> Vec<usize> {
        self.cpu.as_ref().map_or(Vec::new(), |cpus| cpus.0.clone())
    }

    /// Whether it is the kernel's TCP.
    pub(crate) fn is_kernel(&self) -> bool {
        self.stack == StackArg::Kernel
    }

    /// As the library has it.
    pub(crate) fn options(&self, threads: u16, connections: u32) -> Result<Options, CliError> {
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
                StackArg::Limit => StackKind::Limit(Checksums::AsLuna),
                StackArg::LimitNoChecksums => StackKind::Limit(Checksums::Nobody),
            },
            nic: self.nic.clone().unwrap_or_default(),
            tcp: self.tcp.map(|tcp| match tcp {
                TcpArg::Datacenter => TcpConfig::DATACENTER,
                TcpArg::SameHost => SAME_HOST,
                TcpArg::Interop => TcpConfig::INTEROP,
                TcpArg::Rfc => TcpConfig::RFC,
            }),
            threads: threads.into(),
            cpus: self.cpus(),
            connections: connections as usize,
        })
    }
}

/// CPUs, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

/// Numbers and ranges with commas between, as taskset takes them.
fn cpus(text: &str) -> Result<Cpus, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last - first < 4096 => all.extend(first..=last),
            _ => return Err("CPUs are written as 1, 0,2 or 0-3".into()),
        }
    }
    Ok(Cpus(all))
}

/// Requests per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=1e9).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of requests per second, from 0.1 to 1e9".into()),
    }
}

/// A number with `ms` or `s`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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
    fn lists_of_cpus() {
        assert_eq!(cpus("1"), Ok(Cpus(vec![1])));
        assert_eq!(cpus("0,2-4"), Ok(Cpus(vec![0, 2, 3, 4])));
        assert_eq!(cpus("3,1"), Ok(Cpus(vec![3, 1])), "in the order given");
        for bad in ["", "a", "1,", "3-1", "-1", "0-99999999999", "0-9999"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("1e5"), Ok(1e5));
        for bad in ["", "0", "-3", "inf", "nan", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
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
