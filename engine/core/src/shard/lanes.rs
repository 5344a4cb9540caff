//! Codec lanes: which a broadcast has, what they are fed, and what comes back from them.

use std::time::Instant;

use shardcast_link::{RenditionSpec, VideoCodec};

use super::{
    BroadcastKey, Shard,
    budget::{Budget, SourceShape},
};
use crate::{
    broadcast::{AUDIO_BPS_DEFAULT, Broadcast, LaneFeed},
    destination::{Choice, SourceFacts},
    io::{AudioJob, LaneId, Output, RenditionId, VideoLaneId, VideoResult},
    limits::{RENDITION_FAILED_MS, RENDITION_REFUSED_MS, RENDITIONS_MAX, RENDITIONS_WITH_LEFT_MAX},
    rendition::Rendition,
};

/// Taken for the publisher's picture until it is known.
const SHAPE_DEFAULT: SourceShape = SourceShape {
    width: 1_280,
    height: 720,
    frames_per_second: 30,
};

impl Shard {
    /// Decides which picture each destination is sent, begins the renditions that are lacking and
    /// ends those that nobody takes.
    pub(super) fn plan_pictures(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        broadcast: &mut Broadcast,
    ) {
        if std::mem::take(&mut broadcast.plan_due) {
            let facts = broadcast.source_facts(now);
            let mut refusals = Vec::new();
            for index in 0..broadcast.slots.len() {
                self.plan_picture(now, key, broadcast, index, &facts, &mut refusals);
            }
            let unused: Vec<RenditionId> = broadcast
                .renditions
                .list()
                .iter()
                .filter(|it| !broadcast.uses(it))
                .map(|it| it.id)
                .collect();
            broadcast.renditions.retain(|it| !unused.contains(&it.id));
            if !broadcast.renditions.is_at_work() {
                self.close_video_lane(broadcast);
            }
            self.close_idle_audio_lanes(broadcast);
            broadcast.renditions.begin(now);
        }
        while let Some(job) = broadcast.renditions.take_job() {
            self.outputs.push_back(Output::Video(job));
        }
    }

    /// `refusals` are those of this plan, which hold for all destinations.
    fn plan_picture(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        broadcast: &mut Broadcast,
        index: usize,
        facts: &SourceFacts,
        refusals: &mut Vec<(RenditionSpec, String)>,
    ) {
        let Some(slot) = broadcast.slots.get_mut(index) else {
            return;
        };
        let usual = &broadcast.wanted.rendition_default;
        let takes_media = slot.destination.takes_media();
        let picture = &mut slot.destination.picture;
        if !takes_media {
            return picture.rest();
        }
        let spec = match picture.plan(now, facts, usual) {
            Choice::Source if facts.codec == Some(VideoCodec::H264) => {
                return picture.passed(now, facts);
            }
            Choice::Source | Choice::Nothing => return,
            Choice::Rendition(spec) => spec,
        };
        if broadcast.renditions.of(&spec).is_some() {
            return;
        }
        let known = refusals.iter().find(|(refused, _)| *refused == spec);
        let words = match known {
            Some((_, words)) => words.clone(),
            None => match self.begin_rendition(now, key, broadcast, spec) {
                Ok(()) => return,
                Err(words) => words,
            },
        };
        refuse(now, RENDITION_REFUSED_MS, broadcast, spec, &words, facts);
        refusals.push((spec, words));
    }

    fn begin_rendition(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        broadcast: &mut Broadcast,
        spec: RenditionSpec,
    ) -> Result<(), String> {
        let renditions = broadcast.renditions.list();
        let chosen = renditions.iter().filter(|it| broadcast.chooses(it)).count();
        if chosen >= RENDITIONS_MAX || renditions.len() >= RENDITIONS_WITH_LEFT_MAX {
            return Err(format!(
                "a broadcast may have {RENDITIONS_MAX} different renditions: let destinations \
                 share one"
            ));
        }
        let shape = shape_of(broadcast);
        let estimate_permille = self.budget.rendition_permille(&spec, shape);
        let first = broadcast.renditions.lane().is_none();
        let decode_permille = if first {
            self.budget.decode_permille(shape)
        } else {
            0
        };
        let used_permille = self.codec_used_permille() + codec_permille(&self.budget, broadcast);
        let needed_permille = estimate_permille + decode_permille;
        self.budget.admit(&spec, used_permille, needed_permille)?;
        if first {
            let lane = VideoLaneId(self.id());
            self.video_lanes.insert(lane, key);
            broadcast.renditions.open(now, lane);
        }
        let id = RenditionId(self.id());
        let rendition = Rendition::new(id, spec, estimate_permille);
        broadcast.renditions.add(rendition);
        tracing::info!(
            broadcast = %broadcast.wanted.id,
            height = spec.height,
            frames_per_second = spec.frames_per_second,
            video_bps = spec.video_bps,
            "a rendition begins"
        );
        Ok(())
    }

    /// What the lanes of all broadcasts take; one that is being settled is not among them.
    pub(super) fn codec_used_permille(&self) -> u32 {
        let broadcasts = self.broadcasts.values();
        broadcasts
            .map(|each| codec_permille(&self.budget, each))
            .sum()
    }

