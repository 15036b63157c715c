//! Echoes over many connections, or over many hours, for callgrind to count `measured_window` and nothing else; prints what
//! happened as a line of JSON.
//!
//! `growth_instructions crowd CONNECTIONS SIZE ROUNDS RPCS PAUSE_US` | `growth_instructions uptime RPCS`

use std::process::ExitCode;

use luna_core::time::Duration;
use luna_tests::growth::crowd::Crowd;
use luna_tests::growth::uptime::Uptime;

#[inline(never)]
fn measured_window(run: impl FnOnce()) {
    run();
}

/// Callgrind writes down what it has counted when this is called.
#[inline(never)]
fn window_over() {
    core::hint::black_box(());
}

/// Verified rounds first: every obj used, windows grown. Then what is counted.
fn crowd(connections: u64, size: u32, rounds: u64, rpcs: u64, pause_us: u64) {
    let mut crowd = Crowd::new(connections as usize, size);
    crowd.pause(Duration::from_micros(pause_us));
    crowd.run_verified(rounds * connections);
    let before = crowd.report();
    measured_window(|| crowd.run(rpcs));
    let after = crowd.report();
    crowd.run_verified(16);
    assert_eq!(crowd.used() as u64, connections, "every connection had its turn");
    crowd.assert_healthy();
    println!("{}", serde_json::to_string(&after.since(&before)).expect("numbers"));
}

/// One line for each window.
fn uptime(rpcs: u64) {
    let mut uptime = Uptime::new(rpcs);
    let count = |uptime: &mut Uptime| {
        measured_window(|| uptime.run());
        window_over();
    };
    while let Some(window) = uptime.next(count) {
        let name = window.0.name();
        println!("{}", serde_json::to_string(&(name, window.1)).expect("names and numbers"));
    }
    assert!(uptime.keepalives() > 0, "timers fired meanwhile");
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args.get(i).and_then(|n| n.parse::<u64>().ok());
    match (args.get(1).map(String::as_str), number(2), number(3), number(4), number(5)) {
        (Some("crowd"), Some(connections @ 1..), Some(size @ 1..=0xffff), Some(rounds @ 1..), Some(rpcs @ 1..)) => {
            crowd(connections, size as u32, rounds, rpcs, number(6).unwrap_or(0));
        }
        (Some("uptime"), Some(rpcs @ 1..), ..) => uptime(rpcs),
        _ => {
            eprintln!("usage: growth_instructions crowd CONNECTIONS SIZE ROUNDS RPCS [PAUSE_US] | uptime RPCS");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
