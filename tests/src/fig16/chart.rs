//! The outcomes as a picture: flow completion times and queue depth, over the number of senders and over time.

use std::path::Path;

use luna_core::tcp::congestion::CongestionKind;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::{Outcome, QUEUE, RATE};
use crate::sim::events::Time;

type Drawn = Result<(), Box<dyn core::error::Error>>;
type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Curve = (CongestionKind, Vec<(f64, f64)>);

fn color(kind: CongestionKind) -> RGBColor {
    match kind {
        CongestionKind::NewReno => RGBColor(31, 119, 180),
        CongestionKind::Cubic => RGBColor(255, 127, 14),
        CongestionKind::Dctcp => RGBColor(44, 160, 44),
        CongestionKind::Hpcc => RGBColor(214, 39, 40),
    }
}

fn curves(outcomes: &[Outcome], point: impl Fn(&Outcome) -> (f64, f64)) -> Vec<Curve> {
    let of = |kind| outcomes.iter().filter(|o| o.kind == kind).map(&point).collect();
    CongestionKind::ALL.into_iter().map(|kind| (kind, of(kind))).collect()
}

fn draw<X, Y>(panel: &Panel<'_>, title: &str, labels: (&str, &str), x: X, y: Y, curves: &[Curve]) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart.configure_mesh().x_desc(labels.0).y_desc(labels.1).light_line_style(WHITE.mix(0.0)).draw()?;
    for (kind, points) in curves {
        let style = color(*kind).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(kind.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let place = SeriesLabelPosition::UpperLeft;
    chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}

fn largest(curves: &[Curve]) -> f64 {
    curves.iter().flat_map(|c| &c.1).map(|p| p.1).fold(1.0, f64::max)
}

/// The greatest value of each 20 µs: a line through every sample would be all that is seen.
fn over_time(o: &Outcome, length: Time) -> Vec<(f64, f64)> {
    let first = o.depths.first().map_or(0, |d| d.0);
    let shown = o.depths.iter().take_while(|d| d.0 < first + length).map(|d| (d.0 - first, d.1)).collect::<Vec<_>>();
    shown.chunks(20).map(|c| (c[0].0 as f64 / 1e6, c.iter().map(|d| d.1).max().unwrap_or(0) as f64 / 1000.0)).collect()
}

/// How many of the flows are done within a time: points of the distribution, in µs and percent.
fn distribution(o: &Outcome) -> Vec<(f64, f64)> {
    let n = o.times.len().max(1) as f64;
    o.times.iter().enumerate().map(|(i, t)| (*t as f64 / 1000.0, (i + 1) as f64 * 100.0 / n)).collect()
}

/// Writes the picture.
///
/// # Errors
/// What the drawing or the file system says.
pub fn svg(path: &Path, incast: &[Outcome], mixed: &[Outcome]) -> Drawn {
    let root = SVGBackend::new(path, (1280, 900)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("Congestion control, {} Gb/s, {} KiB at the bottleneck", RATE / 1_000_000_000, QUEUE >> 10);
    let root = root.titled(&title, ("sans-serif", 24))?;
    let panels = root.split_evenly((2, 2));
    let senders = || (1.0..256.0f64).log_scale().base(2.0);
    let times = curves(incast, |o| (o.senders as f64, o.percentile(99)));
    let to = largest(&times) * 1.3;
    draw(
        &panels[0],
        "Incast: 64 KiB each",
        ("senders", "99th percentile, µs"),
        senders(),
        (10.0..to).log_scale(),
        &times,
    )?;
    let depths = curves(incast, |o| (o.senders as f64, o.most_depth()));
    let to = largest(&depths) * 1.1;
    draw(&panels[1], "Incast: longest queue", ("senders", "kB"), senders(), 0.0..to, &depths)?;
    let done: Vec<Curve> = mixed.iter().map(|o| (o.kind, distribution(o))).collect();
    let slowest = mixed.iter().map(|o| o.percentile(100)).fold(10.0, f64::max);
    let (x, y) = ((10.0..slowest * 1.1).log_scale(), 0.0..100.0);
    draw(&panels[2], "Short flows beside two long ones", ("µs", "done, %"), x, y, &done)?;
    let length = 10_000_000;
    let queue: Vec<Curve> = mixed.iter().map(|o| (o.kind, over_time(o, length))).collect();
    let to = largest(&queue) * 1.1;
    draw(&panels[3], "The queue meanwhile", ("ms", "kB"), 0.0..length as f64 / 1e6, 0.0..to, &queue)?;
    root.present()?;
    Ok(())
}
