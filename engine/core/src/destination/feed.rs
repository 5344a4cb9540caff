//! Takes units from the ring and turns them into RTMP messages for one connection.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{Fault, Problem};

use super::{
    burst::Burst,
    failure::too_slow,
    liveness::Liveness,
    metadata::{SentAudio, described, metadata},
    report::Totals,
    switch::{self, Step, Switch},
    verdict::About,
};
use crate::{
    broadcast::renditions::Rings,
    broadcast::ring::{Kind, Ring, Unit},
    broadcast::ring::{MediaFacts, RingId},
    codec::{AudioCodec, aac::AacConfig, h264::ParameterSets},
    ids::ConnId,
    io::Output,
    limits::{
        DESTINATION_FLOODED_BYTES, DESTINATION_LAG_US_MAX, DESTINATION_SLOW_US, FIRST_KEYFRAME_MS,
        KEYFRAME_REQUEST_MS_MIN,
    },
    rtmp::{MediaKind, MediaWriter, Platform, enhanced, flv},
};

/// What the feed writes to: one connection.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    pub(super) conn: ConnId,
    pub(super) writer: MediaWriter,
    pub(super) totals: &'a mut Totals,
    pub(super) outputs: &'a mut VecDeque<Output>,
    /// Counts payload bytes that are copied.
    pub(super) copied_bytes: &'a mut u64,
}

#[derive(Debug)]
pub(super) struct Feed {
    /// Where units are taken from.
    ring: RingId,
    switch: Option<Switch>,
    /// It is the ring that was wanted last.
    in_place: bool,
    /// DTS of the last frame that was sent, and the largest PTS.
    video_dts_us: Option<i64>,
    video_pts_us: Option<i64>,
    /// What audio is sent in, if the publisher's can be.
    audio: AudioCodec,
    /// What the last sequence header of audio said.
    sent_audio: Option<SentAudio>,
    /// Time of the last audio frame that was sent.
    audio_us: Option<i64>,
    /// Since when a unit to start with is waited for.
    waits_since: Option<Instant>,
    /// Sequence number of the next unit; none while a keyframe is waited for.
    cursor: Option<u64>,
    /// Media time that is timestamp 0 of this connection.
    base_us: Option<i64>,
    /// A frame was left out, so none can be decoded before the next keyframe.
    lacks_keyframe: bool,
    config: Option<Rc<ParameterSets>>,
    pub(super) liveness: Liveness,
    burst: Burst,
    /// How far it is behind, without what came at once.
    lag_us: i64,
    keyframe_asked: Option<Instant>,
    keyframe_wanted: bool,
    platform: &'static Platform,
    /// It is that of a player, which begins at the newest keyframe, however old.
    is_player: bool,
    /// When the last keyframe was.
    keyframe_us: Option<i64>,
    complaint: Option<(About, Problem)>,
}

impl Feed {
    pub(super) fn new(platform: &'static Platform, audio: AudioCodec) -> Self {
        Self {
            audio,
            sent_audio: None,
            ring: RingId::Source,
            switch: None,
            in_place: true,
            video_dts_us: None,
            video_pts_us: None,
            audio_us: None,
            waits_since: None,
            cursor: None,
            base_us: None,
            lacks_keyframe: false,
            config: None,
            liveness: Liveness::default(),
            burst: Burst::default(),
            lag_us: 0,
            keyframe_asked: None,
            keyframe_wanted: false,
            platform,
            is_player: false,
            keyframe_us: None,
            complaint: None,
        }
    }

    /// That of a client that plays. It is sent AAC.
    pub(super) fn of_player() -> Self {
        Self {
            is_player: true,
            ..Self::new(Platform::generic(), AudioCodec::Aac)
        }
    }

    /// Media was sent and the peer has acknowledged some.
    pub(super) fn is_live(&self) -> bool {
        self.base_us.is_some() && self.liveness.is_acknowledged()
    }

    /// The first media is on its way.
    pub(super) fn is_open_for_media(&self) -> bool {
        self.base_us.is_some()
    }

    pub(super) fn lag_ms(&self) -> u32 {
        u32::try_from(self.lag_us / 1000).unwrap_or(0)
    }

    /// What is wrong, as often as it is seen.
    pub(super) fn take_complaint(&mut self) -> Option<(About, Problem)> {
        self.complaint.take()
    }

    /// Whether a keyframe to begin with is to be asked for; once.
    pub(super) fn take_keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    /// It takes data more slowly than it comes.
    pub(super) fn is_slow(&self) -> bool {
        self.lag_us >= DESTINATION_SLOW_US
    }

