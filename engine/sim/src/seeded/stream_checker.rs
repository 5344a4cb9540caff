//! Checks a stream at the server's end, whatever happened before: headers come before media, a
//! keyframe comes first and after every gap, time stamps rise, and filler or a rendition closes each
//! hole that the publisher leaves.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use shardcast_core::{
    io::RenditionId,
    rtmp::{Message, UnpublishedBy, message::type_id},
};

use super::{
    audio_checker::AudioChecker,
    encoder,
    encoder_ledger::{EncoderChecker, EncoderLedger},
    video_transcoders::VideoTranscoders,
};
use crate::{
    picture::{Picture, Shows, record},
    rtmp_server::is_sequence_header,
};

/// First byte of an AVC tag that a decoder can start at.
const AVC_KEY: u8 = 0x17;
/// Audio and video are at most so far apart in the order in which they are sent: filler begins after
/// 1.5 s without a picture.
const INTERLEAVE_MS_MAX: u32 = 1_500 + REPEATED_MS_MAX;
/// Filler pictures are at most 100 ms apart, whatever the publisher's rate was; a
/// millisecond is lost in rounding.
pub(super) const REPEATED_MS_MAX: u32 = 100 + 1;
/// Filler stays 80 ms behind the clock, and the publisher's next picture comes on the clock at best.
const JOINED_MS_MAX: u32 = REPEATED_MS_MAX + 80;
/// A keyframe that is due waits for its picture so long, and then for the next place.
const KEYFRAME_LATE_MS_MAX: u32 = 2_000 + REPEATED_MS_MAX;

/// Checks the stream of one connection.
#[derive(Debug, Default)]
pub(super) struct StreamChecker {
    metadata: bool,
    /// Metadata came since the last AVC header.
    metadata_is_new: bool,
    avc: Option<Bytes>,
    /// The last picture: the publisher's, filler, or a rendition's.
    pub(super) before: Option<Picture>,
    /// Numbers of the publisher's last picture and keyframe.
    pub(super) sent: Option<u64>,
    pub(super) sent_key: Option<u64>,
    /// The last picture was filler.
    pub(super) is_filler: bool,
    /// Number of the last slate.
    slate: u64,
    pub(super) keyframe_ms: u32,
    pub(super) video_ms: Option<u32>,
    /// When the last picture was there.
    pub(super) arrived: Option<Instant>,
    pub(super) audio: AudioChecker,
    pub(super) encoder: EncoderChecker,
    pub(super) made: u64,
    pub(super) switches: u64,
    pub(super) pictures: u64,
    pub(super) gaps: u64,
    pub(super) repetitions: u64,
    pub(super) resent: u64,
    pub(super) stills: u64,
    pub(super) slates: u64,
    /// Messages of media, headers included.
    pub(super) media: u64,
    pub(super) ended_by: Vec<UnpublishedBy>,
}

/// What holds for the run or the connection and not for every stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) now: Instant,
    pub(super) video_transcoders: &'a VideoTranscoders,
    /// The publisher's picture was wanted at some time since it is connected, and a rendition.
    pub(super) may_pass: bool,
    pub(super) may_be_made: bool,
    /// There was a time at which neither could be sent.
    pub(super) may_pause: bool,
    /// No video transcoder is ever late.
    pub(super) punctual: bool,
    /// Some publisher sent a codec that RTMP does not carry.
    pub(super) foreign: bool,
    /// Some picture was lost before it came to the shard.
    pub(super) lossy: bool,
    /// Pictures that the broadcast let into its ring.
    pub(super) admitted: &'a BTreeSet<u64>,
    /// What encoders have sent, if some of the publishers are.
    pub(super) ledger: &'a EncoderLedger,
    pub(super) encoders: bool,
    /// Publishers send audio. Without, that of browsers is never coded.
    pub(super) audio: bool,
    /// The server takes everything at once, so no picture may be left out because it is slow.
    pub(super) whole: bool,
    /// No publisher's clock was wrong.
    pub(super) interleaved: bool,
    /// Times are finer than milliseconds, so that two frames of audio may be within one.
    pub(super) fine: bool,
    /// Longest time between two pictures of the publisher for which no filler begins.
    pub(super) silent_ms_max: u32,
    /// Distance of filler keyframes, and of the publisher's pictures.
    pub(super) keyframe_ms: u32,
    pub(super) frame_ms: u32,
}

impl StreamChecker {
    /// For a connection to a server that takes Opus, or does not.
    pub(super) fn of_server(takes_opus: bool) -> Self {
        Self {
            audio: AudioChecker::of_server(takes_opus),
            ..Self::default()
        }
    }

    pub(super) fn metadata(&mut self) {
        self.metadata = true;
        self.metadata_is_new = true;
    }

