//! Spreads and percentiles of measured values.

use serde::Serialize;

/// Smallest value, median and largest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest value.
    pub min: f64,
    /// The median, a value that was measured.
    pub median: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values.
    pub count: usize,
}

/// Percentiles of delays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values.
    pub count: usize,
}

/// A straight line through points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Growth of y for 1 of x.
    pub slope: f64,
    /// Value at x = 0.
    pub at_zero: f64,
}

impl Line {
    /// `None` with fewer than three points, or with one x only.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|at| at.0), mean(|at| at.1));
        let variance: f64 = points.iter().map(|at| (at.0 - x).powi(2)).sum();
        if points.len() < 3 || variance <= 0.0 {
            return None;
        }
        let covariance: f64 = points.iter().map(|at| (at.0 - x) * (at.1 - y)).sum();
        let slope = covariance / variance;
        Some(Self {
            slope,
            at_zero: y - slope * x,
        })
    }

    /// The value at x.
    pub fn at(&self, x: f64) -> f64 {
        self.at_zero + self.slope * x
    }
}

impl Spread {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            min: *values.first()?,
            median: at(&values, 0.5)?,
            max: *values.last()?,
            count: values.len(),
        })
    }
}

impl Percentiles {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            p50: at(&values, 0.50)?,
            p90: at(&values, 0.90)?,
            p95: at(&values, 0.95)?,
            p99: at(&values, 0.99)?,
            p999: at(&values, 0.999)?,
            max: *values.last()?,
            count: values.len(),
        })
    }
}

/// The value of the nearest rank: always a measured one, never interpolated.
fn at(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let of = Percentiles::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((of.p50, of.p95, of.p99, of.max), (50.0, 95.0, 99.0, 100.0));
        assert_eq!(Percentiles::of(Vec::new()), None);
        let one = Spread::of(vec![7.0]).unwrap();
        assert_eq!((one.min, one.median, one.max), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let points = [(1.0, 50.0), (2.0, 50.5), (3.0, 51.0)];
        let line = Line::through(&points).unwrap();
        assert!((line.slope - 0.5).abs() < 1e-9 && (line.at(10.0) - 54.5).abs() < 1e-9);
        assert_eq!(Line::through(&points[..2]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
