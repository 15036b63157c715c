//! The topology: namespaces, veth pairs, addresses of both families, routes, shaping, loss. Gone when dropped; what a
//! killed run left behind goes at the next start.
//!
//! ```text
//! client e0 -- c0 router s0 -- e0 server              without a relay
//! client e0 -- c0 router t0 ~relay~ t1 far s0 -- e0 server
//! ```
//! An end on a tap has no namespace: its tap takes the place of `c0` or `s0`.

use core::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::spec::Side;

const PREFIX: &str = "luna-x";
/// TBF's bucket: what a late timer can make up for. Two shared cores are late by milliseconds.
const BURST: &str = "512kb";
/// TBF's queue.
const LIMIT: &str = "1mb";

/// What the network shall be like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct NetSpec {
    pub(crate) mtu: u16,
    pub(crate) client_on_tap: bool,
    pub(crate) server_on_tap: bool,
    pub(crate) relay: bool,
    /// Packets lost of each million, each way.
    pub(crate) loss_per_million: u32,
}

pub(crate) struct Net {
    pub(crate) spec: NetSpec,
    names: Vec<String>,
}

/// Runs a command; its output.
pub(crate) fn run(args: &[&str]) -> String {
    let out = Command::new(args[0]).args(&args[1..]).output().unwrap_or_else(|e| panic!("{}: {e}", args[0]));
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn sysctl(namespace: &str, name: &str, value: &str) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    run(&["ip", "netns", "exec", namespace, "sh", "-c", "echo \"$1\" > \"$0\"", &path, value]);
}

fn number(side: Side) -> u8 {
    match side {
        Side::Client => 1,
        Side::Server => 2,
    }
}

/// The address of an end.
pub(crate) fn address(side: Side, v6: bool) -> IpAddr {
    host(number(side), 2, v6)
}

/// The router's address next to an end.
pub(crate) fn gateway(side: Side, v6: bool) -> IpAddr {
    host(number(side), 1, v6)
}

fn host(net: u8, host: u8, v6: bool) -> IpAddr {
    let text = if v6 { format!("fd97:{net}::{host}") } else { format!("10.97.{net}.{host}") };
    text.parse().expect("an address")
}

/// The prefix length of every network here.
pub(crate) fn prefix(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

/// Hardware address of the end, or of the router's port beside it.
pub(crate) fn mac(side: Side, router: bool) -> String {
    format!("02:4c:00:00:{:02x}:{:02x}", number(side), if router { 1 } else { 2 })
}

/// The router's port beside an end.
pub(crate) fn port(side: Side) -> &'static str {
    match side {
        Side::Client => "c0",
        Side::Server => "s0",
    }
}

