//! What a user does wrong, and what is in the way: one sentence, an exit code, nothing left behind, nobody else disturbed.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::link::{Kind, Link, PORT, Side};
use crate::luna::{self, Ended, Process};

/// Runs knbench shortly over `link` to see that its server is alive.
fn works(link: &Link) {
    let told = luna::client(link, "knbench", &["--verify", "--duration", "100ms", "--warmup", "0s"]).json();
    assert_eq!(told["errors"], 0, "{told}");
}

fn run(link: &Link, side: Side, line: &[String]) -> Ended {
    Process::start(&link.work, link.namespace(side), line).end()
}

/// A server's command line with another port in `--nic`.
fn with_nic(mut line: Vec<String>, from: &str, to: &str) -> Vec<String> {
    let nic = line.iter_mut().find(|arg| arg.contains(from)).unwrap();
    *nic = nic.replace(from, to);
    line
}

fn says(ended: &Ended, words: &[&str]) {
    let sentence = ended.sentence();
    for word in words {
        assert!(sentence.contains(word), "\"{word}\" is not in: {sentence}");
    }
}

pub(crate) fn missing_interface() {
    let link = Link::new(Kind::AfXdp);
    for (side, verb) in [(Side::Server, "serve"), (Side::Client, "knbench")] {
        let line = with_nic(luna::arguments(&link, side, verb, &[]), "iface=veth0", "iface=nope0");
        says(&run(&link, side, &line), &["nope0", "ip link"]);
    }
}

pub(crate) fn nobody_at_the_socket() {
    for kind in [Kind::Memif, Kind::Virtio] {
        let link = Link::new(kind);
        says(&luna::client(&link, "knbench", &[]), &["pair.sock", "start the other side first"]);
        // One whose process is dead.
        drop(UnixListener::bind(link.socket()).unwrap());
        says(&luna::client(&link, "knbench", &[]), &["pair.sock", "nobody listens", "start the other side first"]);
        fs::remove_file(link.socket()).unwrap();
        assert!(link.work.sockets().is_empty());
    }
}

pub(crate) fn wrong_role() {
    let link = Link::new(Kind::Memif);
    // Both listen, and nobody connects.
    let line = with_nic(luna::arguments(&link, Side::Client, "knbench", &[]), "role=client", "role=server");
    says(&run(&link, Side::Client, &line), &["nobody is at the other end"]);
    assert!(link.work.sockets().is_empty(), "left behind");
    // Both connect, and nobody listens.
    let line = with_nic(luna::arguments(&link, Side::Server, "serve", &[]), "role=server", "role=client");
    says(&run(&link, Side::Server, &line), &["there is no socket"]);
    // No role at all.
    let line = with_nic(luna::arguments(&link, Side::Server, "serve", &[]), "role=server", "role=user");
    let ended = run(&link, Side::Server, &line);
    assert!(ended.status.code() == Some(2) && ended.err.contains("server or client"), "{}", ended.err);
    // Somebody listens there already, and goes on.
    let server = luna::serve(&link, &link.work.path("root"), &[]);
    let second = luna::arguments(&link, Side::Server, "serve", &[]);
    says(&run(&link, Side::Server, &second), &["pair.sock", "another process listens on it"]);
    works(&link);
    luna::stop(&link, server);
}

pub(crate) fn occupied_interface() {
    let link = Link::new(Kind::AfXdp);
    let server = luna::serve(&link, &link.work.path("root"), &[]);
    let second = luna::arguments(&link, Side::Server, "serve", &[]);
    says(&run(&link, Side::Server, &second), &["veth0", "already has an XDP program"]);
    works(&link);
    luna::stop(&link, server);
    // Given back by the first.
    let server = luna::serve(&link, &link.work.path("root"), &[]);
    works(&link);
    luna::stop(&link, server);
}

/// The kernel's count of free pages is covered by a file, for this process alone: others keep theirs.
pub(crate) fn no_hugepages() {
    let link = Link::new(Kind::Memif);
    let none = link.work.path("free_hugepages");
    fs::write(&none, "0\n").unwrap();
    let script = "mount --bind \"$1\" /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages && shift && exec \"$@\"";
    let head = ["unshare", "--mount", "sh", "-c", script, "sh"].map(str::to_owned);
    let none = none.display().to_string();
    let line = luna::arguments(&link, Side::Server, "serve", &[]);
    let line: Vec<String> = head.into_iter().chain([none]).chain(line).collect();
    says(&run(&link, Side::Server, &line), &["64 free hugepages", "0 are there", "cargo xtask setup"]);
    assert!(link.work.sockets().is_empty(), "left behind");
}

pub(crate) fn connection_refused() {
    for kind in [Kind::AfXdp, Kind::Memif, Kind::Kernel] {
        let link = Link::new(kind);
        let server = luna::serve(&link, &link.work.path("root"), &[]);
        // On AF_XDP this port is the kernel's, whose RST it then is; on memif it is Luna's own.
        let other = format!("{}:{}", link.address(Side::Server), PORT + 1);
        let line = with_nic(luna::arguments(&link, Side::Client, "knbench", &[]), &link.endpoint(), &other);
        says(&run(&link, Side::Client, &line), &[&other, "connection refused"]);
        works(&link);
        luna::stop(&link, server);
    }
}

pub(crate) fn connections_beyond_the_limit() {
    for kind in [Kind::Memif, Kind::AfXdp, Kind::Kernel] {
        let link = Link::new(kind);
        let server = luna::serve(&link, &link.work.path("root"), &["--connections", "1"]);
        works(&link);
        let args = ["--connections", "2", "--duration", "100ms", "--warmup", "0s"];
        // Established and then reset: a peer cannot refuse what its listener has already accepted.
        says(&luna::client(&link, "knbench", &args), &[&link.endpoint(), "the peer reset the connection"]);
        works(&link);
        let told = luna::stop(&link, server);
        let refused = told.pointer("/rpc/connections_refused").and_then(Value::as_u64);
        assert!(refused.is_some_and(|n| n >= 1), "{kind:?}: refused {refused:?}\n{told}");
    }
}