    /// More waits than media alone can make: the server lets its questions pile up.
    pub(super) fn is_flooded(&self) -> bool {
        self.liveness.outstanding() > DESTINATION_FLOODED_BYTES
    }

    /// The ring that it is fed from.
    pub(super) fn ring(&self) -> RingId {
        self.ring
    }

    /// Writes what the rings have and the connection may take. `wanted` is the ring to take it from;
    /// without one, what was taken so far is taken on.
    pub(super) fn run(
        &mut self,
        now: Instant,
        rings: Rings<'_>,
        wanted: Option<RingId>,
        wire: &mut Wire<'_>,
    ) {
        self.turn_to(wanted);
        self.in_place = wanted == Some(self.ring);
        while let Some((ring, facts)) = rings.get(self.ring) {
            let until_us = match self.step(now, rings, ring) {
                Step::Take { to, keyframe } => {
                    self.take(rings, to, keyframe, wire.totals);
                    continue;
                }
                Step::GoOn { until_us } => until_us,
            };
            self.skip_ahead(now, ring, wire.totals);
            if self.cursor.is_none() && !self.start(now, ring, facts) {
                return;
            }
            if !self.drain(now, ring, facts, until_us, wire) {
                return;
            }
        }
        // The rendition is no longer made.
        self.ring = wanted.unwrap_or(RingId::Source);
        self.burst.turn();
        self.cursor = None;
    }

    fn turn_to(&mut self, wanted: Option<RingId>) {
        let Some(wanted) = wanted.filter(|wanted| *wanted != self.ring) else {
            self.switch = None;
            return;
        };
        if self.base_us.is_none() {
            self.ring = wanted;
            self.cursor = None;
            self.switch = None;
        } else if self.switch.as_ref().is_none_or(|it| it.to != wanted) {
            self.switch = Some(Switch::new(wanted));
        }
    }

    fn step(&mut self, now: Instant, rings: Rings<'_>, ring: &Ring) -> Step {
        let Some(switch) = &mut self.switch else {
            return Step::GoOn { until_us: None };
        };
        let cursor = self.cursor.unwrap_or(ring.end()).max(ring.start());
        let mut left = (cursor..ring.end()).filter_map(|seq| ring.get(seq));
        let next = left.find(|unit| matches!(unit.kind, Kind::Video { .. }));
        switch.step(now, rings, self.video_pts_us, next)
    }

    /// Goes on in another ring, at a keyframe and at the first audio frame that was not sent yet.
    fn take(&mut self, rings: Rings<'_>, to: RingId, keyframe: u64, totals: &mut Totals) {
        let Some((ring, facts)) = rings.get(to) else {
            return;
        };
        self.ring = to;
        self.in_place = true;
        self.switch = None;
        self.burst.turn();
        let audio = facts.audio(self.audio);
        self.cursor = Some(switch::entry(ring, keyframe, audio, self.audio_us));
        self.lacks_keyframe = true;
        self.waits_since = None;
        self.keyframe_us = None;
        totals.switches += 1;
    }

    /// A rendition is not to be sent any more, and the publisher's video cannot be: the audio of the
    /// broadcast goes on alone.
    pub(super) fn leave_rendition(&mut self, source: &Ring, facts: MediaFacts) {
        if matches!(self.ring, RingId::Rendition(_)) {
            self.ring = RingId::Source;
            self.burst.turn();
            self.switch = None;
            self.cursor = Some(switch::entry(
                source,
                source.end(),
                facts.audio(self.audio),
                self.audio_us,
            ));
            self.lacks_keyframe = true;
        }
    }

    /// Sends units up to a frame of `until_us`. True when such a one is next.
    fn drain(
        &mut self,
        now: Instant,
        ring: &Ring,
        facts: MediaFacts,
        until_us: Option<i64>,
        wire: &mut Wire<'_>,
    ) -> bool {
        let mut sent = false;
        while !self.liveness.is_full()
            && let Some(cursor) = self.cursor
            && let Some(unit) = ring.get(cursor)
        {
            if switch::is_behind(unit, until_us) {
                return sent;
            }
            if unit.kind.audio().is_some() && !ring.is_whole_from(cursor, facts.audio(self.audio)) {
                self.cursor = Some(cursor + 1);
                continue;
            }
            sent = true;
            self.cursor = Some(cursor + 1);
            self.send(now, unit, facts, wire);
        }
        false
    }

