//! The audio transcoders of a shard: Opus in, AAC out, and the other way, on the executor itself (30-250 µs a
//! packet).

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use shardcast_core::{
    codec::aac::AacConfig,
    io::{AudioJob, AudioTranscoderId},
    opus,
};
use shardcast_media::{AacCoder, AudioReport, MediaError, OpusToAac, limits::FILL_SAMPLES_MAX};

use self::to_opus::ToOpus;
use crate::limits::{AUDIO_OWED_SAMPLES_PER_JOB, AUDIO_TRANSCODERS_MAX};

mod to_opus;

/// Samples at 48 kHz that a packet without a readable length stands for: the 20 ms of WebRTC.
const PACKET_SAMPLES_DEFAULT: u32 = 960;

/// One transcoder. Its time runs by samples, so the samples that it could not make while it had no
/// codec are owed, and paid in silence: left out, they would shift all audio that follows.
struct Transcoder {
    kind: Kind,
    codec: Option<Codec>,
    owed_samples: u64,
    /// The same in AAC frames, of one that makes Opus.
    owed_frames: u64,
    /// That it has no codec was logged.
    logged: bool,
}

/// What a transcoder makes.
#[derive(Clone, Copy)]
enum Kind {
    /// AAC of this bit rate.
    Aac(u32),
    /// Opus of this bit rate, of such AAC.
    Opus(AacConfig, u32),
}

enum Codec {
    ToAac(Box<OpusToAac>),
    ToOpus(Box<ToOpus>),
}

impl Codec {
    fn open(kind: Kind, aac_coder: AacCoder) -> Result<Self, MediaError> {
        match kind {
            Kind::Aac(audio_bps) => {
                let codec = OpusToAac::new(aac_coder, audio_bps as usize)?;
                Ok(Self::ToAac(Box::new(codec)))
            }
            Kind::Opus(config, audio_bps) => {
                Ok(Self::ToOpus(Box::new(ToOpus::open(config, audio_bps)?)))
            }
        }
    }
}

/// The audio transcoders of a shard.
pub(crate) struct AudioTranscoders {
    aac_coder: AacCoder,
    transcoders: HashMap<AudioTranscoderId, Transcoder>,
    codecs: usize,
    codecs_max: usize,
    /// Frames that the driver has not taken. It takes them in the turn in which they were made.
    made: VecDeque<(AudioTranscoderId, Bytes)>,
    /// Frames of the job at hand; kept so that no job allocates.
    frames: Vec<Bytes>,
    /// What the codecs of all transcoders took since the shard started, those that are closed included.
    opus_time: Duration,
    aac_time: Duration,
}

impl AudioTranscoders {
    pub(crate) fn new(aac_coder: AacCoder) -> Self {
        Self::with_codecs_max(aac_coder, AUDIO_TRANSCODERS_MAX)
    }

    fn with_codecs_max(aac_coder: AacCoder, codecs_max: usize) -> Self {
        Self {
            aac_coder,
            transcoders: HashMap::new(),
            codecs: 0,
            codecs_max,
            made: VecDeque::new(),
            frames: Vec::new(),
            opus_time: Duration::ZERO,
            aac_time: Duration::ZERO,
        }
    }

    /// Does one job; [`Self::completion`] has the frames it made, if any.
    pub(crate) fn run(&mut self, job: &AudioJob) {
        let transcoder = match job {
            AudioJob::Open {
                transcoder,
                audio_bps,
            } => return self.begin(*transcoder, Kind::Aac(*audio_bps)),
            AudioJob::OpenOpus {
                transcoder,
                config,
                audio_bps,
            } => return self.begin(*transcoder, Kind::Opus(*config, *audio_bps)),
            AudioJob::Close { transcoder } => {
                let closed = self.transcoders.remove(transcoder);
                self.codecs -=
                    usize::from(closed.is_some_and(|transcoder| transcoder.codec.is_some()));
                return;
            }
            AudioJob::Decode { transcoder, .. }
            | AudioJob::DecodeAac { transcoder, .. }
            | AudioJob::Recover { transcoder, .. }
            | AudioJob::Conceal { transcoder, .. }
            | AudioJob::Silence { transcoder, .. } => *transcoder,
        };
        self.open(transcoder);
        let Some(open) = self.transcoders.get_mut(&transcoder) else {
            return;
        };
        let before = open.report();
        open.run(transcoder, job, &mut self.frames);
        let after = open.report();
        self.opus_time += after.opus_time - before.opus_time;
        self.aac_time += after.aac_time - before.aac_time;
        let frames = self.frames.drain(..).map(|frame| (transcoder, frame));
        self.made.extend(frames);
    }

    fn begin(&mut self, id: AudioTranscoderId, kind: Kind) {
        self.transcoders
            .entry(id)
            .or_insert_with(|| Transcoder::new(kind));
        self.open(id);
    }

