//! Measures one connection of a sink. It does no I/O: messages and times in, a report out.

use std::net::SocketAddr;

use serde::Serialize;
use shardcast_core::rtmp::{
    Message, UnpublishedBy,
    amf::Value,
    message::type_id::{AUDIO, VIDEO},
};

use super::audio_tag::AudioTag;
use super::av_sync::AvSync;
use super::flash_detector::FlashDetector;
use super::pace::{Distinct, Pace};
use super::video::{CodedFrame, FrameLog, VideoMeter, VideoReport};
use crate::frame_stamp::FrameStamp;
use crate::limits::DELAY_SAMPLES_MAX;
use crate::stats::{Percentiles, Spread};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The client sent `deleteStream` or `closeStream`: a clean end.
    ByCommand,
    /// The client closed the connection without such a command.
    Closed,
    /// The client violated the protocol, or the connection broke.
    Broken(String),
    /// The sink ended it, as its fault script says.
    BySink(String),
}

impl Ended {
    pub(super) fn by_sink(reason: &str) -> Self {
        Self::BySink(reason.to_owned())
    }
}

/// What one connection has received so far. Times ending in `_us` are of [`crate::clock::now_us`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectionReport {
    /// Address and port of the client.
    pub peer: String,
    /// Application of the `connect` command; empty before it.
    pub application: String,
    /// Stream key of the `publish` command; empty before it. JSON shows its first four characters.
    #[serde(serialize_with = "shortened")]
    pub stream_key: String,
    /// When the connection was accepted.
    pub connected_us: u64,
    /// When the connection was closed; `None` while it is open.
    pub closed_us: Option<u64>,
    /// Numbers of the connections of this sink, counted from 0, that were open at its acceptance.
    #[serde(rename = "beside")]
    pub concurrent: Vec<usize>,
    /// The TLS handshake succeeded.
    pub tls: bool,
    /// Server name that the client sent in TLS (SNI); `None` when it connected to an address.
    pub tls_server_name: Option<String>,
    /// When the sink accepted `publish`.
    pub published_us: Option<u64>,
    /// When the first decodable frame was received: an IDR after its sequence header.
    pub first_video_us: Option<u64>,
    /// When the first audio frame after its sequence header was received.
    pub first_audio_us: Option<u64>,
    /// When the last audio or video message was received.
    pub last_media_us: Option<u64>,
    /// From acceptance of `publish` to the first audio or video frame.
    pub first_media_ms: Option<f64>,
    /// Width and height in `onMetaData`, in pixels.
    pub announced_size: Option<(f64, f64)>,
    /// Video frames received, without sequence headers.
    pub video_frames: u64,
    /// AAC frames or Opus packets received, without sequence headers.
    pub audio_frames: u64,
    /// Of these, Opus packets.
    pub opus_packets: u64,
    /// Keyframes received.
    pub keyframes: u64,
    /// Bytes of the audio and video messages received.
    pub bytes: u64,
    /// AVC sequence headers received (FLV E.4.3.1).
    pub video_headers: u64,
    /// Sequence headers of AAC (FLV E.4.2.1) or Opus received.
    pub audio_headers: u64,
    /// Different AVC sequence headers; counted up to 16.
    pub video_headers_distinct: usize,
    /// The same for audio.
    pub audio_headers_distinct: usize,
    /// Audio and video frames that were received before their sequence header.
    pub before_header: u64,
    /// The first video frame was an IDR.
    pub starts_on_keyframe: bool,
    /// Distance of neighbouring IDRs in milliseconds.
    pub keyframe_interval_ms: Option<Spread>,
    /// Audio and video timestamps smaller than the one before of the same kind.
    pub dts_steps_back: u64,
    /// The same for video alone.
    pub video_dts_steps_back: u64,
    /// The same for audio alone.
    pub audio_dts_steps_back: u64,
    /// Largest distance of neighbouring video timestamps in milliseconds.
    pub video_gap_ms_max: u32,
    /// The same for audio.
    pub audio_gap_ms_max: u32,
    /// Frame number in the stamp of the first stamped frame.
    #[serde(rename = "first_mark")]
    pub first_stamp: Option<u32>,
    /// The highest frame number of the newest publisher. A broadcast without its publisher sends an old
    /// keyframe again.
    #[serde(rename = "last_mark")]
    pub last_stamp: Option<u32>,
    /// Frame numbers between the two stamps that were never received.
    pub frames_missing: u64,
    /// The gaps: frame numbers before and after each one; the first 16.
    pub gaps: Vec<(u32, u32)>,
    /// Frame numbers that were received twice or out of order.
    pub frames_repeated: u64,
    /// From the publisher's send call to the arrival of the frame's last byte at the sink's socket, as the kernel tells
    /// it; with TLS, to the sink's read call.
    pub delay_ms: Option<Percentiles>,
    /// Sizes, parameter sets, spacing and bit rate of the video.
    #[serde(rename = "picture")]
    pub video: VideoReport,
    /// Audio minus video in milliseconds; positive when the audio is late.
    pub sync_ms: Option<Spread>,
    /// AAC frames or Opus packets that could not be decoded.
    pub undecodable_audio: u64,
    /// The client sent `FCUnpublish`.
    pub fc_unpublish: bool,
    /// The client sent `deleteStream` or `closeStream`.
    pub delete_stream: bool,
    /// How the connection ended; `None` while it is open.
    pub ended: Option<Ended>,
}

impl ConnectionReport {
    /// The client sent all commands of a clean end.
    pub fn ended_cleanly(&self) -> bool {
        self.fc_unpublish && self.ended == Some(Ended::ByCommand)
    }

