//! The `luna` command end to end, without root: over the in-memory pair and over kernel sockets on the loopback interface.

mod common;

use core::time::Duration;
use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use common::{Server, failure, file, json, luna, output};
use serde_json::Value;
use tempfile::TempDir;

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {report}"))
}

/// What every benchmark's report has to agree on.
fn check(report: &Value, size: f64) {
    let n = |path: &str| number(report, path);
    assert!(n("/requests") > 0.0 && n("/rps") > 0.0 && n("/errors") == 0.0, "{report}");
    let order = ["min", "p50", "p90", "p99", "p99.9", "max"].map(|q| n(&format!("/latency_ns/{q}")));
    assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}");
    let cdf: Vec<(f64, f64)> = serde_json::from_value(report["cdf"].clone()).unwrap();
    assert!(cdf.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) && cdf.last().unwrap().1 == 1.0, "{cdf:?}");
    let at_most = |q: f64| cdf.iter().find(|(_, part)| *part >= q).unwrap().0;
    assert!((at_most(0.5) / n("/latency_ns/p50") - 1.0).abs() < 0.2 && at_most(1.0) >= n("/latency_ns/max"));
    assert!((n("/gbps") - n("/rps") * size * 8.0 / 1e9).abs() < 1e-6);
    assert!((n("/rps") * n("/config/duration_s") - n("/requests")).abs() < n("/requests") * 0.01 + 2.0);
    assert!(report["machine"]["cpu"].is_string());
}

#[test]
fn knbench_in_memory_needs_nothing_copies_nothing_and_reports_both_sides() {
    let args = ["knbench", "--duration", "200ms", "--warmup", "50ms", "--verify", "--json"];
    let report = json(&args);
    check(&report, 4096.0);
    for side in ["client", "server"] {
        assert_eq!(report[side]["stack"], "luna");
        assert_eq!(number(&report, &format!("/{side}/copies/tx_per_byte")), 0.0);
        assert_eq!(number(&report, &format!("/{side}/copies/rx_per_byte")), 0.0);
    }
    assert_eq!(number(&report, "/server_rpc/requests"), number(&report, "/rpc/responses"));
    assert!(number(&report, "/client/queue/tx_frames") > number(&report, "/requests"));
}

/// One that this process may run on.
fn an_allowed_cpu() -> String {
    let cpu = (0..1024).find(|cpu| {
        let list = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = list.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
        allowed.split(',').any(|r| {
            let (a, b) = r.split_once('-').unwrap_or((r, r));
            (a.parse::<u32>().unwrap()..=b.parse().unwrap()).contains(cpu)
        })
    });
    cpu.unwrap().to_string()
}

#[test]
fn knbench_in_one_thread() {
    let cpu = an_allowed_cpu();
    let args = ["knbench", "--cpu", &cpu, "--duration", "200ms", "--warmup", "0s", "--iodepth", "16", "--json"];
    let report = json(&args);
    check(&report, 4096.0);
    assert_eq!(number(&report, "/client/queue/tx_dropped"), 0.0);
}

