//! Publishes corrupted video of all codecs into decoders and encoders: the engine must survive, an
//! intact broadcast must lose no frame, and the memory must be released.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::{RenditionSpec, VideoCodec};
use tokio::time::{Instant, sleep};

use crate::BenchError;
use crate::harness::{Harness, request, usage};
use crate::passthrough_probe::{PassthroughProbe, PassthroughReport};
use crate::publisher::{CorruptionOptions, Publisher, PublisherOptions, PublisherState};
use crate::sink::Sink;
use crate::test_clip::{TestClip, TestClipFormat};

const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Length of a warm-up with the same load: memory that is allocated once is no leak.
const WARM_UP: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Time until all sessions have ended and memory is released.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Growth of the resident memory after the warm-up that is still fragmentation, in MB.
const MEMORY_TOLERANCE_MB: f64 = 16.0;

/// Length and seed of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct HostileOptions {
    /// Length of the measurement, without the warm-up.
    pub duration: Duration,
    /// Seed of all corruptions: the same seed gives the same frames.
    pub seed: u64,
}

/// Results of one hostile publisher.
#[derive(Clone, Debug, Serialize)]
pub struct HostilePublisher {
    /// Codec of the publisher.
    pub codec: VideoCodec,
    /// Video frames sent, in all sessions.
    pub frames_sent: u64,
    /// Sessions; more than one means that the server ended a session, which it may.
    pub sessions: u32,
    /// Errors of the last session.
    pub errors: Vec<String>,
    /// Frames that the engine decoded, in the last session.
    pub frames_decoded: u64,
    /// Errors that the engine's decoder reported, in the last session.
    pub decoder_errors: u64,
    /// Frames that the destination of its rendition received.
    pub frames_received: u64,
    /// Sizes of the rendition in pixels; one is expected, whatever the source does.
    pub sizes: Vec<(u32, u32)>,
    /// Sequence headers that differ from the one before; 0 is expected.
    pub header_changes: u64,
}

/// Results of the measurement.
#[derive(Clone, Debug, Serialize)]
pub struct HostileReport {
    /// Length of the measurement in seconds.
    pub seconds: f64,
    /// One entry for each codec.
    pub publishers: Vec<HostilePublisher>,
    /// The intact broadcast that ran at the same time.
    #[serde(rename = "witness")]
    pub passthrough: PassthroughReport,
    /// Resident memory of the engine after the warm-up, in MB.
    pub engine_mb_before: f64,
    /// The same, at most during the measurement.
    pub engine_mb_max: f64,
    /// The same, after the measurement.
    pub engine_mb_after: f64,
    /// The engine of the start is gone; `false` is expected.
    pub engine_restarted: bool,
    /// `/readyz` answered 200 after the measurement.
    pub ready: bool,
    /// Lines of the log that contain a panic; the first 16.
    pub panics: Vec<String>,
}

impl HostileReport {
    /// The engine survived without a panic or a leak, and the intact broadcast lost nothing.
    pub fn is_unharmed(&self) -> bool {
        let grown_mb = self.engine_mb_after - self.engine_mb_before;
        self.passthrough.is_unharmed()
            && !self.engine_restarted
            && self.ready
            && self.panics.is_empty()
            && grown_mb < MEMORY_TOLERANCE_MB
    }
}

/// Publishes corrupted video of all codecs at once and measures the result.
///
/// # Errors
/// When something does not start.
pub async fn hostile(
    harness: &Harness,
    options: &HostileOptions,
) -> Result<HostileReport, BenchError> {
    let sink = Sink::start()?;
    let good = TestClip::load(TestClipFormat::small())?;
    let probe = PassthroughProbe::start(harness, &good, "good").await?;
    let engine = harness.engine_pid();
    let resident_mb = || Ok::<_, BenchError>(mb(usage(engine)?.resident_bytes));
    round(harness, &sink, "warm-up", options.seed, WARM_UP).await?;
    sleep(AFTERWARDS).await;
    let engine_mb_before = resident_mb()?;
    let reports = round(
        harness,
        &sink,
        "hostile",
        options.seed + 1,
        options.duration,
    );
    let mut engine_mb_max = engine_mb_before;
    let watched = async {
        loop {
            sleep(POLL_INTERVAL).await;
            // An engine that is gone is reported below.
            engine_mb_max = engine_mb_max.max(resident_mb().unwrap_or_default());
        }
    };
    let reports = tokio::select! {
        reports = reports => reports?,
        () = watched => Vec::new(),
    };
    sleep(AFTERWARDS).await;
    let now = harness.runtime().and_then(|runtime| runtime.engine_pid);
    let engine_mb_after = resident_mb().unwrap_or_default();
    let ready = request(harness.http(), "GET", "/readyz", None).await;
    let passthrough = probe.stop().await;
    Ok(HostileReport {
        seconds: options.duration.as_secs_f64(),
        publishers: reports,
        passthrough,
        engine_mb_before,
        engine_mb_max,
        engine_mb_after,
        engine_restarted: now != Some(engine),
        ready: ready.is_ok_and(|response| response.status == 200),
        panics: panics(&harness.log()),
    })
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}

