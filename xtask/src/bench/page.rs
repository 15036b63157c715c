//! The report as one HTML file that refers to nothing outside of itself.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::account;
use super::contender::{
    KERNEL, KERNEL_OFFLOADS, LIMIT_MEMIF, LIMIT_MEMIF_PLAIN, LIMIT_VIRTIO, LUNA_MEMIF, LUNA_VIRTIO, limit_of, title,
};
use super::data::{Data, Point};
use super::figures::{self, Figure, bytes};
use super::goals::{self, Figure as Measure, Outcome, Verdict};
use super::run::LATENCY;

const STYLE: &str = include_str!("page.css");

/// What a reader must know to judge the comparison.
const FAIRNESS: [&str; 10] = [
    "All stacks alternate within one run, point by point, and another one begins each time: what the machine does meanwhile \
     hits all alike. Figures are medians; bars go from the slowest to the fastest sample.",
    "Client and server are two processes, pinned to a core each. The same benchmark, the same RPC sessions and the same \
     clock readings run over every stack.",
    "The kernel's sockets are busy-polled: a spinning epoll with no sleep, TCP_NODELAY, one writev and one readv for a burst. \
     It pays for system calls and copies, and it may use its own interrupt context on both cores.",
    "\"Kernel, offloads off\" is the kernel over veth with checksum, segmentation and receive offloads off: packets of 1500 \
     bytes with checksums in software, the same as Luna's over memif. \"All offloads on\" passes frames of 64 KiB through veth \
     by reference and without any checksum.",
    "Luna over memif computes and verifies TCP checksums in software, both ways. Over virtio the port vouches for them. Its \
     timestamps, SACK, round-trip samples, congestion control, timers and RPC header checks are on; the payload digest is \
     off. Luna has no LRO yet, and TSO only where the port cuts frames (virtio_user to vhost).",
    "Shared memory stands for a NIC: memif and virtio move bytes between the processes by a copy in DPDK, as DMA would, and \
     that copy is part of Luna's figures. There is no wire, no interrupt and no second machine, so latencies say what the \
     stacks cost, not what a network gives.",
    "The limit sends as many frames of the same shape over the same port and echoes the very objs that came; it has no \
     connection, no acknowledgment, no timer, no session. Luna cannot exceed it other than by noise.",
    "smoltcp shares Luna's in-memory pair and RPC header, runs without congestion control, timestamps and SACK, and has no \
     session above it; its ends take all frames in before the application runs, so that its acknowledgments ride on data.",
    "The paper's machines were two servers with 2 x 25 Gb/s between them and a kernel of 2018; its absolute figures are not \
     comparable with these, only their shapes and ratios are.",
    "A closed loop hides how long requests would have waited for a stalled server. The option --rate of luna knbench measures that; \
     this report compares stacks, and the load is the same for all.",
];

/// From when on others are said to disturb.
const BUSY: f64 = 0.1;

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// The page.
pub(crate) fn page(data: &Data) -> Result<String> {
    let figures = figures::all(data)?;
    let outcomes: Vec<Outcome> = goals::ALL.iter().filter_map(|goal| goal.outcome(data)).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Luna beside kernel TCP" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Luna · benchmark report · " (data.taken) }
                    h1 { (headline(data)) }
                    p.lead {
                        "Luna is a user-space TCP stack for storage RPC. Here it runs the paper's benchmark, knbench, between two \
                         processes beside the kernel's TCP, alternating: " (data.runs) " samples of "
                        (format!("{} s", data.seconds)) " for each point. "
                        @if data.quick { "This was a quick run: take " code { "cargo xtask bench" } " for figures to quote." }
                    }
                    @if data.busy > BUSY {
                        p.warning {
                            "The machine was busy: others took " (percent(data.busy)) " of its CPUs' time when this began. Both sides of \
                             every comparison suffered from it, and not alike; these figures say little. Repeat it on a quiet machine."
                        }
                    }
                    (tiles(data))
                }
                main {
                    section { h2 { "Goals" } (goal_table(&outcomes, data)) }
                    section {
                        h2 { "Figures" }
                        div.grid { @for figure in &figures { (figure_card(figure)) } }
                    }
                    @if !data.account.is_empty() {
                        section { h2 { "Instructions per RPC" } (account::table(&data.account)) }
                    }
                    section { h2 { "How to read it: what is fair, and what is not the same" } ul { @for note in FAIRNESS { li { (note) } } } }
                    section { h2 { "The machine" } (machine(data)) }
                    section { h2 { "All figures" } (details(data)) }
                }
                footer {
                    "Made by " code { "cargo xtask bench" } ". The paper: L. Zhu et al., Deploying User-space TCP at Cloud Scale with \
                     Luna, USENIX ATC 2023."
                }
            }
        }
    };
    Ok(page.into_string())
}

