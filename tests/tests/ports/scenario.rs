//! The list of cases, and running them one after the other: hugepages, namespaces and cores are shared.

use std::process::ExitCode;
use std::time::Instant;

use crate::link::Kind;
use crate::{cases, faults, luna};

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("file_over_af_xdp_while_the_kernel_answers_ping", || cases::file(Kind::AfXdp)),
    ("file_over_memif", || cases::file(Kind::Memif)),
    ("file_over_virtio", || cases::file(Kind::Virtio)),
    ("file_over_virtio_and_ipv6", || cases::file(Kind::VirtioV6)),
    ("knbench_over_af_xdp", || cases::knbench(Kind::AfXdp)),
    ("knbench_over_memif", || cases::knbench(Kind::Memif)),
    ("knbench_over_virtio", || cases::knbench(Kind::Virtio)),
    ("limit_over_memif", || cases::limit(Kind::Memif)),
    ("limit_over_virtio", || cases::limit(Kind::Virtio)),
    ("two_queues_over_memif", || cases::two_queues(Kind::Memif)),
    ("two_queues_over_virtio", || cases::two_queues(Kind::Virtio)),
    ("luna_client_kernel_server", || cases::across(Kind::Kernel, Kind::AfXdp)),
    ("kernel_client_luna_server", || cases::across(Kind::AfXdp, Kind::Kernel)),
    ("missing_interface", faults::missing_interface),
    ("nobody_at_the_socket", faults::nobody_at_the_socket),
    ("wrong_role", faults::wrong_role),
    ("occupied_interface", faults::occupied_interface),
    ("no_hugepages", faults::no_hugepages),
    ("connection_refused", faults::connection_refused),
    ("connections_beyond_the_limit", faults::connections_beyond_the_limit),
];

/// Runs the cases whose names contain one of `filter`.
pub(crate) fn run_all(filter: &[String]) -> ExitCode {
    let binary = luna::binary();
    if !binary.is_file() {
        eprintln!(
            "{} does not exist: run `cargo build -p luna-host --features dpdk --bin luna` first, or name the binary in \
             LUNA_BIN",
            binary.display()
        );
        return ExitCode::FAILURE;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let start = Instant::now();
        if std::panic::catch_unwind(case).is_ok() {
            println!("test ports::{name} ... ok ({:.1?})", start.elapsed());
            passed += 1;
        } else {
            println!("test ports::{name} ... FAILED");
            failed += 1;
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