    /// The defects of the stream as text: each of these must be absent from a good stream, whatever
    /// happens to the publisher or to other destinations.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |bad: bool, text: String| {
            if bad {
                faults.push(text);
            }
        };
        let (missing, gaps) = (self.frames_missing, &self.gaps);
        fault(
            missing > 0,
            format!("{missing} frames are missing, between {gaps:?}"),
        );
        fault(
            self.frames_repeated > 0,
            format!(
                "{} frames were received twice or out of order",
                self.frames_repeated
            ),
        );
        fault(
            self.dts_steps_back > 0,
            format!(
                "{} timestamps are smaller than the one before",
                self.dts_steps_back
            ),
        );
        fault(
            self.before_header > 0,
            format!("{} frames before their sequence header", self.before_header),
        );
        fault(
            self.undecodable_audio > 0,
            format!("{} audio frames cannot be decoded", self.undecodable_audio),
        );
        fault(
            self.video_frames > 0 && !self.starts_on_keyframe,
            "the first video frame is no keyframe".to_owned(),
        );
        faults
    }
}

/// Writes the first four characters of a key, too few to publish with.
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
    video: VideoMeter,
    flash_detector: Option<FlashDetector>,
    sync: AvSync,
}

impl Measure {
    pub(super) fn new(
        peer: SocketAddr,
        concurrent: Vec<usize>,
        decodes_video: bool,
        now_us: u64,
    ) -> Self {
        let report = ConnectionReport {
            peer: peer.to_string(),
            connected_us: now_us,
            concurrent,
            ..Default::default()
        };
        Self {
            report,
            peer: Some(peer),
            flash_detector: decodes_video.then(FlashDetector::new),
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

    pub(super) fn has_key(&self, stream_key: &str) -> bool {
        self.report.stream_key == stream_key
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

    pub(super) fn requested(&mut self, stream_key: String) {
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
        report.video = self.video.report();
        report.sync_ms = self.sync.offsets_ms();
        report.undecodable_audio = self.sync.undecodable;
        report
    }

    pub(super) fn log(&self) -> &FrameLog {
        self.video.log()
    }

    pub(super) fn delays_ms(&mut self) -> &mut Vec<f64> {
        &mut self.delays_ms
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
                self.video.header(body);
                if let Some(flash_detector) = &mut self.flash_detector {
                    flash_detector.configure(body);
                }
                return;
            }
            1 => {}
            // An end of sequence holds no frame (FLV E.4.3.1).
            _ => return,
        }
        let key = kind >> 4 == 1;
        if self.report.video_frames == 0 {
            self.report.starts_on_keyframe = key;
        }
        self.report.video_frames += 1;
        self.report.before_header += u64::from(self.report.video_headers == 0);
        self.video_dts.at(message.timestamp_ms);
        self.video.frame(CodedFrame {
            dts_ms: message.timestamp_ms,
            bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            key,
        });
        self.media_received(now_us);
        if key {
            self.keyframe(message.timestamp_ms, now_us);
        }
        let cts_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
        let pts_ms = f64::from(message.timestamp_ms) + f64::from(cts_ms);
        match FrameStamp::find(body) {
            Some(stamp) => self.stamped(stamp, pts_ms, now_us),
            None if self
                .flash_detector
                .as_mut()
                .is_some_and(|flash_detector| flash_detector.starts_flash(body)) =>
            {
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

    fn stamped(&mut self, stamp: FrameStamp, pts_ms: f64, now_us: u64) {
        if self.delays_ms.len() < DELAY_SAMPLES_MAX {
            self.delays_ms
                .push(now_us.saturating_sub(stamp.sent_us) as f64 / 1_000.0);
        }
        if stamp.flash {
            self.sync.flash(pts_ms);
        }
        if self.publisher.replace(stamp.publisher) != Some(stamp.publisher) {
            self.report.first_stamp = Some(stamp.frame);
            self.report.last_stamp = Some(stamp.frame);
        } else if let Some(last) = self.report.last_stamp {
            self.follow(last, stamp.frame);
            self.report.last_stamp = Some(last.max(stamp.frame));
        }
    }

    fn follow(&mut self, last: u32, frame: u32) {
        /// Enough to recognise a pattern.
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
        let body = match AudioTag::read(&message.payload) {
            Some(AudioTag::Header(header)) => {
                self.report.audio_headers += 1;
                self.audio_headers.insert(&message.payload);
                self.sync.configure(header);
                return;
            }
            Some(AudioTag::Aac(body)) => body,
            Some(AudioTag::Opus(body)) => {
                self.report.opus_packets += 1;
                body
            }
            None => return,
        };
        self.report.audio_frames += 1;
        self.audio_dts.at(message.timestamp_ms);
        self.media_received(now_us);
        if self.report.audio_headers == 0 {
            self.report.before_header += 1;
            return;
        }
        self.report.first_audio_us.get_or_insert(now_us);
        self.sync.audio(f64::from(message.timestamp_ms), body);
    }

    fn media_received(&mut self, now_us: u64) {
        self.report.last_media_us = Some(now_us);
        if let (None, Some(published_us)) = (self.report.first_media_ms, self.report.published_us) {
            let ms = now_us.saturating_sub(published_us) as f64 / 1_000.0;
            self.report.first_media_ms = Some(ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_that_shows_an_old_keyframe_is_no_gap_before_the_next_frame() {
        let mut measure = Measure::default();
        for frame in [0, 1, 2, 3, 1, 1, 4] {
            let stamp = FrameStamp {
                sent_us: 0,
                frame,
                publisher: 7,
                flash: false,
            };
            measure.stamped(stamp, 0.0, 0);
        }
        assert_eq!(measure.report.last_stamp, Some(4));
        assert_eq!(measure.report.frames_missing, 0);
        assert_eq!(measure.report.frames_repeated, 2);
    }
}
