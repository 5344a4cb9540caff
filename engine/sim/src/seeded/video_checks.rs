//! Whether each destination is sent the video that its settings ask for: within some seconds while the
//! stream flows, and at the end for certain.

use std::time::Duration;

use shardcast_core::{
    io::RenditionId,
    simulation_hook::{DestinationView, SelectedVideo, SentVideo},
};
use shardcast_link::{PassthroughOverrides, Reencode};

use super::{
    expected_state::ExpectedState,
    world::{Verdict, World},
};

/// New settings are followed within this: the broadcast selects once a second, then a keyframe of a
/// publisher that hears four of five requests is needed, and one of a rendition.
const CHANGED_MAX: Duration = Duration::from_secs(12);
/// Passthrough constraints have to hold for 30 seconds before that, and then a keyframe comes.
const KEPT_MAX: Duration = Duration::from_secs(30 + 12);
/// Whether a rendition is still taken is asked once a second.
const IDLE_MAX: Duration = Duration::from_millis(1_500);

impl World {
    /// A destination may be connected and get no video: RTMP or its constraints rule the publisher's
    /// out, and a rendition is off or may be refused.
    pub(super) fn may_starve(&self, id: &str) -> bool {
        let Some(expected) = self.expected.get(id) else {
            return true;
        };
        let foreign = self.publisher.is_foreign();
        match expected.settings.reencode {
            Reencode::Off => foreign,
            Reencode::Auto => foreign && !self.plan.transcoders.is_ample(),
            Reencode::Always => !self.plan.transcoders.is_ample(),
        }
    }

    /// It is live with the video that it is to have, or has none for a reason.
    pub(super) fn is_served(&self, id: &str, expected: &ExpectedState) -> bool {
        let Some(destination) = self.destination(id) else {
            return false;
        };
        let sent = destination.sent;
        let passed = sent == Some(SentVideo::Passthrough);
        match (destination.selected, expected.settings.reencode) {
            (SelectedVideo::None, _) => expected.is_open() && self.may_starve(id),
            (_, Reencode::Always) => expected.is_live() && self.is_made(sent),
            (_, Reencode::Off) => expected.is_live() && passed,
            (_, Reencode::Auto) => expected.is_live() && (passed || self.is_made(sent)),
        }
    }

    /// Renditions are made for somebody, and settings are followed.
    pub(super) fn check_videos(&mut self) -> Verdict {
        let idle = self.idle_rendition()?;
        let before = self
            .video_transcoders
            .idle
            .filter(|(id, _)| Some(*id) == idle);
        self.video_transcoders.idle = idle.map(|id| before.unwrap_or((id, self.now)));
        if let Some((id, since)) = self.video_transcoders.idle
            && self.now - since > IDLE_MAX
        {
            return Err(format!("{id:?} is made for no destination and no viewer"));
        }
        let refused = self.view().renditions_refused();
        if self.plan.transcoders.is_ample() && refused > 0 {
            return Err("a rendition is refused, and there is room".to_owned());
        }
        let Some(flows) = self
            .publisher
            .flows_since()
            .filter(|_| self.publisher.hears())
        else {
            return Ok(());
        };
        for (id, expected) in self
            .expected
            .iter()
            .filter(|(_, expected)| expected.is_live())
        {
            let since = self.now - flows.max(expected.settings_since);
            if since > CHANGED_MAX && self.plan.transcoders.is_punctual() {
                self.is_sent_its_video(id, expected, since)?;
            }
        }
        Ok(())
    }

    /// A rendition that no destination and no viewer is sent or has selected.
    fn idle_rendition(&self) -> Result<Option<RenditionId>, String> {
        let view = self.view();
        if !view.has_broadcast() {
            return Ok(None);
        }
        let (open, known) = (
            self.video_transcoders.open(),
            usize::from(view.has_video_transcoder()),
        );
        if open != known {
            return Err(format!("{open} transcoders are open and {known} known"));
        }
        if known > 0 && view.renditions().next().is_none() {
            return Err("a transcoder is open and makes nothing".to_owned());
        }
        let taken = |(id, spec)| {
            let mut destinations = view.destinations();
            let is_sent = destinations.any(|it| {
                it.selected == SelectedVideo::Rendition(spec)
                    || it.sent == Some(SentVideo::Rendition(id))
            });
            is_sent || view.is_viewed(id) || self.wanted.hls.is_some()
        };
        let idle = view.renditions().find(|it| !taken(*it));
        Ok(idle.map(|(id, _)| id))
    }

    /// The publisher has sent the same kind of stream for so long, under the same settings.
    fn is_sent_its_video(&self, id: &str, expected: &ExpectedState, since: Duration) -> Verdict {
        let sent = self.destination(id).and_then(|it| it.sent);
        let terms = expected.settings.passthrough;
        let most_bps = terms.video_bps_max.map_or(u64::MAX, u64::from);
        let bps = self.publisher.bytes_a_frame() * 8_000 / self.plan.frame_ms;
        let broken = self.publisher.is_foreign() || bps > most_bps.saturating_mul(2);
        match expected.settings.reencode {
            Reencode::Off if self.is_made(sent) => {
                Err(format!("{id} is sent a rendition, and re-encoding is off"))
            }
            Reencode::Always if self.plan.transcoders.is_ample() && !self.is_made(sent) => Err(
                format!("{id} is to be sent a rendition and is sent {sent:?}"),
            ),
            Reencode::Auto if broken && self.plan.transcoders.is_ample() && !self.is_made(sent) => {
                Err(format!("{id} is sent {sent:?}, and its terms are broken"))
            }
            Reencode::Auto
                if terms == PassthroughOverrides::default()
                    && !self.publisher.is_foreign()
                    && since > KEPT_MAX
                    && self.is_made(sent) =>
            {
                Err(format!("{id} is sent a rendition, and its terms are kept"))
            }
            _ => Ok(()),
        }
    }

    fn is_made(&self, sent: Option<SentVideo>) -> bool {
        matches!(sent, Some(SentVideo::Rendition(id)) if !self.video_transcoders.is_failed(id))
    }

    fn destination(&self, id: &str) -> Option<DestinationView<'_>> {
        self.view().destinations().find(|it| it.id.0 == id)
    }
}
