//! Damaged and absurd pictures of every codec into decoders and encoders: whether the engine lives, a
//! good broadcast loses nothing, and the memory comes back.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::{RenditionSpec, VideoCodec};
use tokio::time::{Instant, sleep};

use crate::BenchError;
use crate::clip::{Clip, ClipFormat};
use crate::harness::{Harness, request, usage};
use crate::publisher::{Hostility, Publisher, PublisherOptions, PublisherState};
use crate::sink::Sink;
use crate::witness::{Witness, WitnessReport};

const START_PATIENCE: Duration = Duration::from_secs(60);
/// The same for a while before: what the first time leaves behind is no leak.
const WARM_UP: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(500);
/// Until everything has ended and memory was given back.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// What allocators keep more of what was used at the same time than after the warm-up.
const MEMORY_TOLERANCE_MB: f64 = 16.0;

/// How long, and with which pictures.
#[derive(Clone, Copy, Debug)]
pub struct HostileOptions {
    pub duration: Duration,
    pub seed: u64,
}

/// One hostile publisher.
#[derive(Clone, Debug, Serialize)]
pub struct HostilePublisher {
    pub codec: VideoCodec,
    pub frames_sent: u64,
    /// Sessions: more than one means that the server threw it out, as it may.
    pub sessions: u32,
    /// What it was told, and why it had to come back, in the last session.
    pub errors: Vec<String>,
    pub frames_decoded: u64,
    pub decoder_errors: u64,
    /// Pictures that the destination of its rendition received.
    pub frames_received: u64,
    /// The rendition kept its size and parameter sets whatever came.
    pub sizes: Vec<(u32, u32)>,
    pub header_changes: u64,
}

/// What is left afterwards.
#[derive(Clone, Debug, Serialize)]
pub struct HostileReport {
    pub seconds: f64,
    pub publishers: Vec<HostilePublisher>,
    pub witness: WitnessReport,
    /// Resident memory of the engine after a few seconds of the same, at most, and in the end.
    pub engine_mb_before: f64,
    pub engine_mb_max: f64,
    pub engine_mb_after: f64,
    pub engine_restarted: bool,
    pub ready: bool,
    /// Lines of the log that tell of a panic.
    pub panics: Vec<String>,
}

impl HostileReport {
    /// Nothing happened to anybody else.
    pub fn is_unharmed(&self) -> bool {
        let grown_mb = self.engine_mb_after - self.engine_mb_before;
        self.witness.is_unharmed()
            && !self.engine_restarted
            && self.ready
            && self.panics.is_empty()
            && grown_mb < MEMORY_TOLERANCE_MB
    }
}

/// Publishes all codecs at once, and watches.
///
/// # Errors
/// When something does not start.
pub async fn hostile(
    harness: &Harness,
    options: &HostileOptions,
) -> Result<HostileReport, BenchError> {
    let sink = Sink::start()?;
    let good = Clip::load(ClipFormat::small())?;
    let witness = Witness::start(harness, &good, "good").await?;
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
            sleep(LOOK).await;
            // An engine that is gone is found out below.
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
    let witness = witness.stop().await;
    Ok(HostileReport {
        seconds: options.duration.as_secs_f64(),
        publishers: reports,
        witness,
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

/// Small, so that all of them fit into one lane.
fn spec() -> RenditionSpec {
    RenditionSpec {
        width: Some(320),
        video_bps: 300_000,
        ..RenditionSpec::of_height(180)
    }
}

/// All codecs at once, for so long.
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
        sleep(LOOK.min(duration)).await;
        attackers.iter_mut().for_each(Attacker::come_back);
    }
    let mut reports = Vec::new();
    for attacker in attackers {
        reports.push(attacker.end(harness, sink).await?);
    }
    Ok(reports)
}

/// Deletes a broadcast, and waits until nothing is made of it.
async fn finish(harness: &Harness, stream_id: &str) -> Result<(), BenchError> {
    harness.delete(stream_id).await?;
    harness
        .wait_status("end of the rendition", START_PATIENCE, |status| {
            status.renditions(stream_id).is_empty()
        })
        .await?;
    Ok(())
}

/// A hostile publisher, which comes back when it was thrown out.
struct Attacker {
    codec: VideoCodec,
    stream_id: String,
    clip: Arc<Clip>,
    options: PublisherOptions,
    publisher: Publisher,
    sessions: u32,
    /// Of the sessions before this one.
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
            hostility: Some(hostility(codec, seed)?),
            ..PublisherOptions::new(harness.signalling(), &stream_id)
        };
        let publisher = Publisher::start(Arc::clone(&clip), options.clone());
        publisher.published(START_PATIENCE).await?;
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

    fn come_back(&mut self) {
        let report = self.publisher.report();
        if report.state != PublisherState::Stopped {
            return;
        }
        self.sessions += 1;
        self.frames_sent += report.frames_sent;
        if let Some(hostility) = &mut self.options.hostility {
            hostility.seed = hostility.seed.wrapping_add(1 << 32);
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
        let picture = streams.last().map(|stream| stream.picture.clone());
        let picture = picture.unwrap_or_default();
        Ok(HostilePublisher {
            codec: self.codec,
            frames_sent: self.frames_sent + sent.frames_sent,
            sessions: self.sessions,
            errors: sent.errors,
            frames_decoded: decoder.map_or(0, |decoder| decoder.frames),
            decoder_errors: decoder.map_or(0, |decoder| decoder.errors),
            frames_received: received,
            sizes: picture.sizes,
            header_changes: picture.header_changes,
        })
    }
}

fn small_clip(codec: VideoCodec, width: u32, height: u32) -> Result<Arc<Clip>, BenchError> {
    Clip::load(ClipFormat {
        codec,
        width,
        height,
        ..ClipFormat::small()
    })
}

fn hostility(codec: VideoCodec, seed: u64) -> Result<Hostility, BenchError> {
    let foreign = match codec {
        VideoCodec::H264 => VideoCodec::Vp8,
        VideoCodec::Vp8 => VideoCodec::Vp9,
        VideoCodec::Vp9 => VideoCodec::Av1,
        VideoCodec::Av1 => VideoCodec::H264,
    };
    let sizes = [(192, 108), (180, 320), (426, 240)];
    let sizes = sizes.map(|(width, height)| small_clip(codec, width, height));
    Ok(Hostility {
        seed: seed.wrapping_mul(4).wrapping_add(codec as u64),
        sizes: sizes.into_iter().collect::<Result<_, _>>()?,
        foreign: Some(small_clip(foreign, 320, 180)?),
    })
}

fn panics(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("panicked"));
    lines.take(16).map(str::to_owned).collect()
}
