//! Instructions of the fast path, by callgrind: for each in-order data segment received and each pure acknowledgment
//! received, beside what they were when the account was opened (`segment_instructions.json` in this directory).
//!
//! `cargo bench -p luna-tests --bench segment_instructions` prints both and fails when a row rose by more than 5 %.
//! `-- --record` writes the account anew: for the one who opens or closes it, not for the one who exceeds it.
//!
//! A row is a whole turn's instructions divided by the segments that it took in: the queue's receive, parse, look-up, TCP,
//! callback, and the turn's output (an acknowledgment leaves behind a burst of data; a lone segment's is delayed), without
//! the link's gather. Bursts of 32 show the segment, bursts of one the turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use luna_tests::callgrind::{Callgrind, MeasureError};

/// How much a row may rise.
const ALLOWED: f64 = 1.05;
const ROUNDS: u64 = 200;

type Account = BTreeMap<String, f64>;

fn measure(scratch: &Path) -> Result<Account, MeasureError> {
    let callgrind = Callgrind::new(env!("CARGO_BIN_EXE_segment_instructions"), scratch)?;
    let only = ["--collect-atstart=no", "--toggle-collect=*measured_turn*"];
    let mut account = Account::new();
    for (kind, what) in [("data", "in-order data segment"), ("ack", "pure acknowledgment")] {
        for burst in [32, 1] {
            let args = [kind, &burst.to_string(), &ROUNDS.to_string()];
            let (profile, _) = callgrind.count("callgrind.segments", &only, &args)?;
            let cost = profile.without_gather() as f64 / (ROUNDS * burst) as f64;
            account.insert(format!("{what}, {burst} in a turn"), (cost * 10.0).round() / 10.0);
        }
    }
    Ok(account)
}

fn run(record: bool) -> Result<bool, MeasureError> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/segment_instructions.json"));
    let io = |error| MeasureError::Run { program: file.to_string_lossy().into_owned(), error };
    let now = measure(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")))?;
    if record {
        std::fs::write(file, serde_json::to_string_pretty(&now)? + "\n").map_err(io)?;
    }
    let before: Account = serde_json::from_str(&std::fs::read_to_string(file).map_err(io)?)?;
    let mut passed = true;
    println!("{:>10} {:>10} {:>7}  instructions per", "recorded", "now", "now/rec");
    for (what, cost) in &now {
        let Some(recorded) = before.get(what) else {
            println!("{:>10} {cost:>10.1} {:>7}  {what}", "-", "-");
            passed = false;
            continue;
        };
        let ratio = cost / recorded;
        passed &= ratio <= ALLOWED;
        println!("{recorded:>10.1} {cost:>10.1} {ratio:>7.3}  {what}");
    }
    println!("limit: {ALLOWED} of what was recorded: {}", if passed { "passed" } else { "FAILED" });
    Ok(passed)
}

fn main() -> ExitCode {
    match run(std::env::args().any(|a| a == "--record")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("segment_instructions: {e}");
            ExitCode::from(2)
        }
    }
}
