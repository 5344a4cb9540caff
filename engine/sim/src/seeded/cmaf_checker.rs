//! Checks what recordings and HLS are made of: fragments of CMAF. Their samples have to keep the promises that a
//! stream to a destination keeps, so they go through the same checker, as messages; and beside these, decode
//! times never step back, and no picture of what was on air is missing or twice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_cmaf::{Codec, Track, TrackRun, read_fragment, read_init_segment};
use shardcast_core::{
    h264::ParameterSets,
    rtmp::{Message, flv, message::type_id},
};

use super::{
    stream_checker::{Rules, StreamChecker},
    world::World,
};
use crate::{
    codecs::aac_frame_number,
    picture::{Picture, Shows},
};

/// `nal_unit_type` of parameter sets (H.264, table 7-1).
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;

/// What holds for one consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) rules: Rules<'a>,
    /// When media time is 0 there.
    pub(super) start: Instant,
    /// No picture that was admitted may be missing.
    pub(super) complete: bool,
}

/// Checks the fragments of one file, or of one stream of HLS.
#[derive(Debug)]
pub(super) struct CmafChecker {
    tracks: Vec<Track>,
    /// The parameter sets that hold.
    record: Bytes,
    is_told: bool,
    /// When the last sample of each track was decoded, in ticks.
    decoded_at: Vec<Option<u64>>,
    /// The number of the publisher's last picture.
    pub(super) sent: Option<u64>,
    pub(super) stream: StreamChecker,
    /// Of the last frame that an audio transcoder has made.
    made: Option<(u32, u32)>,
    /// Of audio.
    pub(super) frames: u64,
}

impl CmafChecker {
    /// For what follows this `moov`.
    pub(super) fn new(init: &[u8]) -> Result<Self, String> {
        let tracks = read_init_segment(init);
        let record = tracks.iter().find_map(|track| match &track.codec {
            Codec::Avc { record, .. } => Some(record.clone()),
            Codec::Aac { .. } => None,
        });
        if tracks.is_empty() {
            return Err("fragments without tracks".to_owned());
        }
        let mut stream = StreamChecker::default();
        stream.metadata();
        Ok(Self {
            decoded_at: vec![None; tracks.len()],
            tracks,
            record: record.unwrap_or_default(),
            is_told: false,
            sent: None,
            stream,
            made: None,
            frames: 0,
        })
    }

    /// Its tracks and parameter sets are those of this one.
    pub(super) fn is_like(&self, init: &[u8]) -> bool {
        read_init_segment(init) == self.tracks
    }

    /// The next fragment: the number of its pictures, and whether it begins with a keyframe.
    pub(super) fn fragment(
        &mut self,
        fragment: &Bytes,
        terms: Terms<'_>,
    ) -> Result<Beginning, String> {
        let runs = read_fragment(fragment).ok_or("a fragment that cannot be read")?;
        if !std::mem::replace(&mut self.is_told, true) {
            self.headers(terms)?;
        }
        let mut samples = Vec::new();
        let mut beginning = Beginning::default();
        for run in &runs {
            self.run(run, &mut samples, &mut beginning)?;
        }
        samples.sort_by_key(|(us, ..)| *us);
        for (us, is_video, payload, head) in samples {
            if is_video {
                self.picture(us, &payload, head, terms)?;
            } else {
                self.frames += 1;
                self.is_next_frame(&payload, terms)?;
                let body = [&flv::AAC_RAW_HEADER[..], &payload].concat();
                self.message(type_id::AUDIO, us, body.into(), terms)?;
            }
        }
        Ok(beginning)
    }

    /// Takes the samples of a track, in the order of decoding.
    fn run(
        &mut self,
        run: &TrackRun,
        samples: &mut Vec<(u64, bool, Bytes, [u8; 5])>,
        beginning: &mut Beginning,
    ) -> Result<(), String> {
        let index = self.tracks.iter().position(|it| it.id == run.track);
        let index = index.ok_or_else(|| format!("track {} is not in the head", run.track))?;
        let track = &self.tracks[index];
        let us = |ticks: u64| ticks * 1_000_000 / u64::from(track.timescale);
        let mut at = run.decoded_at;
        if track.is_video() {
            beginning.pictures = run.samples.len();
            beginning.video_us = Some(us(at));
            beginning.is_key = run.samples.first().is_some_and(|it| it.key);
        }
        for sample in &run.samples {
            let before = self.decoded_at[index].replace(at);
            if before.is_some_and(|before| at <= before) {
                return Err(format!("decode times step from {before:?} to {at} ticks"));
            }
            let composition_ms = sample.composition_offset / 90;
            let head = flv::avc_header(sample.key, composition_ms);
            samples.push((us(at), track.is_video(), sample.payload.clone(), head));
            at += u64::from(sample.duration);
        }
        Ok(())
    }

