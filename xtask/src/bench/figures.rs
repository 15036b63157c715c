//! The figures of the report, shaped like the paper's, and what the paper says to each.

use anyhow::Result;

use super::contender::{
    Contender, KERNEL, KERNEL_OFFLOADS, LIMIT_MEMIF, LIMIT_MEMIF_PLAIN, LIMIT_PAIR, LIMIT_VIRTIO, LUNA_MEMIF,
    LUNA_PAIR, LUNA_VIRTIO, SMOLTCP,
};
use super::data::{Data, Point};
use super::plot::{self, Axis, Curve, Rgb, Scale};
use super::run::{DEPTHS, LATENCY, MESSAGE, SIZES};

/// A figure.
pub(crate) struct Figure {
    /// Anchor in the page.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Curves' names and colours; whether dashed.
    pub(crate) legend: Vec<(String, Rgb, bool)>,
    pub(crate) svg: String,
    /// What was measured.
    pub(crate) note: &'static str,
    /// What the paper published.
    pub(crate) paper: &'static str,
}

// Colours that are told apart by colour-blind people too (Okabe and Ito).
const BLUE: Rgb = (0, 114, 178);
const GREEN: Rgb = (0, 158, 115);
const VERMILLION: Rgb = (213, 94, 0);
const ORANGE: Rgb = (230, 159, 0);
const PURPLE: Rgb = (156, 77, 140);
const GREY: Rgb = (134, 142, 150);
const LIGHT_BLUE: Rgb = (86, 180, 233);

fn color(contender: Contender) -> (Rgb, bool) {
    match contender {
        LUNA_MEMIF | LUNA_PAIR => (BLUE, false),
        LUNA_VIRTIO => (GREEN, false),
        KERNEL => (VERMILLION, false),
        KERNEL_OFFLOADS => (ORANGE, false),
        SMOLTCP => (PURPLE, false),
        LIMIT_MEMIF => (BLUE, true),
        LIMIT_MEMIF_PLAIN => (LIGHT_BLUE, true),
        LIMIT_VIRTIO => (GREEN, true),
        _ => (GREY, true),
    }
}

/// "4 KiB".
pub(crate) fn bytes(n: u32) -> String {
    if n >= 1024 && n.is_multiple_of(1024) { format!("{} KiB", n / 1024) } else { format!("{n} B") }
}

fn words(values: &[u32], word: impl Fn(u32) -> String) -> Scale {
    Scale::Words(values.iter().map(|v| word(*v)).collect())
}

/// A contender's requests per second, times `unit`, at points number 0, 1, 2 ...
fn curve(data: &Data, contender: Contender, points: &[Point], unit: impl Fn(Point) -> f64) -> Curve {
    let (color, dashed) = color(contender);
    let mut curve = Curve { name: contender.title.to_owned(), color, dashed, points: Vec::new(), spread: Vec::new() };
    for (i, point) in points.iter().enumerate() {
        if let Some((median, least, most)) = data.rps(contender.id, *point) {
            let unit = unit(*point);
            curve.points.push((i as f64, median * unit));
            curve.spread.push((i as f64, least * unit, most * unit));
        }
    }
    curve
}

/// One contender's requests per second as a percentage of another's.
fn fraction(data: &Data, name: &str, of: Contender, limit: Contender, points: &[Point]) -> Curve {
    let part = |(i, p): (usize, &Point)| Some((i as f64, data.rps(of.id, *p)?.0 / data.rps(limit.id, *p)?.0 * 100.0));
    let points = points.iter().enumerate().filter_map(part).collect();
    Curve { name: name.to_owned(), color: color(of).0, dashed: false, points, spread: Vec::new() }
}

fn sizes() -> Vec<Point> {
    SIZES.iter().map(|size| Point { size: *size, depth: 1 }).collect()
}

fn depths() -> Vec<Point> {
    DEPTHS.iter().map(|depth| Point { size: MESSAGE, depth: *depth }).collect()
}

const STACKS: [Contender; 4] = [LUNA_MEMIF, LUNA_VIRTIO, KERNEL, KERNEL_OFFLOADS];

