//! Ctrl-C in the middle of `cargo xtask demo`, at several stages: everything that it made is gone, everything that it changed
//! is as before.
//!
//! `LUNA_BINARY=$PWD/target/debug/luna cargo test -p xtask --features system --test interrupt`, as root: `luna` built with
//! the feature `dpdk`, and what `cargo xtask setup` prepares.

use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What the demo says when a stage begins, and how far into the stage the signal comes.
const STAGES: [(&str, &str, u64); 5] = [
    ("af-xdp", "two namespaces", 0),
    ("af-xdp", "file, put and get", 700),
    ("memif", "knbench, depth 1", 300),
    ("virtio", "file, put and get", 400),
    ("kernel", "knbench, depth 16", 600),
];
/// The demo stops its servers in order: each may write its closing report.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let luna = fs::canonicalize(std::env::var("LUNA_BINARY").expect("LUNA_BINARY")).unwrap();
    let before = state();
    for (link, stage, delay) in STAGES {
        let work = TempDir::new().unwrap();
        let demo = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["demo", "--quick", "--yes", "--only", link, "--luna"])
            .arg(&luna)
            .env("TMPDIR", work.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = interrupt(demo, stage, Duration::from_millis(delay), work.path());
        let at = format!("{link}, {stage}, {delay} ms\n{said}");
        let left: Vec<_> = fs::read_dir(work.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "files: {left:?}; {at}");
        // The kernel takes an AF_XDP socket's memory apart some time after the process is gone.
        let start = Instant::now();
        while state() != before && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(state(), before, "{at}");
    }
}

/// Waits for the stage, signals, waits for the end; what the demo said.
fn interrupt(mut demo: Child, stage: &str, delay: Duration, work: &Path) -> String {
    let mut said = String::new();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines().map_while(Result::ok);
    for line in lines.by_ref() {
        said.push_str(&line);
        said.push('\n');
        if line.contains(stage) {
            break;
        }
    }
    assert!(said.contains(stage), "the demo did not get that far:\n{said}");
    thread::sleep(delay);
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = demo.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "the demo does not end:\n{said}");
        thread::sleep(Duration::from_millis(20));
    };
    said.extend(lines.map(|line| line + "\n"));
    assert_eq!(status.code(), Some(130), "{said}");
    // A child that is being killed has its memory for a moment longer.
    let start = Instant::now();
    while processes(work) != Vec::<String>::new() {
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}\n{said}", processes(work));
        thread::sleep(Duration::from_millis(20));
    }
    said
}

/// What a run may not change.
fn state() -> Vec<String> {
    let pages = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
    let number = |name| fs::read_to_string(pages.join(name)).unwrap();
    let mut all = vec![number("nr_hugepages"), number("free_hugepages")];
    for (dir, prefix) in [("/run/netns", "luna-demo-"), ("/var/run/dpdk", "luna-"), ("/sys/class/net", "luna-")] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
        let mut names: Vec<_> = names.map(|path| path.display().to_string()).collect();
        names.sort();
        all.extend(names);
    }
    all
}

/// Processes that have something to do with that directory: the demo's `luna`s name it.
fn processes(work: &Path) -> Vec<String> {
    let work = work.to_string_lossy();
    let ids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let lines = ids.filter_map(|id| fs::read(id.join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&*work)).collect()
}