/// What sets the router's port up, once it is there.
pub(crate) fn port_commands(side: Side, mtu: u16, tap: bool, shaped: bool) -> Vec<Vec<String>> {
    let dev = port(side);
    let mut lines = vec![format!("ip link set {dev} address {} mtu {mtu} up", mac(side, true))];
    for v6 in [false, true] {
        let nodad = if v6 { " nodad" } else { "" };
        lines.push(format!("ip addr add {}/{} dev {dev}{nodad}", gateway(side, v6), prefix(v6)));
        // Nobody answers for a stack on a tap.
        if tap {
            let (ip, mac) = (address(side, v6), mac(side, false));
            lines.push(format!("ip neigh replace {ip} lladdr {mac} dev {dev} nud permanent"));
        }
    }
    if shaped {
        lines.push(format!("tc qdisc replace dev {dev} root tbf rate 1gbit burst {BURST} limit {LIMIT}"));
    }
    lines.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

impl Net {
    /// The namespace of an end: the router's that has its tap, for one on a tap.
    pub(crate) fn of(&self, side: Side) -> &str {
        match side {
            Side::Client if self.spec.client_on_tap => self.router(),
            Side::Client => &self.names[0],
            Side::Server if self.spec.server_on_tap => self.beside(side),
            Side::Server => &self.names[2],
        }
    }

    pub(crate) fn router(&self) -> &str {
        &self.names[1]
    }

    /// The router that the relay leads to.
    pub(crate) fn far(&self) -> &str {
        self.names.last().expect("names")
    }

    /// The router's namespace next to an end.
    fn beside(&self, side: Side) -> &str {
        if side == Side::Server && self.spec.relay { self.far() } else { self.router() }
    }

    pub(crate) fn make(spec: NetSpec) -> Self {
        sweep();
        let id = std::process::id();
        let suffixes: &[&str] = if spec.relay { &["c", "r", "s", "q"] } else { &["c", "r", "s"] };
        let net = Self { spec, names: suffixes.iter().map(|s| format!("{PREFIX}{id}-{s}")).collect() };
        for name in &net.names {
            run(&["ip", "netns", "add", name]);
            run(&["ip", "-n", name, "link", "set", "lo", "up"]);
            // Each run for itself: what the last one learned of the path must not decide this one.
            sysctl(name, "net.ipv4.tcp_no_metrics_save", "1");
            sysctl(name, "net.ipv6.conf.all.accept_dad", "0");
            sysctl(name, "net.ipv4.ip_forward", "1");
            sysctl(name, "net.ipv6.conf.all.forwarding", "1");
        }
        for side in [Side::Client, Side::Server] {
            net.attach(side);
        }
        if spec.loss_per_million > 0 {
            net.lose();
        }
        net
    }

    fn exec(&self, namespace: &str, line: &str) {
        run(&[&["ip", "netns", "exec", namespace], &words(line)[..]].concat());
    }

    fn attach(&self, side: Side) {
        let on_tap = if side == Side::Client { self.spec.client_on_tap } else { self.spec.server_on_tap };
        if on_tap {
            return;
        }
        let (end, router, dev) = (self.of(side), self.beside(side), port(side));
        let (ours, theirs) = (mac(side, false), mac(side, true));
        run(&words(&format!(
            "ip -n {end} link add e0 address {ours} numtxqueues 1 numrxqueues 1 type veth peer name {dev} address \
             {theirs} numtxqueues 1 numrxqueues 1 netns {router}"
        )));
        for (namespace, dev) in [(end, "e0"), (router, dev)] {
            self.exec(namespace, &format!("ethtool -K {dev} tx off rx off sg off tso off gso off gro off"));
        }
        run(&words(&format!("ip -n {end} link set e0 mtu {} up", self.spec.mtu)));
        // With a relay only the router before it shapes.
        let shaped = router == self.router();
        for command in port_commands(side, self.spec.mtu, false, shaped) {
            self.exec(router, &command.join(" "));
        }
        for v6 in [false, true] {
            let nodad = if v6 { " nodad" } else { "" };
            run(&words(&format!("ip -n {end} addr add {}/{} dev e0{nodad}", address(side, v6), prefix(v6))));
            run(&words(&format!("ip -n {end} route add default via {}", gateway(side, v6))));
            // No address resolution in the middle of a measurement.
            run(&words(&format!(
                "ip -n {end} neigh replace {} lladdr {theirs} dev e0 nud permanent",
                gateway(side, v6)
            )));
            run(&words(&format!(
                "ip -n {router} neigh replace {} lladdr {ours} dev {dev} nud permanent",
                address(side, v6)
            )));
        }
    }

    /// Between the two routers, when the relay has its taps.
    pub(crate) fn join(&self) {
        let (near, far) = (self.router(), self.far());
        run(&["ip", "-n", near, "link", "set", "t1", "netns", far]);
        for (namespace, dev, own, other) in [(near, "t0", 1, 2), (far, "t1", 2, 1)] {
            run(&words(&format!("ip -n {namespace} link set {dev} mtu {} up", self.spec.mtu)));
            let beyond = if own == 1 { Side::Server } else { Side::Client };
            for v6 in [false, true] {
                let nodad = if v6 { " nodad" } else { "" };
                run(&words(&format!(
                    "ip -n {namespace} addr add {}/{} dev {dev}{nodad}",
                    host(3, own, v6),
                    prefix(v6)
                )));
                let to = host(number(beyond), 0, v6);
                run(&words(&format!("ip -n {namespace} route add {to}/{} via {}", prefix(v6), host(3, other, v6))));
            }
            self.exec(namespace, &format!("ethtool -K {dev} tx off sg off tso off gso off gro off"));
        }
        run(&words(&format!("tc -n {near} qdisc replace dev t0 root tbf rate 1gbit burst {BURST} limit {LIMIT}")));
    }

    fn lose(&self) {
        let rule = format!(
            "add table inet luna; add chain inet luna f {{ type filter hook forward priority 0; }}; \
             add rule inet luna f meta l4proto tcp numgen random mod 1000000 < {} counter drop",
            self.spec.loss_per_million
        );
        run(&["ip", "netns", "exec", self.router(), "nft", &rule]);
    }

    /// Packets that the router lost on purpose.
    pub(crate) fn lost(&self) -> u64 {
        if self.spec.loss_per_million == 0 {
            return 0;
        }
        let rules = run(&["ip", "netns", "exec", self.router(), "nft", "list", "ruleset"]);
        let mut rest = rules.split_whitespace().skip_while(|word| *word != "packets");
        rest.nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Packets that the router's queues refused.
    pub(crate) fn overflowed(&self) -> u64 {
        let text = run(&["tc", "-s", "-n", self.router(), "qdisc", "show"]);
        let mut words = text.split_whitespace();
        let mut sum = 0;
        while let Some(word) = words.next() {
            if word == "(dropped" {
                sum += words.next().and_then(|n| n.trim_end_matches(',').parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sum
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Removes namespaces of runs that are no more.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}