/// The sentence above all.
fn headline(data: &Data) -> String {
    if data.busy > BUSY {
        return "Luna beside the kernel's TCP, on a machine that others kept busy".to_owned();
    }
    let p50 = |id: &str| data.median(id, LATENCY, |s| s.p50_us);
    let rps = |id: &str| data.rps(id, LATENCY).map(|r| r.0);
    match (p50(LUNA_MEMIF.id), p50(KERNEL.id), rps(LUNA_MEMIF.id), rps(KERNEL.id)) {
        (Some(ours), Some(theirs), Some(our_rps), Some(their_rps)) => format!(
            "4 KiB RPCs in {ours:.1} µs instead of {theirs:.1} µs: {:.1} times the kernel's throughput from the same two cores",
            our_rps / their_rps
        ),
        _ => "Luna beside the kernel's TCP".to_owned(),
    }
}

/// A number of requests per second, as 203 k or 1.24 M.
fn rate(rps: f64) -> String {
    match rps {
        _ if rps >= 1e6 => format!("{:.2} M", rps / 1e6),
        _ if rps >= 1e5 => format!("{:.0} k", rps / 1e3),
        _ if rps >= 1e3 => format!("{:.1} k", rps / 1e3),
        _ => format!("{rps:.0}"),
    }
}

fn tiles(data: &Data) -> Markup {
    let ratio = |of: &str, to: &str, p: Point| Some((data.rps(of, p)?.0, data.rps(to, p)?.0));
    let deep = Point { size: 4096, depth: 16 };
    let tile = |what: &str, pair: Option<(f64, f64)>, unit: &str, against: &str| {
        pair.map(|(ours, theirs)| {
            html! {
                div.tile {
                    div.big { (format!("{:.1}×", ours / theirs)) }
                    div.what { (what) }
                    div.small { (rate(ours)) " " (unit) " against " (rate(theirs)) " " (against) }
                }
            }
        })
    };
    let limit = ratio(LUNA_MEMIF.id, LIMIT_MEMIF.id, deep);
    html! {
        div.tiles {
            @for tile in [
                tile("the kernel, 4 KiB, depth 1", ratio(LUNA_MEMIF.id, KERNEL.id, LATENCY), "RPC/s", "(same packets)"),
                tile("the kernel, 4 KiB, depth 16", ratio(LUNA_MEMIF.id, KERNEL.id, deep), "RPC/s", "(same packets)"),
                tile(
                    "the kernel with all offloads, 4 KiB, depth 1",
                    ratio(LUNA_VIRTIO.id, KERNEL_OFFLOADS.id, LATENCY),
                    "RPC/s",
                    "(64 KiB frames)",
                ),
            ].into_iter().flatten() { (tile) }
            @if let Some((ours, most)) = limit {
                div.tile {
                    div.big { (format!("{:.0} %", ours / most * 100.0)) }
                    div.what { "of what the port itself can do" }
                    div.small { "4 KiB, depth 16, memif with software checksums" }
                }
            }
        }
    }
}

/// A stack's requests per second as a part of what its port's limit has at the same point.
fn of_limit(data: &Data, id: &str, point: Point) -> String {
    let part = limit_of(id).and_then(|limit| Some(data.rps(id, point)?.0 / data.rps(limit, point)?.0));
    part.map_or("-".to_owned(), percent)
}

fn goal_table(outcomes: &[Outcome], data: &Data) -> Markup {
    let shown = |outcome: &Outcome, v: f64| match outcome.goal.figure {
        Measure::Rps => rate(v),
        Measure::P50 => format!("{v:.1} µs"),
    };
    let sign = |outcome: &Outcome| if outcome.goal.figure == Measure::P50 { "≤" } else { "≥" };
    let class = |verdict| match verdict {
        Verdict::Reached => "verdict good",
        Verdict::Half => "verdict half",
        Verdict::Missed => "verdict bad",
    };
    html! {
        p {
            "Medians, and what is asked of their ratio. The limit is what the port does with the same frames and no stack above it."
        }
        table.goals {
            thead { tr {
                th { "what" } th { "stack" } th.n { "its figure" } th { "against" } th.n { "its figure" } th.n { "goal" } th.n { "ratio" }
                th { "" } th.n { "of its limit" }
            } }
            tbody {
                @for o in outcomes {
                    tr {
                        td { (o.goal.what) }
                        td.dim { (title(o.goal.of)) }
                        td.n { (shown(o, o.figures.0)) }
                        td.dim { (title(o.goal.against)) }
                        td.n { (shown(o, o.figures.1)) }
                        td.n { (sign(o)) " " (format!("{}×", o.goal.times)) }
                        td.n { b { (format!("{:.2}×", o.times)) } }
                        td { span class=(class(o.verdict)) { (o.verdict.text()) } }
                        td.n {
                            @if o.goal.figure == Measure::Rps { (of_limit(data, o.goal.of, o.goal.point)) } @else { "-" }
                        }
                    }
                }
            }
        }
    }
}