    /// The next frame for the shard.
    pub(crate) fn completion(&mut self) -> Option<(AudioTranscoderId, Bytes)> {
        self.made.pop_front()
    }

    /// Time of Opus, decoding and encoding, since the shard started, by the wall clock.
    pub(crate) fn opus_time(&self) -> Duration {
        self.opus_time
    }

    /// Time of AAC, encoding and decoding, since the shard started, by the wall clock.
    pub(crate) fn aac_time(&self) -> Duration {
        self.aac_time
    }

    /// Opens the codec of a transcoder, unless it has one. One that cannot be opened now is tried
    /// again at the next job.
    fn open(&mut self, id: AudioTranscoderId) {
        let Some(transcoder) = self.transcoders.get_mut(&id) else {
            return;
        };
        if transcoder.codec.is_some() {
            return;
        }
        let error = if self.codecs >= self.codecs_max {
            format!("{} codecs are open already", self.codecs_max)
        } else {
            match Codec::open(transcoder.kind, self.aac_coder) {
                Ok(codec) => {
                    transcoder.codec = Some(codec);
                    self.codecs += 1;
                    return;
                }
                Err(error) => error.to_string(),
            }
        };
        if !transcoder.logged {
            transcoder.logged = true;
            tracing::error!(transcoder = %id, "no audio until a codec can be opened: {error}");
        }
    }
}

impl Transcoder {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            codec: None,
            owed_samples: 0,
            owed_frames: 0,
            logged: false,
        }
    }

    fn report(&self) -> AudioReport {
        match &self.codec {
            Some(Codec::ToAac(codec)) => codec.report(),
            Some(Codec::ToOpus(codec)) => codec.report(),
            None => AudioReport::default(),
        }
    }

    fn run(&mut self, id: AudioTranscoderId, job: &AudioJob, out: &mut Vec<Bytes>) {
        let codec = match &mut self.codec {
            Some(Codec::ToAac(codec)) => codec.as_mut(),
            Some(Codec::ToOpus(codec)) => {
                codec.run(id, job, &mut self.owed_samples, &mut self.owed_frames, out);
                return;
            }
            None => {
                self.owed_samples += u64::from(samples(job));
                self.owed_frames += u64::from(matches!(job, AudioJob::DecodeAac { .. }));
                return;
            }
        };
        if self.owed_samples > 0 {
            self.owed_samples += u64::from(samples(job));
            let paid = self.owed_samples.min(AUDIO_OWED_SAMPLES_PER_JOB.into());
            self.owed_samples -= paid;
            silence(codec, id, paid as u32, out);
            return;
        }
        match job {
            AudioJob::Decode { packet, .. } => decode(codec, id, packet, out),
            AudioJob::Recover {
                packet, samples, ..
            } => recover(codec, id, packet, *samples, out),
            AudioJob::Conceal { samples, .. } => conceal(codec, id, *samples, out),
            AudioJob::Silence { samples, .. } => silence(codec, id, *samples, out),
            AudioJob::Open { .. }
            | AudioJob::OpenOpus { .. }
            | AudioJob::DecodeAac { .. }
            | AudioJob::Close { .. } => {}
        }
    }
}

/// Samples at 48 kHz that a job is to fill; AAC frames are counted apart.
fn samples(job: &AudioJob) -> u32 {
    match job {
        AudioJob::Decode { packet, .. } => packet_samples(packet),
        AudioJob::Recover { samples, .. }
        | AudioJob::Conceal { samples, .. }
        | AudioJob::Silence { samples, .. } => *samples,
        AudioJob::Open { .. }
        | AudioJob::OpenOpus { .. }
        | AudioJob::DecodeAac { .. }
        | AudioJob::Close { .. } => 0,
    }
}

fn packet_samples(packet: &[u8]) -> u32 {
    opus::duration_samples(packet).unwrap_or(PACKET_SAMPLES_DEFAULT)
}

fn decode(
    codec: &mut OpusToAac,
    transcoder: AudioTranscoderId,
    packet: &[u8],
    out: &mut Vec<Bytes>,
) {
    if let Err(error) = codec.decode(packet, out) {
        tracing::debug!(
            transcoder = %transcoder,
            "an Opus packet is replaced by silence: {error}"
        );
        silence(codec, transcoder, packet_samples(packet), out);
    }
}

/// A gap that the packet behind it has no redundancy for is concealed.
fn recover(
    codec: &mut OpusToAac,
    transcoder: AudioTranscoderId,
    packet: &[u8],
    samples: u32,
    out: &mut Vec<Bytes>,
) {
    if let Err(error) = codec.recover(packet, samples, out) {
        tracing::debug!(transcoder = %transcoder, "a lost packet is concealed: {error}");
        conceal(codec, transcoder, samples, out);
    }
}

