//! Instructions for each SYN of a flood, by callgrind: from the queue's receive to the SYN-ACK with its cookie in the
//! queue, whole turns included, the link's gather not.
//!
//! `cargo bench -p luna-tests --bench syn_flood` fails above [`LIMIT`].

use std::path::PathBuf;
use std::process::ExitCode;

use luna_core::nic::RX_BURST;
use luna_tests::callgrind::{Callgrind, MeasureError};

/// What a SYN may cost.
const LIMIT: f64 = 500.0;
const ROUNDS: u64 = 200;

fn measure() -> Result<f64, MeasureError> {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let callgrind = Callgrind::new(env!("CARGO_BIN_EXE_syn_flood"), scratch)?;
    let only = ["--collect-atstart=no", "--toggle-collect=*measured_turn*"];
    let (profile, _) = callgrind.count("callgrind.syn_flood", &only, &[&ROUNDS.to_string()])?;
    Ok(profile.without_gather() as f64 / (ROUNDS * RX_BURST as u64) as f64)
}

fn main() -> ExitCode {
    match measure() {
        Ok(cost) => {
            let passed = cost <= LIMIT;
            println!("{cost:.1} instructions per SYN of a flood (limit {LIMIT})");
            println!("{}", if passed { "passed" } else { "FAILED" });
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("syn_flood: {e}");
            ExitCode::from(2)
        }
    }
}
