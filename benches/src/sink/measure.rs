//! What one connection of a sink has received. Pure: messages and times in, a report out.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::Serialize;
use shardcast_core::rtmp::{
    Message, UnpublishedBy,
    amf::Value,
    message::type_id::{AUDIO, VIDEO},
};

use super::eye::Eye;
use super::picture::{CodedFrame, FrameLog, PictureMeasure, PictureReport};
use super::sync::Sync;
use crate::limits::DELAY_SAMPLES_MAX;
use crate::mark::Mark;
use crate::stats::{Percentiles, Spread};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// `deleteStream` or `closeStream` was said: a clean end.
    ByCommand,
    /// The connection was closed without a word.
    Closed,
    /// The client broke the protocol, or the connection broke.
    Broken(String),
    /// The sink did it, as its manners say.
    BySink(String),
}

impl Ended {
    pub(super) fn by_sink(words: &str) -> Self {
        Self::BySink(words.to_owned())
    }
}

/// What one connection has brought so far. Times are of [`crate::clock::now_us`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectionReport {
    pub peer: String,
    pub application: String,
    #[serde(serialize_with = "shortened")]
    pub stream_key: String,
    pub connected_us: u64,
    /// When the connection was gone.
    pub closed_us: Option<u64>,
    /// Numbers of the connections of this sink, counted from 0, that were open when it came.
    pub beside: Vec<usize>,
    /// TLS was agreed on.
    pub tls: bool,
    /// Whom the client asked for in TLS (SNI); nobody when it knows an address only.
    pub tls_server_name: Option<String>,
    /// When the stream was accepted.
    pub published_us: Option<u64>,
    /// The first picture that can be decoded: an IDR behind its sequence header.
    pub first_video_us: Option<u64>,
    /// The first AAC frame behind its sequence header.
    pub first_audio_us: Option<u64>,
    pub last_media_us: Option<u64>,
    /// From acceptance to the first picture or sound.
    pub first_media_ms: Option<f64>,
    /// Width and height that `onMetaData` announces.
    pub announced_size: Option<(f64, f64)>,
    pub video_frames: u64,
    pub audio_frames: u64,
    pub keyframes: u64,
    pub bytes: u64,
    pub video_headers: u64,
    pub audio_headers: u64,
    /// Different ones among them; counted up to sixteen.
    pub video_headers_distinct: usize,
    pub audio_headers_distinct: usize,
    /// Pictures or sounds that came before their sequence header.
    pub before_header: u64,
    /// The first picture was an IDR.
    pub starts_on_keyframe: bool,
    /// Distance of neighbouring IDRs.
    pub keyframe_interval_ms: Option<Spread>,
    /// Timestamps smaller than the one before of the same kind.
    pub dts_steps_back: u64,
    pub video_dts_steps_back: u64,
    pub audio_dts_steps_back: u64,
    /// Largest distance of neighbouring timestamps of a kind.
    pub video_gap_ms_max: u32,
    pub audio_gap_ms_max: u32,
    /// Numbers in the marks of the first and the last frame.
    pub first_mark: Option<u32>,
    pub last_mark: Option<u32>,
    /// Numbers between them that never came.
    pub frames_missing: u64,
    /// Where they are missing: the number before the gap and the one behind it; the first sixteen.
    pub gaps: Vec<(u32, u32)>,
    /// Numbers that came twice or too late.
    pub frames_repeated: u64,
    /// From the publisher's send call to our read call.
    pub delay_ms: Option<Percentiles>,
    pub picture: PictureReport,
    /// Sound minus picture.
    pub sync_ms: Option<Spread>,
    pub undecodable_audio: u64,
    /// `FCUnpublish` was said.
    pub fc_unpublish: bool,
    /// `deleteStream` or `closeStream` was said.
    pub delete_stream: bool,
    pub ended: Option<Ended>,
}

impl ConnectionReport {
    /// The commands of a proper end were all said.
    pub fn ended_cleanly(&self) -> bool {
        self.fc_unpublish && self.ended == Some(Ended::ByCommand)
    }

    /// Everything that holds of every good stream whatever happens around it, as a sentence of what
    /// does not.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |bad: bool, words: String| {
            if bad {
                faults.push(words);
            }
        };
        fault(
            self.frames_missing > 0,
            format!(
                "{} frames are missing, between {:?}",
                self.frames_missing, self.gaps
            ),
        );
        fault(
            self.frames_repeated > 0,
            format!("{} frames came twice", self.frames_repeated),
        );
        fault(
            self.dts_steps_back > 0,
            format!("{} steps back in time", self.dts_steps_back),
        );
        fault(
            self.before_header > 0,
            format!("{} before the header", self.before_header),
        );
        fault(
            self.undecodable_audio > 0,
            format!("{} sounds cannot be decoded", self.undecodable_audio),
        );
        fault(
            self.video_frames > 0 && !self.starts_on_keyframe,
            "the first picture is no keyframe".to_owned(),
        );
        faults
    }
}

