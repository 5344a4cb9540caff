//! The fake video transcoder: decodes the publisher's video and makes renditions of it. What it is told
//! is held against what a transcoder may rely on.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    io::{EncodedFrame, RenditionId, VideoTranscoderId, VideoTranscoderReport},
    is_keyframe,
    simulation_hook::RENDITIONS_MAX,
};
use shardcast_link::{RenditionSpec, VideoCodec};

use super::rendition::FakeRendition;
use crate::{
    b_frames,
    picture::{Picture, Shows, read_vp8, record},
};

/// A fill job comes after so long without a picture, and not before.
const FILL_AFTER: Duration = Duration::from_millis(250);

/// A video transcoder of a broadcast.
#[derive(Debug)]
pub struct FakeVideoTranscoder {
    /// Its name at the shard.
    pub id: VideoTranscoderId,
    /// The shard has not closed it.
    pub open: bool,
    /// Codecs of the sources, in the order in which they came.
    pub sources: Vec<VideoCodec>,
    /// Access units that it was given.
    pub decoded: u64,
    /// How often it was told to fill up its renditions.
    pub fills: u64,
    /// Files of the slates that it was told to show.
    pub slates: Vec<Bytes>,
    renditions: Vec<FakeRendition>,
    source: Option<Source>,
    /// Distance of the grid from the broadcast's clock.
    origin_us: Option<i64>,
    /// The last picture, and when it came.
    last: Option<(i64, Instant)>,
    filled_us: i64,
    report: VideoTranscoderReport,
}

/// What it decodes.
#[derive(Debug)]
struct Source {
    codec: VideoCodec,
    record: Option<Bytes>,
    /// Number of the last picture; none may be left out behind it.
    number: Option<u64>,
    /// It begins, or has asked for a keyframe.
    needs_key: bool,
    /// Nothing can be decoded before the next keyframe.
    stuck: bool,
}

/// What befalls a transcoder with an access unit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// The unit cannot be decoded, unless it is a keyframe.
    pub(crate) damaged: bool,
    /// It comes too late to be encoded.
    pub(crate) late: bool,
}

/// What came of an access unit.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) encoded: Vec<EncodedFrame>,
    /// A keyframe is needed to go on.
    pub(crate) asks_for_keyframe: bool,
}

impl FakeVideoTranscoder {
    pub(crate) fn new(id: VideoTranscoderId) -> Self {
        Self {
            id,
            open: true,
            sources: Vec::new(),
            decoded: 0,
            fills: 0,
            slates: Vec::new(),
            renditions: Vec::new(),
            source: None,
            origin_us: None,
            last: None,
            filled_us: i64::MIN,
            report: VideoTranscoderReport::default(),
        }
    }

    /// What it makes.
    pub fn renditions(&self) -> Vec<RenditionSpec> {
        self.renditions.iter().map(|it| it.spec).collect()
    }

    /// The names of what it makes.
    pub fn ids(&self) -> Vec<RenditionId> {
        self.renditions.iter().map(|it| it.id).collect()
    }

    /// Another source from now on.
    pub(crate) fn begin(&mut self, codec: VideoCodec, told: Option<Bytes>) -> Result<(), String> {
        let mut records = [record(0), record(1), b_frames::record()].into_iter();
        let known = match &told {
            Some(told) => codec == VideoCodec::H264 && records.any(|it| it == *told),
            None => codec != VideoCodec::H264,
        };
        self.sources.push(codec);
        self.source = Some(Source {
            codec,
            record: told,
            number: None,
            needs_key: true,
            stuck: false,
        });
        let error = || format!("{} with the wrong record", codec.name());
        known.then_some(()).ok_or_else(error)
    }

    /// The next picture of a rendition is an IDR.
    pub(crate) fn request_keyframe(&mut self, rendition: RenditionId) -> Result<(), String> {
        let mut made = self.renditions.iter_mut();
        let made = made.find(|it| it.id == rendition);
        let error = || format!("a keyframe of {rendition:?}, which is not made");
        made.map(FakeRendition::request_idr).ok_or_else(error)
    }

    /// These renditions and no others from now on. Those that end by it.
    pub(crate) fn set_renditions(
        &mut self,
        wanted: &[(RenditionId, RenditionSpec)],
    ) -> Result<Vec<RenditionId>, String> {
        let ids: BTreeSet<RenditionId> = wanted.iter().map(|(id, _)| *id).collect();
        let alike = |(at, (_, spec)): (usize, &(RenditionId, RenditionSpec))| {
            wanted[..at].iter().any(|(_, other)| other == spec)
        };
        if ids.len() < wanted.len() || wanted.iter().enumerate().any(alike) {
            return Err("a rendition is to be made twice".to_owned());
        }
        if wanted.len() > RENDITIONS_MAX {
            return Err(format!("{} renditions of one broadcast", wanted.len()));
        }
        if self
            .renditions
            .iter()
            .map(|it| it.id)
            .eq(ids.iter().copied())
        {
            return Err("the same renditions as before are told again".to_owned());
        }
        let ends = |it: &&FakeRendition| !it.failed && !ids.contains(&it.id);
        let ended = self
            .renditions
            .iter()
            .filter(ends)
            .map(|it| it.id)
            .collect();
        self.renditions.retain(|it| ids.contains(&it.id));
        for (id, spec) in wanted {
            match self.renditions.iter().find(|it| it.id == *id) {
                Some(known) if known.spec == *spec => {}
                Some(_) => return Err(format!("{id:?} is to become another")),
                None => self.renditions.push(FakeRendition::new(*id, *spec)),
            }
        }
        self.renditions.sort_by_key(|it| it.id);
        Ok(ended)
    }

