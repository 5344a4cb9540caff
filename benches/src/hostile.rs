//! Damaged and absurd pictures of every codec into decoders and encoders: whether the engine lives, a
//! good broadcast loses nothing, and the memory comes back.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::{RenditionSpec, VideoCodec};
use tokio::time::sleep;

use crate::BenchError;
use crate::clip::{Clip, ClipFormat};
use crate::harness::{Harness, request, usage};
use crate::publisher::{Hostility, Publisher, PublisherOptions};
use crate::sink::Sink;
use crate::witness::{Witness, WitnessReport};

const START_PATIENCE: Duration = Duration::from_secs(60);
/// An honest rendition before: what the first one leaves behind is no leak.
const WARM_UP_FRAMES: u64 = 90;
/// Until everything has ended and memory was given back.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// What allocators keep of what was used at the same time.
const MEMORY_TOLERANCE_MB: f64 = 32.0;

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
    /// `publish` commands: more than one means that the server threw it out, as it may.
    pub attempts: u32,
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
    /// Resident memory of the engine after an honest rendition, at most, and in the end.
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
    warm_up(harness, &good, &sink).await?;
    let engine = harness.engine_pid();
    let resident_mb = || Ok::<_, BenchError>(mb(usage(engine)?.resident_bytes));
    let engine_mb_before = resident_mb()?;

    let mut publishers = Vec::new();
    for codec in VideoCodec::ALL {
        publishers.push((codec, publish(harness, codec, options.seed, &sink).await?));
    }
    let mut engine_mb_max = engine_mb_before;
    let end = tokio::time::Instant::now() + options.duration;
    while tokio::time::Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        // An engine that is gone is found out below.
        engine_mb_max = engine_mb_max.max(resident_mb().unwrap_or_default());
    }
    let mut reports = Vec::new();
    for (codec, publisher) in publishers {
        reports.push(end_of(harness, codec, publisher, &sink).await?);
    }
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

fn stream_id(codec: VideoCodec) -> String {
    format!("hostile-{}", codec.name())
}

/// Small, so that all of them fit into one lane.
fn spec() -> RenditionSpec {
    RenditionSpec {
        width: Some(320),
        video_bps: 300_000,
        ..RenditionSpec::of_height(180)
    }
}

async fn warm_up(harness: &Harness, clip: &Arc<Clip>, sink: &Sink) -> Result<(), BenchError> {
    let id = "honest";
    harness.create(id).await?;
    harness.add_rendition(id, &sink.url(id), &spec()).await?;
    let options = PublisherOptions::new(harness.signalling(), id);
    let publisher = Publisher::start(Arc::clone(clip), options);
    sink.frames(id, WARM_UP_FRAMES, START_PATIENCE).await?;
    publisher.stop().await;
    finish(harness, id).await
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

async fn publish(
    harness: &Harness,
    codec: VideoCodec,
    seed: u64,
    sink: &Sink,
) -> Result<Publisher, BenchError> {
    let clip = |codec, width, height| {
        Clip::load(ClipFormat {
            codec,
            width,
            height,
            ..ClipFormat::small()
        })
    };
    let foreign = match codec {
        VideoCodec::H264 => VideoCodec::Vp8,
        VideoCodec::Vp8 => VideoCodec::Vp9,
        VideoCodec::Vp9 => VideoCodec::Av1,
        VideoCodec::Av1 => VideoCodec::H264,
    };
    let hostility = Hostility {
        seed: seed ^ codec as u64,
        sizes: vec![
            clip(codec, 192, 108)?,
            clip(codec, 180, 320)?,
            clip(codec, 426, 240)?,
        ],
        foreign: Some(clip(foreign, 320, 180)?),
    };
    let id = stream_id(codec);
    harness.create(&id).await?;
    harness.add_rendition(&id, &sink.url(&id), &spec()).await?;
    let options = PublisherOptions {
        hostility: Some(hostility),
        ..PublisherOptions::new(harness.signalling(), &id)
    };
    let publisher = Publisher::start(clip(codec, 320, 180)?, options);
    publisher.published(START_PATIENCE).await?;
    Ok(publisher)
}

async fn end_of(
    harness: &Harness,
    codec: VideoCodec,
    publisher: Publisher,
    sink: &Sink,
) -> Result<HostilePublisher, BenchError> {
    let id = stream_id(codec);
    let status = harness.status().await?;
    let decoder = status
        .broadcast(&id)
        .and_then(|broadcast| broadcast.decoder);
    let sent = publisher.stop().await;
    finish(harness, &id).await?;
    let streams = sink.streams(&id);
    let received = streams.iter().map(|stream| stream.video_frames).sum();
    let picture = streams
        .last()
        .map(|stream| stream.picture.clone())
        .unwrap_or_default();
    Ok(HostilePublisher {
        codec,
        frames_sent: sent.frames_sent,
        attempts: sent.attempts,
        frames_decoded: decoder.map_or(0, |decoder| decoder.frames),
        decoder_errors: decoder.map_or(0, |decoder| decoder.errors),
        frames_received: received,
        sizes: picture.sizes,
        header_changes: picture.header_changes,
    })
}

fn panics(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("panicked"));
    lines.take(16).map(str::to_owned).collect()
}
