//! Small statistics over measured values.

use serde::Serialize;

/// Smallest, middle, largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
    pub count: usize,
}

/// How late things are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    /// `None` of nothing.
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
    /// `None` of nothing.
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

/// The nearest rank: a value that was really measured.
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
}
