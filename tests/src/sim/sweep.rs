//! Many seeds, on several threads; what failed, told so that it can be run again.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use super::coverage::Coverage;
use super::plan::Plan;
use super::{Arena, Outcome, run};

/// Below so many seeds a gap in the coverage says nothing, and the table is not printed below so many.
const SEEDS_FOR_COVERAGE: u64 = 10_000;
const SEEDS_FOR_TABLE: u64 = 500;
/// Failures that are told in full.
const TOLD: usize = 3;
/// Lines of the log that are printed.
const TAIL: usize = 40;

/// What to do.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Threads; 0 for one a CPU.
    pub jobs: usize,
    /// Keep the log of every run.
    pub verbose: bool,
    /// Where logs and captures go.
    pub out: PathBuf,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { first: 1, seeds: 1, jobs: 0, verbose: false, out: PathBuf::new() }
    }
}

/// Runs the sweep and prints how it went. True when nothing was wrong.
#[must_use]
pub fn sweep(options: &Sweep) -> bool {
    let began = Instant::now();
    let jobs =
        if options.jobs > 0 { options.jobs } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let failed = Mutex::new(Vec::<(u64, String)>::new());
    let total = Mutex::new((Coverage::default(), 0_u64));
    let slowest = Mutex::new((0_u64, 0_u64));
    // A violation is told below; what a panic prints of itself only gets in between.
    let hook = std::panic::take_hook();
    if !options.verbose {
        std::panic::set_hook(Box::new(|_| {}));
    }
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(options.seeds as usize).max(1) {
            scope.spawn(|| {
                let mut arena = Arena::default();
                let mut coverage = Coverage::default();
                let mut segments = 0;
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= options.seeds {
                        break;
                    }
                    let outcome = run(options.first + i, &mut arena, &mut coverage, false);
                    segments += outcome.segments;
                    let mut slow = slowest.lock().expect("nobody panics with it");
                    *slow = (*slow).max((outcome.segments, outcome.seed));
                    drop(slow);
                    if let Some(what) = outcome.violation {
                        // At once: what is still to come may take long. Nobody is there to be told when this fails.
                        let _ = writeln!(stderr(), "seed {}: {what}", outcome.seed);
                        failed.lock().expect("nobody panics with it").push((outcome.seed, what));
                        // What the run left behind may be anything.
                        core::mem::forget(core::mem::take(&mut arena));
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, options.seeds, &failed);
                }
                let mut total = total.lock().expect("nobody panics with it");
                total.0.merge(&coverage);
                total.1 += segments;
            });
        }
    });
    std::panic::set_hook(hook);
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort();
    let (coverage, segments) = total.into_inner().expect("nobody panics with it");
    let time = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {segments} segments, {time:.1} s, {:.2} ms a seed",
        options.seeds,
        time * 1e3 / options.seeds as f64
    );
    let (most, seed) = slowest.into_inner().expect("nobody panics with it");
    println!("the longest: seed {seed} with {most} segments");
    for (seed, _) in failed.iter().take(TOLD) {
        tell(*seed, options);
    }
    for (seed, what) in failed.iter().skip(TOLD).take(50) {
        println!("seed {seed}: {what}");
    }
    let gaps = coverage.gaps();
    if options.seeds >= SEEDS_FOR_TABLE {
        println!("coverage:\n{}", coverage.table());
        for gap in &gaps {
            println!("never reached: {gap}");
        }
    }
    if options.verbose && options.seeds == 1 && failed.is_empty() {
        tell(options.first, options);
    }
    println!("{} of {} seeds violate something", failed.len(), options.seeds);
    failed.is_empty() && (options.seeds < SEEDS_FOR_COVERAGE || gaps.is_empty())
}

fn progress(done: u64, of: u64, failed: &Mutex<Vec<(u64, String)>>) {
    if done.is_multiple_of(100) && (stderr().is_terminal() || done.is_multiple_of((of / 10).max(100) / 100 * 100)) {
        let bad = failed.lock().map_or(0, |f| f.len());
        // Nobody is there to be told when this fails.
        let _ = writeln!(stderr(), "{done} of {of} seeds, {bad} violations");
    }
}

/// Runs a seed again with its log, prints the end of it and writes all of it.
fn tell(seed: u64, options: &Sweep) {
    let Outcome { violation, time, adversity, log, .. } =
        run(seed, &mut Arena::default(), &mut Coverage::default(), true);
    println!("---- seed {seed} at {:.3} ms, digest {:016x}", time as f64 / 1e6, log.digest());
    let lines: Vec<String> = log.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
        println!("{line}");
    }
    println!("{adversity:?}");
    let (text, capture) = (options.out.join(format!("seed-{seed}.log")), options.out.join(format!("seed-{seed}.pcap")));
    let written = std::fs::create_dir_all(&options.out)
        .and_then(|()| log.write_text(&text))
        .and_then(|()| log.write_capture(&capture))
        .and_then(|()| {
            std::fs::write(options.out.join(format!("seed-{seed}.plan")), format!("{:#?}\n", Plan::new(seed)))
        });
    match written {
        Ok(()) => println!("packet log: {}; capture: {}", text.display(), capture.display()),
        Err(e) => println!("cannot write the packet log: {e}"),
    }
    match violation {
        Some(what) => println!("seed {seed}: {what}\nagain: cargo xtask sim --seed {seed}"),
        None => println!("seed {seed}: nothing wrong"),
    }
}
