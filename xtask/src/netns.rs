//! Two network namespaces joined by a veth pair: the demo's two machines. They go when the value is dropped; what a
//! killed run left behind goes at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

#[cfg(test)]
mod tests;

/// Names of our namespaces: this, the process id, and the side.
pub(crate) const PREFIX: &str = "luna-demo-";

/// One end: a namespace with one interface of the pair in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) namespace: String,
    pub(crate) interface: String,
    pub(crate) address: &'static str,
    pub(crate) mac: &'static str,
}

/// The pair.
#[derive(Debug)]
pub(crate) struct VethPair {
    pub(crate) server: End,
    pub(crate) client: End,
}

/// The network's prefix length.
pub(crate) const PREFIX_LEN: u8 = 24;

impl VethPair {
    /// Makes the namespaces, the pair, addresses and static neighbours, with offloads as asked.
    pub(crate) fn make() -> Result<Self> {
        Self::make_tagged("")
    }

    /// One of several pairs of this process, which `tag` tells apart.
    pub(crate) fn make_tagged(tag: &str) -> Result<Self> {
        sweep()?;
        let id = std::process::id();
        let end = |side: &str, address, mac| End {
            namespace: format!("{PREFIX}{id}-{tag}{side}"),
            interface: format!("luna-{side}"),
            address,
            mac,
        };
        // Addresses of the documentation range's neighbour 198.18/15, set aside for benchmarks (RFC 2544).
        let pair = Self {
            server: end("srv", "198.18.0.1", "02:4c:55:4e:41:01"),
            client: end("cli", "198.18.0.2", "02:4c:55:4e:41:02"),
        };
        // From here on `pair` cleans up on every way out.
        pair.build().context("cannot make the network namespaces")?;
        Ok(pair)
    }

    fn build(&self) -> Result<()> {
        let (a, b) = (&self.server, &self.client);
        for end in [a, b] {
            ip(&["netns", "add", &end.namespace])?;
        }
        // One queue each: AF_XDP serves queue 0, and no packet must land elsewhere.
        ip(&[
            "-n",
            &a.namespace,
            "link",
            "add",
            &a.interface,
            "address",
            a.mac,
            "numtxqueues",
            "1",
            "numrxqueues",
            "1",
            "type",
            "veth",
            "peer",
            "name",
            &b.interface,
            "address",
            b.mac,
            "numtxqueues",
            "1",
            "numrxqueues",
            "1",
            "netns",
            &b.namespace,
        ])?;
        for (end, peer) in [(a, b), (b, a)] {
            let (namespace, interface) = (end.namespace.as_str(), end.interface.as_str());
            // No router solicitations or duplicate address detection between our packets.
            end.sysctl("net.ipv6.conf.all.disable_ipv6=1")?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            let cidr = format!("{}/{PREFIX_LEN}", end.address);
            ip(&["-n", namespace, "address", "add", &cidr, "dev", interface])?;
            ip(&["-n", namespace, "link", "set", interface, "up"])?;
            ip(&[
                "-n",
                namespace,
                "neighbour",
                "replace",
                peer.address,
                "lladdr",
                peer.mac,
                "dev",
                interface,
                "nud",
                "permanent",
            ])?;
        }
        self.set_offloads(false)
    }

    /// Switches checksum, segmentation and receive offloads of both ends. Off: every packet is complete and of MTU size,
    /// as a stack behind AF_XDP needs it.
    pub(crate) fn set_offloads(&self, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        for end in [&self.server, &self.client] {
            let mut args = vec!["-K", &end.interface];
            for feature in ["tx", "rx", "sg", "tso", "gso", "gro"] {
                args.extend([feature, state]);
            }
            end.output("ethtool", &args)?;
        }
        Ok(())
    }
}

/// Features that decide what the kernel's packets look like, as ethtool names them.
const OFFLOADS: [&str; 7] = [
    "rx-checksumming",
    "tx-checksumming",
    "scatter-gather",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
];

/// Those features in what `ethtool -k` prints, and whether they are on.
fn offload_states(text: &str) -> BTreeMap<String, bool> {
    let states = text.lines().filter_map(|line| line.split_once(": "));
    let ours = states.filter(|(name, _)| OFFLOADS.contains(name));
    ours.map(|(name, state)| (name.to_owned(), state.starts_with("on"))).collect()
}

impl VethPair {
    /// Which offloads are on, as the kernel says: of both ends, which are alike.
    pub(crate) fn offloads(&self) -> Result<BTreeMap<String, bool>> {
        let of = |end: &End| Ok::<_, anyhow::Error>(offload_states(&end.output("ethtool", &["-k", &end.interface])?));
        let (server, client) = (of(&self.server)?, of(&self.client)?);
        ensure!(!server.is_empty() && server == client, "the ends' offloads differ: {server:?}, {client:?}");
        Ok(server)
    }
}

impl Drop for VethPair {
    fn drop(&mut self) {
        for end in [&self.client, &self.server] {
            if exists(&end.namespace)
                && let Err(error) = ip(&["netns", "delete", &end.namespace])
            {
                eprintln!("warning: {error:#}");
            }
        }
    }
}

impl End {
    /// A command that runs `program` inside the namespace.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Makes the loopback interface carry packets as a network does: 1500 bytes, no segmentation and receive offloads.
    pub(crate) fn make_loopback_plain(&self) -> Result<()> {
        ip(&["-n", &self.namespace, "link", "set", "lo", "mtu", "1500"])?;
        self.output("ethtool", &["-K", "lo", "tso", "off", "gso", "off", "gro", "off"]).map(drop)
    }

    fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut all = vec!["netns", "exec", &self.namespace, program];
        all.extend(args);
        process::output("ip", &all)
    }

    fn sysctl(&self, assignment: &str) -> Result<()> {
        let (name, value) = assignment.split_once('=').context("sysctl wants name=value")?;
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        // A kernel without IPv6 has no such file, and no such packets.
        self.output("sh", &["-c", "test ! -e \"$0\" || echo \"$1\" > \"$0\"", &path, value]).map(drop)
    }
}

pub(crate) fn ip(args: &[&str]) -> Result<String> {
    process::output("ip", args)
}

pub(crate) fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

/// Removes namespaces of runs that are no more.
pub(crate) fn sweep() -> Result<()> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for name in entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if let Some(owner) = owner(&name)
            && !Path::new(&format!("/proc/{owner}")).exists()
        {
            ip(&["netns", "delete", &name])?;
            eprintln!("removed namespace {name}, left behind by an earlier run");
        }
    }
    Ok(())
}

fn owner(namespace: &str) -> Option<u32> {
    let (id, _side) = namespace.strip_prefix(PREFIX)?.split_once('-')?;
    id.parse().ok()
}
