//! The codecs of a show with real peers: a video transcoder takes as long as [`TRANSCODE_DELAY`], and a
//! still frame is encoded when the test says so.

use std::time::Duration;

use bytes::Bytes;
use shardcast_core::{
    io::{AudioJob, Input, StillFrame, VideoJob, VideoResult, VideoTranscoderId},
    opus,
};
use shardcast_link::RenditionSpec;

use super::{Arrival, World};
use crate::codecs::{FakeVideoTranscoder, Trouble};

/// What a picture takes on its way through a video transcoder.
const TRANSCODE_DELAY: Duration = Duration::from_millis(25);
/// To decode a picture, and to scale and encode one of 720p, in microseconds.
const DECODE_US: u64 = 2_000;
const ENCODE_720P_US: u64 = 8_100;
const PIXELS_720P: u64 = 1_280 * 720;

fn encode_us(spec: &RenditionSpec) -> u64 {
    let pixels = u64::from(spec.width.unwrap_or(1_280)) * u64::from(spec.height);
    ENCODE_720P_US * pixels / PIXELS_720P
}

impl World {
    pub(super) fn video(&mut self, job: VideoJob) {
        let now = self.now;
        let now_us = i64::try_from((now - self.start).as_micros()).unwrap();
        let (transcoder, encoded) = match job {
            VideoJob::Open { transcoder } => {
                return self.video.push(FakeVideoTranscoder::new(transcoder));
            }
            VideoJob::Close { transcoder } => return self.transcoder(transcoder).open = false,
            VideoJob::Slate { transcoder, image } => {
                return self.transcoder(transcoder).slates.push(image);
            }
            VideoJob::Source {
                transcoder,
                codec,
                record,
            } => {
                let begun = self.transcoder(transcoder).begin(codec, record);
                return begun.expect("a source that can be decoded");
            }
            VideoJob::Renditions {
                transcoder,
                renditions,
            } => {
                let set = self.transcoder(transcoder).set_renditions(&renditions);
                set.expect("renditions that can be made");
                return;
            }
            VideoJob::Keyframe {
                transcoder,
                rendition,
            } => {
                let asked = self.transcoder(transcoder).request_keyframe(rendition);
                return asked.expect("a rendition that is made");
            }
            VideoJob::Decode {
                transcoder,
                pts_us,
                unit,
            } => {
                let it = self.transcoder(transcoder);
                let key = it
                    .take(now, pts_us, &unit)
                    .expect("a unit that can be decoded");
                (
                    transcoder,
                    it.decode(pts_us, key, Trouble::default()).encoded,
                )
            }
            VideoJob::Fill {
                transcoder,
                until_us,
            } => {
                let filled = self.transcoder(transcoder).fill(now, now_us, until_us);
                (transcoder, filled.expect("a time that can be filled"))
            }
        };
        for picture in encoded {
            let arrival = Arrival::Video(transcoder, VideoResult::Encoded(picture));
            self.agenda.at(now + TRANSCODE_DELAY, arrival);
        }
    }

    fn transcoder(&mut self, id: VideoTranscoderId) -> &mut FakeVideoTranscoder {
        let mut open = self.video.iter_mut().filter(|it| it.open);
        open.find(|it| it.id == id)
            .expect("a transcoder that is open")
    }

    /// Every video transcoder reports what it has done; each second.
    pub fn report_transcoders(&mut self) {
        let open = self.video.iter().filter(|it| it.open);
        let reports: Vec<_> = open
            .map(|it| (it.id, it.report(DECODE_US, encode_us)))
            .collect();
        for (id, report) in reports {
            self.transcoder_reports(id, VideoResult::Report(report));
        }
    }

    /// A video transcoder reports this.
    pub fn transcoder_reports(&mut self, transcoder: VideoTranscoderId, result: VideoResult) {
        if let VideoResult::KeyframeWanted = result
            && let Some(it) = self.video.iter_mut().find(|it| it.id == transcoder)
        {
            it.expect_keyframe();
        }
        self.shard
            .handle(self.now, Input::Video { transcoder, result });
        self.process_outputs();
    }

    pub(super) fn audio(&mut self, job: &AudioJob) {
        if let AudioJob::Open { audio_bps, .. } = job {
            self.audio_bps.push(*audio_bps);
        }
        match job {
            AudioJob::Decode { packet, .. } => {
                let number = packet.last_chunk().copied().map_or(0, u32::from_be_bytes);
                self.audio_decoded.push((number, self.audio_samples));
                self.audio_samples += opus::duration_samples(packet).map_or(960, u64::from);
            }
            AudioJob::Recover { samples, .. }
            | AudioJob::Conceal { samples, .. }
            | AudioJob::Silence { samples, .. } => self.audio_samples += u64::from(*samples),
            AudioJob::DecodeAac { .. } => self.aac_decoded += 1,
            AudioJob::Open { .. } | AudioJob::OpenOpus { .. } | AudioJob::Close { .. } => {}
        }
        let coded = self.audio.run(job).expect("a job that can be done");
        let Some((transcoder, frames)) = coded else {
            return;
        };
        for frame in frames {
            self.shard
                .handle(self.now, Input::AudioFrame { transcoder, frame });
        }
    }

    /// Audio transcoders that are open.
    pub fn audio_transcoders(&self) -> usize {
        self.audio.open()
    }

    /// Answers the newest request for a preview.
    pub fn answer_preview(&mut self, result: Result<Bytes, String>) {
        let job = self.preview_jobs.last();
        let preview = job.expect("a preview was asked for").preview;
        self.shard
            .handle(self.now, Input::Preview { preview, result });
        self.process_outputs();
    }

    /// Answers the newest request for a still frame.
    pub fn answer_still(&mut self, result: Result<StillFrame, String>) {
        let still = self.stills.last().expect("a picture was asked for").still;
        self.shard
            .handle(self.now, Input::StillFrame { still, result });
        self.process_outputs();
    }
}