fn figure_card(figure: &Figure) -> Markup {
    html! {
        figure id=(figure.id) {
            h3 { (figure.title) }
            (PreEscaped(&figure.svg))
            div.legend {
                @for (name, (r, g, b), dashed) in &figure.legend {
                    @let line = if *dashed { "dashed" } else { "solid" };
                    span { i style=(format!("border-top: 3px {line} rgb({r},{g},{b})")) {} (name) }
                }
            }
            figcaption { p { (figure.note) } p.paper { b { "The paper: " } (figure.paper) } }
        }
    }
}

fn machine(data: &Data) -> Markup {
    let text = |key: &str| match data.machine.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "not known".to_owned(),
        Some(other) => other.to_string(),
    };
    let ports = data.ports.iter().filter(|(id, _)| [LUNA_MEMIF.id, LUNA_VIRTIO.id].contains(&id.as_str()));
    html! {
        dl {
            dt { "processor" } dd { (text("cpu")) ", " (text("cpus")) " CPUs, " (text("mhz")) " MHz" }
            dt { "operating system" } dd { "Linux " (text("kernel")) " " (text("arch")) ", default congestion control " (text("congestion_control")) }
            dt { "DPDK" } dd { (text("dpdk")) }
            dt { "Luna" } dd { (text("luna")) @if data.machine.get("optimised") != Some(&Value::Bool(true)) { ", UNOPTIMISED: these figures say nothing" } }
            dt { "compiler" } dd { (data.rustc) }
            @for (id, features) in data.machine.get("offloads").and_then(Value::as_object).into_iter().flatten() {
                dt { (title(id)) }
                dd { (offloads(features)) }
            }
            @for (id, port) in ports {
                dt { (title(id)) }
                dd {
                    "MTU " (port["mtu"]) ", " (port["max_tx_segments"]) " segments a frame, checksums of what is sent by "
                    @if port["tx_checksum"] == Value::Bool(true) { "the port" } @else { "the stack" }
                }
            }
        }
    }
}

/// Which of an interface's features are on, and which are off.
fn offloads(features: &Value) -> String {
    let named = |on: bool| {
        let all = features.as_object().into_iter().flatten();
        let names: Vec<&str> = all.filter(|(_, v)| **v == Value::Bool(on)).map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    format!("on: {}; off: {} (ethtool -k)", named(true), named(false))
}

fn details(data: &Data) -> Markup {
    let us = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.1}"));
    html! {
        details {
            summary { "Medians of every point, with the slowest and the fastest sample" }
            table {
                thead { tr {
                    th { "who" } th.n { "size" } th.n { "depth" } th.n { "RPC/s" } th.n { "of the limit" } th.n { "slowest" } th.n { "fastest" } th.n { "p50 µs" }
                    th.n { "p99 µs" } th.n { "client's CPU µs/RPC" } th.n { "retransmitted" }
                } }
                tbody {
                    @for s in &data.series {
                        @if let Some((median, least, most)) = data.rps(&s.contender, s.point) {
                            tr {
                                td { (title(&s.contender)) }
                                td.n { (bytes(s.point.size)) } td.n { (s.point.depth) }
                                td.n { (rate(median)) } td.n { (of_limit(data, &s.contender, s.point)) } td.n { (rate(least)) } td.n { (rate(most)) }
                                td.n { (us(data.median(&s.contender, s.point, |x| x.p50_us))) }
                                td.n { (us(data.median(&s.contender, s.point, |x| x.p99_us))) }
                                td.n { (us(data.median(&s.contender, s.point, |x| x.cpu_us))) }
                                td.n {
                                    (s.samples.iter().map(|x| x.retransmits).sum::<Option<u64>>().map_or("-".to_owned(), |n| n.to_string()))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is printed on the terminal.
pub(crate) fn words(data: &Data) -> String {
    let mut out = format!("{}\n\n", headline(data));
    if data.busy > BUSY {
        out += &format!("THE MACHINE WAS BUSY: others took {} of its CPUs when this began.\n\n", percent(data.busy));
    }
    for outcome in goals::ALL.iter().filter_map(|goal| goal.outcome(data)) {
        let Outcome { goal, figures: (ours, theirs), times, verdict } = outcome;
        out += &format!(
            "{:<32} {:<12} {:>10.1}  {:<16} {:>10.1}  {:>6.2}x (goal {}x)  {}\n",
            goal.what,
            goal.of,
            ours,
            goal.against,
            theirs,
            times,
            goal.times,
            verdict.text()
        );
    }
    for (of, limit) in [(LUNA_MEMIF, LIMIT_MEMIF), (LUNA_MEMIF, LIMIT_MEMIF_PLAIN), (LUNA_VIRTIO, LIMIT_VIRTIO)] {
        for depth in [1, 16] {
            let point = Point { size: 4096, depth };
            if let Some((ours, most)) = data.rps(of.id, point).zip(data.rps(limit.id, point)) {
                out += &format!("4 KiB, depth {depth:<2} {:<12} is {:.2} of {}\n", of.id, ours.0 / most.0, limit.title);
            }
        }
    }
    out
}
