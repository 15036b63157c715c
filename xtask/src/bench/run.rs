//! The alternation: at every point all contenders of a group take their turns, and that again and again.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use super::contender::{self, Contender, Ground, Running};
use super::data::{self, Data, Point, Sample, Series};
use crate::process;
use crate::progress::Progress;

/// Sizes at depth 1, as Figure 9's.
pub(crate) const SIZES: [u32; 6] = [64, 512, 1024, 4096, 16_384, 65_536];
/// Depths at 4 KiB, as Figure 10's.
pub(crate) const DEPTHS: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// The paper's usual message.
pub(crate) const MESSAGE: u32 = 4096;
/// The points that issue goals are set for.
pub(crate) const GOALS: [Point; 4] = [
    Point { size: MESSAGE, depth: 1 },
    Point { size: MESSAGE, depth: 16 },
    Point { size: 64, depth: 1 },
    Point { size: 65_536, depth: 16 },
];
/// The point whose distribution is shown.
pub(crate) const LATENCY: Point = Point { size: MESSAGE, depth: 1 };

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) runs: u32,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    pub(crate) quick: bool,
    /// Only the goals' points of the two-process contenders.
    pub(crate) goals_only: bool,
}

/// Contenders that alternate, and at which points.
struct Group {
    title: &'static str,
    contenders: Vec<Contender>,
    points: Vec<Point>,
}

fn all_points() -> Vec<Point> {
    let sizes = SIZES.map(|size| Point { size, depth: 1 });
    let depths = DEPTHS.map(|depth| Point { size: MESSAGE, depth });
    let mut points: Vec<Point> = sizes.into_iter().chain(depths).chain(GOALS).collect();
    points.sort_unstable();
    points.dedup();
    points
}

/// Without 64 KiB at depth 16, whose frames are more than the in-memory pair's ring holds: the limit repeats nothing.
fn one_thread_points() -> Vec<Point> {
    all_points().into_iter().filter(|p| u64::from(p.size) * u64::from(p.depth) <= 256 << 10).collect()
}

fn groups(effort: Effort) -> Vec<Group> {
    let two = |points| Group { title: "two processes", contenders: contender::TWO_PROCESSES.to_vec(), points };
    if effort.goals_only {
        return vec![two(GOALS.to_vec())];
    }
    let cpus = thread::available_parallelism().map_or(1, core::num::NonZero::get).min(16);
    vec![
        two(all_points()),
        Group { title: "one thread", contenders: contender::ONE_THREAD.to_vec(), points: one_thread_points() },
        Group { title: "by cores", contenders: contender::cores(cpus), points: vec![LATENCY] },
    ]
}

/// Measures everything.
pub(crate) fn run(ground: &Ground<'_>, effort: Effort) -> Result<Data> {
    let groups = groups(effort);
    let total: usize = groups.iter().map(|g| g.contenders.len() * g.points.len()).sum::<usize>() * effort.runs as usize;
    let mut data = Data {
        taken: process::output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?.trim().to_owned(),
        runs: effort.runs,
        seconds: effort.duration.as_secs_f64(),
        quick: effort.quick,
        busy: busy()?,
        machine: Value::Null,
        rustc: process::output("rustc", &["--version"])?.trim().to_owned(),
        ports: BTreeMap::new(),
        series: Vec::new(),
        account: Vec::new(),
    };
    let mut progress = Progress::start(format!("measuring {total} samples"));
    let mut done = 0;
    for group in &groups {
        progress.note(&format!("starting: {}", group.title));
        let running = group.contenders.iter().map(|c| ground.start(*c)).collect::<Result<Vec<_>>>()?;
        alternate(group, running, effort, &mut data, |what| {
            done += 1;
            progress.note(&format!("{}/{total}  {what}", done));
        })?;
    }
    progress.finish("done");
    describe_offloads(ground, &mut data)?;
    Ok(data)
}

/// What the kernel's interfaces do instead of its TCP, in the description of the machine.
fn describe_offloads(ground: &Ground<'_>, data: &mut Data) -> Result<()> {
    let states = serde_json::json!({
        contender::KERNEL.id: ground.plain.offloads()?,
        contender::KERNEL_OFFLOADS.id: ground.offloads.offloads()?,
    });
    if let Value::Object(machine) = &mut data.machine {
        machine.insert("offloads".to_owned(), states);
    }
    Ok(())
}

/// How busy the CPUs are while we do nothing.
fn busy() -> Result<f64> {
    let look = || -> Result<(f64, f64)> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let all: Vec<f64> =
            stat.lines().next().unwrap_or("").split_whitespace().filter_map(|n| n.parse().ok()).collect();
        // user, nice, system, idle, iowait, ... (proc_stat(5))
        let idle = all.iter().skip(3).take(2).sum();
        Ok((all.iter().sum(), idle))
    };
    let before = look()?;
    thread::sleep(Duration::from_millis(500));
    let after = look()?;
    let (all, idle) = (after.0 - before.0, after.1 - before.1);
    Ok(if all > 0.0 { (1.0 - idle / all).clamp(0.0, 1.0) } else { 0.0 })
}

/// In which order `n` contenders are asked in an alternation: another one begins each time.
pub(super) fn order(run: usize, n: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |turn| (turn + run) % n)
}

fn alternate(
    group: &Group,
    mut running: Vec<Running>,
    effort: Effort,
    data: &mut Data,
    mut say: impl FnMut(&str),
) -> Result<()> {
    let mut told: BTreeMap<(usize, Point), Vec<(Sample, Value)>> = BTreeMap::new();
    for run in 0..effort.runs as usize {
        for point in &group.points {
            for at in order(run, running.len()) {
                let Some(one) = running.get_mut(at) else { continue };
                let answer = one.measure(*point, effort.warmup, effort.duration)?;
                let id = one.contender.id;
                let sample = Sample::of(&answer).with_context(|| format!("{id}: no figures in {answer}"))?;
                say(&format!("{id}, {} B, depth {}: {:.0} RPC/s", point.size, point.depth, sample.rps));
                keep_descriptions(id, &answer, data);
                told.entry((at, *point)).or_default().push((sample, answer));
            }
        }
    }
    for ((at, point), all) in told {
        let Some(contender) = group.contenders.get(at) else { continue };
        let cdf = if point == LATENCY { middle(&all) } else { Vec::new() };
        let samples = all.into_iter().map(|(sample, _)| sample).collect();
        data.series.push(Series { contender: contender.id.to_owned(), point, samples, cdf });
    }
    running.into_iter().try_for_each(Running::finish)
}

/// The machine, once, and what each contender's port can do.
fn keep_descriptions(id: &str, answer: &Value, data: &mut Data) {
    if let (Value::Null, Some(machine)) = (&data.machine, answer.get("machine")) {
        data.machine = machine.clone();
    }
    if let Some(port) = answer.pointer("/client/port").filter(|port| !port.is_null()) {
        data.ports.entry(id.to_owned()).or_insert_with(|| port.clone());
    }
}

/// The distribution of the sample whose median is in the middle.
fn middle(all: &[(Sample, Value)]) -> Vec<(f64, f64)> {
    let mut order: Vec<_> = all.iter().filter(|(sample, _)| sample.p50_us.is_some()).collect();
    order.sort_by(|a, b| a.0.p50_us.unwrap_or(0.0).total_cmp(&b.0.p50_us.unwrap_or(0.0)));
    order.get(order.len() / 2).map_or(Vec::new(), |(_, answer)| data::cdf(answer))
}
