//! Draws a plot as inline SVG. Colours are those of the style sheet of the page, so that a plot is
//! legible on a light and on a dark ground.

use std::fmt::Write;

use super::html::escaped;
use super::plot::{AxisScale, Bar, Limit, Plot, PlotKind, Series};
use super::scale::Scale;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 56.0;
/// Room for the names of bars.
const BAR_LEFT: f64 = 230.0;
/// Room for the figures behind bars.
const BAR_RIGHT: f64 = 150.0;
const BAR_HEIGHT: f64 = 44.0;
/// Points of a line that are drawn; more could not be told apart.
const POINTS_MAX: usize = 1_000;
/// Series with a colour of their own.
pub(super) const COLOURS: usize = 6;

/// A plot as an SVG element.
pub(super) fn svg(plot: &Plot) -> String {
    match &plot.kind {
        PlotKind::Lines { series, limits } => lines(plot, series, limits),
        PlotKind::Bars(bars) => horizontal_bars(plot, bars),
    }
}

/// The place of the axes in the drawing, and their scales.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.place(value)
    }
}

fn lines(plot: &Plot, series: &[Series], limits: &[Limit]) -> String {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let ys = points()
        .map(|point| point.1)
        .chain(limits.iter().map(|limit| limit.at));
    let frame = Frame {
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: HEIGHT - BOTTOM,
        x: Scale::of(plot.x.scale, points().map(|point| point.0.min(plot.x.most))),
        y: Scale::of(plot.y.scale, ys.map(|y| y.min(plot.y.most))),
    };
    let mut out = opened(plot, HEIGHT);
    x_axis(&mut out, &frame, &plot.x.label, true);
    y_axis(&mut out, &frame, &plot.y.label);
    for limit in limits {
        let (y, name) = (frame.y(limit.at), escaped(&limit.name));
        add(
            &mut out,
            &format!(
                r#"<line class="limit" data-y="{}" x1="{:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/><text class="limit" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
                limit.at,
                frame.left,
                frame.right,
                frame.right - 4.0,
                y - 5.0
            ),
        );
    }
    for (n, series) in series.iter().enumerate() {
        if series.line {
            line(&mut out, &frame, n % COLOURS, series);
        } else {
            marks(&mut out, &frame, n % COLOURS, series);
        }
    }
    out.push_str("</svg>");
    out
}

fn line(out: &mut String, frame: &Frame, colour: usize, series: &Series) {
    let step = series.points.len().div_ceil(POINTS_MAX).max(1);
    let mut path = String::new();
    for (x, y) in series.points.iter().step_by(step) {
        add(
            &mut path,
            &format!("{:.1},{:.1} ", frame.x(*x), frame.y(*y)),
        );
    }
    let ends = series.points.first().zip(series.points.last());
    let data = ends.map_or(String::new(), |(first, last)| {
        format!(
            r#" data-from="{:.3},{:.3}" data-to="{:.3},{:.3}""#,
            first.0, first.1, last.0, last.1
        )
    });
    add(
        out,
        &format!(
            r#"<polyline class="s{colour}"{data} points="{}"><title>{}</title></polyline>"#,
            path.trim_end(),
            escaped(&series.name)
        ),
    );
}

