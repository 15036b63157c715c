//! Who is measured, and how each is started: client and server stay for the whole run and are told what to do, so that
//! alternating costs no start-up. Who is not asked waits for a line of input (clients) or sleeps (servers).

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::data::Point;
use crate::demo::link::{Link, Side};
use crate::netns::VethPair;
use crate::process::Process;

/// DPDK's start-up and a memory region to clear.
const START: Duration = Duration::from_secs(30);

/// How a contender is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two processes over a link, the `luna` command's `--stack` in both.
    Link(Link, &'static str),
    /// Both ends of in-memory pairs in one process, a pair on each of that many CPUs.
    Pairs(&'static str, usize),
    /// The kernel's loopback interface with packets of 1500 bytes, a pair on each of that many CPUs.
    Loopback(usize),
    /// smoltcp over its in-memory pair, both ends in one thread.
    Smoltcp,
}

/// Somebody who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// In the data.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
}

const fn contender(id: &'static str, title: &'static str, kind: Kind) -> Contender {
    Contender { id, title, kind }
}

pub(crate) const LUNA_MEMIF: Contender =
    contender("luna-memif", "Luna, memif (checksums in software)", Kind::Link(Link::Memif, "luna"));
pub(crate) const LUNA_VIRTIO: Contender =
    contender("luna-virtio", "Luna, virtio (checksums by the port)", Kind::Link(Link::Virtio, "luna"));
pub(crate) const KERNEL: Contender = contender("kernel", "Kernel, offloads off", Kind::Link(Link::Kernel, "kernel"));
pub(crate) const KERNEL_OFFLOADS: Contender =
    contender("kernel-offloads", "Kernel, all offloads on", Kind::Link(Link::KernelOffloads, "kernel"));
pub(crate) const LIMIT_MEMIF: Contender =
    contender("limit-memif", "Limit of memif, with software checksums", Kind::Link(Link::Memif, "limit"));
pub(crate) const LIMIT_MEMIF_PLAIN: Contender =
    contender("limit-memif-plain", "Limit of memif, no checksums", Kind::Link(Link::Memif, "limit-no-checksums"));
pub(crate) const LIMIT_VIRTIO: Contender =
    contender("limit-virtio", "Limit of virtio", Kind::Link(Link::Virtio, "limit"));

/// Two processes, a CPU each.
pub(crate) const TWO_PROCESSES: [Contender; 7] =
    [LUNA_MEMIF, KERNEL, LUNA_VIRTIO, KERNEL_OFFLOADS, LIMIT_MEMIF, LIMIT_MEMIF_PLAIN, LIMIT_VIRTIO];

pub(crate) const LUNA_PAIR: Contender = contender("luna-pair", "Luna", Kind::Pairs("luna", 1));
pub(crate) const SMOLTCP: Contender = contender("smoltcp-pair", "smoltcp 0.14", Kind::Smoltcp);
pub(crate) const LIMIT_PAIR: Contender = contender("limit-pair", "Limit of the pair", Kind::Pairs("limit", 1));
/// Both ends in one thread, over an in-memory pair.
pub(crate) const ONE_THREAD: [Contender; 3] = [LUNA_PAIR, SMOLTCP, LIMIT_PAIR];

/// Luna and the kernel with both ends on each of 1, 2, ... CPUs.
pub(crate) fn cores(most: usize) -> Vec<Contender> {
    const LUNA: [&str; 16] = [
        "luna-cores-1",
        "luna-cores-2",
        "luna-cores-3",
        "luna-cores-4",
        "luna-cores-5",
        "luna-cores-6",
        "luna-cores-7",
        "luna-cores-8",
        "luna-cores-9",
        "luna-cores-10",
        "luna-cores-11",
        "luna-cores-12",
        "luna-cores-13",
        "luna-cores-14",
        "luna-cores-15",
        "luna-cores-16",
    ];
    const KERNEL: [&str; 16] = [
        "kernel-cores-1",
        "kernel-cores-2",
        "kernel-cores-3",
        "kernel-cores-4",
        "kernel-cores-5",
        "kernel-cores-6",
        "kernel-cores-7",
        "kernel-cores-8",
        "kernel-cores-9",
        "kernel-cores-10",
        "kernel-cores-11",
        "kernel-cores-12",
        "kernel-cores-13",
        "kernel-cores-14",
        "kernel-cores-15",
        "kernel-cores-16",
    ];
    let both = LUNA.into_iter().zip(KERNEL).zip(1..=most);
    both.flat_map(|((luna, kernel), n)| {
        [contender(luna, "Luna", Kind::Pairs("luna", n)), contender(kernel, "Kernel", Kind::Loopback(n))]
    })
    .collect()
}

