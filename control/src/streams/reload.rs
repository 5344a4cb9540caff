//! Waits for the playlist that a player asks for (RFC 8216bis, 6.2.5).

use std::time::Duration;

use super::refusal::Refusal;
pub(super) use crate::hls::Reload;
use crate::{
    hls::{Media, Track},
    limits,
};

impl Reload {
    /// Waits until the playlist is as asked for.
    pub(super) async fn wait(&self, track: &Track) -> Result<(), Refusal> {
        let Some(number) = self.number else {
            return Ok(());
        };
        let (next, most) = track.read(|media| {
            let next = media.next_part().map_or(0, |(next, _)| next);
            (next, patience(media, limits::HLS_RELOAD_TARGETS))
        });
        // Two behind the last one, which is before the next.
        if number > next.saturating_add(1) && !track.read(Media::is_ended) {
            let message = format!("_HLS_msn is too far ahead: the next segment is {next}");
            return Err(Refusal::bad(message));
        }
        let part = self.part;
        let is_settled = |media: &Media| media.has(number, part) || media.is_left_out();
        if track.wait(most, is_settled).await {
            Ok(())
        } else {
            let message = "the segment has not come in time: the stream stands still";
            Err(Refusal::later(message))
        }
    }
}

/// How long a request waits for what is `targets` target durations away.
fn patience(media: &Media, targets: u64) -> Duration {
    Duration::from_secs(media.target_s().max(1) * targets)
}
