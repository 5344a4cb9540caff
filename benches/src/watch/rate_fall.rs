//! The rate of each viewer's network falls in the middle of a measurement, and comes back: when each viewer is
//! sent a rung of the ladder, and when the publisher's video again.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::clock;
use crate::stats::Percentiles;
use crate::viewer::{Viewer, ViewerReport};

/// What a fall of the rate led to, for the viewers of the SDK; by WHEP nothing is told.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RateFallReport {
    /// From the fall to the first rung, in milliseconds.
    pub down_ms: Option<Percentiles>,
    /// From the return to the video of before, in milliseconds.
    pub up_ms: Option<Percentiles>,
    /// Viewers whose video stayed, or did not come back.
    pub without: u32,
    /// Most changes of one viewer; one each way are two.
    pub changes_max: u32,
}

/// Third by third of the duration: the rate of before, `low_bps`, and that of before.
pub(super) async fn fall(
    viewers: &[Viewer],
    duration: Duration,
    (rate_bps, low_bps): (Option<u64>, u64),
) -> RateFallReport {
    let begun_us = clock::now_us();
    sleep(duration / 3).await;
    let fell_us = clock::now_us();
    set_rate(viewers, Some(low_bps));
    sleep(duration / 3).await;
    let returned_us = clock::now_us();
    set_rate(viewers, rate_bps);
    sleep(duration / 3).await;
    let reports: Vec<ViewerReport> = viewers.iter().map(Viewer::report).collect();
    report(&reports, begun_us, fell_us, returned_us)
}

fn set_rate(viewers: &[Viewer], rate_bps: Option<u64>) {
    for viewer in viewers {
        viewer.set_rate(rate_bps);
    }
}

fn report(
    viewers: &[ViewerReport],
    begun_us: u64,
    fell_us: u64,
    returned_us: u64,
) -> RateFallReport {
    let (mut down, mut up, mut changes_max) = (Vec::new(), Vec::new(), 0);
    for viewer in viewers {
        let changes = viewer.heights.iter().filter(|it| it.at_us >= begun_us);
        changes_max = changes_max.max(changes.clone().count());
        let ms = |since: u64, at_us: u64| (at_us - since) as f64 / 1_000.0;
        let first = changes.clone().find(|it| it.at_us >= fell_us);
        down.extend(first.map(|it| ms(fell_us, it.at_us)));
        // The last change stands for the video that it ends with.
        let last = changes
            .clone()
            .next_back()
            .filter(|it| it.at_us >= returned_us);
        up.extend(last.map(|it| ms(returned_us, it.at_us)));
    }
    let whole = down.len().min(up.len());
    RateFallReport {
        down_ms: Percentiles::of(down),
        up_ms: Percentiles::of(up),
        without: u32::try_from(viewers.len() - whole).unwrap_or(u32::MAX),
        changes_max: u32::try_from(changes_max).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::HeightChange;

    fn viewer(heights: &[(u64, u32)]) -> ViewerReport {
        let heights = heights.iter().map(|(at_s, height)| HeightChange {
            at_us: at_s * 1_000_000,
            height: *height,
        });
        ViewerReport {
            heights: heights.collect(),
            ..ViewerReport::default()
        }
    }

    #[test]
    fn a_viewer_that_goes_down_and_up_is_counted_and_one_that_stays_is_missing() {
        let viewers = [
            viewer(&[(2, 720), (13, 360), (31, 720)]),
            viewer(&[(14, 240), (33, 480), (36, 720)]),
            viewer(&[]),
        ];
        let report = report(&viewers, 5_000_000, 10_000_000, 20_000_000);
        assert_eq!((report.without, report.changes_max), (1, 3));
        assert_eq!(report.down_ms.unwrap().max, 4_000.0);
        assert_eq!(report.up_ms.unwrap().max, 16_000.0);
    }
}