/// Shows so little of a key that it cannot be used.
fn shortened<S: serde::Serializer>(key: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let start: String = key.chars().take(4).collect();
    let hidden = if start.len() < key.len() { "…" } else { "" };
    serializer.collect_str(&format_args!("{start}{hidden}"))
}

/// Collects the report of one connection.
#[derive(Debug, Default)]
pub(super) struct Measure {
    report: ConnectionReport,
    peer: Option<SocketAddr>,
    video_dts: Pace,
    audio_dts: Pace,
    video_headers: Distinct,
    audio_headers: Distinct,
    key_dts_ms: Option<u32>,
    key_intervals_ms: Vec<f64>,
    delays_ms: Vec<f64>,
    publisher: Option<u32>,
    picture: PictureMeasure,
    eye: Option<Eye>,
    sync: Sync,
}

impl Measure {
    pub(super) fn new(peer: SocketAddr, beside: Vec<usize>, looks: bool, now_us: u64) -> Self {
        let report = ConnectionReport {
            peer: peer.to_string(),
            connected_us: now_us,
            beside,
            ..Default::default()
        };
        Self {
            report,
            peer: Some(peer),
            eye: looks.then(Eye::new),
            ..Default::default()
        }
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(super) fn is_open(&self) -> bool {
        self.report.closed_us.is_none()
    }

    pub(super) fn is_publishing(&self, stream_key: &str) -> bool {
        let report = &self.report;
        report.stream_key == stream_key && report.published_us.is_some() && report.ended.is_none()
    }

    pub(super) fn video_frames(&self) -> u64 {
        self.report.video_frames
    }

    pub(super) fn shook_hands(&mut self, server_name: Option<String>) {
        self.report.tls = true;
        self.report.tls_server_name = server_name;
    }

    pub(super) fn closed(&mut self, now_us: u64) {
        self.report.closed_us.get_or_insert(now_us);
    }

    pub(super) fn connected(&mut self, application: String) {
        self.report.application = application;
    }

    pub(super) fn asked(&mut self, stream_key: String) {
        self.report.stream_key = stream_key;
    }

    pub(super) fn accepted(&mut self, now_us: u64) {
        self.report.published_us = Some(now_us);
    }

    pub(super) fn metadata(&mut self, properties: &[(String, Value)]) {
        let number = |name: &str| {
            properties
                .iter()
                .find_map(|(key, value)| (key == name).then(|| value.as_number())?)
        };
        self.report.announced_size = number("width").zip(number("height"));
    }

    pub(super) fn unpublished(&mut self, by: UnpublishedBy) {
        match by {
            UnpublishedBy::FcUnpublish => self.report.fc_unpublish = true,
            UnpublishedBy::DeleteStream | UnpublishedBy::CloseStream => {
                self.report.delete_stream = true;
                self.report.ended.get_or_insert(Ended::ByCommand);
            }
        }
    }

    pub(super) fn ended(&mut self, how: Ended) {
        self.report.ended.get_or_insert(how);
    }

    pub(super) fn media(&mut self, message: &Message, now_us: u64) {
        self.report.bytes += message.payload.len() as u64;
        match message.type_id {
            VIDEO => self.video(message, now_us),
            AUDIO => self.audio(message, now_us),
            _ => {}
        }
    }

    pub(super) fn report(&self) -> ConnectionReport {
        let mut report = self.report.clone();
        report.video_headers_distinct = self.video_headers.0.len();
        report.audio_headers_distinct = self.audio_headers.0.len();
        report.video_dts_steps_back = self.video_dts.steps_back;
        report.audio_dts_steps_back = self.audio_dts.steps_back;
        report.dts_steps_back = self.video_dts.steps_back + self.audio_dts.steps_back;
        report.video_gap_ms_max = self.video_dts.gap_ms_max;
        report.audio_gap_ms_max = self.audio_dts.gap_ms_max;
        report.keyframe_interval_ms = Spread::of(self.key_intervals_ms.clone());
        report.delay_ms = Percentiles::of(self.delays_ms.clone());
        report.picture = self.picture.report();
        report.sync_ms = self.sync.offsets_ms();
        report.undecodable_audio = self.sync.undecodable;
        report
    }

    pub(super) fn log(&self) -> &FrameLog {
        self.picture.log()
    }

    pub(super) fn delays_ms(&self) -> &[f64] {
        &self.delays_ms
    }

    fn video(&mut self, message: &Message, now_us: u64) {
        let Some((&[kind, packet_type, a, b, c], body)) = message.payload.split_first_chunk()
        else {
            return;
        };
        match packet_type {
            0 => {
                self.report.video_headers += 1;
                self.video_headers.insert(&message.payload);
                self.picture.header(body);
                if let Some(eye) = &mut self.eye {
                    eye.configure(body);
                }
                return;
            }
            1 => {}
            // The end of the sequence holds no picture (FLV E.4.3.1).
            _ => return,
        }
        let key = kind >> 4 == 1;
        if self.report.video_frames == 0 {
            self.report.starts_on_keyframe = key;
        }
        self.report.video_frames += 1;
        self.report.before_header += u64::from(self.report.video_headers == 0);
        self.video_dts.at(message.timestamp_ms);
        self.picture.frame(CodedFrame {
            dts_ms: message.timestamp_ms,
            bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            key,
        });
        self.media_came(now_us);
        if key {
            self.keyframe(message.timestamp_ms, now_us);
        }
        let cts_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
        let pts_ms = f64::from(message.timestamp_ms) + f64::from(cts_ms);
        match Mark::find(body) {
            Some(mark) => self.mark(mark, pts_ms, now_us),
            None if self.eye.as_mut().is_some_and(|eye| eye.sees_flash(body)) => {
                self.sync.flash(pts_ms);
            }
            None => {}
        }
    }

    fn keyframe(&mut self, dts_ms: u32, now_us: u64) {
        self.report.keyframes += 1;
        if self.report.video_headers > 0 {
            self.report.first_video_us.get_or_insert(now_us);
        }
        if let Some(last) = self.key_dts_ms.replace(dts_ms) {
            self.key_intervals_ms
                .push(f64::from(dts_ms.wrapping_sub(last)));
        }
    }

    fn mark(&mut self, mark: Mark, pts_ms: f64, now_us: u64) {
        if self.delays_ms.len() < DELAY_SAMPLES_MAX {
            self.delays_ms
                .push(now_us.saturating_sub(mark.sent_us) as f64 / 1_000.0);
        }
        if mark.flash {
            self.sync.flash(pts_ms);
        }
        if self.publisher.replace(mark.publisher) != Some(mark.publisher) {
            self.report.first_mark = Some(mark.frame);
        } else if let Some(last) = self.report.last_mark {
            self.follow(last, mark.frame);
        }
        self.report.last_mark = Some(mark.frame);
    }

    fn follow(&mut self, last: u32, frame: u32) {
        /// Enough to see a pattern.
        const GAPS_MAX: usize = 16;
        match frame.checked_sub(last.saturating_add(1)) {
            Some(0) => {}
            Some(missing) => {
                self.report.frames_missing += u64::from(missing);
                if self.report.gaps.len() < GAPS_MAX {
                    self.report.gaps.push((last, frame));
                }
            }
            None => self.report.frames_repeated += 1,
        }
    }

    fn audio(&mut self, message: &Message, now_us: u64) {
        let Some((&[_, packet_type], body)) = message.payload.split_first_chunk() else {
            return;
        };
        if packet_type == 0 {
            self.report.audio_headers += 1;
            self.audio_headers.insert(&message.payload);
            self.sync.configure(body);
            return;
        }
        self.report.audio_frames += 1;
        self.audio_dts.at(message.timestamp_ms);
        self.media_came(now_us);
        if self.report.audio_headers == 0 {
            self.report.before_header += 1;
            return;
        }
        self.report.first_audio_us.get_or_insert(now_us);
        self.sync.sound(f64::from(message.timestamp_ms), body);
    }

    fn media_came(&mut self, now_us: u64) {
        self.report.last_media_us = Some(now_us);
        if let (None, Some(published_us)) = (self.report.first_media_ms, self.report.published_us) {
            let ms = now_us.saturating_sub(published_us) as f64 / 1_000.0;
            self.report.first_media_ms = Some(ms);
        }
    }
}

/// How the timestamps of one kind go on.
#[derive(Debug, Default)]
struct Pace {
    last_ms: Option<u32>,
    steps_back: u64,
    gap_ms_max: u32,
}

impl Pace {
    /// Timestamps wrap after 49 days.
    fn at(&mut self, now_ms: u32) {
        let Some(last_ms) = self.last_ms.replace(now_ms) else {
            return;
        };
        let gap_ms = now_ms.wrapping_sub(last_ms);
        if gap_ms > u32::MAX / 2 {
            self.steps_back += 1;
        } else {
            self.gap_ms_max = self.gap_ms_max.max(gap_ms);
        }
    }
}

/// Different sequence headers.
#[derive(Debug, Default)]
struct Distinct(Vec<Bytes>);

impl Distinct {
    fn insert(&mut self, header: &Bytes) {
        /// A publisher that changes its size more often is not tested for the exact number.
        const HEADERS_MAX: usize = 16;
        if self.0.len() < HEADERS_MAX && !self.0.contains(header) {
            self.0.push(header.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_steps_back_are_told_apart_also_where_timestamps_wrap() {
        let mut pace = Pace::default();
        for ms in [u32::MAX - 10, 20, 53, 40, 140] {
            pace.at(ms);
        }
        assert_eq!((pace.steps_back, pace.gap_ms_max), (1, 100));
    }
}