/// Sums, and that every stage but checksums, which the pair does not need, took something.
#[cfg(feature = "cycles")]
#[test]
fn knbench_counts_cycles_by_stage_at_both_ends() {
    let cpu = an_allowed_cpu();
    let args = ["knbench", "--cpu", &cpu, "--duration", "300ms", "--warmup", "0s", "--cycles=4", "--json"];
    let report = json(&args);
    check(&report, 4096.0);
    for (side, rpcs) in [("client", "/rpc/responses"), ("server", "/server_rpc/requests")] {
        let cycles = &report[side]["cycles"];
        assert_eq!(number(cycles, "/rpcs"), number(&report, rpcs));
        assert!(number(cycles, "/turns_stamped") * 3.0 < number(cycles, "/turns"), "{cycles}");
        let stages = cycles["stages_per_rpc"].as_object().unwrap();
        let sum: f64 = stages.values().filter_map(Value::as_f64).sum();
        assert!((sum - number(cycles, "/per_rpc")).abs() < 1.0, "{cycles}");
        assert!(sum > 500.0, "an RPC takes some time: {cycles}");
        for stage in ["driver rx", "TCP in", "RPC", "application", "TCP out", "driver tx"] {
            assert!(stages[stage].as_f64().unwrap() > 0.0, "{stage}: {cycles}");
        }
    }
    let told = output(&["knbench", "--cpu", &cpu, "--duration", "100ms", "--warmup", "0s", "--cycles"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(text.matches("cycles per RPC").count(), 2, "of both ends: {text}");
}

#[test]
fn knbench_sizes_depths_connections_and_mtu() {
    for (stack, nic) in [("luna", Some("mem:mtu=9000")), ("luna", Some("mem:mtu=1280")), ("kernel", None)] {
        for (size, depth, connections) in [("1", "1", "3"), ("65536", "4", "2"), ("5000", "32", "1")] {
            let mut args = vec!["knbench", "--stack", stack, "--size", size, "--iodepth", depth];
            args.extend(["--connections", connections, "--duration", "100ms", "--warmup", "0s", "--verify", "--json"]);
            args.extend(nic.iter().flat_map(|nic| ["--nic", nic]));
            check(&json(&args), size.parse().unwrap());
        }
    }
}

/// A closed loop of depth 1 has one request that notices a stall; an open loop has all that fell due meanwhile.
#[test]
fn a_server_that_stalls_shows_in_the_open_loops_p99_and_hides_in_the_closed_loops() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let stalled = |load: &[&str]| {
        let common = ["knbench", "--stack", "kernel", "--connect", &server.addr, "--warmup", "0s", "--duration", "2s"];
        let args = [&common[..], load, &["--json"]].concat();
        thread::scope(|scope| {
            let bench = scope.spawn(|| json(&args));
            thread::sleep(Duration::from_millis(700));
            server.signal(19); // SIGSTOP
            thread::sleep(Duration::from_millis(400));
            server.signal(18); // SIGCONT
            bench.join().unwrap()
        })
    };
    let open = stalled(&["--rate", "400", "--iodepth", "4"]);
    check(&open, 4096.0);
    assert_eq!((open["config"]["rate"].as_f64(), open["config"]["arrivals"].as_str()), (Some(400.0), Some("poisson")));
    // A fifth of all requests fell due while it stood still: nine tenths of them waited for more than 40 ms.
    assert!(number(&open, "/latency_ns/p99") > 250e6, "{open}");
    assert!(number(&open, "/latency_ns/max") > 300e6 && number(&open, "/latency_ns/p50") < 200e6, "{open}");
    // None is left out: as many as fell due in two seconds (a Poisson count, within six deviations).
    assert!((number(&open, "/requests") - 800.0).abs() < 170.0, "{open}");
    let closed = stalled(&["--iodepth", "1"]);
    assert!(number(&closed, "/latency_ns/max") > 300e6, "{closed}");
    assert!(number(&closed, "/latency_ns/p99") < 100e6, "{closed}");
}

#[test]
fn an_open_loop_beyond_what_the_server_can_do_counts_what_never_came() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let args = ["knbench", "--stack", "kernel", "--connect", &server.addr, "--rate", "1e7", "--arrivals", "fixed"];
    let report = json(&[&args[..], &["--warmup", "0s", "--duration", "100ms", "--json"]].concat());
    let (done, unfinished) = (number(&report, "/requests"), number(&report, "/unfinished"));
    assert!(((done + unfinished) / 1e6 - 1.0).abs() < 0.2, "a million fell due: {done} and {unfinished}");
    assert!(unfinished > 0.0 && number(&report, "/rps") < 5e6, "{report}");
    assert!(number(&report, "/latency_ns/max") > 1e9, "what never came waited until the end");
}

#[test]
fn an_open_loop_below_it_has_the_rate_that_was_asked_for() {
    for stack in ["luna", "kernel"] {
        let args = ["knbench", "--stack", stack, "--rate", "500", "--iodepth", "64", "--connections", "2"];
        let report = json(&[&args[..], &["--warmup", "100ms", "--duration", "1s", "--json"]].concat());
        check(&report, 4096.0);
        assert!((number(&report, "/rps") / 500.0 - 1.0).abs() < 0.25, "{report}");
        assert_eq!(number(&report, "/unfinished"), 0.0);
    }
}

