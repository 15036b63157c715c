//! Curves to SVG, by plotters. One style for all figures; legends are the page's.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Width and height of a figure.
const SIZE: (u32, u32) = (620, 380);
const TEXT: RGBColor = RGBColor(52, 58, 64);
const GRID: RGBColor = RGBColor(233, 236, 239);

/// A curve's colour.
pub(crate) type Rgb = (u8, u8, u8);

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: Rgb,
    /// For what is not a stack.
    pub(crate) dashed: bool,
    pub(crate) points: Vec<(f64, f64)>,
    /// Least and most at an x.
    pub(crate) spread: Vec<(f64, f64, f64)>,
}

/// How an axis is divided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scale {
    /// From 0 to what the curves need.
    Linear,
    /// By decades around what the curves need.
    Log,
    /// At 0, 1, 2, ..., with these words.
    Words(Vec<String>),
    /// From 0 to 100.
    Percent,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
}

enum Coord {
    Plain(RangedCoordf64),
    Log(LogCoord<f64>),
}

fn coord(axis: &Axis, values: impl Iterator<Item = f64> + Clone) -> Coord {
    let most = values.clone().fold(0.0_f64, f64::max);
    match &axis.scale {
        Scale::Linear => Coord::Plain((0.0..(most * 1.08).max(1e-9)).into()),
        Scale::Percent => Coord::Plain((0.0..101.0).into()),
        Scale::Words(words) => Coord::Plain((-0.25..words.len() as f64 - 0.75).into()),
        Scale::Log => {
            let least = values.filter(|v| *v > 0.0).fold(f64::MAX, f64::min).min(most.max(1e-9));
            Coord::Log((least / 1.3..(most * 1.3).max(least)).log_scale().into())
        }
    }
}

/// Draws curves that all have points within the axes.
pub(crate) fn svg(x: &Axis, y: &Axis, curves: &[Curve]) -> Result<String> {
    let xs = curves.iter().flat_map(|c| c.points.iter().map(|p| p.0));
    let ys = curves.iter().flat_map(|c| c.points.iter().map(|p| p.1).chain(c.spread.iter().map(|s| s.2)));
    match (coord(x, xs), coord(y, ys)) {
        (Coord::Plain(a), Coord::Plain(b)) => draw(a, b, x, y, curves),
        (Coord::Plain(a), Coord::Log(b)) => draw(a, b, x, y, curves),
        (Coord::Log(a), Coord::Plain(b)) => draw(a, b, x, y, curves),
        (Coord::Log(a), Coord::Log(b)) => draw(a, b, x, y, curves),
    }
}

/// A number without more digits than it needs.
fn number(v: f64) -> String {
    let text = if v.abs() >= 10.0 || v == 0.0 { format!("{v:.0}") } else { format!("{v:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn label(axis: &Axis, v: f64) -> String {
    match &axis.scale {
        Scale::Words(words) if v >= 0.0 && (v - v.round()).abs() < 1e-6 => {
            words.get(v.round() as usize).cloned().unwrap_or_default()
        }
        Scale::Words(_) => String::new(),
        Scale::Percent => format!("{v:.0} %"),
        Scale::Linear => number(v),
        // By decades and their halves, or they would run into each other.
        Scale::Log => {
            let lead = v / 10_f64.powf(v.log10().floor());
            if [1.0, 2.0, 5.0].iter().any(|l| (lead - l).abs() < 0.01) { number(v) } else { String::new() }
        }
    }
}

fn draw<X, Y>(x_coord: X, y_coord: Y, x: &Axis, y: &Axis, curves: &[Curve]) -> Result<String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut out = String::new();
    draw_on(&mut out, x_coord, y_coord, x, y, curves).map_err(|e| anyhow!("a figure cannot be drawn: {e}"))?;
    // Within a page the name space is known; without it a page names no address at all.
    Ok(out.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}

type Drawn = core::result::Result<(), Box<dyn core::error::Error>>;

fn draw_on<X, Y>(out: &mut String, x_coord: X, y_coord: Y, x: &Axis, y: &Axis, curves: &[Curve]) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .margin_right(18)
        .x_label_area_size(58)
        .y_label_area_size(78)
        .build_cartesian_2d(x_coord, y_coord)?;
    let labels = |axis: &Axis, others| match &axis.scale {
        Scale::Words(words) => words.len(),
        // Enough that 2 and 5 of each decade are among them.
        Scale::Log => 40,
        Scale::Linear | Scale::Percent => others,
    };
    chart
        .configure_mesh()
        .x_desc(x.label)
        .y_desc(y.label)
        .x_labels(labels(x, 12))
        .y_labels(labels(y, 7))
        .x_label_formatter(&|v| label(x, *v))
        .y_label_formatter(&|v| label(y, *v))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(134, 142, 150))
        .label_style(("sans-serif", 17).into_font().color(&TEXT))
        .axis_desc_style(("sans-serif", 17).into_font().color(&TEXT))
        .draw()?;
    for (number, curve) in curves.iter().enumerate() {
        let (r, g, b) = curve.color;
        let color = RGBColor(r, g, b);
        let points = || curve.points.iter().copied();
        if curve.dashed {
            chart.draw_series(DashedLineSeries::new(points(), 7, 5, color.stroke_width(2)))?;
        } else {
            chart.draw_series(LineSeries::new(points(), color.stroke_width(3)))?;
        }
        // Beside each other, where points have numbers: on one line nobody could tell whose bar it is.
        let beside = match x.scale {
            Scale::Words(_) => (number as f64 - (curves.len() as f64 - 1.0) / 2.0) * 0.05,
            _ => 0.0,
        };
        let spread = |(x, least, most): &(f64, f64, f64)| {
            PathElement::new([(x + beside, *least), (x + beside, *most)], color.mix(0.5).stroke_width(2))
        };
        chart.draw_series(curve.spread.iter().map(spread))?;
        // A distribution is a line; a measured point is a dot.
        if curve.points.len() <= 16 {
            chart.draw_series(points().map(|p| Circle::new(p, 4, color.filled())))?;
        }
    }
    root.present()?;
    Ok(())
}