/// Those that the data has something for.
pub(crate) fn all(data: &Data) -> Result<Vec<Figure>> {
    let kilo = |_: Point| 1e-3;
    let gigabits = |p: Point| f64::from(p.size) * 8.0 / 1e9;
    let by_size = Axis { label: "message size", scale: words(&SIZES, bytes) };
    let by_depth = Axis { label: "iodepth: requests in flight", scale: words(&DEPTHS, |d| d.to_string()) };
    let krps = |scale| Axis { label: "thousand RPCs per second", scale };
    let all = [
        (
            ("latency", "Figures 2(a) and 11: latency of a 4 KiB RPC, iodepth 1"),
            (Axis { label: "latency, µs", scale: Scale::Log }, Axis { label: "of all RPCs", scale: Scale::Percent }),
            distributions(data),
            "Both ends on a core each, spinning. The curve that is further left is faster; the higher, the more of its RPCs \
             are that fast.",
            "Kernel TCP's median is 50 µs there (Figure 2a). Luna's zero-copy mode is 70 % below the kernel, and its p99 25 % \
             below Luna's copying mode (Figure 11).",
        ),
        (
            ("size", "Figure 9: throughput by message size, iodepth 1"),
            (by_size.clone(), Axis { label: "Gb/s of payload, each way", scale: Scale::Linear }),
            STACKS.map(|c| curve(data, c, &sizes(), gigabits)).to_vec(),
            "One connection. Bars from the slowest to the fastest sample; the kernel with offloads passes 64 KiB frames \
             through veth by reference, which no wire does.",
            "8 cores, 50 Gb/s: Luna 3.5 times the kernel and 1.5 times mTCP and VPP; zero-copy fills the link from 4 KiB on.",
        ),
        (
            ("size-rps", "Figure 9 again, as RPCs per second"),
            (by_size, krps(Scale::Log)),
            STACKS.map(|c| curve(data, c, &sizes(), kilo)).to_vec(),
            "The same samples on a logarithmic scale, where small messages can be seen.",
            "Not shown this way there.",
        ),
        (
            ("depth", "Figure 10: throughput by iodepth, 4 KiB"),
            (by_depth.clone(), krps(Scale::Linear)),
            STACKS.map(|c| curve(data, c, &depths(), kilo)).to_vec(),
            "One connection on one core each side; 100 thousand RPCs are 3.3 Gb/s each way.",
            "4 cores: throughput grows with iodepth; Luna's zero-copy mode has twice the throughput of mTCP and the kernel, and \
             fills 50 Gb/s at iodepth 16.",
        ),
        (
            ("cores", "Figures 2(b) and 12: throughput by cores, 4 KiB, iodepth 1"),
            (
                Axis { label: "cores, both ends on each", scale: words(&cores_of(data), |n| n.to_string()) },
                krps(Scale::Linear),
            ),
            by_cores(data),
            "Every core runs a client and a server of its own, nothing shared: Luna over in-memory pairs that stand for NICs \
             with checksum offload, the kernel over loopback with packets of 1500 bytes and no segmentation offload.",
            "The kernel has 600 Mb/s on one core and scales badly (Figure 2b); Luna is nearly linear, and fills 50 Gb/s with \
             8 cores (Figure 12).",
        ),
        (
            ("limit", "Luna as a part of what its port can do, 4 KiB"),
            (by_depth.clone(), Axis { label: "per cent of the limit's RPCs", scale: Scale::Linear }),
            vec![
                fraction(data, "memif, software checksums in both", LUNA_MEMIF, LIMIT_MEMIF, &depths()),
                fraction(data, "virtio, checksums by the port", LUNA_VIRTIO, LIMIT_VIRTIO, &depths()),
            ],
            "The limit moves as many frames of the same shape over the same port, with no TCP and no RPC session \
             above the queue.",
            "Not in the paper.",
        ),
        (
            ("limits", "What the ports can do, 4 KiB"),
            (by_depth.clone(), krps(Scale::Linear)),
            [LUNA_MEMIF, LIMIT_MEMIF, LIMIT_MEMIF_PLAIN, LUNA_VIRTIO, LIMIT_VIRTIO]
                // Too many for bars.
                .map(|c| Curve { spread: Vec::new(), ..curve(data, c, &depths(), kilo) })
                .to_vec(),
            "The limit with and without software checksums, and Luna below it.",
            "Not in the paper.",
        ),
        (
            ("peers", "One thread, in-memory pair: beside smoltcp, 4 KiB"),
            (by_depth, krps(Scale::Linear)),
            [LUNA_PAIR, SMOLTCP, LIMIT_PAIR].map(|c| curve(data, c, &depths(), kilo)).to_vec(),
            "Both ends in one thread and one gather copy per frame, for all. smoltcp runs without congestion control, \
             timestamps and SACK, and looks at no checksums.",
            "Not in the paper.",
        ),
    ];
    let mut figures = Vec::new();
    for ((id, title), (x, y), curves, note, paper) in all {
        let curves: Vec<Curve> = curves.into_iter().filter(|c: &Curve| !c.points.is_empty()).collect();
        if curves.is_empty() {
            continue;
        }
        let svg = plot::svg(&x, &y, &curves)?;
        let legend = curves.into_iter().map(|c| (c.name, c.color, c.dashed)).collect();
        figures.push(Figure { id, title, legend, svg, note, paper });
    }
    Ok(figures)
}

fn distributions(data: &Data) -> Vec<Curve> {
    let curve = |contender: Contender| {
        let series = data.series(contender.id, LATENCY)?;
        let (color, dashed) = color(contender);
        // The last thousandth would take half of the axis.
        let points = series.cdf.iter().filter(|p| p.1 <= 0.9995).map(|(us, part)| (*us, part * 100.0)).collect();
        let name = match (
            data.median(contender.id, LATENCY, |s| s.p50_us),
            data.median(contender.id, LATENCY, |s| s.p99_us),
        ) {
            (Some(p50), Some(p99)) => format!("{}: p50 {p50:.1} µs, p99 {p99:.1} µs", contender.title),
            _ => contender.title.to_owned(),
        };
        Some(Curve { name, color, dashed, points, spread: Vec::new() })
    };
    STACKS.into_iter().filter_map(curve).collect()
}

/// Numbers of cores that were measured.
fn cores_of(data: &Data) -> Vec<u32> {
    (1..=16).take_while(|n| data.rps(&format!("luna-cores-{n}"), LATENCY).is_some()).collect()
}

fn by_cores(data: &Data) -> Vec<Curve> {
    let of = |name: &str, id: &str, color: Rgb| {
        let mut curve = Curve { name: name.to_owned(), color, dashed: false, points: Vec::new(), spread: Vec::new() };
        for n in cores_of(data) {
            if let Some((median, least, most)) = data.rps(&format!("{id}-{n}"), LATENCY) {
                let x = f64::from(n - 1);
                curve.points.push((x, median / 1e3));
                curve.spread.push((x, least / 1e3, most / 1e3));
            }
        }
        curve
    };
    vec![of("Luna, in-memory pairs", "luna-cores", BLUE), of("Kernel, loopback", "kernel-cores", VERMILLION)]
}
