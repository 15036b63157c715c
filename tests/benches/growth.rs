//! What must not grow, counted by callgrind: instructions and cache misses of an RPC at 100,000 open connections beside one,
//! and instructions of an RPC over a day of simulated uptime. (Memory of an idle connection: the bench `idle`.)
//!
//! `cargo bench -p luna-tests --bench growth` prints both and fails when a limit is exceeded. Behind `--`: `--test` counts
//! fewer RPCs; `--profile` shows in which functions and lines many connections cost more than one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use luna_tests::callgrind::attribute::{Attribution, STAGES, attribute_sum};
use luna_tests::callgrind::{Callgrind, MeasureError, Profile};
use luna_tests::scenario::Report;

/// Open connections, each asked in its turn.
const MANY: u64 = 100_000;
/// Between two requests on one of them far more time passes than any acknowledgment or timer waits: so much passes at one
/// connection too, in the row that many are compared with.
const PAUSE_US: u64 = 2_000;
/// An RPC at many connections may take so many times the instructions that it takes at one, where it stands alone as well.
const INSTRUCTIONS: f64 = 1.15;
/// And so many times those of one connection that is asked again by every answer: there the acknowledgment of the answer rides
/// on the next request, and one timer stands for all. It only goes down.
const BACK_TO_BACK: f64 = 1.3;
/// And miss the last level of cache so much oftener for each frame.
const MISSES: f64 = 8.0;
/// An RPC at any hour, and while sequence numbers or timestamps begin anew, may take so many times the instructions that it
/// takes after one hour.
const FLAT: f64 = 1.02;
/// The caches that are simulated, whatever the machine has: a last level of 32 MiB, which the tables at both ends exceed.
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=33554432,16,64"];
/// What is counted.
const WINDOW: &str = "*measured_window*";

/// What a window came to.
struct Counted {
    report: Report,
    profile: Profile,
}

impl Counted {
    fn instructions(&self) -> f64 {
        self.profile.without_gather() as f64 / self.report.rpcs as f64
    }

    fn misses(&self) -> f64 {
        self.profile.misses_without_gather() as f64 / self.report.frames as f64
    }

    fn stages(&self, program: &Path) -> Result<Attribution, MeasureError> {
        attribute_sum(&[(&self.profile, 1.0 / self.report.rpcs as f64)], program)
    }
}

fn crowd(
    callgrind: &Callgrind,
    connections: u64,
    size: u64,
    rpcs: u64,
    pause_us: u64,
) -> Result<Counted, MeasureError> {
    // A connection alone needs more than a round to use every obj once.
    let rounds = if connections == 1 { 256 } else { 1 };
    let toggle = format!("--toggle-collect={WINDOW}");
    let options = [&CACHES[..], &["--collect-atstart=no", &toggle]].concat();
    let [connections, size, rounds, rpcs, pause] = [connections, size, rounds, rpcs, pause_us].map(|n| n.to_string());
    let args = ["crowd", &connections, &size, &rounds, &rpcs, &pause];
    let (profile, stdout) = callgrind.count("callgrind.growth", &options, &args)?;
    Ok(Counted { report: serde_json::from_slice(&stdout)?, profile })
}

/// One size of message: at one connection back to back, at one with a pause, at many.
struct Sizes {
    title: &'static str,
    busy: Counted,
    alone: Counted,
    many: Counted,
}

impl Sizes {
    fn count(callgrind: &Callgrind, title: &'static str, size: u64, rpcs: u64) -> Result<Self, MeasureError> {
        Ok(Self {
            title,
            busy: crowd(callgrind, 1, size, rpcs, 0)?,
            alone: crowd(callgrind, 1, size, rpcs, PAUSE_US)?,
            many: crowd(callgrind, MANY, size, rpcs, 0)?,
        })
    }

    fn rows(&self) -> [(String, &Counted); 3] {
        [("1, back to back", &self.busy), ("1, with a pause", &self.alone), (&MANY.to_string(), &self.many)]
            .map(|(name, counted)| (name.to_owned(), counted))
    }