    /// A destination that has fallen too far behind goes on at the newest keyframe.
    fn skip_ahead(&mut self, now: Instant, ring: &Ring, totals: &mut Totals) {
        self.burst.look(now, ring);
        let Some(cursor) = self.cursor else { return };
        let behind = match (ring.get(cursor), ring.newest()) {
            (Some(next), Some(newest)) => newest.dts_us - next.dts_us,
            _ => 0,
        };
        self.lag_us = (behind - self.burst.us()).max(0);
        let fell_out = cursor < ring.start();
        if !fell_out && self.lag_us <= DESTINATION_LAG_US_MAX {
            return;
        }
        let resume = ring.newest_keyframe().filter(|keyframe| *keyframe > cursor);
        if resume.is_some() || fell_out {
            let dropped = resume.unwrap_or(ring.end()).saturating_sub(cursor);
            totals.frames_dropped += dropped;
            if self.burst.us() < DESTINATION_SLOW_US {
                self.complaint = Some((About::Pace, too_slow()));
            }
            self.cursor = resume;
            self.waits_since = None;
            // The distance over frames that are left out is not the publisher's fault.
            self.keyframe_us = None;
        }
    }

    /// Finds the unit to start with: a fresh keyframe, or the newest unit when there is no video.
    fn start(&mut self, now: Instant, ring: &Ring, facts: MediaFacts) -> bool {
        let Some(newest) = ring.newest() else {
            return false;
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        let keyframe = ring.newest_keyframe().filter(|seq| {
            self.is_player
                || ring
                    .get(*seq)
                    .is_some_and(|unit| newest.dts_us - unit.dts_us <= switch::FRESH_KEYFRAME_US)
        });
        let waits_since = *self.waits_since.get_or_insert(now);
        // Without video, or when none comes, it starts with audio: never inside a GOP.
        let no_video = !facts.expects_video
            || (ring.newest_keyframe().is_none()
                && since(waits_since) > Duration::from_millis(FIRST_KEYFRAME_MS));
        let newest_seq = ring.end() - 1;
        let sound = no_video && ring.is_whole_from(newest_seq, facts.audio(self.audio));
        self.cursor = keyframe.or_else(|| sound.then_some(newest_seq));
        // If video follows, it begins with a keyframe.
        self.lacks_keyframe |= sound;
        if self.cursor.is_none()
            && self.ring == RingId::Source
            && self
                .keyframe_asked
                .is_none_or(|asked| since(asked) > Duration::from_millis(KEYFRAME_REQUEST_MS_MIN))
        {
            self.keyframe_asked = Some(now);
            self.keyframe_wanted = true;
        }
        self.cursor.is_some()
    }

    fn send(&mut self, now: Instant, unit: &Unit, facts: MediaFacts, wire: &mut Wire<'_>) {
        let first = self.base_us.is_none();
        let Some(timestamp) = self.timestamp(unit) else {
            return;
        };
        let (kind, head): (_, &[u8]) = match &unit.kind {
            Kind::Video { key, .. } => (
                MediaKind::Video,
                &flv::avc_header(*key, unit.composition_ms()),
            ),
            Kind::Audio { .. } => (MediaKind::Audio, &flv::AAC_RAW_HEADER),
            Kind::Opus { .. } => (MediaKind::Audio, &enhanced::OPUS_HEADER),
        };
        let writer = wire.writer;
        let mut slices = self.headers(unit, facts, first, timestamp, writer);
        let media = writer.media_behind(kind, timestamp, head, &unit.payload);
        *wire.copied_bytes += copied_bytes(&media, &unit.payload);
        if slices.is_empty() {
            slices = media;
        } else {
            slices.extend(media);
        }
        match unit.kind {
            Kind::Video { key, .. } => {
                self.video_dts_us = Some(unit.dts_us);
                self.video_pts_us = self.video_pts_us.max(Some(unit.pts_us));
                wire.totals.video_frames += 1;
                if key {
                    self.keyframe(unit.pts_us, wire.totals);
                }
            }
            Kind::Audio { .. } | Kind::Opus { .. } => {
                self.audio_us = Some(unit.pts_us);
                wire.totals.audio_frames += 1;
            }
        }
        let bytes = slices.iter().map(Bytes::len).sum();
        self.liveness.written(now, bytes);
        let conn = wire.conn;
        wire.outputs.push_back(Output::Write { conn, slices });
    }

    /// The RTMP timestamp of a unit; `None` for one that is left out.
    fn timestamp(&mut self, unit: &Unit) -> Option<u32> {
        let video = matches!(unit.kind, Kind::Video { .. });
        if self.was_sent(unit) {
            self.lacks_keyframe |= video;
            return None;
        }
        if video && self.video_dts_us.is_none() && !self.in_place {
            // Audio alone was sent so far: the first frame is one of the ring that is wanted.
            self.lacks_keyframe = true;
            return None;
        }
        let base_us = *self.base_us.get_or_insert(unit.dts_us);
        let since_us = unit.dts_us - base_us;
        if since_us < 0 {
            // Audio from before the first frame; or frames from before the first audio, when
            // the clock of a publisher that follows another is behind.
            self.lacks_keyframe |= video;
            return None;
        }
        if let Kind::Video { key, .. } = unit.kind {
            self.lacks_keyframe &= !key;
            if self.lacks_keyframe {
                return None;
            }
        }
        // RTMP timestamps are milliseconds modulo 2^32 (RTMP 1.0, 5.3.1.3). A frame's is its DTS;
        // its tag states by how much later it is shown (FLV E.4.3.1).
        Some((since_us + 500).div_euclid(1000) as u64 as u32)
    }

    /// What a server has to know before this unit: metadata and the sequence headers of the codecs,
    /// at the `first` unit and where the parameter sets change.
    fn headers(
        &mut self,
        unit: &Unit,
        facts: MediaFacts,
        first: bool,
        timestamp: u32,
        writer: MediaWriter,
    ) -> Vec<Bytes> {
        let mut slices = Vec::new();
        let audio = facts.audio(self.audio);
        let mut message =
            |kind, body: &Bytes| slices.append(&mut writer.media(kind, timestamp, body));
        let data = |body: Bytes| match self.is_player {
            true => flv::for_player(&body),
            false => body,
        };
        match &unit.kind {
            Kind::Video { config, .. } => {
                let sent = self.config.as_ref();
                if sent.is_some_and(|sent| Rc::ptr_eq(sent, config)) {
                    return slices;
                }
                message(MediaKind::Data, &data(metadata(config, audio, facts)));
                message(MediaKind::Video, &flv::avc_sequence_header(config.record()));
                self.config = Some(config.clone());
            }
            Kind::Audio { .. } | Kind::Opus { .. } if first => {
                let audio = described(audio, facts);
                message(MediaKind::Data, &data(flv::audio_data_frame(audio)));
            }
            Kind::Audio { .. } | Kind::Opus { .. } => {}
        }
        let sent_in = match &unit.kind {
            Kind::Audio { config } => Some(SentAudio::Aac(*config)),
            Kind::Opus { .. } => Some(SentAudio::Opus),
            Kind::Video { .. } => first.then(|| match audio {
                AudioCodec::Aac => SentAudio::Aac(facts.aac.unwrap_or(AacConfig::OURS)),
                AudioCodec::Opus => SentAudio::Opus,
            }),
        };
        if let Some(sent_in) = sent_in.filter(|it| self.sent_audio != Some(*it)) {
            message(MediaKind::Audio, &sent_in.sequence_header());
            self.sent_audio = Some(sent_in);
        }
        slices
    }

    /// After a change of rings: it was in the other one too, or is older than what was.
    fn was_sent(&self, unit: &Unit) -> bool {
        let last_us = match unit.kind {
            Kind::Video { .. } => self.video_dts_us,
            Kind::Audio { .. } | Kind::Opus { .. } => self.audio_us,
        };
        last_us.is_some_and(|last_us| unit.dts_us < last_us + switch::STEP_US_MIN)
    }

    /// Counts the distance of keyframes, and complains of one that the platform does not accept.
    fn keyframe(&mut self, pts_us: i64, totals: &mut Totals) {
        let Some(before_us) = self.keyframe_us.replace(pts_us) else {
            return;
        };
        let interval_ms = u32::try_from((pts_us - before_us) / 1000).unwrap_or(u32::MAX);
        totals.keyframe_interval_ms = interval_ms;
        let max_ms = self.platform.keyframe_interval_ms_max;
        if max_ms.is_some_and(|max_ms| interval_ms > max_ms) {
            let far_apart = Problem {
                fault: Fault::Publisher,
                message: format!(
                    "keyframes were {interval_ms} ms apart, and {} wants at most {} ms: the \
                     publisher's machine or network is overloaded",
                    self.platform.name,
                    max_ms.unwrap_or_default()
                ),
            };
            self.complaint = Some((About::Keyframes, far_apart));
        }
    }
}

/// Bytes of a payload that lie elsewhere in the slices of its message than in the ring.
pub(super) fn copied_bytes(message: &[Bytes], payload: &Bytes) -> u64 {
    let ring = payload.as_ptr_range();
    let shared = message.iter().filter(|it| ring.contains(&it.as_ptr()));
    let shared: usize = shared.map(Bytes::len).sum();
    payload.len().saturating_sub(shared) as u64
}
