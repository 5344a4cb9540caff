//! What a plot shows; [`svg`](super::svg) draws it.

/// A plot with two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// How to read it, in a sentence; may be empty.
    pub note: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis; of bars, what they are bars of.
    pub y: Axis,
    /// The values.
    pub kind: PlotKind,
}

/// An axis: its quantity with the unit, and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Quantity and unit, such as `delay, ms`.
    pub label: String,
    /// The scale.
    pub scale: AxisScale,
    /// Values above are drawn at the end of the axis.
    pub most: f64,
}

impl Axis {
    /// A linear axis from 0 or below.
    pub fn linear(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            scale: AxisScale::Linear,
            most: f64::INFINITY,
        }
    }

    /// A linear axis that begins near the smallest value, for what changes little.
    pub fn close_up(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            scale: AxisScale::CloseUp,
            most: f64::INFINITY,
        }
    }

    /// An axis of percentiles.
    pub fn percentiles(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            scale: AxisScale::Percentiles,
            most: f64::INFINITY,
        }
    }

    /// The same axis, with larger values at its end.
    #[must_use]
    pub fn up_to(self, most: f64) -> Self {
        Self { most, ..self }
    }
}

/// How values are placed on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisScale {
    /// Evenly, with 0 on the axis.
    Linear,
    /// Evenly, from near the smallest value to near the largest.
    CloseUp,
    /// Percentiles from 0 to 100, each nine with the same room: 90, 99, 99.9.
    Percentiles,
}

/// The values of a plot.
#[derive(Clone, Debug)]
pub enum PlotKind {
    /// Lines and points over the horizontal axis, and limits of the vertical one.
    Lines {
        /// The series.
        series: Vec<Series>,
        /// Limits.
        limits: Vec<Limit>,
    },
    /// Bars from 0 along the horizontal axis, one below the other.
    Bars(Vec<Bar>),
}

/// Values that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Places on both axes.
    pub points: Vec<(f64, f64)>,
    /// The points are connected, in their order, and not marked.
    pub line: bool,
}

/// A limit of the vertical axis.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What it is the limit of.
    pub name: String,
    /// Its value.
    pub at: f64,
}

/// One bar: the median of a figure, with the smallest and the largest one.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What was measured.
    pub name: String,
    /// Smallest value.
    pub min: f64,
    /// The median: the length of the bar.
    pub median: f64,
    /// Largest value.
    pub max: f64,
}