/// For people, whatever group it is of.
pub(crate) fn title(id: &str) -> String {
    let cores = |n: &str| format!("{n} core{}", if n == "1" { "" } else { "s" });
    match TWO_PROCESSES.iter().chain(&ONE_THREAD).find(|c| c.id == id).copied() {
        Some(LUNA_PAIR) => "Luna, in-memory pair".to_owned(),
        Some(SMOLTCP) => "smoltcp 0.14, in-memory pair".to_owned(),
        Some(c) => c.title.to_owned(),
        None => match (id.strip_prefix("luna-cores-"), id.strip_prefix("kernel-cores-")) {
            (Some(n), _) => format!("Luna, in-memory pairs, {}", cores(n)),
            (_, Some(n)) => format!("Kernel, loopback, {}", cores(n)),
            _ => id.to_owned(),
        },
    }
}

/// The limit of the port that a stack of ours runs on.
pub(crate) fn limit_of(id: &str) -> Option<&'static str> {
    let limits = [(LUNA_MEMIF, LIMIT_MEMIF), (LUNA_VIRTIO, LIMIT_VIRTIO), (LUNA_PAIR, LIMIT_PAIR)];
    limits.iter().find(|(luna, _)| luna.id == id).map(|(_, limit)| limit.id)
}

/// What contenders need of the machine.
pub(crate) struct Ground<'a> {
    pub(crate) luna: &'a Path,
    /// `echo_points` of the tests.
    pub(crate) peers: &'a Path,
    /// Where sockets go.
    pub(crate) work: &'a Path,
    /// Offloads off.
    pub(crate) plain: &'a VethPair,
    /// Offloads on.
    pub(crate) offloads: &'a VethPair,
}

/// A contender that waits to be asked.
pub(crate) struct Running {
    pub(crate) contender: Contender,
    client: Process,
    server: Option<Process>,
}

impl Ground<'_> {
    fn veth(&self, link: Link) -> &VethPair {
        if link == Link::KernelOffloads { self.offloads } else { self.plain }
    }

    /// Starts it.
    pub(crate) fn start(&self, contender: Contender) -> Result<Running> {
        let Contender { id, kind, .. } = contender;
        let (client, server) = match kind {
            Kind::Link(link, stack) => self.link(id, link, stack)?,
            Kind::Pairs(stack, cpus) => (self.knbench(Command::new(self.luna), stack, cpus), None),
            Kind::Loopback(cpus) => (self.knbench(self.plain.client.command(self.luna), "kernel", cpus), None),
            Kind::Smoltcp => {
                let mut command = Command::new(self.peers);
                command.args(["smoltcp", "--cpu", "1"]);
                (command, None)
            }
        };
        let client = Process::spawn_with_input(format!("{id}, client"), client)?;
        Ok(Running { contender, client, server })
    }

    fn knbench(&self, mut command: Command, stack: &str, cpus: usize) -> Command {
        // The last CPU first: the first one has the machine's interrupts.
        let list: Vec<String> = (0..cpus).rev().map(|cpu| cpu.to_string()).collect();
        let list = if cpus == 1 { "1".to_owned() } else { list.join(",") };
        command.args(["knbench", "--points", "--json", "--stack", stack]);
        command.args(["--threads", &cpus.to_string(), "--cpu", &list]);
        command
    }

    fn link(&self, id: &str, link: Link, stack: &str) -> Result<(Command, Option<Process>)> {
        let veth = self.veth(link);
        let socket = self.work.join(format!("{id}.sock"));
        let endpoint = link.endpoint(veth);
        let command = |side, cpu: &str| {
            let mut command = match link.end(veth, side) {
                Some(end) => end.command(self.luna),
                None => Command::new(self.luna),
            };
            command.arg(if side == Side::Server { "serve" } else { "knbench" });
            command.args(link.arguments(veth, side, &socket)).args(["--cpu", cpu, "--json"]);
            // A link over the kernel names that stack itself.
            if link.is_luna() {
                command.args(["--stack", stack]);
            }
            command
        };
        let mut server = command(Side::Server, "0");
        server.args(["--listen", &endpoint]);
        let mut server = Process::spawn(format!("{id}, server"), server)?;
        server.wait_for_line("luna serve: ready on", START)?;
        let mut client = command(Side::Client, "1");
        client.args(["--connect", &endpoint, "--points"]);
        Ok((client, Some(server)))
    }
}

impl Running {
    /// Measures one point: what the client printed.
    pub(crate) fn measure(&mut self, point: Point, warmup: Duration, duration: Duration) -> Result<Value> {
        let Point { size, depth } = point;
        let (warmup_s, duration_s) = (warmup.as_secs_f64(), duration.as_secs_f64());
        let line = format!("size={size} iodepth={depth} warmup={warmup_s} duration={duration_s}");
        self.client.tell(&line)?;
        let answer = self.client.answer(START + 4 * duration)?;
        let told: Value = serde_json::from_str(&answer).with_context(|| format!("{}: {answer}", self.contender.id))?;
        let errors = told.get("errors").and_then(Value::as_f64).unwrap_or(0.0);
        ensure!(errors == 0.0, "{}: {errors} requests did not get their right answer", self.contender.id);
        Ok(told)
    }

    /// Ends both processes.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.client.end_of_input(START)?;
        self.server.as_mut().map_or(Ok(()), Process::finish)
    }
}
