//! The cases, and the processes that each is made of.

use core::time::Duration;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Instant;

use crate::netns::{INTERFACE, Namespaces};

/// The environment variable that makes this binary a child.
pub(crate) const ROLE: &str = "LUNA_DPDK_ROLE";
const LIMIT: Duration = Duration::from_secs(90);

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("one_start_per_process", || alone("second", &[])),
    ("refusals_are_one_sentence", || alone("refused", &[])),
    ("ring_loopback", || alone("ring", &[("LUNA_PORT", "ring")])),
    ("memif_zero_copy", || pair("memif-server", "memif-client")),
    ("memif_closed_by_another_thread", || two(("mute", "memif-server"), ("abandon", "memif-client"), &[])),
    ("memif_mtu_9000", || two(("echo", "memif-server"), ("drive", "memif-client"), &[("LUNA_MTU", "9000")])),
    ("memif_two_queues_two_threads", || {
        two(("echo", "memif-server"), ("drive", "memif-client"), &[("LUNA_QUEUES", "2")]);
    }),
    ("memif_driven_by_the_server", || pair_reversed("memif-server", "memif-client")),
    ("memif_copying_client", || pair("memif-server", "memif-copy")),
    ("virtio_packed_in_order", || pair("vhost", "virtio-packed-inorder")),
    ("virtio_packed", || pair("vhost", "virtio-packed")),
    ("virtio_split_in_order", || pair("vhost", "virtio-split-inorder")),
    ("virtio_split_mergeable", || pair("vhost", "virtio-split")),
    ("virtio_mtu_9000", || two(("echo", "vhost"), ("drive", "virtio-packed"), &[("LUNA_MTU", "9000")])),
    ("vhost_drives", || pair_reversed("vhost", "virtio-packed-inorder")),
    ("af_xdp_on_veth", af_xdp),
];

pub(crate) fn run_all(filter: &[String]) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        print!("test dpdk::{name} ... ");
        let start = Instant::now();
        match std::panic::catch_unwind(case) {
            Ok(()) => {
                println!("ok ({:.1?})", start.elapsed());
                passed += 1;
            }
            Err(_) => {
                println!("FAILED");
                failed += 1;
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    // As cargo's own harness ends: whoever counts tests reads this line.
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A child, killed if the case ends before it does.
struct Role {
    name: String,
    child: Option<Child>,
}

impl Role {
    fn start(role: &str, env: &[(&str, &str)], namespace: Option<&str>) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(exe);
                command
            }
            None => Command::new(exe),
        };
        let child = command
            .env(ROLE, role)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { name: format!("{role} {env:?}"), child: Some(child) }
    }

    fn finish(mut self) -> Output {
        let start = Instant::now();
        while let Some(child) = &mut self.child {
            if child.try_wait().unwrap().is_some() {
                let output = self.child.take().unwrap().wait_with_output().unwrap();
                let text =
                    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                assert!(output.status.success(), "{}: {}\n{text}", self.name, output.status);
                if std::env::var_os("LUNA_VERBOSE").is_some() {
                    print!("\n{}:\n{text}", self.name);
                }
                return output;
            }
            assert!(start.elapsed() < LIMIT, "{} did not end", self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("a role ends once")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            if let Ok(output) = self.child.take().unwrap().wait_with_output() {
                eprintln!(
                    "{} (killed):\n{}{}",
                    self.name,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}

fn alone(role: &str, env: &[(&str, &str)]) {
    Role::start(role, env, None).finish();
}

fn socket() -> PathBuf {
    static SERIAL: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
    let serial = SERIAL.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!("luna-dpdk-{}-{serial}.sock", std::process::id()))
}

/// The listening side echoes, the other drives.
fn pair(listener: &str, connector: &str) {
    two(("echo", listener), ("drive", connector), &[]);
}

/// The listening side drives.
fn pair_reversed(listener: &str, connector: &str) {
    two(("drive", listener), ("echo", connector), &[]);
}

fn two(listener: (&str, &str), connector: (&str, &str), more: &[(&str, &str)]) {
    let socket = socket();
    let path = socket.to_str().unwrap();
    let env = |port| [&[("LUNA_PORT", port), ("LUNA_PATH", path)], more].concat();
    let first = Role::start(listener.0, &env(listener.1), None);
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < LIMIT, "nobody listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = Role::start(connector.0, &env(connector.1), None);
    let (driver, other) = if listener.0 == "drive" { (first, second) } else { (second, first) };
    driver.finish();
    other.finish();
    assert!(!socket.exists(), "the socket was left behind");
}

/// Two namespaces: Luna's ports go by AF_XDP; ping and other TCP ports of the same address stay with the kernel.
fn af_xdp() {
    let namespaces = Namespaces::new();
    let [a, b] = &namespaces.names;
    let env = [("LUNA_PORT", "af-xdp"), ("LUNA_IFACE", INTERFACE), ("LUNA_COUNT", "60000")];
    let echo = Role::start("echo", &env, Some(a));
    let drive = Role::start("drive", &env, Some(b));
    std::thread::sleep(Duration::from_millis(700));
    Role::start("xdp-occupied", &env, Some(a)).finish();
    let listen = Role::start("kernel-listen", &[], Some(a));
    let connect = Role::start("kernel-connect", &[], Some(b));
    let ping =
        Command::new("ip").args(["netns", "exec", b, "ping", "-c", "3", "-i", "0.2", "-W", "2", "10.99.0.1"]).output();
    let ping = ping.expect("ping (package iputils-ping) cannot be run");
    connect.finish();
    listen.finish();
    drive.finish();
    echo.finish();
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    for namespace in &namespaces.names {
        let link = Command::new("ip").args(["-n", namespace, "link", "show", INTERFACE]).output().unwrap();
        let text = String::from_utf8_lossy(&link.stdout).into_owned();
        assert!(!text.contains("xdp"), "an XDP program was left behind: {text}");
    }
}
