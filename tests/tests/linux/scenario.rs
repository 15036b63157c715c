//! The cases: two namespaces, an end in each, packet loss where it is wanted, and ping.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use crate::netns::{INTERFACE, Namespaces};

pub(crate) const ROLE: &str = "LUNA_LINUX_ROLE";
const LIMIT: Duration = Duration::from_secs(240);
/// Luna is in the first namespace, the kernel in the second.
const LUNA: &str = "10.99.0.1:7000";
const KERNEL: &str = "10.99.0.2:7001";

type Case = (&'static str, fn());
const CASES: &[Case] = &[
    ("kernel_client_luna_server", || case(true, false)),
    ("kernel_client_luna_server_one_percent_loss", || case(true, true)),
    ("luna_client_kernel_server", || case(false, false)),
    ("luna_client_kernel_server_one_percent_loss", || case(false, true)),
];

pub(crate) fn run_all(args: &[String]) -> ExitCode {
    let filter: Vec<_> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        println!("test linux::{name} ...");
        let start = Instant::now();
        if std::panic::catch_unwind(case).is_ok() {
            println!("test linux::{name} ... ok ({:.1?})", start.elapsed());
            passed += 1;
        } else {
            println!("test linux::{name} ... FAILED");
            failed += 1;
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &[&str]) -> String {
    let out = Command::new(args[0]).args(&args[1..]).output().unwrap_or_else(|e| panic!("{}: {e}", args[0]));
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A process in a namespace, killed when dropped.
struct End {
    child: Child,
    role: &'static str,
}

impl End {
    fn start(role: &'static str, namespace: &str, env: &[(&str, &str)]) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, role }
    }

    fn wait_ready(&mut self) -> BufReader<std::process::ChildStdout> {
        let mut out = BufReader::new(self.child.stdout.take().unwrap());
        let mut line = String::new();
        while out.read_line(&mut line).unwrap() > 0 && !line.contains("ready") {
            line.clear();
        }
        assert!(line.contains("ready"), "{} did not get ready", self.role);
        out
    }

    fn finish(&mut self, out: impl BufRead) {
        for line in out.lines().map_while(Result::ok) {
            println!("    {}: {line}", self.role);
        }
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "{} does not end", self.role);
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{}: {status}", self.role);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn case(kernel_is_client: bool, loss: bool) {
    let namespaces = Namespaces::new();
    let [luna, kernel] = &namespaces.names;
    let mac = run(&["ip", "netns", "exec", kernel, "cat", &format!("/sys/class/net/{INTERFACE}/address")]);
    if loss {
        // What Luna sends; what the kernel sends is lost in Luna's queue, see `lossy`.
        run(&[
            "ip",
            "netns",
            "exec",
            kernel,
            "nft",
            "add table ip luna; add chain ip luna in { type filter hook input priority 0; }; \
             add rule ip luna in meta l4proto tcp numgen random mod 100 == 0 counter drop",
        ]);
    }
    let (per_million, flag) = if loss { ("10000", "1") } else { ("0", "") };
    let luna_env = [
        ("LUNA_LOCAL", LUNA),
        ("LUNA_PEER", KERNEL),
        ("LUNA_PEER_MAC", mac.as_str()),
        ("LUNA_LOSS_PER_MILLION", per_million),
        ("LUNA_LOSS", flag),
    ];
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        // Not an assertion inside the thread alone: its result is taken below.
        let pings = s.spawn(|| {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                let ok = Command::new("ip")
                    .args(["netns", "exec", kernel, "ping", "-c", "1", "-W", "2", "10.99.0.1"])
                    .stdout(Stdio::null())
                    .status()
                    .is_ok_and(|s| s.success());
                answered += u32::from(ok);
                std::thread::sleep(Duration::from_millis(200));
            }
            answered
        });
        let transfer = std::panic::catch_unwind(|| {
            if kernel_is_client {
                let mut server = End::start("luna-server", luna, &luna_env);
                let out = server.wait_ready();
                let mut client = End::start("kernel-client", kernel, &[("LUNA_PEER", LUNA)]);
                let client_out = BufReader::new(client.child.stdout.take().unwrap());
                client.finish(client_out);
                server.finish(out);
            } else {
                let mut server = End::start("kernel-server", kernel, &[("LUNA_PEER", KERNEL)]);
                let out = server.wait_ready();
                let mut client = End::start("luna-client", luna, &luna_env);
                let client_out = BufReader::new(client.child.stdout.take().unwrap());
                client.finish(client_out);
                server.finish(out);
            }
        });
        done.store(true, Ordering::Relaxed);
        let answered = pings.join().unwrap();
        if let Err(e) = transfer {
            std::panic::resume_unwind(e);
        }
        println!("    the kernel answered {answered} pings meanwhile");
        assert!(answered > 0, "the kernel must keep answering ping");
    });
    if loss {
        let rules = run(&["ip", "netns", "exec", kernel, "nft", "list", "ruleset"]);
        println!("    {}", rules.lines().find(|l| l.contains("counter")).unwrap_or_default().trim());
        assert!(!rules.contains("packets 0 "), "the packet filter lost nothing");
    }
}
