//! Instructions per echo RPC: every scenario that there is a goal for, by stage, both ends counted, the link's gather apart.
//!
//! `cargo bench -p luna-tests --bench instructions` (or `cargo xtask bench --instructions`) prints the account, writes it as
//! JSON, and fails when a budget (`instructions.json` in this directory) is exceeded, as a whole or by a stage, or when Luna
//! needs more than `LIMIT` of smoltcp's instructions in the scenario that gates. Behind `--`: `--test` measures what can
//! fail, in less than a minute; `--record` makes what was measured the budgets; `--profile` shows where the instructions of
//! the gate go, by function and line. What makes the comparison fair is written in `luna_tests::smoltcp_echo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use luna_tests::account::budget::{BudgetError, Budgets};
use luna_tests::account::{AIMS, Extent, Row, Told, measure, table};
use luna_tests::callgrind::attribute::attribute;
use luna_tests::callgrind::{Callgrind, MeasureError};
use luna_tests::scenario::{Scenario, StackKind};

/// Luna may need at most this part of smoltcp's instructions. It only goes down.
const LIMIT: f64 = 1.0 / 3.0;

const BUDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Budget(#[from] BudgetError),
    #[error("{0}: {1}")]
    Write(String, std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn profile(callgrind: &Callgrind) -> Result<(), MeasureError> {
    let pair = callgrind.pair(StackKind::Luna, &Scenario::GATE, 1000)?;
    let found = attribute(&pair, callgrind.program())?;
    println!("\nLuna's instructions per RPC at {}", Scenario::GATE.name());
    for (title, list, most) in [("function", &found.functions, 25), ("line", &found.lines, 80)] {
        println!("\n{:>9}  by {title}", "");
        for (name, cost) in list.iter().take(most) {
            println!("{cost:>9.1}  {name}");
        }
    }
    Ok(())
}

/// What is wrong with the rows, in words.
fn judge(rows: &[Row], budgets: &Budgets) -> Vec<String> {
    let mut wrong: Vec<String> = rows.iter().flat_map(|row| budgets.exceeded(row)).collect();
    for row in rows.iter().filter(|row| row.scenario == Scenario::GATE) {
        let ratio = row.smoltcp.map_or(f64::NAN, |smoltcp| row.luna.instructions / smoltcp.instructions);
        println!("\n{}: {ratio:.3} of smoltcp's instructions, at most {LIMIT:.3}", row.name);
        if ratio.is_nan() || ratio > LIMIT {
            wrong.push(format!("{}: {ratio:.3} of smoltcp's instructions", row.name));
        }
    }
    wrong
}

fn run(given: impl Fn(&str) -> bool, scratch: &Path) -> Result<bool, Failure> {
    let callgrind = Callgrind::new(env!("CARGO_BIN_EXE_echo_instructions"), scratch)?;
    let extent = if given("--test") { Extent::Budgets } else { Extent::All };
    let mut rows = Vec::new();
    for aim in AIMS {
        eprintln!("counting: {}", aim.scenario.name());
        rows.push(measure(&callgrind, aim.scenario, extent)?);
    }
    let file = Path::new(BUDGETS);
    if given("--record") {
        Budgets::of(&rows).write(file)?;
    }
    let budgets = Budgets::read(file)?;
    table::print_totals(&rows, &budgets);
    table::print_stages(&rows);
    let json = scratch.join("instructions.json");
    let text = serde_json::to_string_pretty(&rows.iter().map(|row| Told::new(row, &budgets)).collect::<Vec<_>>())?;
    std::fs::write(&json, text).map_err(|e| Failure::Write(json.display().to_string(), e))?;
    println!("\nwritten to {}", json.display());
    if given("--profile") {
        profile(&callgrind)?;
    }
    let wrong = judge(&rows, &budgets);
    wrong.iter().for_each(|what| println!("EXCEEDED: {what}"));
    println!("budgets: {}", if wrong.is_empty() { "kept" } else { "FAILED" });
    Ok(wrong.is_empty())
}

fn main() -> ExitCode {
    let given = |flag: &str| std::env::args().any(|a| a == flag);
    match run(given, &PathBuf::from(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("instructions: {e}");
            ExitCode::from(2)
        }
    }
}
