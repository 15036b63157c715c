//! `cargo xtask test`: every test there is, as a list of named steps.
//!
//! A failing step does not stop the others. What could not be done is skipped with its reason, never passed over in
//! silence, and a skip is a failure under `CI=true`. The last line counts the tests that cargo reported; a step that
//! reports none (a lint, a build) counts as one.

mod licences;
mod runner;
mod steps;
mod tally;

use core::time::Duration;
use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::interrupt::Interrupted;
use crate::progress::Progress;
use crate::setup;
use runner::{Outcome, Runner};
use steps::{STEPS, Step};
use tally::Tally;

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these steps (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the steps and end
    #[arg(long)]
    list: bool,
    /// Show the output of steps while they run
    #[arg(long, short)]
    verbose: bool,
    /// Do not ask before installing or changing
    #[arg(long)]
    yes: bool,
    /// Change nothing on the machine; steps that need DPDK ports or root are skipped
    #[arg(long)]
    no_setup: bool,
}

/// How a step went.
struct Report {
    step: &'static Step,
    tally: Tally,
    verdict: String,
    elapsed: Duration,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&args.only)?;
    let _prepared = if args.no_setup { None } else { Some(setup::prepare(args.yes)?) };
    let strict = env::var("CI").is_ok_and(|value| value == "true");
    let mut reports = Vec::new();
    for (index, step) in chosen.iter().copied().enumerate() {
        let label = format!("[{:>2}/{}] {:<12}", index + 1, chosen.len(), step.name);
        reports.push(perform(step, label, args)?);
    }
    Ok(conclude(&reports, strict))
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        bail!("there is no step \"{unknown}\"; `cargo xtask test --list` names them");
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

fn perform(step: &'static Step, label: String, args: &Args) -> Result<Report> {
    let mut runner = Runner::new(Progress::start(label), args.verbose);
    let result = if step.needs_setup && args.no_setup {
        Ok(Outcome::Skipped("--no-setup was given".to_owned()))
    } else {
        (step.run)(&mut runner)
    };
    let (progress, mut tally, output) = runner.into_parts();
    let verdict = match result {
        Ok(Outcome::Done) if tally.is_empty() => {
            tally.passed = 1;
            "ok".to_owned()
        }
        Ok(Outcome::Done) => format!("ok, {} tests", tally.passed),
        Ok(Outcome::Skipped(reason)) => {
            tally.skip(format!("{}: {reason}", step.name));
            format!("SKIPPED: {reason}")
        }
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            tally.failed = tally.failed.max(1);
            if !args.verbose {
                progress.print(&output);
            }
            format!("FAILED: {error:#}")
        }
    };
    let elapsed = progress.finish(&verdict);
    Ok(Report { step, tally, verdict, elapsed })
}

/// Prints table, skips and the closing line; decides the exit code.
fn conclude(reports: &[Report], strict: bool) -> ExitCode {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["step", "result", "passed", "failed", "skipped", "time"]);
    let mut total = Tally::default();
    for report in reports {
        let Report { step, tally, verdict, elapsed } = report;
        let result = verdict.split([',', ':']).next().unwrap_or_default();
        table.add_row([
            step.name.to_owned(),
            result.to_owned(),
            tally.passed.to_string(),
            tally.failed.to_string(),
            tally.skipped.to_string(),
            format!("{:.1} s", elapsed.as_secs_f64()),
        ]);
        total.add(tally);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for reason in &total.skip_reasons {
        println!("skipped: {reason}");
    }
    if strict && total.skipped > 0 {
        println!("CI=true: a skip is a failure");
    }
    println!("{total}");
    let good = total.failed == 0 && !(strict && total.skipped > 0);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
