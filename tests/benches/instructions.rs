//! Instructions per echo RPC: Luna against smoltcp, both ends counted, the link's gather apart.
//!
//! `cargo bench -p luna-tests --bench instructions` measures every scenario, prints a table, writes it as JSON, and fails
//! when Luna needs more than `LIMIT` of smoltcp's instructions in the scenario that gates. Behind `--`: `--test` measures
//! the gate only, in seconds; `--profile` shows where Luna's instructions go. What makes the comparison fair is written in
//! `luna_tests::smoltcp_echo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use luna_tests::callgrind::attribute::attribute;
use luna_tests::callgrind::{Callgrind, Cost, MeasureError};
use luna_tests::scenario::{Scenario, StackKind};
use serde::Serialize;

/// Luna may need at most this part of smoltcp's instructions. It only goes down.
const LIMIT: f64 = 1.0 / 3.0;

#[derive(Serialize)]
struct Row {
    scenario: Scenario,
    luna: Cost,
    smoltcp: Cost,
    smoltcp_split: Cost,
    ratio: f64,
    ratio_split: f64,
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    let links = [(1500, false), (1500, true), (9000, false), (9000, true)];
    let sizes = links.into_iter().flat_map(|link| [4096, 64].map(|size| (link, size)));
    sizes.flat_map(|((mtu, checksums), size)| [1, 16].map(|depth| Scenario { mtu, depth, size, checksums }))
}

fn measure(callgrind: &Callgrind, scenario: Scenario, rpcs: u64) -> Result<Row, MeasureError> {
    let cost = |stack| callgrind.pair(stack, &scenario, rpcs)?.cost();
    let [luna, smoltcp, smoltcp_split] =
        [cost(StackKind::Luna)?, cost(StackKind::Smoltcp)?, cost(StackKind::SmoltcpSplit)?];
    let ratio = luna.instructions / smoltcp.instructions;
    let ratio_split = luna.instructions / smoltcp_split.instructions;
    Ok(Row { scenario, luna, smoltcp, smoltcp_split, ratio, ratio_split })
}

fn print_head() {
    println!("instructions per echo RPC, both ends, both directions; \"gather\" is the link's copy, not in them");
    println!(
        "smoltcp: poll, application, egress; split: ingress, application, egress, so that it sends as few frames as Luna"
    );
    println!(
        "{:>5} {:>5} {:>5} {:>9} | {:>7} {:>7} {:>7}  {:>6} {:>6} | {:>5} {:>5} {:>5} | {:>5} {:>5} {:>5} | {:>5} {:>5} {:>5}",
        "",
        "",
        "",
        "",
        "Luna",
        "smoltcp",
        "split",
        "Luna/",
        "Luna/",
        "gather",
        "",
        "",
        "frames",
        "",
        "",
        "copies",
        "/byte",
        ""
    );
    println!(
        "{:>5} {:>5} {:>5} {:>9} | {:>7} {:>7} {:>7}  {:>6} {:>6} | {:>5} {:>5} {:>5} | {:>5} {:>5} {:>5} | {:>5} {:>5} {:>5}",
        "size",
        "MTU",
        "depth",
        "checksums",
        "",
        "",
        "",
        "smol",
        "split",
        "L",
        "s",
        "sp",
        "L",
        "s",
        "sp",
        "L",
        "s",
        "sp"
    );
}

fn print(row: &Row) {
    let Row { scenario: s, luna, smoltcp, smoltcp_split, ratio, ratio_split } = row;
    let checksums = if s.checksums { "software" } else { "offloaded" };
    print!("{:>5} {:>5} {:>5} {checksums:>9} |", s.size, s.mtu, s.depth);
    let costs = [luna, smoltcp, smoltcp_split];
    costs.iter().for_each(|c| print!(" {:>7.0}", c.instructions));
    print!("  {ratio:>6.3} {ratio_split:>6.3} |");
    costs.iter().for_each(|c| print!(" {:>5.0}", c.gather));
    print!(" |");
    costs.iter().for_each(|c| print!(" {:>5.2}", c.frames));
    print!(" |");
    costs.iter().for_each(|c| print!(" {:>5.3}", c.copies));
    println!();
}

fn profile(callgrind: &Callgrind) -> Result<(), MeasureError> {
    let pair = callgrind.pair(StackKind::Luna, &Scenario::GATE, 1000)?;
    let found = attribute(&pair, callgrind.program())?;
    println!("\nLuna's instructions per RPC at {:?}", Scenario::GATE);
    for (title, list, most) in
        [("phase", &found.phases, 50), ("function", &found.functions, 25), ("line", &found.lines, 80)]
    {
        println!("\n{:>9}  by {title}", "");
        for (name, cost) in list.iter().take(most) {
            println!("{cost:>9.1}  {name}");
        }
    }
    Ok(())
}

fn run(short: bool, with_profile: bool, scratch: &Path) -> Result<bool, MeasureError> {
    let callgrind = Callgrind::new(env!("CARGO_BIN_EXE_echo_instructions"), scratch)?;
    let rpcs = if short { 100 } else { 1000 };
    let chosen = scenarios().filter(|s| !short && !with_profile || *s == Scenario::GATE);
    print_head();
    let mut rows = Vec::new();
    for scenario in chosen {
        let row = measure(&callgrind, scenario, rpcs)?;
        print(&row);
        rows.push(row);
    }
    let json = scratch.join("instructions.json");
    let text = serde_json::to_string_pretty(&rows)?;
    std::fs::write(&json, text)
        .map_err(|error| MeasureError::Run { program: json.to_string_lossy().into_owned(), error })?;
    println!("written to {}", json.display());
    if with_profile {
        profile(&callgrind)?;
    }
    let gate = rows.iter().find(|row| row.scenario == Scenario::GATE);
    let passed = gate.is_some_and(|row| row.ratio <= LIMIT);
    let word = if passed { "passed" } else { "FAILED" };
    let reached = gate.map_or(f64::NAN, |row| row.ratio);
    println!("gate: at most {LIMIT:.3} of smoltcp's instructions at {:?}: {reached:.3}, {word}", Scenario::GATE);
    Ok(passed)
}

fn main() -> ExitCode {
    let given = |flag: &str| std::env::args().any(|a| a == flag);
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    match run(given("--test"), given("--profile"), &scratch) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("instructions: {e}");
            ExitCode::from(2)
        }
    }
}
