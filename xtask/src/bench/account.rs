//! Instructions per RPC in the report: what `--instructions` counted and wrote, beside budgets, goals and others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use maud::{Markup, html};
use serde_json::Value;

use crate::cargo;
use crate::process::Process;
use crate::progress::Progress;

/// An earlier count.
pub(crate) fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no account of this command", path.display()))
}

/// Counts all columns, which takes some minutes. A budget that is exceeded shows in the table, and is no reason to have no
/// report.
pub(crate) fn count() -> Result<Vec<Value>> {
    let written = cargo::target_dir().join("tmp/instructions.json");
    // Never an older one.
    let _ = fs::remove_file(&written);
    let mut progress = Progress::start("counting instructions");
    let mut process = Process::spawn_merged("cargo bench", super::instructions(&[]))?;
    process.wait(None, |line| progress.note(&line.text))?;
    let account = read(&written).with_context(|| format!("nothing was counted:\n{}", process.tail(20)))?;
    progress.finish("done");
    Ok(account)
}

fn at(row: &Value, path: &str) -> Option<f64> {
    row.pointer(path).and_then(Value::as_f64)
}

fn show(n: Option<f64>, digits: usize) -> String {
    // Differences of two runs: a nothing may be a little below.
    let zero = |text: String| if text.trim_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text };
    n.map_or("-".to_owned(), |n| zero(format!("{n:.digits$}")))
}

/// Stages by name, with what they took.
fn stages(row: &Value) -> impl Iterator<Item = (&str, f64)> {
    let all = row.get("stages").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|stage| Some((stage.get(0)?.as_str()?, stage.get(1)?.as_f64()?)))
}

/// Both tables: scenarios beside others, and by stage beside the budgets.
pub(crate) fn table(rows: &[Value]) -> Markup {
    // Short enough for a line: what most have in common is said above.
    let name = |row: &Value| {
        let name = row.get("name").and_then(Value::as_str).unwrap_or("?");
        name.replace(", checksums offloaded", "").replace("checksums software", "software checksums")
    };
    let whole = |row: &Value, path: &str| show(at(row, path), 0);
    let leanest = |row: &Value| match (row.pointer("/leanest/0").and_then(Value::as_str), at(row, "/leanest/1")) {
        (Some(who), Some(n)) => format!("{who} {n:.0}"),
        _ => "-".to_owned(),
    };
    let kept = |row: &Value| match (at(row, "/luna/instructions"), at(row, "/budget/total")) {
        // As the bench has it: compilers differ by a part of a hundred.
        (Some(n), Some(budget)) if n <= budget * 1.01 => "n",
        _ => "n exceeded",
    };
    let budget = |row: &Value, stage: &str| {
        row.get("budget").and_then(|b| b.get("stages")).and_then(|s| s.get(stage)).and_then(Value::as_f64)
    };
    html! {
        p {
            "Both ends and both directions of an echo over the in-memory pair, counted by callgrind, the link's gather apart; \
             checksums by the device, unless it says otherwise. Timestamps, SACK, round-trip samples, timers, counters and the RPC header's CRC are on; \"digest\" adds a payload \
             digest, \"touch\" answers with another, filled buffer, and \"stream\" is the same messages without the RPC layer, which is what \
             the C stacks were measured with; those have neither timestamps nor SACK. smoltcp is driven by its own poll, and split \
             so that its acknowledgments ride on data."
        }
        table.tight {
            thead { tr {
                th { "scenario" } th.n { "Luna" } th.n { "budget" } th.n { "goal" } th.n { "stream" } th.n { "touch" } th.n { "digest" }
                th.n { "smoltcp" } th.n { "split" } th.n { "leanest C stack" } th.n { "frames" } th.n { "copies a byte" } th.n { "cache misses" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        td { (name(row)) }
                        td class=(kept(row)) { b { (whole(row, "/luna/instructions")) } }
                        td.n { (whole(row, "/budget/total")) } td.n { (whole(row, "/goal")) }
                        td.n { (whole(row, "/stream")) } td.n { (whole(row, "/touch")) } td.n { (whole(row, "/digest")) }
                        td.n { (whole(row, "/smoltcp/instructions")) } td.n { (whole(row, "/smoltcp_split/instructions")) } td.n { (leanest(row)) }
                        td.n { (show(at(row, "/luna/frames"), 2)) }
                        td.n { (show(at(row, "/luna/copies"), 3)) }
                        td.n { (show(at(row, "/luna/misses"), 2)) }
                    }
                }
            }
        }
        h3 { "By stage, with the budget behind each" }
        table.tight {
            thead { tr {
                th { "scenario" }
                @for (stage, _) in rows.first().into_iter().flat_map(stages) { th.n { (stage) } }
            } }
            tbody {
                @for row in rows {
                    tr {
                        td { (name(row)) }
                        @for (stage, n) in stages(row) {
                            td.n { (format!("{n:.0}")) " " span.dim { "/ " (show(budget(row, stage), 0)) } }
                        }
                    }
                }
            }
        }
    }
}
