//! The viewers of a load: so many of each broadcast, by WHEP, on a good network.

use std::time::Duration;

use tokio::time::sleep;

use super::{Door, LoadEnd, START_TIME_LIMIT};
use crate::BenchError;
use crate::viewer::{Viewer, ViewerOptions, ViewerReport};

/// Distance of the starts of two viewers.
const STAGGER: Duration = Duration::from_millis(10);

/// The viewers of one broadcast.
#[derive(Debug, Default)]
pub(super) struct Audience(Vec<Viewer>);

impl Audience {
    /// Lets so many come, and waits until each has seen a keyframe. The broadcast has to be on air.
    pub(super) async fn start(
        door: &Door<'_>,
        stream_id: &str,
        viewers: u32,
    ) -> Result<Self, BenchError> {
        let mut audience = Self::default();
        for _ in 0..viewers {
            let url = door.watch_url(stream_id)?;
            let viewer = Viewer::start(ViewerOptions::new(url, stream_id));
            audience.0.push(viewer);
            sleep(STAGGER).await;
        }
        for viewer in &audience.0 {
            viewer.watching(START_TIME_LIMIT).await?;
        }
        Ok(audience)
    }

    /// Milliseconds from the publisher's send call to the last packet of each frame, since the last call.
    pub(super) fn take_delays_ms(&self) -> Vec<f64> {
        self.0.iter().flat_map(Viewer::take_delays_ms).collect()
    }

    /// Stops all viewers, and adds what they lacked.
    pub(super) async fn stop(self, stream_id: &str, end: &mut LoadEnd) {
        for viewer in self.0 {
            let report = viewer.stop().await;
            end.frames_lost += report.frames_missing;
            end.faults.extend(fault(stream_id, &report));
        }
    }
}

fn fault(stream_id: &str, report: &ViewerReport) -> Option<String> {
    let what = match report.errors.first() {
        Some(error) => error.clone(),
        None if report.begins_with_keyframe == Some(false) => {
            "the first frame was no keyframe".to_owned()
        }
        None if report.frames_damaged > 0 => {
            format!("{} frames damaged", report.frames_damaged)
        }
        None => return None,
    };
    Some(format!("a viewer of {stream_id}: {what}"))
}