    /// Prints all; true when the limits are kept.
    fn compare(&self, program: &Path) -> Result<bool, MeasureError> {
        let [busy, alone] = [&self.busy, &self.alone].map(|c| self.many.instructions() / c.instructions());
        let more = self.many.misses() - self.alone.misses();
        let passed = alone <= INSTRUCTIONS && busy <= BACK_TO_BACK && more <= MISSES;
        println!(
            "\n{}, one request at a time, each on the next connection; per RPC, both ends, the gather left out",
            self.title
        );
        println!("{:<20} {:>12} {:>8} {:>17}", "open connections", "instructions", "frames", "misses per frame");
        for (name, counted) in self.rows() {
            let frames = counted.report.frames_per_rpc();
            println!("{name:<20} {:>12.0} {frames:>8.2} {:>17.2}", counted.instructions(), counted.misses());
        }
        println!("{alone:.3} times the instructions of one with a pause (at most {INSTRUCTIONS})");
        println!("{busy:.3} times those of one back to back (at most {BACK_TO_BACK})");
        println!("{more:.2} misses more per frame (at most {MISSES})");
        print!("{:<20}", "by stage");
        STAGES.iter().for_each(|name| print!(" {name:>11}"));
        println!();
        for (name, counted) in self.rows() {
            print!("{name:<20}");
            counted.stages(program)?.stages.iter().for_each(|(_, cost)| print!(" {cost:>11.0}"));
            println!();
        }
        Ok(passed)
    }
}

fn profile(one: &Counted, many: &Counted, program: &Path) -> Result<(), MeasureError> {
    let each = |c: &Counted| 1.0 / c.report.rpcs as f64;
    let more = attribute_sum(&[(&one.profile, -each(one)), (&many.profile, each(many))], program)?;
    for (title, list) in [("function", &more.functions), ("line", &more.lines)] {
        println!("\n{:>9}  more at {MANY} connections, by {title}", "");
        for (name, cost) in list.iter().take(60) {
            println!("{cost:>9.1}  {name}");
        }
    }
    Ok(())
}

fn uptime(callgrind: &Callgrind, rpcs: u64) -> Result<bool, MeasureError> {
    let (profiles, stdout) =
        callgrind.count_each("callgrind.uptime", (WINDOW, "*window_over*"), &["uptime", &rpcs.to_string()])?;
    let text = String::from_utf8_lossy(&stdout);
    let names = text.lines().map(serde_json::from_str).collect::<Result<Vec<(String, Report)>, _>>()?;
    assert_eq!(names.len(), profiles.len(), "a profile of each window");
    let windows = names.into_iter().zip(profiles);
    let windows: Vec<_> = windows.map(|((name, report), profile)| (name, Counted { report, profile })).collect();
    let first = windows.first().map_or(f64::NAN, |(_, counted)| counted.instructions());
    println!("\n4 KiB, one connection of 33: instructions per RPC in the course of a day");
    let mut worst = 0.0_f64;
    for (name, counted) in &windows {
        let ratio = counted.instructions() / first;
        worst = worst.max(ratio);
        println!("{:>8.0} {ratio:>7.3}  {name}", counted.instructions());
    }
    let passed = windows.len() > 1 && worst <= FLAT;
    println!("at most {worst:.3} of the first hour's (limit {FLAT}): {}", word(passed));
    Ok(passed)
}

fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

fn run(given: impl Fn(&str) -> bool, scratch: &Path) -> Result<bool, MeasureError> {
    let callgrind = Callgrind::new(env!("CARGO_BIN_EXE_growth_instructions"), scratch)?;
    let rpcs = if given("--test") { 500 } else { 2000 };
    let mut passed = true;
    // Of small messages each frame is a connection's only one in a burst: shown, without a limit.
    for (title, size, limited) in [("4 KiB", 4096, true), ("64 B", 64, false)] {
        if given("--test") && !limited {
            continue;
        }
        let sizes = Sizes::count(&callgrind, title, size, rpcs)?;
        let kept = sizes.compare(callgrind.program())?;
        if limited {
            println!("{}", word(kept));
            passed &= kept;
        }
        if given("--profile") {
            profile(&sizes.alone, &sizes.many, callgrind.program())?;
        }
    }
    passed &= uptime(&callgrind, 400)?;
    Ok(passed)
}

fn main() -> ExitCode {
    let given = |flag: &str| std::env::args().any(|a| a == flag);
    match run(given, &PathBuf::from(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("growth: {e}");
            ExitCode::from(2)
        }
    }
}