    /// Nothing more is made of this rendition.
    pub fn fail(&mut self, rendition: RenditionId) {
        let list = self.renditions.iter_mut();
        list.for_each(|it| it.failed |= it.id == rendition);
    }

    /// The shard was asked for a keyframe: nothing else may come before it.
    pub(crate) fn expect_keyframe(&mut self) {
        if let Some(source) = &mut self.source {
            source.needs_key = true;
        }
    }

    /// Takes an access unit, if it can be decoded behind the one before; true for a keyframe.
    pub(crate) fn take(&mut self, now: Instant, pts_us: i64, unit: &[u8]) -> Result<bool, String> {
        let source = self.source.as_mut().ok_or("a picture before its source")?;
        let known = match source.codec {
            VideoCodec::H264 => Picture::read_unit(unit),
            _ => None,
        };
        let (number, key) = match (source.codec, known) {
            (VideoCodec::H264, Some(picture)) => {
                if source.record != Some(record(picture.config)) {
                    return Err(format!("{picture:?} under another record"));
                }
                let Shows::Sent(number) = picture.shows else {
                    return Err(format!("{picture:?} is to be decoded"));
                };
                (Some(number), picture.is_key())
            }
            (VideoCodec::H264, None) if source.record == Some(b_frames::record()) => {
                (None, is_keyframe(VideoCodec::H264, unit))
            }
            (VideoCodec::H264, None) => return Err("it is to decode no picture".to_owned()),
            _ => {
                let read = read_vp8(unit).ok_or("it is to decode no picture in VP8")?;
                (Some(read.0), read.1)
            }
        };
        let follows = number.is_none() || source.number.is_some_and(|it| Some(it + 1) == number);
        if !key && (source.needs_key || !follows) {
            let before = source.number;
            return Err(format!(
                "picture {number:?} is to be decoded after {before:?}"
            ));
        }
        // A B slice is shown before what it was sent behind.
        let reordered = number.is_none() && b_frames::is_b(unit);
        if !reordered && self.last.is_some_and(|(before_us, _)| pts_us <= before_us) {
            return Err(format!(
                "the time of picture {number:?} is not behind the last"
            ));
        }
        source.number = number;
        source.needs_key = false;
        let newest_us = self.last.map_or(pts_us, |(last_us, _)| last_us.max(pts_us));
        self.last = Some((newest_us, now));
        self.decoded += 1;
        self.report.frames += 1;
        (self.report.width, self.report.height) = (1_280, 720);
        Ok(key)
    }

    /// Decodes what was taken last, and encodes it in all renditions.
    pub(crate) fn decode(&mut self, pts_us: i64, key: bool, trouble: Trouble) -> Decoded {
        let mut decoded = Decoded::default();
        let Some(source) = self.source.as_mut() else {
            return decoded;
        };
        decoded.asks_for_keyframe = trouble.damaged && !key && !source.stuck;
        source.stuck = !key && (source.stuck || decoded.asks_for_keyframe);
        if source.stuck {
            self.report.errors += 1;
            return decoded;
        }
        let origin_us = *self.origin_us.get_or_insert(pts_us);
        self.report.late += u64::from(trouble.late);
        for rendition in self.renditions.iter_mut().filter(|it| !it.failed) {
            if trouble.late {
                rendition.leave_out(pts_us - origin_us);
            } else {
                rendition.show(origin_us, pts_us - origin_us, &mut decoded.encoded);
            }
        }
        decoded
    }

    /// The last picture, or the slate, stands for all time up to `until_us`. `now_us` is the time of
    /// the broadcast's clock.
    pub(crate) fn fill(
        &mut self,
        now: Instant,
        now_us: i64,
        until_us: i64,
    ) -> Result<Vec<EncodedFrame>, String> {
        self.fills += 1;
        let Some((_, last_at)) = self.last else {
            // A slate that begins a rendition shows on no grid that could be looked at here.
            let error = || "time goes on behind no picture".to_owned();
            let none = (!self.slates.is_empty()).then(Vec::new);
            return none.ok_or_else(error);
        };
        if until_us <= self.filled_us || until_us > now_us || now < last_at + FILL_AFTER {
            return Err(format!("filled up to {until_us} us at {now_us} us"));
        }
        self.filled_us = until_us;
        let origin_us = self.origin_us.unwrap_or_default();
        let mut encoded = Vec::new();
        for rendition in self.renditions.iter_mut().filter(|it| !it.failed) {
            rendition.fill(origin_us, until_us - origin_us, &mut encoded);
        }
        Ok(encoded)
    }

    /// What it has done so far. A picture takes `decode_us` to decode and `encode_us` to encode.
    pub(crate) fn report(
        &self,
        decode_us: u64,
        encode_us: impl Fn(&RenditionSpec) -> u64,
    ) -> VideoTranscoderReport {
        let renditions = self.renditions.iter();
        VideoTranscoderReport {
            decode_us: self.report.frames * decode_us,
            renditions: renditions
                .map(|it| it.report(encode_us(&it.spec)))
                .collect(),
            ..self.report.clone()
        }
    }
}