    /// A video lane has said something.
    pub(super) fn video(&mut self, now: Instant, lane: VideoLaneId, result: VideoResult) {
        let Some(key) = self.video_lanes.get(&lane).copied() else {
            return;
        };
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return;
        };
        let before = match &result {
            VideoResult::Report(_) => broadcast.renditions.report().cloned(),
            _ => None,
        };
        let news = broadcast.renditions.result(now, result);
        if news.fed {
            broadcast.feed_all(now);
        }
        if let Some(failed) = news.failed {
            let facts = broadcast.source_facts(now);
            let mut renditions = broadcast.renditions.list().iter();
            if let Some(failed) = renditions.find(|it| it.id == failed)
                && let Some(words) = failed.problem.clone()
            {
                let spec = failed.spec;
                refuse(now, RENDITION_FAILED_MS, broadcast, spec, &words, &facts);
            }
            broadcast.plan_due = true;
        }
        if news.report
            && let (Some(before), Some(after)) = (before, broadcast.renditions.report())
        {
            self.budget.learn(&before, after);
        }
        self.settle_broadcast(now, key);
    }

    /// Gives the audio lanes what is waiting for them.
    pub(super) fn feed_lanes(&mut self, key: BroadcastKey, broadcast: &mut Broadcast) {
        while let Some(feed) = broadcast.intake.lane_feeds.pop_front() {
            self.open_audio_lanes(key, broadcast);
            for index in 0..broadcast.sound.lanes.len() {
                let Some(lane) = broadcast.sound.lanes.get(index).map(|lane| lane.id) else {
                    break;
                };
                self.outputs.push_back(Output::Audio(match feed.clone() {
                    LaneFeed::Packet(packet, _) => AudioJob::Decode { lane, packet },
                    LaneFeed::Recover(packet, samples) => AudioJob::Recover {
                        lane,
                        packet,
                        samples,
                    },
                    LaneFeed::Conceal(samples) => AudioJob::Conceal { lane, samples },
                    LaneFeed::Silence(samples) => AudioJob::Silence { lane, samples },
                }));
            }
            broadcast.sound.fed(feed.samples());
        }
    }

    /// One lane for each bit rate that somebody takes.
    fn open_audio_lanes(&mut self, key: BroadcastKey, broadcast: &mut Broadcast) {
        let renditions = broadcast.renditions.list().iter();
        let wanted =
            std::iter::once(AUDIO_BPS_DEFAULT).chain(renditions.map(|it| it.spec.audio_bps));
        let lacking: Vec<u32> = wanted
            .filter(|audio_bps| !broadcast.sound.has(*audio_bps))
            .collect();
        for audio_bps in lacking {
            if broadcast.sound.has(audio_bps) {
                continue;
            }
            let lane = LaneId(self.id());
            self.lanes.insert(lane, key);
            let samples = broadcast.sound.open(lane, audio_bps);
            self.outputs
                .push_back(Output::Audio(AudioJob::Open { lane, audio_bps }));
            if samples > 0 {
                self.outputs
                    .push_back(Output::Audio(AudioJob::Silence { lane, samples }));
            }
        }
    }

    /// Those whose bit rate nobody takes any more.
    fn close_idle_audio_lanes(&mut self, broadcast: &mut Broadcast) {
        let renditions = broadcast.renditions.list();
        let closed = broadcast.sound.close_unless(|audio_bps| {
            audio_bps == AUDIO_BPS_DEFAULT
                || renditions.iter().any(|it| it.spec.audio_bps == audio_bps)
        });
        for lane in closed {
            self.lanes.remove(&lane);
            self.outputs
                .push_back(Output::Audio(AudioJob::Close { lane }));
        }
    }

    /// The broadcast is off air, or no more.
    pub(super) fn close_lanes(&mut self, broadcast: &mut Broadcast) {
        for lane in broadcast.sound.end() {
            let lane = lane.id;
            self.lanes.remove(&lane);
            self.outputs
                .push_back(Output::Audio(AudioJob::Close { lane }));
        }
        broadcast.renditions.retain(|_| false);
        self.close_video_lane(broadcast);
        while let Some(job) = broadcast.renditions.take_job() {
            self.outputs.push_back(Output::Video(job));
        }
    }

    fn close_video_lane(&mut self, broadcast: &mut Broadcast) {
        if let Some(lane) = broadcast.renditions.close() {
            self.video_lanes.remove(&lane);
        }
    }
}

/// Whoever was to be sent this rendition is told why it cannot be.
fn refuse(
    now: Instant,
    again_ms: u64,
    broadcast: &mut Broadcast,
    spec: RenditionSpec,
    words: &str,
    facts: &SourceFacts,
) {
    for slot in &mut broadcast.slots {
        let destination = &mut slot.destination;
        if destination.picture.choice() == Choice::Rendition(spec)
            && destination.picture.refuse(now, again_ms, words, facts)
        {
            tracing::warn!(
                broadcast = %broadcast.wanted.id,
                destination = %destination.id,
                "a rendition is refused: {words}"
            );
        }
    }
}

fn codec_permille(budget: &Budget, broadcast: &Broadcast) -> u32 {
    let renditions = &broadcast.renditions;
    if renditions.lane().is_none() {
        return 0;
    }
    let decode_permille = renditions
        .decode_permille()
        .unwrap_or_else(|| budget.decode_permille(shape_of(broadcast)));
    // What is being left for another one has a GOP to live at most.
    let list = renditions.list().iter().filter(|it| broadcast.chooses(it));
    decode_permille + list.map(Rendition::used_permille).sum::<u32>()
}

fn shape_of(broadcast: &Broadcast) -> SourceShape {
    let known = broadcast.intake.picture_size();
    let size = broadcast.renditions.decoded_size().or(known);
    let (width, height) = size.unwrap_or((SHAPE_DEFAULT.width, SHAPE_DEFAULT.height));
    let measured = broadcast.intake.frames_per_second();
    SourceShape {
        width,
        height,
        frames_per_second: if measured > 0 {
            measured
        } else {
            SHAPE_DEFAULT.frames_per_second
        },
    }
}