    pub(super) fn message(&mut self, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        self.media += 1;
        if !self.metadata {
            return Err("media before metadata".to_owned());
        }
        let [first, _, ..] = message.payload[..] else {
            return Err("a media message without a header".to_owned());
        };
        match (message.type_id, is_sequence_header(message)) {
            (type_id::VIDEO, true) => self.avc_header(&message.payload),
            (type_id::VIDEO, false) => {
                self.picture(first == AVC_KEY, message, rules)?;
                self.interleaved(self.video_ms, self.audio.at_ms, rules)
            }
            (_, true) => self.audio.header(message, rules),
            _ => {
                self.audio.frame(message, rules)?;
                if self.audio.is_aac() {
                    let (at_us, frame) = (us(message), &message.payload[2..]);
                    let whole = rules.whole && rules.interleaved;
                    self.encoder.frame(rules.ledger, at_us, frame, whole)?;
                }
                self.interleaved(self.audio.at_ms, self.video_ms, rules)
            }
        }
    }

    fn avc_header(&mut self, payload: &Bytes) -> Result<(), String> {
        if !std::mem::take(&mut self.metadata_is_new) {
            return Err("an AVC sequence header without metadata of its own".to_owned());
        }
        self.avc = Some(payload.slice(5..));
        Ok(())
    }

    fn picture(&mut self, key: bool, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        let Some(header) = &self.avc else {
            return Err("a picture before the AVC sequence header".to_owned());
        };
        let Some(picture) = Picture::read(&message.payload) else {
            return Err("a picture that nobody sent".to_owned());
        };
        if key != picture.is_key() {
            return Err(format!("{picture:?} is not called what it is"));
        }
        if *header != record(picture.config) {
            return Err(format!("{picture:?} follows the header of other pictures"));
        }
        let after_filler = self.is_filler;
        match picture.shows {
            Shows::Made { rendition, number } => {
                self.is_made(picture, rendition, number, message.timestamp_ms, rules)?;
                self.is_numbered(picture, false, rules)?;
            }
            _ if !rules.may_pass => {
                return Err(format!("{picture:?}, and a rendition is wanted always"));
            }
            _ => {
                self.leaves_a_rendition(picture, message.timestamp_ms, rules)?;
                self.follows(picture, rules)?;
                self.is_numbered(picture, after_filler, rules)?;
                self.is_on_time(picture, after_filler, message.timestamp_ms, rules)?;
            }
        }
        self.is_punctual(picture, rules)?;
        let composition_us = composition_us(&message.payload);
        let times = (us(message), composition_us);
        self.encoder.picture(
            rules.ledger,
            picture,
            times,
            &message.payload[5..],
            rules.whole,
        )?;
        self.before = Some(picture);
        self.audio.kbps_since.clear();
        self.pictures += 1;
        let before_ms = self.video_ms.replace(message.timestamp_ms);
        forward("video", before_ms, message.timestamp_ms)
    }

    /// What the last picture is a part of, in the words of the trace.
    pub(super) fn shown(&self) -> String {
        match self.rendition() {
            Some(rendition) => format!("{rendition:?}"),
            None => "the publisher's picture".to_owned(),
        }
    }

    /// Which rendition the last picture was of.
    pub(super) fn rendition(&self) -> Option<RenditionId> {
        match self.before?.shows {
            Shows::Made { rendition, .. } => Some(rendition),
            _ => None,
        }
    }

    /// A decoder that has the pictures before can show this one, and no number comes out of order.
    fn follows(&mut self, picture: Picture, rules: Rules<'_>) -> Result<(), String> {
        let before = self.before;
        let number = match picture.shows {
            Shows::Repetition => {
                self.repetitions += 1;
                self.is_filler = true;
                let same_size = before.is_some_and(|before| before.config == picture.config);
                return if same_size {
                    Ok(())
                } else {
                    Err(format!("{picture:?} after {before:?} repeats nothing"))
                };
            }
            Shows::Last(_) => {
                self.stills += 1;
                self.is_filler = true;
                return Ok(());
            }
            Shows::Slate(slate) => {
                self.slates += 1;
                self.is_filler = true;
                if slate < std::mem::replace(&mut self.slate, slate) {
                    return Err(format!("slate {slate} is shown again, which was replaced"));
                }
                return Ok(());
            }
            Shows::Sent(number) => number,
            Shows::Made { .. } => return Ok(()), // See `switches`.
        };
        self.is_next(picture, number, rules)
    }

