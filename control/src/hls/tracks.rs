//! The tracks of a segment one by one. Parts have video and audio together, as HLS likes them; here each is taken out of
//! them, for formats that want it alone. Payload is shared.

use bytes::Bytes;
use shardcast_cmaf::{Track, TrackRun, read_fragment};

use super::media::{Init, Segment};
use crate::mpegts;

/// What a track is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Video,
    Audio,
}

/// What a segment has of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// When the first sample is presented, in ticks of the track.
    pub(crate) begins_at: u64,
    /// How long all of them last.
    pub(crate) ticks: u64,
    pub(crate) bytes: u64,
}

/// Of video and audio.
pub(super) type Spans = [Option<Span>; 2];

impl Init {
    /// The track of this kind.
    pub(crate) fn track(&self, kind: Kind) -> Option<&Track> {
        let mut tracks = self.tracks.iter();
        tracks.find(|track| track.is_video() == (kind == Kind::Video))
    }

    /// The codec of this kind (RFC 6381).
    pub(crate) fn codec(&self, kind: Kind) -> Option<&str> {
        let mut codecs = self.codecs.split(',');
        codecs.find(|codec| codec.starts_with("mp4a") == (kind == Kind::Audio))
    }
}

impl Segment {
    /// Its samples of this kind, as one run.
    pub(crate) fn run(&self, kind: Kind) -> Option<TrackRun> {
        let track = self.init.track(kind)?.id;
        let of_track = |fragment: &Bytes| {
            let runs = read_fragment(fragment)?.into_iter();
            let mut runs = runs.filter(|run| run.track == track && !run.samples.is_empty());
            runs.next()
        };
        let runs = self.parts.iter().filter_map(|part| of_track(&part.bytes));
        runs.reduce(|mut whole, run| {
            whole.append(run);
            whole
        })
    }

    /// What it has of this kind; of one that is complete.
    pub(crate) fn span(&self, kind: Kind) -> Option<Span> {
        debug_assert!(self.is_complete, "it would change");
        let spans =
            || [Kind::Video, Kind::Audio].map(|kind| self.run(kind).as_ref().and_then(span));
        let [video, audio] = *self.spans.get_or_init(spans);
        match kind {
            Kind::Video => video,
            Kind::Audio => audio,
        }
    }
}

impl Segment {
    /// It as MPEG-TS, made once.
    pub(crate) fn transport(&self) -> Bytes {
        debug_assert!(self.is_complete, "it would change");
        let make = || {
            let [video, audio] = [Kind::Video, Kind::Audio].map(|kind| self.run(kind));
            let input = |kind, run| {
                let track = self.init.track(kind)?;
                Some(mpegts::Input { track, run })
            };
            mpegts::segment(
                input(Kind::Video, video.as_ref()),
                input(Kind::Audio, audio.as_ref()),
            )
        };
        self.transport.get_or_init(make).clone()
    }
}

fn span(run: &TrackRun) -> Option<Span> {
    let first = run.samples.first()?;
    let offset = i64::from(first.composition_offset);
    Some(Span {
        begins_at: run.decoded_at.saturating_add_signed(offset),
        ticks: run.ends_at() - run.decoded_at,
        bytes: run.samples.iter().map(|it| it.len() as u64).sum(),
    })
}