#[test]
fn threads_have_a_stack_each_and_one_report() {
    for (stack, cpus) in [("luna", None), ("kernel", None), ("luna", Some("0")), ("kernel", Some("0"))] {
        let mut args = vec!["knbench", "--stack", stack, "--threads", "3", "--connections", "2", "--iodepth", "2"];
        args.extend(["--duration", "200ms", "--warmup", "0s", "--verify", "--json"]);
        args.extend(cpus.iter().flat_map(|cpus| ["--cpu", cpus]));
        let report = json(&args);
        check(&report, 4096.0);
        assert_eq!(number(&report, "/config/threads"), 3.0);
        assert_eq!(number(&report, "/server_rpc/requests"), number(&report, "/rpc/responses"), "{report}");
        let opened = if stack == "luna" { "/tcp/active_opens" } else { "/tcp/connected" };
        assert_eq!(number(&report, opened), 6.0, "{report}");
        assert!(number(&report, "/cpu/us_per_rpc") > 0.0);
    }
}

#[test]
fn every_thread_of_a_client_reaches_every_thread_of_a_server() {
    let dir = TempDir::new().unwrap();
    // A port with one after it that is free, more likely than not: outside the kernel's own range.
    let mut port = 20_000 + std::process::id() % 10_000;
    let server = loop {
        let listen = format!("127.0.0.1:{port}");
        let args = ["serve", "--stack", "kernel", "--listen", &listen, "--threads", "2", "--json"];
        match Server::try_start(dir.path(), &args) {
            Some(server) => break server,
            None => port += 2,
        }
    };
    let args = ["knbench", "--stack", "kernel", "--connect", &server.addr, "--threads", "2", "--connections", "2"];
    check(&json(&[&args[..], &["--duration", "200ms", "--verify", "--json"]].concat()), 4096.0);
    let three = ["knbench", "--stack", "kernel", "--connect", &server.addr, "--threads", "3", "--server-threads", "2"];
    check(&json(&[&three[..], &["--duration", "200ms", "--json"]].concat()), 4096.0);
    let told = server.stop();
    assert_eq!(number(&told, "/tcp/accepted"), 7.0);
}

#[test]
fn points_come_from_standard_input_and_each_has_its_own_figures() {
    use std::io::Write;
    for (stack, threads) in [("luna", "1"), ("kernel", "2")] {
        let args = ["knbench", "--stack", stack, "--threads", threads, "--connections", "2", "--duration", "100ms"];
        let args = [&args[..], &["--warmup", "20ms", "--points", "--json"]].concat();
        let mut child = luna(&args);
        let pipe = std::process::Stdio::piped;
        let mut child = child.stdin(pipe()).stdout(pipe()).spawn().unwrap();
        let mut orders = child.stdin.take().unwrap();
        writeln!(orders, "size=64 iodepth=4 connections=1\n\nsize=65536 rate=500").unwrap();
        drop(orders);
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).unwrap();
        let reports: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (report, size) in reports.iter().zip([64.0, 4096.0, 65_536.0]) {
            check(report, size);
            assert_eq!(number(report, "/config/size"), size);
        }
        assert_eq!(reports.len(), 3);
        assert_eq!(number(&reports[0], "/config/connections"), 1.0);
        assert!(reports[1]["config"]["rate"].is_null() && reports[2]["config"]["rate"] == 500.0);
        if stack == "luna" {
            let opened = |i: usize| number(&reports[i], "/tcp/active_opens");
            assert_eq!((opened(0), opened(1), opened(2)), (1.0, 2.0, 2.0), "counted from the point's beginning");
        }
    }
    let mut child = luna(&["knbench", "--points", "--json"]);
    let mut child = child.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "depth=3").unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), said.contains("'depth=3' is none of size=")), (Some(2), true), "{said}");
}

#[test]
fn the_limit_is_measured_by_the_same_command() {
    for nic in ["mem", "mem:checksums=software", "mem:mtu=9000"] {
        for stack in ["limit", "limit-no-checksums"] {
            let args = ["knbench", "--nic", nic, "--stack", stack, "--threads", "2", "--cpu", "0", "--iodepth", "4"];
            let report = json(&[&args[..], &["--duration", "100ms", "--warmup", "0s", "--verify", "--json"]].concat());
            check(&report, 4096.0);
            assert_eq!(report["client"]["stack"], "limit");
            assert_eq!(report["client"]["port"]["tx_checksum"], !nic.contains("software"));
            assert_eq!(number(&report, "/copies/tx_bytes"), 0.0);
        }
    }
}

