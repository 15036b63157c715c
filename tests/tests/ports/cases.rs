//! What works: files, RPC, the kernel's TCP at one end.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::link::{Kind, Link, Side};
use crate::luna::{self, Process};

const FILE: usize = 64 << 20;
/// A file over veth, in a debug build, for the cases where its size is not the point.
const SMALL_FILE: usize = 16 << 20;

/// What all sides told, shown when a number is not as it must be.
struct Told(Vec<(&'static str, Value)>);

impl Told {
    fn number(&self, side: &str, path: &str) -> f64 {
        let told = &self.0.iter().find(|(name, _)| *name == side).unwrap().1;
        told.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{side} has no {path}\n{self}"))
    }

    fn text(&self, side: &str, path: &str) -> String {
        let told = &self.0.iter().find(|(name, _)| *name == side).unwrap().1;
        told.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{side} has no {path}\n{self}")).to_owned()
    }

    /// Nothing was taken for lost, and nothing was copied on its way in. A tail loss probe (RFC 8985 §7) asks after a pause
    /// of the peer, here one that waits for a core, and its segment counts as sent again: that is no loss.
    fn healthy(&self) {
        for (side, _) in &self.0 {
            let repairs = self.number(side, "/tcp/retransmits") - self.number(side, "/tcp/tlp_probes");
            assert!(repairs <= 0.0, "{side}: {repairs} segments were sent again without loss\n{self}");
            assert!(self.number(side, "/tcp/rtos") == 0.0, "{side}: a timeout without loss\n{self}");
            let rx = self.number(side, "/copies/rx_per_byte");
            assert!(rx == 0.0, "{side}: {rx} copies per byte received\n{self}");
        }
    }

    /// Copies per byte that `side` sent: about one on AF_XDP, whose frames are copied into its memory; otherwise at most
    /// `most`.
    fn copied(&self, side: &str, kind: Kind, most: f64) {
        let tx = self.number(side, "/copies/tx_per_byte");
        let as_promised = if kind == Kind::AfXdp { tx > 0.9 && tx <= 1.0 } else { tx <= most };
        assert!(as_promised, "{side}: {tx} copies per byte sent\n{self}");
    }
}

impl core::fmt::Display for Told {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|(name, told)| writeln!(f, "{name}: {told}"))
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Puts a file, gets it back under another name; every digest is the one computed here.
fn there_and_back(link: &Link, size: usize) -> Told {
    let (sent, received, root) = (link.work.path("sent"), link.work.path("received"), link.work.path("root"));
    let mut bytes = vec![0; size];
    luna_host::pattern::fill(&mut bytes, size as u64);
    fs::write(&sent, &bytes).unwrap();
    let expected = sha256(&bytes);
    drop(bytes);
    let server = luna::serve(link, &root, &[]);
    let transfer =
        |verb: &str, file: &Path| luna::client(link, verb, &["--name", "blob", file.to_str().unwrap()]).json();
    let put = transfer("put", &sent);
    let get = transfer("get", &received);
    let told = Told(vec![("put", put), ("get", get), ("server", luna::stop(link, server))]);
    for verb in ["put", "get"] {
        assert_eq!(told.number(verb, "/bytes"), size as f64, "{told}");
        assert_eq!(told.text(verb, "/sha256_local"), expected, "{told}");
        assert_eq!(told.text(verb, "/sha256_remote"), expected, "{told}");
        println!("    {verb} {:.1} Gb/s", told.number(verb, "/gbps"));
    }
    assert_eq!(sha256(&fs::read(root.join("blob")).unwrap()), expected, "what the server keeps");
    assert_eq!(sha256(&fs::read(received).unwrap()), expected, "what came back");
    told
}

pub(crate) fn file(kind: Kind) {
    let link = Link::new(kind);
    let pings = (kind == Kind::AfXdp).then(|| {
        let line = ["ping", "-n", "-i", "0.1", &link.address(Side::Server)].map(str::to_owned);
        let mut ping = Process::start(&link.work, link.namespace(Side::Client), &line);
        ping.wait_for("bytes from");
        ping
    });
    let told = there_and_back(&link, FILE);
    if let Some(ping) = pings {
        ping.interrupt();
        let out = ping.end().out;
        let (sent, answered) = ping_counts(&out);
        println!("    the kernel answered {answered} of {sent} pings");
        // The last may be under way when ping is stopped.
        assert!(answered >= 5 && answered + 1 >= sent, "{out}");
    }
    told.healthy();
    for side in ["put", "server"] {
        told.copied(side, kind, 0.0);
    }
    if matches!(kind, Kind::Virtio | Kind::VirtioV6) {
        // The vhost side takes frames larger than the MTU (TSO); it sends none itself, as its driver declares.
        let (frames, segments) =
            (told.number("put", "/client/queue/tx_frames"), told.number("put", "/tcp/segments_out"));
        assert!(frames < segments / 2.0, "{frames} frames for {segments} segments\n{told}");
    }
    // The client of a get sends requests alone: small messages, head and names together, which may be copied, each once on
    // its way into a shared obj and once behind a header, and once more where the port copies.
    let copied = told.number("get", "/copies/tx_bytes");
    assert!(copied <= 2.0 * told.number("get", "/tcp/bytes_out"), "{told}");
}

/// "12 packets transmitted, 12 received, 0% packet loss, time 2203ms"
fn ping_counts(out: &str) -> (u64, u64) {
    let line = out.lines().find(|line| line.contains(" packets transmitted")).unwrap_or_else(|| panic!("{out}"));
    let mut numbers = line.split(", ").map(|part| part.split(' ').next().unwrap().parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

pub(crate) fn knbench(kind: Kind) {
    let link = Link::new(kind);
    for depth in ["1", "16"] {
        let server = luna::serve(&link, &link.work.path("root"), &[]);
        let args = ["--verify", "--size", "4096", "--iodepth", depth, "--duration", "1s", "--warmup", "200ms"];
        let client = luna::client(&link, "knbench", &args).json();
        let told = Told(vec![("client", client), ("server", luna::stop(&link, server))]);
        let n = |path: &str| told.number("client", path);
        assert!(n("/errors") == 0.0 && n("/rps") > 0.0 && n("/requests") > 0.0, "{told}");
        let order = ["min", "p50", "p90", "p99", "p99.9", "max"].map(|q| n(&format!("/latency_ns/{q}")));
        assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}\n{told}");
        assert!(told.number("server", "/rpc/requests") >= n("/requests"), "{told}");
        assert!(told.number("server", "/rpc/corrupt_payloads") == 0.0, "{told}");
        println!("    depth {depth}: {:.0} RPC/s", n("/rps"));
        told.healthy();
        told.copied("client", kind, 0.0);
        // An echo sends back what came, in pieces of received frames; the smallest ride in the header's obj.
        told.copied("server", kind, 0.02);
    }
}

/// Two threads a side, each with a stack on a queue of its own; queue N of one port leads to queue N of the other.
pub(crate) fn two_queues(kind: Kind) {
    let link = Link::new(kind);
    let server = luna::serve(&link, &link.work.path("root"), &["--threads", "2"]);
    let args = ["--threads", "2", "--connections", "2", "--verify", "--iodepth", "4", "--duration", "500ms"];
    let client = luna::client(&link, "knbench", &args).json();
    let told = Told(vec![("client", client), ("server", luna::stop(&link, server))]);
    let n = |side: &str, path: &str| told.number(side, path);
    assert!(n("client", "/errors") == 0.0 && n("client", "/requests") > 0.0, "{told}");
    assert_eq!((n("client", "/tcp/active_opens"), n("server", "/tcp/passive_opens")), (4.0, 4.0), "{told}");
    // Four threads that spin share the cores with whatever else runs: segments may be sent again, and nothing is lost.
    assert!(n("server", "/rpc/requests") >= n("client", "/requests"), "{told}");
}

/// The limit repeats nothing: a frame that is lost or damaged stops it. The last point has more segments in flight than a ring
/// has descriptors.
pub(crate) fn limit(kind: Kind) {
    let link = Link::new(kind);
    let server = luna::serve(&link, &link.work.path("root"), &["--stack", "limit"]);
    for (size, depth) in [("64", "1"), ("4096", "16"), ("65536", "16")] {
        let args = ["--stack", "limit", "--verify", "--size", size, "--iodepth", depth, "--duration", "300ms"];
        let client = luna::client(&link, "knbench", &args).json();
        let told = Told(vec![("client", client)]);
        assert!(told.number("client", "/requests") > 0.0, "{told}");
    }
    let told = Told(vec![("server", luna::stop(&link, server))]);
    let n = |path: &str| told.number("server", path);
    assert_eq!((n("/rpc/messages_broken"), n("/rpc/frames_not_ours")), (0.0, 0.0), "{told}");
}

/// A file between Luna's TCP and the kernel's.
pub(crate) fn across(server: Kind, client: Kind) {
    let link = Link::mixed(server, client);
    let told = there_and_back(&link, SMALL_FILE);
    let luna: &[&str] = if server == Kind::AfXdp { &["server"] } else { &["put", "get"] };
    for side in luna {
        assert_eq!(told.number(side, "/tcp/rtos"), 0.0, "{side}: a timeout without loss\n{told}");
    }
    // Otherwise this would be Luna on both sides, or on none.
    let stack = |side: &str| told.text(side, if side == "server" { "/server/stack" } else { "/client/stack" });
    assert_ne!(stack("put"), stack("server"), "{told}");
}