/// Only the beginning of a gap is invented; the codec takes no more at a time than it can bear,
/// and the rest is silence anyway.
fn conceal(
    codec: &mut OpusToAac,
    transcoder: AudioTranscoderId,
    samples: u32,
    out: &mut Vec<Bytes>,
) {
    let first = samples.min(FILL_SAMPLES_MAX);
    if let Err(error) = codec.conceal(first, out) {
        tracing::debug!(transcoder = %transcoder, "a gap is filled with silence: {error}");
        silence(codec, transcoder, first, out);
    }
    silence(codec, transcoder, samples - first, out);
}

fn silence(
    codec: &mut OpusToAac,
    transcoder: AudioTranscoderId,
    samples: u32,
    out: &mut Vec<Bytes>,
) {
    let mut left = samples;
    while left > 0 {
        let piece = left.min(FILL_SAMPLES_MAX);
        if let Err(error) = codec.silence(piece, out) {
            tracing::error!(transcoder = %transcoder, samples = piece, "audio is missing: {error}");
        }
        left -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(transcoder: AudioTranscoderId) -> AudioJob {
        AudioJob::Open {
            transcoder,
            audio_bps: 128_000,
        }
    }

    #[test]
    fn a_packet_that_is_not_opus_becomes_silence_of_the_usual_length() {
        let mut transcoders = AudioTranscoders::new(AacCoder::default());
        let transcoder = AudioTranscoderId::numbered(1);
        transcoders.run(&open(transcoder));
        let mut frames = 0;
        for _ in 0..50 {
            let packet = Bytes::from_static(&[(31 << 3) | 3]);
            frames += made(&mut transcoders, &AudioJob::Decode { transcoder, packet });
        }
        // A second in packets of 20 ms is 46.9 frames; the codec may hold a few back.
        assert!((40..=48).contains(&frames), "{frames} frames");
    }

    #[test]
    fn a_transcoder_that_was_never_opened_or_is_closed_answers_nothing() {
        let mut transcoders = AudioTranscoders::new(AacCoder::default());
        let transcoder = AudioTranscoderId::numbered(7);
        let silence = AudioJob::Silence {
            transcoder,
            samples: 48_000,
        };
        assert_eq!(made(&mut transcoders, &silence), 0);
        transcoders.run(&open(transcoder));
        transcoders.run(&AudioJob::Close { transcoder });
        assert_eq!(made(&mut transcoders, &silence), 0);
    }

    /// Frames that one job gave.
    fn made(transcoders: &mut AudioTranscoders, job: &AudioJob) -> usize {
        transcoders.run(job);
        std::iter::from_fn(|| transcoders.completion()).count()
    }

    #[test]
    fn a_job_longer_than_the_codec_bears_fills_all_of_its_time() {
        let samples = FILL_SAMPLES_MAX + 48_000;
        let expected = samples as usize / 1_024 - 1;
        for long in [
            |transcoder, samples| AudioJob::Silence {
                transcoder,
                samples,
            },
            |transcoder, samples| AudioJob::Conceal {
                transcoder,
                samples,
            },
        ] {
            let mut transcoders = AudioTranscoders::new(AacCoder::default());
            let transcoder = AudioTranscoderId::numbered(1);
            transcoders.run(&open(transcoder));
            assert_eq!(made(&mut transcoders, &long(transcoder, samples)), expected);
        }
    }

    #[test]
    fn a_transcoder_that_opens_late_has_lost_no_time() {
        let mut transcoders = AudioTranscoders::with_codecs_max(AacCoder::default(), 1);
        let (first, second) = (
            AudioTranscoderId::numbered(1),
            AudioTranscoderId::numbered(2),
        );
        transcoders.run(&open(first));
        transcoders.run(&open(second));
        let job = || AudioJob::Silence {
            transcoder: second,
            samples: 4_800,
        };
        let mut samples = 0;
        for _ in 0..25 {
            samples += 4_800;
            assert_eq!(made(&mut transcoders, &job()), 0);
        }
        transcoders.run(&AudioJob::Close { transcoder: first });
        let mut sum = 0;
        for _ in 0..5 {
            samples += 4_800;
            sum += made(&mut transcoders, &job());
        }
        assert_eq!(sum, samples / 1_024 - 1);
    }

    #[test]
    fn every_publisher_that_the_shard_admits_may_have_audio() {
        let mut transcoders = AudioTranscoders::new(AacCoder::default());
        for id in 0..300 {
            transcoders.run(&open(AudioTranscoderId::numbered(id)));
        }
        let job = AudioJob::Silence {
            transcoder: AudioTranscoderId::numbered(299),
            samples: 4_800,
        };
        assert_eq!(made(&mut transcoders, &job), 3);
    }
}