#[test]
fn knbench_for_people() {
    let out = output(&["knbench", "--duration", "100ms"]);
    let text = String::from_utf8(out.stdout).unwrap();
    for word in [
        "requests/s",
        "p99.9",
        "closed loop",
        "CPU per request",
        "retransmissions",
        "copies per byte",
        "client",
        "server",
    ] {
        assert!(text.contains(word), "{text}");
    }
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn put_and_get_in_memory() {
    let dir = TempDir::new().unwrap();
    let (from, to, root) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("root"));
    for len in [0, 1, 65_536, 3_000_001] {
        let bytes = file(&from, len);
        let path = |p: &std::path::Path| p.to_str().unwrap().to_owned();
        let put = json(&["put", "--root", &path(&root), "--name", "a blob", &path(&from), "--json"]);
        assert_eq!(put["sha256_local"], put["sha256_remote"]);
        assert_eq!(number(&put, "/bytes"), len as f64);
        assert!(fs::read(root.join("a blob")).unwrap() == bytes);
        let get = json(&["get", "--root", &path(&root), "--name", "a blob", &path(&to), "--json"]);
        assert_eq!(get["sha256_remote"], put["sha256_local"]);
        assert!(fs::read(&to).unwrap() == bytes);
        if len > 256 {
            assert_eq!(number(&put, "/copies/tx_per_byte"), 0.0);
            assert_eq!(number(&get, "/copies/rx_per_byte"), 0.0);
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().chain(fs::read_dir(&root).unwrap()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn a_kernel_server_serves_many_clients_and_tells_what_it_did() {
    let dir = TempDir::new().unwrap();
    let (from, root) = (dir.path().join("from"), dir.path().join("root"));
    let bytes = file(&from, 2_000_000);
    let server = Server::start(&root, &[]);
    let addr = server.addr.as_str();
    thread::scope(|scope| {
        for i in 0..4 {
            let (from, to) = (&from, dir.path().join(format!("to{i}")));
            let bytes = &bytes;
            scope.spawn(move || {
                let name = format!("blob{i}");
                let common = ["--stack", "kernel", "--connect", addr, "--json", "--name", &name];
                let put = json(&[&["put"], &common[..], &[from.to_str().unwrap()]].concat());
                assert_eq!(put["sha256_local"], put["sha256_remote"]);
                assert!(put["copies"]["tx_per_byte"].is_null(), "the kernel's copies are not ours to count");
                json(&[&["get"], &common[..], &[to.to_str().unwrap()]].concat());
                assert!(fs::read(&to).unwrap() == *bytes);
            });
        }
        scope.spawn(|| {
            let bench = ["knbench", "--stack", "kernel", "--connect", addr, "--connections", "16", "--iodepth", "4"];
            check(&json(&[&bench[..], &["--duration", "300ms", "--verify", "--json"]].concat()), 4096.0);
        });
    });
    let told = server.stop();
    assert_eq!(number(&told, "/tcp/accepted"), 24.0);
    assert_eq!((number(&told, "/rpc/puts"), number(&told, "/rpc/gets")), (4.0, 4.0));
    assert_eq!((number(&told, "/rpc/put_bytes"), number(&told, "/rpc/get_bytes")), (8e6, 8e6));
    assert_eq!((number(&told, "/rpc/blob_errors"), number(&told, "/rpc/unanswered")), (0.0, 0.0));
    assert_eq!(number(&told, "/rpc/connections_refused"), 0.0);
    assert!(number(&told, "/rpc/echoes") > 0.0);
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--connections", "2"]);
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(&server.addr).unwrap()).collect();
    // Accepted in order: the third is refused once those two have been.
    let (code, words) = failure(&["knbench", "--stack", "kernel", "--connect", &server.addr, "--duration", "1s"]);
    assert_eq!(code, 1);
    assert!(words.contains("lost") || words.contains("cannot connect"), "{words}");
    // A reset even for who has sent nothing: a FIN would say that it had been served.
    let mut silent = TcpStream::connect(&server.addr).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let error = std::io::Read::read(&mut silent, &mut [0; 1]).expect_err("neither data nor an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(held);
    let told = server.stop();
    assert!(number(&told, "/rpc/connections_refused") >= 1.0, "{told}");
}

#[test]
fn what_is_no_rpc_ends_its_connection_and_nothing_else() {
    use std::io::{Read, Write};
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut stranger = TcpStream::connect(&server.addr).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: somebody who took us for another\r\n\r\n").unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Reset, or closed; not silence.
    match stranger.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
        Ok(_) => panic!("an answer"),
    }
    json(&["knbench", "--stack", "kernel", "--connect", &server.addr, "--duration", "50ms", "--json"]);
    let told = server.stop();
    assert_eq!(number(&told, "/rpc/connections_aborted_for_protocol"), 1.0);
}

#[test]
fn who_finishes_within_a_frame_does_not_keep_his_place() {
    use std::io::{Read, Write};
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--connections", "1"]);
    let mut half = TcpStream::connect(&server.addr).unwrap();
    half.write_all(&[0; 3]).unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    half.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match half.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
        Ok(_) => panic!("an answer"),
    }
    json(&["knbench", "--stack", "kernel", "--connect", &server.addr, "--duration", "50ms", "--json"]);
    assert_eq!(number(&server.stop(), "/rpc/connections_aborted_for_protocol"), 1.0);
}

#[test]
fn a_server_killed_mid_call_is_a_clear_error_soon() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let args = ["knbench", "--stack", "kernel", "--connect", &server.addr, "--duration", "60s", "--json"];
    let client = luna(&args).stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    let killed = Instant::now();
    server.signal(9);
    let out = client.wait_with_output().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(10));
    let words = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(words.contains("connection to 127.0.0.1") && words.contains("lost"), "{words}");
}

