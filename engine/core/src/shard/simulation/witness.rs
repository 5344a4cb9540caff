//! What a server must find in a stream, whatever happened before: headers before media, a keyframe
//! first and after every gap, time stamps that never step back.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::picture::{Picture, record};
use crate::rtmp::{Message, UnpublishedBy, message::type_id};

/// First byte of an AVC tag that a decoder can start at.
const AVC_KEY: u8 = 0x17;
/// Sound and pictures are at most so far apart in the order in which they are sent.
const INTERLEAVE_MS_MAX: u32 = 700;

/// Watches one connection from the server's side.
#[derive(Debug, Default)]
pub(super) struct Witness {
    metadata: bool,
    /// Metadata came since the last AVC header.
    metadata_is_new: bool,
    avc: Option<Bytes>,
    aac: bool,
    last: Option<Picture>,
    video_ms: Option<u32>,
    audio_ms: Option<u32>,
    pub(super) pictures: u64,
    pub(super) gaps: u64,
    /// Messages of media, headers included.
    pub(super) media: u64,
    pub(super) ended_by: Vec<UnpublishedBy>,
}

/// What holds for the run or the connection and not for every stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Pictures that the broadcast let into its ring.
    pub(super) admitted: &'a BTreeSet<u64>,
    /// The server takes everything at once, so nothing may be left out for its sake.
    pub(super) whole: bool,
    /// No publisher's clock was wrong.
    pub(super) interleaved: bool,
}

impl Witness {
    pub(super) fn metadata(&mut self) {
        self.metadata = true;
        self.metadata_is_new = true;
    }

    pub(super) fn message(&mut self, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        self.media += 1;
        if !self.metadata {
            return Err("media before metadata".to_owned());
        }
        let [first, packet_type, ..] = message.payload[..] else {
            return Err("a media message without a header".to_owned());
        };
        match (message.type_id, packet_type) {
            (type_id::VIDEO, 0) => self.avc_header(&message.payload),
            (type_id::VIDEO, _) => {
                self.picture(first == AVC_KEY, message, rules)?;
                self.interleaved(self.video_ms, self.audio_ms, rules)
            }
            (_, 0) => {
                self.aac = true;
                Ok(())
            }
            _ => {
                self.sound(message)?;
                self.interleaved(self.audio_ms, self.video_ms, rules)
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
        if key != picture.key {
            return Err(format!("{picture:?} is not called what it is"));
        }
        if *header != record(picture.config) {
            return Err(format!("{picture:?} follows the header of other pictures"));
        }
        let last = self.last.replace(picture);
        if last.is_some_and(|last| last.number >= picture.number) {
            return Err(format!("{picture:?} after {last:?}"));
        }
        let follows = last.is_some_and(|last| last.number + 1 == picture.number);
        if !follows {
            self.gaps += u64::from(last.is_some());
            if !picture.key {
                return Err(format!("{picture:?} after {last:?}: no decoder can go on"));
            }
            if let Some(last) = last.filter(|_| rules.whole) {
                let between = last.number + 1..picture.number;
                if let Some(left_out) = rules.admitted.range(between).next() {
                    return Err(format!("picture {left_out} was left out for no reason"));
                }
            }
        }
        self.pictures += 1;
        let before_ms = self.video_ms.replace(message.timestamp_ms);
        forward("video", before_ms, message.timestamp_ms)
    }

    fn sound(&mut self, message: &Message) -> Result<(), String> {
        if !self.aac {
            return Err("sound before the AAC sequence header".to_owned());
        }
        let before_ms = self.audio_ms.replace(message.timestamp_ms);
        forward("audio", before_ms, message.timestamp_ms)
    }

    /// `this` was sent now, `other` is the newest of the other kind.
    fn interleaved(
        &self,
        this: Option<u32>,
        other: Option<u32>,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        match (this, other) {
            (Some(this), Some(other)) if rules.interleaved && this + INTERLEAVE_MS_MAX < other => {
                Err(format!(
                    "{this} ms is sent after {other} ms of the other kind"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// DTS: there are no B-frames, so the time stamp is it.
fn forward(kind: &str, before_ms: Option<u32>, now_ms: u32) -> Result<(), String> {
    match before_ms {
        Some(before_ms) if before_ms >= now_ms => {
            Err(format!("{kind} steps from {before_ms} to {now_ms} ms"))
        }
        _ => Ok(()),
    }
}