    /// What a destination would be told before any media.
    fn headers(&mut self, terms: Terms<'_>) -> Result<(), String> {
        if !self.record.is_empty() {
            let header = flv::avc_sequence_header(&self.record);
            self.message(type_id::VIDEO, 0, header, terms)?;
        }
        let configs = self.tracks.iter().find_map(|track| match &track.codec {
            Codec::Aac { config, .. } => Some(config.clone()),
            Codec::Avc { .. } => None,
        });
        let config = configs.ok_or("no track for audio")?;
        let header = flv::aac_sequence_header(&config);
        self.message(type_id::AUDIO, 0, header, terms)
    }

    fn picture(
        &mut self,
        us: u64,
        payload: &Bytes,
        head: [u8; 5],
        terms: Terms<'_>,
    ) -> Result<(), String> {
        let (record, unit) = without_parameter_sets(payload)?;
        if let Some(record) = record.filter(|record| *record != self.record) {
            let header = flv::avc_sequence_header(&record);
            self.record = record;
            self.stream.metadata();
            self.message(type_id::VIDEO, us, header, terms)?;
        }
        let body = [&head[..], &unit].concat();
        self.message(type_id::VIDEO, us, body.into(), terms)?;
        match Picture::read_unit(&unit) {
            Some(picture) if !picture.is_resent() => self.is_in_order(picture, terms),
            _ => Ok(()),
        }
    }

    /// No picture that the broadcast had let in lies between this one and the last.
    fn is_in_order(&mut self, picture: Picture, terms: Terms<'_>) -> Result<(), String> {
        let Shows::Sent(number) = picture.shows else {
            return Ok(());
        };
        let Some(before) = self.sent.replace(number) else {
            return Ok(());
        };
        if number <= before {
            return Err(format!("{picture:?} comes after picture {before}"));
        }
        let mut between = terms.rules.admitted.range(before + 1..number);
        match between.next().filter(|_| terms.complete) {
            Some(missing) => Err(format!("picture {missing} was on air and is missing")),
            None => Ok(()),
        }
    }

    /// No frame of a transcoder is missing or there twice.
    fn is_next_frame(&mut self, frame: &[u8], terms: Terms<'_>) -> Result<(), String> {
        let made = aac_frame_number(frame);
        let before = std::mem::replace(&mut self.made, made);
        let (Some((transcoder, number)), Some((same, before))) = (made, before) else {
            return Ok(());
        };
        let is_next = match terms.rules.whole {
            true => number == before + 1,
            false => number > before,
        };
        if transcoder == same && !is_next {
            return Err(format!("audio frame {number} behind {before}"));
        }
        Ok(())
    }

    fn message(
        &mut self,
        type_id: u8,
        us: u64,
        payload: Bytes,
        terms: Terms<'_>,
    ) -> Result<(), String> {
        let message = Message {
            csid: 4,
            timestamp_ms: u32::try_from(us / 1_000).unwrap(),
            type_id,
            stream_id: 1,
            payload,
        };
        let rules = Rules {
            now: terms.start + Duration::from_micros(us),
            ..terms.rules
        };
        self.stream.message(&message, rules)
    }
}

/// The video that a fragment begins with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beginning {
    pub(super) pictures: usize,
    /// When the first is decoded.
    pub(super) video_us: Option<u64>,
    pub(super) is_key: bool,
}

/// The AVCDecoderConfigurationRecord of the parameter sets that a sample brings, and the rest of it.
fn without_parameter_sets(payload: &Bytes) -> Result<(Option<Bytes>, Bytes), String> {
    let (mut sps, mut pps) = (None, Vec::new());
    let mut rest = payload.clone();
    while let Some((length, nal)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let kind = nal.first().map_or(0, |first| first & 0x1f);
        if length > nal.len() {
            return Err("a NAL unit that is longer than its sample".to_owned());
        }
        let nal = rest.slice(4..4 + length);
        match kind {
            NAL_SPS => sps = Some(nal),
            NAL_PPS => pps.push(nal),
            _ => break,
        }
        rest = rest.slice(4 + length..);
    }
    let Some(sps) = sps else {
        return Ok((None, rest));
    };
    let sets = ParameterSets::new(&sps, &pps).map_err(|error| error.to_string())?;
    Ok((Some(sets.record().clone()), rest))
}

impl World {
    /// What holds for a consumer that takes everything at once.
    pub(super) fn rules_of_consumer(&self) -> Rules<'_> {
        let publisher = &self.publisher;
        Rules {
            now: self.now,
            admitted: &publisher.admitted,
            ledger: &self.encoders.ledger,
            encoders: self.plan.encoders,
            audio: self.plan.audio,
            video_transcoders: &self.video_transcoders,
            may_pass: true,
            may_be_made: true,
            may_pause: publisher.foreign,
            punctual: self.plan.transcoders.is_punctual() && !publisher.stalled,
            foreign: publisher.foreign,
            lossy: publisher.lossy,
            whole: true,
            interleaved: !publisher.strange_clock,
            fine: true,
            silent_ms_max: self.plan.silent_ms_max(),
            keyframe_ms: u32::try_from(self.wanted.keyframe_interval_ms).unwrap(),
            frame_ms: u32::try_from(self.plan.frame_ms).unwrap(),
        }
    }
}