#[test]
fn a_put_whose_client_dies_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let (from, root) = (dir.path().join("from"), dir.path().join("root"));
    // Larger than what arrives before the kill, as far as the disk has room: the server reserves all of it first.
    let disk = rustix::fs::statvfs(dir.path()).unwrap();
    let size = (disk.f_bavail * disk.f_frsize / 2).min(1 << 30);
    // Sparse, so that it costs nothing.
    fs::File::create(&from).unwrap().set_len(size).unwrap();
    let server = Server::start(&root, &[]);
    let args = ["put", "--stack", "kernel", "--connect", &server.addr, from.to_str().unwrap()];
    let mut client =
        luna(&args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let count = || fs::read_dir(&root).unwrap().count();
    let patience = Instant::now() + Duration::from_secs(20);
    while count() == 0 && Instant::now() < patience {
        if client.try_wait().unwrap().is_some() {
            let out = client.wait_with_output().unwrap();
            panic!("the put of {size} bytes ended: {}", String::from_utf8_lossy(&out.stderr));
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(count(), 1, "the put has begun");
    client.kill().unwrap();
    client.wait().unwrap();
    while count() != 0 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(count(), 0);
}

#[test]
fn bad_names_and_absent_blobs_are_refused_by_the_server_in_words() {
    let dir = TempDir::new().unwrap();
    let from = dir.path().join("from");
    file(&from, 100);
    let server = Server::start(&dir.path().join("root"), &[]);
    let long = "x".repeat(300);
    for name in ["../escape", "/etc/passwd", ".hidden", "", &long] {
        let args = ["put", "--stack", "kernel", "--connect", &server.addr, "--name", name, from.to_str().unwrap()];
        let (code, words) = failure(&args);
        assert_eq!(code, 1);
        assert!(words.contains("bad blob name"), "{name}: {words}");
    }
    let to = dir.path().join("to");
    let args = ["get", "--stack", "kernel", "--connect", &server.addr, "--name", "absent", to.to_str().unwrap()];
    let (_, words) = failure(&args);
    assert!(words.contains("there is no blob 'absent'"), "{words}");
    assert!(!to.exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left of the get");
}

#[test]
fn a_server_without_blobs_says_so() {
    let dir = TempDir::new().unwrap();
    let from = dir.path().join("from");
    file(&from, 10);
    let blocked = dir.path().join("blocked");
    fs::write(&blocked, b"a file where the root would be").unwrap();
    let root = blocked.to_str().unwrap();
    let (code, words) = failure(&["put", "--root", root, from.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.contains("the blob directory") && words.contains("blocked"), "{words}");
}

#[test]
fn mistakes_are_told_in_one_sentence_with_what_to_do() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["knbench", "--size", "0"], 2, "1..=65536"),
        (&["knbench", "--size", "70000"], 2, "1..=65536"),
        (&["knbench", "--size", "4k"], 2, "invalid"),
        (&["knbench", "--iodepth", "0"], 2, "1..=4096"),
        (&["knbench", "--duration", "soon"], 2, "3s"),
        (&["knbench", "--duration", "1ms"], 2, "at least 10ms"),
        (&["knbench", "--nic", "eth0"], 2, "use mem, af_xdp, memif or virtio"),
        (&["knbench", "--nic", "af_xdp:addr=10.0.0.1/24"], 2, "needs iface="),
        (&["knbench", "--nic", "mem", "--stack", "kernel"], 2, "leave out one of --nic and --stack"),
        (&["knbench", "--connect", "10.0.0.1:7480"], 1, "leave out --connect"),
        (&["knbench", "--stack", "kernel", "--connect", "127.0.0.1:1"], 1, "start `luna serve` there first"),
        (&["knbench", "--stack", "kernel", "--connect", "localhost"], 2, "--connect"),
        (&["knbench", "--cpu", "9999"], 1, "cannot run on CPU 9999"),
        (&["knbench", "--cpu", "0,9999", "--threads", "2"], 1, "cannot run on CPU 9999"),
        (&["knbench", "--cpu", "one"], 2, "0-3"),
        (&["knbench", "--rate", "0"], 2, "requests per second"),
        (&["knbench", "--arrivals", "fixed"], 2, "--rate"),
        (&["knbench", "--threads", "0"], 2, "1..=64"),
        (&["knbench", "--server-threads", "2"], 2, "--connect"),
        (&["knbench", "--connect", "10.0.0.1:1", "--server-threads", "2"], 2, "--stack kernel"),
        (&["knbench", "--stack", "kernel", "--connect", "127.0.0.1:65535", "--threads", "2"], 2, "no ports for 2"),
        (&["knbench", "--points"], 2, "--json"),
        (&["knbench", "--nic", "mem:checksums=none"], 2, "port or software"),
        (&["knbench", "--stack", "limit", "--rate", "100"], 2, "has no open loop"),
        (&["knbench", "--stack", "limit", "--connect", "10.0.0.1:1"], 2, "leave out --connect"),
        (&["knbench", "--stack", "limit", "--size", "65536", "--iodepth", "64"], 1, "frames in flight are more"),
        (&["serve", "--stack", "limit"], 1, "knbench brings its own server"),
        (&["put", "--stack", "limit", "--root", "/tmp/luna-test-unused", "Cargo.toml"], 1, "moves frames only"),
        (&["serve", "--stack", "kernel", "--threads", "2", "--listen", "127.0.0.1:0"], 2, "--listen with a port"),
        (&["serve", "--stack", "kernel", "--threads", "2", "--listen", "127.0.0.1:65535"], 1, "leaves no ports"),
        (&["serve"], 1, "--stack kernel"),
        (&["serve", "--stack", "kernel", "--listen", "192.0.2.1:7480"], 1, "does not have the address 192.0.2.1"),
        (&["put", "no-such-file"], 2, "--root DIR"),
        (&["put", "--root", "/tmp/luna-test-unused", "no-such-file"], 1, "no-such-file"),
        (&["get", "--stack", "kernel", "--connect", "127.0.0.1:1", "/no/such/directory/x"], 1, "/no/such/directory/x"),
        (&["nonsense"], 2, "Usage"),
    ];
    for (args, code, words) in cases {
        let (got, said) = failure(args);
        assert_eq!(got, *code, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        if *code == 1 {
            assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        }
    }
}

#[cfg(not(feature = "dpdk"))]
#[test]
fn without_dpdk_its_ports_are_refused_with_how_to_get_them() {
    let nic = "af_xdp:iface=veth0,addr=10.9.0.2/24,peer=10.9.0.1";
    for verb in
        [&["serve"][..], &["knbench"], &["knbench", "--connect", "10.9.0.1:7480"], &["put", "--root", "/tmp/x", "f"]]
    {
        let (code, words) = failure(&[verb, &["--nic", nic]].concat());
        assert_eq!(code, 1);
        assert!(words.contains("--features dpdk") && words.contains("cargo xtask setup"), "{words}");
    }
}

#[cfg(feature = "dpdk")]
#[test]
fn an_absent_interface_is_told() {
    let nic = "af_xdp:iface=no-such-if,addr=10.9.0.2/24,peer=10.9.0.1";
    let (code, words) = failure(&["serve", "--nic", nic]);
    assert_eq!(code, 1);
    assert!(words.contains("no network interface 'no-such-if'") && words.contains("ip link"), "{words}");
}

#[test]
fn a_port_in_use_is_told() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (code, words) = failure(&["serve", "--stack", "kernel", "--listen", &server.addr]);
    assert_eq!(code, 1);
    assert!(words.contains("is in use") && words.contains("ss -ltnp"), "{words}");
}
