//! Places of values on an axis, and its ticks.

use super::plot::AxisScale;

/// Ticks that an axis has, about.
const TICKS: f64 = 6.0;
/// Percentiles with a tick.
const NINES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];

/// An axis of which the ends are known.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    kind: AxisScale,
    from: f64,
    to: f64,
    step: f64,
}

impl Scale {
    /// An axis for these values.
    pub(super) fn of(kind: AxisScale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let least = finite.clone().fold(f64::INFINITY, f64::min);
        let most = finite.fold(f64::NEG_INFINITY, f64::max);
        if least > most {
            return Self::of(kind, [0.0, 1.0].into_iter());
        }
        match kind {
            AxisScale::Percentiles => {
                let top = NINES.into_iter().find(|nine| *nine >= most);
                Self {
                    kind,
                    from: 0.0,
                    to: nines(top.unwrap_or(99.999_9)).max(1.0),
                    step: 1.0,
                }
            }
            AxisScale::Linear => Self::even(kind, least.min(0.0), most.max(0.0)),
            AxisScale::CloseUp => {
                // A tenth of the value around it: noise does not fill the plot.
                let room = ((most - least) * 0.1).max(most.abs() * 0.05);
                Self::even(kind, (least - room).max(least.min(0.0)), most + room)
            }
        }
    }

    fn even(kind: AxisScale, from: f64, to: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        let raw = (to - from) / TICKS;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * magnitude)
            .into_iter()
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        Self {
            kind,
            from: (from / step).floor() * step,
            to: (to / step).ceil() * step,
            step,
        }
    }

    /// Where a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.kind {
            AxisScale::Percentiles => nines(value),
            AxisScale::Linear | AxisScale::CloseUp => value,
        };
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Values with a tick, and their texts.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.kind == AxisScale::Percentiles {
            let shown = NINES.into_iter().filter(|nine| nines(*nine) <= self.to);
            return shown.map(|nine| (nine, format!("{nine}"))).collect();
        }
        let count = ((self.to - self.from) / self.step).round() as u32;
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        let at = |n: u32| self.from + f64::from(n) * self.step;
        (0..=count)
            .map(|n| (at(n), format!("{:.digits$}", at(n) + 0.0)))
            .collect()
    }
}

/// The number of nines of a percentile: 1 for 90, 2 for 99.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile.clamp(0.0, 99.999_99) / 100.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: AxisScale, values: &[f64]) -> Vec<String> {
        let scale = Scale::of(kind, values.iter().copied());
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(
            texts(AxisScale::Linear, &[1.0, 57.0]),
            ["0", "10", "20", "30", "40", "50", "60"]
        );
        assert_eq!(
            texts(AxisScale::Linear, &[0.4, 0.9]),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            texts(AxisScale::Percentiles, &[50.0, 99.9]),
            ["0", "50", "90", "99", "99.9"]
        );
        let close = texts(AxisScale::CloseUp, &[80.0, 82.0]);
        assert_eq!(close.first().map(String::as_str), Some("74"), "{close:?}");
        for values in [&[][..], &[0.0], &[-3.0, 2.0], &[1e9], &[f64::NAN]] {
            let ticks = texts(AxisScale::Linear, values);
            assert!((2..12).contains(&ticks.len()), "{values:?}: {ticks:?}");
        }
    }

    #[test]
    fn values_are_placed_between_the_ends() {
        let scale = Scale::of(AxisScale::Linear, [0.0, 10.0].into_iter());
        assert!((scale.place(5.0) - 0.5).abs() < 1e-9);
        let scale = Scale::of(AxisScale::Percentiles, [99.0].into_iter());
        assert!((scale.place(90.0) - 0.5).abs() < 1e-9);
        assert!((scale.place(99.0) - 1.0).abs() < 1e-9);
    }
}