/// A small rendition, so that one for each codec is admitted on one codec worker.
fn spec() -> RenditionSpec {
    RenditionSpec {
        width: Some(320),
        video_bps: 300_000,
        ..RenditionSpec::of_height(180)
    }
}

/// Publishes all codecs at once for this time.
async fn round(
    harness: &Harness,
    sink: &Sink,
    name: &str,
    seed: u64,
    duration: Duration,
) -> Result<Vec<HostilePublisher>, BenchError> {
    let mut attackers = Vec::new();
    for codec in VideoCodec::ALL {
        attackers.push(Attacker::start(harness, sink, name, codec, seed).await?);
    }
    let end = Instant::now() + duration;
    while Instant::now() < end {
        sleep(POLL_INTERVAL.min(duration)).await;
        attackers.iter_mut().for_each(Attacker::restart_if_stopped);
    }
    let mut reports = Vec::new();
    for attacker in attackers {
        reports.push(attacker.end(harness, sink).await?);
    }
    Ok(reports)
}

/// Deletes a broadcast, and waits until its renditions have ended.
async fn finish(harness: &Harness, stream_id: &str) -> Result<(), BenchError> {
    harness.delete(stream_id).await?;
    harness
        .wait_status("end of the rendition", START_TIME_LIMIT, |status| {
            status.renditions(stream_id).is_empty()
        })
        .await?;
    Ok(())
}

/// A hostile publisher, which is started again when the server ends its session.
struct Attacker {
    codec: VideoCodec,
    stream_id: String,
    clip: Arc<TestClip>,
    options: PublisherOptions,
    publisher: Publisher,
    sessions: u32,
    /// Frames of the sessions before this one.
    frames_sent: u64,
}

impl Attacker {
    async fn start(
        harness: &Harness,
        sink: &Sink,
        name: &str,
        codec: VideoCodec,
        seed: u64,
    ) -> Result<Self, BenchError> {
        let stream_id = format!("{name}-{}", codec.name());
        harness.create(&stream_id).await?;
        harness
            .add_rendition(&stream_id, &sink.url(&stream_id), &spec())
            .await?;
        let clip = small_clip(codec, 320, 180)?;
        let options = PublisherOptions {
            corruption: Some(corruption(codec, seed)?),
            ..PublisherOptions::new(harness.signalling(), &stream_id)
        };
        let publisher = Publisher::start(Arc::clone(&clip), options.clone());
        publisher.published(START_TIME_LIMIT).await?;
        Ok(Self {
            codec,
            stream_id,
            clip,
            options,
            publisher,
            sessions: 1,
            frames_sent: 0,
        })
    }

    fn restart_if_stopped(&mut self) {
        let report = self.publisher.report();
        if report.state != PublisherState::Stopped {
            return;
        }
        self.sessions += 1;
        self.frames_sent += report.frames_sent;
        if let Some(corruption) = &mut self.options.corruption {
            corruption.seed = corruption.seed.wrapping_add(1 << 32);
        }
        self.publisher = Publisher::start(Arc::clone(&self.clip), self.options.clone());
    }

    async fn end(self, harness: &Harness, sink: &Sink) -> Result<HostilePublisher, BenchError> {
        let id = &self.stream_id;
        let status = harness.status().await?;
        let decoder = status.broadcast(id).and_then(|broadcast| broadcast.decoder);
        let sent = self.publisher.stop().await;
        finish(harness, id).await?;
        let streams = sink.streams(id);
        let received = streams.iter().map(|stream| stream.video_frames).sum();
        let video = streams.last().map(|stream| stream.video.clone());
        let video = video.unwrap_or_default();
        Ok(HostilePublisher {
            codec: self.codec,
            frames_sent: self.frames_sent + sent.frames_sent,
            sessions: self.sessions,
            errors: sent.errors,
            frames_decoded: decoder.map_or(0, |decoder| decoder.frames),
            decoder_errors: decoder.map_or(0, |decoder| decoder.errors),
            frames_received: received,
            sizes: video.sizes,
            header_changes: video.header_changes,
        })
    }
}

fn small_clip(codec: VideoCodec, width: u32, height: u32) -> Result<Arc<TestClip>, BenchError> {
    TestClip::load(TestClipFormat {
        codec,
        width,
        height,
        ..TestClipFormat::small()
    })
}

fn corruption(codec: VideoCodec, seed: u64) -> Result<CorruptionOptions, BenchError> {
    let foreign = match codec {
        VideoCodec::H264 => VideoCodec::Vp8,
        VideoCodec::Vp8 => VideoCodec::Vp9,
        VideoCodec::Vp9 => VideoCodec::Av1,
        VideoCodec::Av1 => VideoCodec::H264,
    };
    let sizes = [(192, 108), (180, 320), (426, 240)];
    let sizes = sizes.map(|(width, height)| small_clip(codec, width, height));
    Ok(CorruptionOptions {
        seed: seed.wrapping_mul(4).wrapping_add(codec as u64),
        sizes: sizes.into_iter().collect::<Result<_, _>>()?,
        foreign: Some(small_clip(foreign, 320, 180)?),
    })
}

fn panics(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("panicked"));
    lines.take(16).map(str::to_owned).collect()
}