    /// The publisher's picture `number` is the next, or a keyframe that closes a gap or is sent again.
    fn is_next(&mut self, picture: Picture, number: u64, rules: Rules<'_>) -> Result<(), String> {
        let before = self.before;
        if picture.is_resent() {
            self.resent += 1;
            self.is_filler = true;
            let known = self.sent_key.replace(number);
            // A server that was left behind has not seen all of them.
            return match known {
                Some(known) if number < known || (number > known && rules.whole) => Err(format!(
                    "{picture:?} again, and the last keyframe was {known}"
                )),
                _ => Ok(()),
            };
        }
        let sent = self.sent.replace(number);
        if sent.is_some_and(|sent| number <= sent) {
            return Err(format!("{picture:?} after {sent:?} comes once more"));
        }
        let after_filler = std::mem::take(&mut self.is_filler);
        if after_filler || sent.is_none_or(|sent| sent + 1 != number) {
            self.gaps += u64::from(before.is_some());
            if !picture.is_key() {
                return Err(format!(
                    "{picture:?} after {before:?}: no decoder can go on"
                ));
            }
            if let Some(sent) = sent.filter(|_| rules.whole)
                && let Some(left_out) = rules.admitted.range(sent + 1..number).next()
            {
                return Err(format!("picture {left_out} was left out for no reason"));
            }
        }
        if picture.is_key() {
            self.sent_key = Some(number);
        }
        Ok(())
    }

    /// The numbers by which a decoder knows pictures apart and notices that one is missing (clause
    /// 7.4.3).
    fn is_numbered(
        &self,
        picture: Picture,
        after_filler: bool,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let before = self.before;
        let expected = match before.filter(|_| !picture.is_key()) {
            Some(before) => before.frame_num_next(),
            None => 0,
        };
        if picture.frame_num != expected {
            return Err(format!("{picture:?} after {before:?} is counted wrong"));
        }
        // What the publisher's keyframes are numbered is its own affair, and so is what a server
        // leaves between two of them.
        let ours = rules.whole && (after_filler || self.is_filler);
        let alike = before.is_some_and(|before| {
            picture.is_key()
                && before.idr_pic_id == picture.idr_pic_id
                && before.config == picture.config
        });
        if ours && alike {
            return Err(format!("{picture:?} cannot be told from {before:?}"));
        }
        Ok(())
    }

    /// There is no hole, and filler keyframes come at their distance.
    fn is_on_time(
        &mut self,
        picture: Picture,
        after_filler: bool,
        at_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        if picture.is_key() {
            self.keyframe_ms = at_ms;
        } else if self.is_filler
            && at_ms - self.keyframe_ms > rules.keyframe_ms + KEYFRAME_LATE_MS_MAX
        {
            let late_ms = at_ms - self.keyframe_ms;
            return Err(format!("no keyframe for {late_ms} ms"));
        }
        let watched = rules.interleaved && !rules.foreign;
        let Some(before_ms) = self.video_ms.filter(|_| watched) else {
            return Ok(());
        };
        let hole_ms = at_ms.saturating_sub(before_ms);
        // Filler is shown where it is decoded, behind what an encoder has shown later.
        let (repeated_ms_max, joined_ms_max) = if rules.encoders {
            let late_ms = encoder::COMPOSITION_MS_MAX;
            (
                REPEATED_MS_MAX + late_ms,
                JOINED_MS_MAX + encoder::JITTER_MS,
            )
        } else {
            (REPEATED_MS_MAX, JOINED_MS_MAX)
        };
        // A repetition stands right behind what it repeats, however slow the server is.
        let hole_ms_max = match picture.shows {
            Shows::Repetition => repeated_ms_max,
            _ if !rules.whole => return Ok(()),
            _ if self.is_filler => repeated_ms_max,
            _ if after_filler => joined_ms_max,
            _ => rules.silent_ms_max,
        };
        if hole_ms > hole_ms_max {
            return Err(format!(
                "a hole of {hole_ms} ms between {:?} and {picture:?}",
                self.before
            ));
        }
        Ok(())
    }

    /// `this` was sent now, `other` is the newest of the other kind.
    fn interleaved(
        &self,
        this: Option<u32>,
        other: Option<u32>,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let watched = rules.interleaved && rules.punctual;
        // An encoder without audio is silent from the picture on that comes 1.5 s after it should have sent some.
        let late_ms = if rules.encoders { rules.frame_ms } else { 0 };
        match (this, other) {
            (Some(this), Some(other)) if watched && this + INTERLEAVE_MS_MAX + late_ms < other => {
                Err(format!(
                    "{this} ms is sent after {other} ms of the other kind"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The time stamp of a message.
fn us(message: &Message) -> i64 {
    i64::from(message.timestamp_ms) * 1_000
}

/// By how much later than it is decoded a picture is shown (FLV E.4.3.1).
fn composition_us(body: &[u8]) -> i64 {
    let ms = i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8;
    i64::from(ms) * 1_000
}

/// DTS: there are no B-frames, so the time stamp is it.
pub(super) fn forward(kind: &str, before_ms: Option<u32>, now_ms: u32) -> Result<(), String> {
    match before_ms {
        Some(before_ms) if before_ms >= now_ms => {
            Err(format!("{kind} steps from {before_ms} to {now_ms} ms"))
        }
        _ => Ok(()),
    }
}