/// Each series has another form, so that colours are not needed to tell them apart.
fn marks(out: &mut String, frame: &Frame, colour: usize, series: &Series) {
    for (x, y) in &series.points {
        let (cx, cy) = (frame.x(*x), frame.y(*y));
        let title = escaped(&format!("{}: {x} → {y:.2}", series.name));
        let data = format!(r#"class="m{colour}" data-x="{x}" data-y="{y:.3}""#);
        let form = mark(colour, cx, cy, &data);
        add(out, &format!("{form}<title>{title}</title></path>"));
    }
}

/// The opening tag of a mark of one series.
pub(super) fn mark(colour: usize, cx: f64, cy: f64, attributes: &str) -> String {
    let path = match colour {
        0 => format!("M{:.1},{cy:.1} a5,5 0 1,0 10,0 a5,5 0 1,0 -10,0", cx - 5.0),
        1 => format!("M{:.1},{:.1} l10,10 m0,-10 l-10,10", cx - 5.0, cy - 5.0),
        2 => format!("M{:.1},{:.1} l6,10 l-12,0 z", cx, cy - 6.0),
        _ => format!("M{:.1},{:.1} h9 v9 h-9 z", cx - 4.5, cy - 4.5),
    };
    format!(r#"<path {attributes} d="{path}">"#)
}

fn horizontal_bars(plot: &Plot, bars: &[Bar]) -> String {
    let height = TOP + BAR_HEIGHT * bars.len() as f64 + BOTTOM;
    let frame = Frame {
        left: BAR_LEFT,
        right: WIDTH - BAR_RIGHT,
        top: TOP,
        bottom: height - BOTTOM,
        x: Scale::of(AxisScale::Linear, bars.iter().map(|bar| bar.max)),
        y: Scale::of(AxisScale::Linear, [0.0, 1.0].into_iter()),
    };
    let mut out = opened(plot, height);
    x_axis(&mut out, &frame, &plot.x.label, false);
    for (n, bar) in bars.iter().enumerate() {
        let y = frame.top + BAR_HEIGHT * n as f64;
        let (x0, x) = (frame.x(0.0), frame.x(bar.median));
        let (low, high) = (frame.x(bar.min), frame.x(bar.max));
        let name = escaped(&bar.name);
        let middle = y + BAR_HEIGHT / 2.0;
        let colour = n % COLOURS;
        add(
            &mut out,
            &format!(
                r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text><rect class="b{colour}" data-value="{:.4}" x="{x0:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/><path class="whisker" d="M{low:.1},{middle:.1} H{high:.1} M{low:.1},{:.1} v10 M{high:.1},{:.1} v10"/><text class="value" x="{:.1}" y="{:.1}">{} ({}–{})</text>"#,
                frame.left - 10.0,
                middle + 5.0,
                bar.median,
                y + 8.0,
                (x - x0).max(1.0),
                BAR_HEIGHT - 16.0,
                middle - 5.0,
                middle - 5.0,
                x.max(high) + 8.0,
                middle + 5.0,
                short(bar.median),
                short(bar.min),
                short(bar.max),
            ),
        );
    }
    out.push_str("</svg>");
    out
}

/// A figure with three digits, about.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0..0.1 => 3,
        0.1..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

fn opened(plot: &Plot, height: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">"#,
        escaped(&plot.title)
    )
}

fn x_axis(out: &mut String, frame: &Frame, label: &str, with_base: bool) {
    for (value, text) in frame.x.ticks() {
        let x = frame.x(value);
        add(
            out,
            &format!(
                r#"<line class="grid" x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}"/><text class="tick x" x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#,
                frame.top,
                frame.bottom,
                frame.bottom + 18.0
            ),
        );
    }
    if with_base {
        add(
            out,
            &format!(
                r#"<line class="axis" x1="{:.1}" y1="{b:.1}" x2="{:.1}" y2="{b:.1}"/>"#,
                frame.left,
                frame.right,
                b = frame.bottom
            ),
        );
    }
    add(
        out,
        &format!(
            r#"<text class="label x" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            f64::midpoint(frame.left, frame.right),
            frame.bottom + 42.0,
            escaped(label)
        ),
    );
}

fn y_axis(out: &mut String, frame: &Frame, label: &str) {
    for (value, text) in frame.y.ticks() {
        let y = frame.y(value);
        add(
            out,
            &format!(
                r#"<line class="grid" x1="{:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/><text class="tick y" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                frame.left,
                frame.right,
                frame.left - 8.0,
                y + 4.5
            ),
        );
    }
    let middle = f64::midpoint(frame.top, frame.bottom);
    add(
        out,
        &format!(
            r#"<text class="label y" transform="translate(16,{middle:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            escaped(label)
        ),
    );
}

fn add(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = out.write_str(text);
    out.push('\n');
}
