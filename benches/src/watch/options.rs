//! What viewers watch, how they ask for it, and over which network.

use std::time::Duration;

use serde::Serialize;
use shardcast_link::RenditionSpec;

use crate::BenchError;
use crate::publisher::Pace;
use crate::viewer::ImpairmentOptions;

/// How viewers ask for a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchBy {
    /// WHEP: one POST with the viewer's offer.
    #[default]
    Whep,
    /// The SDK's `play` on a WebSocket.
    Sdk,
}

/// Size and length of the load.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Numbers of viewers at which the engine is measured, ascending, all broadcasts together.
    pub sizes: Vec<u32>,
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// Spacing of the publishers' frames.
    pub pace: Pace,
    /// Length of each measurement.
    pub duration: Duration,
    /// How viewers ask.
    pub by: WatchBy,
    /// The network of each viewer.
    pub impairment: ImpairmentOptions,
    /// Viewers take datagrams one by one, see [`ViewerOptions::one_by_one`](crate::viewer::ViewerOptions::one_by_one).
    pub one_by_one: bool,
    /// In the second third of each measurement its rate is this, in bits a second.
    pub low_bps: Option<u64>,
    /// The ladder of each broadcast.
    pub ladder: Vec<RenditionSpec>,
}

impl WatchOptions {
    /// Whether this can be measured.
    ///
    /// # Errors
    /// When it cannot, in words that say what can.
    pub fn check(&self) -> Result<(), BenchError> {
        let network = &self.impairment;
        let refused = if self.duration.is_zero() {
            "a measurement takes a second at least"
        } else if self.broadcasts == 0 {
            "there is nothing to watch: one broadcast at least"
        } else if !(0.0..=50.0).contains(&network.loss_percent) {
            "a viewer's network loses from 0 to 50 % of the packets: above, no stream is left to measure"
        } else if !(1.0..=10_000.0).contains(&network.burst) {
            "a viewer's network loses from 1 to 10,000 packets at once"
        } else if network.rate_bps == Some(0) || self.low_bps == Some(0) {
            "a viewer's network carries 1 kbit/s at least"
        } else {
            return Ok(());
        };
        Err(BenchError::Argument(refused.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut WatchOptions)) -> Option<String> {
        let mut options = WatchOptions {
            sizes: vec![1],
            broadcasts: 1,
            pace: Pace::Constant,
            duration: Duration::from_secs(1),
            by: WatchBy::Whep,
            impairment: ImpairmentOptions {
                burst: 1.0,
                ..ImpairmentOptions::default()
            },
            one_by_one: false,
            low_bps: None,
            ladder: Vec::new(),
        };
        change(&mut options);
        options.check().err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_measured_is_refused_in_words() {
        let network = |change: fn(&mut ImpairmentOptions)| {
            refusal(|it| change(&mut it.impairment)).unwrap_or_default()
        };
        assert_eq!(refusal(|_| {}), None);
        assert_eq!(network(|it| it.loss_percent = 50.0), "");
        for percent in [50.1, 100.0, -1.0, f64::NAN] {
            let words = refusal(|it| it.impairment.loss_percent = percent).unwrap();
            assert!(words.contains("from 0 to 50 %"), "{words}");
        }
        assert!(network(|it| it.burst = 0.0).contains("from 1"));
        assert!(network(|it| it.rate_bps = Some(0)).contains("1 kbit/s"));
        let low = refusal(|it| it.low_bps = Some(0)).unwrap();
        assert!(low.contains("1 kbit/s"), "{low}");
        let instant = refusal(|it| it.duration = Duration::ZERO).unwrap();
        assert!(instant.contains("a second"), "{instant}");
        let nothing = refusal(|it| it.broadcasts = 0).unwrap();
        assert!(nothing.contains("one broadcast"), "{nothing}");
    }
}
