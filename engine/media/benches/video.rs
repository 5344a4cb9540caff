//! What the video of one broadcast costs: 1080p30 of H.264 becomes 720p at 3 Mbit/s, and a ladder.
//!
//! Decoding, scaling and x264 are measured alone on the same clip first. Their sum is what a transcoder
//! cannot do without; the last lines tell how much more it takes, in CPU time, round by round.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise"
)]

use std::fs;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardcast_link::{Preset, Profile, RenditionSpec, VideoCodec};
use shardcast_media::{I420, Picture, Scaler, Transcoder, VideoDecoder, VideoEncoder};

const SOURCE: (u32, u32) = (1_920, 1_080);
const PICTURES: u32 = 30;
const ROUNDS: usize = 15;

const HD: RenditionSpec = RenditionSpec {
    width: None,
    height: 720,
    frames_per_second: 30,
    video_bps: 3_000_000,
    gop_ms: 1_000,
    preset: Preset::Superfast,
    profile: Profile::High,
    audio_bps: 128_000,
};

/// CPU time of this thread (Documentation/scheduler/sched-stats of Linux).
fn cpu_time() -> Duration {
    let numbers = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let first = numbers.split_ascii_whitespace().next().unwrap();
    Duration::from_nanos(first.parse().unwrap())
}

fn no_time() -> Duration {
    Duration::ZERO
}

/// A texture under a slow pan, a disc that moves across, and noise.
fn picture(n: u32) -> Picture {
    let (width, height) = SOURCE;
    let hash = |x: u32, y: u32| {
        let h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77);
        (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D) >> 8
    };
    let mut samples = Vec::with_capacity((width * height * 3 / 2) as usize);
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x.abs_diff(width / 4 + 8 * n), y.abs_diff(height / 2));
            let texture = if dx * dx + dy * dy < 200 * 200 {
                140 + hash(dx / 8, dy / 8) % 64
            } else {
                60 + x * 80 / width + hash((x + n) / 16, y / 16) % 48
            };
            samples.push((texture + hash(x ^ n << 16, y) % 4) as u8);
        }
    }
    samples.resize((width * height * 3 / 2) as usize, 120);
    let samples = I420::from_samples(width, height, false, samples).unwrap();
    Picture::from_i420(&samples).unwrap()
}

/// A publisher's second of H.264, and its AVCDecoderConfigurationRecord.
fn clip() -> (Vec<u8>, Vec<Vec<u8>>) {
    let settings = RenditionSpec {
        height: SOURCE.1,
        video_bps: 4_600_000,
        ..HD
    };
    let mut encoder = VideoEncoder::new(SOURCE.0, SOURCE.1, &settings, &picture(0)).unwrap();
    let mut record = Vec::new();
    let units = (0..PICTURES)
        .map(|n| {
            let mut unit = Vec::new();
            let coded = encoder.encode(&picture(n), n == 0, &mut unit).unwrap();
            if let Some((sps, pps)) = coded.parameter_sets {
                record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
                record.extend_from_slice(&(sps.len() as u16).to_be_bytes());
                record.extend_from_slice(&sps);
                record.push(1);
                record.extend_from_slice(&(pps.len() as u16).to_be_bytes());
                record.extend_from_slice(&pps);
            }
            unit
        })
        .collect();
    (record, units)
}

/// The three parts, each with what the one before makes of the clip.
struct Parts {
    units: Vec<Vec<u8>>,
    decoder: VideoDecoder,
    received: Picture,
    decoded: Vec<Picture>,
    scaler: Scaler,
    canvas: Picture,
    scaled: Vec<Picture>,
    encoder: VideoEncoder,
    unit: Vec<u8>,
}

impl Parts {
    fn new(record: &[u8], units: &[Vec<u8>]) -> Self {
        let mut decoder = VideoDecoder::new(VideoCodec::H264, Some(record)).unwrap();
        let mut scaler = Scaler::default();
        let (mut decoded, mut scaled) = (Vec::new(), Vec::new());
        for unit in units {
            let mut picture = Picture::empty();
            decoder.send(unit, 0).unwrap();
            assert!(decoder.receive(&mut picture).unwrap());
            let mut canvas = Picture::black(1_280, 720).unwrap();
            scaler.draw(&picture, &mut canvas).unwrap();
            decoded.push(picture);
            scaled.push(canvas);
        }
        let encoder = VideoEncoder::new(1_280, 720, &HD, &scaled[0]).unwrap();
        Self {
            units: units.to_vec(),
            decoder,
            received: Picture::empty(),
            decoded,
            scaler,
            canvas: Picture::black(1_280, 720).unwrap(),
            scaled,
            encoder,
            unit: Vec::new(),
        }
    }

    fn decode(&mut self) {
        for unit in &self.units {
            self.decoder.send(unit, 0).unwrap();
            assert!(self.decoder.receive(&mut self.received).unwrap());
        }
    }

    fn scale(&mut self) {
        for picture in &self.decoded {
            self.scaler.draw(picture, &mut self.canvas).unwrap();
        }
    }

    fn encode(&mut self) {
        for (n, picture) in self.scaled.iter().enumerate() {
            self.unit.clear();
            self.encoder
                .encode(picture, n == 0, &mut self.unit)
                .unwrap();
        }
    }
}

/// A transcoder that is given the clip over and over.
struct BenchTranscoder {
    transcoder: Transcoder,
    pictures: i64,
}

impl BenchTranscoder {
    fn new(record: &[u8], heights: &[u32], cpu_time: fn() -> Duration) -> Self {
        let mut transcoder = Transcoder::new(cpu_time);
        let renditions: Vec<_> = heights
            .iter()
            .map(|height| {
                let video_bps = HD.video_bps / 720 * height;
                let settings = RenditionSpec {
                    height: *height,
                    video_bps,
                    ..HD
                };
                (u64::from(*height), settings)
            })
            .collect();
        transcoder.set_renditions(&renditions);
        transcoder
            .set_source(VideoCodec::H264, Some(record))
            .unwrap();
        Self {
            transcoder,
            pictures: 0,
        }
    }

    fn run(&mut self, units: &[Vec<u8>]) {
        let mut out = Vec::new();
        for unit in units {
            out.clear();
            let pts_us = self.pictures * 1_000_000 / 30;
            self.transcoder
                .decode(pts_us, unit, true, &mut out)
                .unwrap();
            self.pictures += 1;
        }
    }
}

fn video(criterion: &mut Criterion) {
    let (record, units) = clip();
    let mut parts = Parts::new(&record, &units);
    let mut group = criterion.benchmark_group("video");
    group.sample_size(10);
    group.throughput(Throughput::Elements(PICTURES.into()));
    group.bench_function("decode 1080p", |b| b.iter(|| parts.decode()));
    group.bench_function("scale 1080p to 720p", |b| b.iter(|| parts.scale()));
    group.bench_function("x264 720p superfast", |b| b.iter(|| parts.encode()));
    for (name, heights) in [
        ("transcode 1080p to 720p", &[720][..]),
        ("transcode 1080p to 720p, 480p, 360p", &[720, 480, 360]),
    ] {
        let mut transcoder = BenchTranscoder::new(&record, heights, no_time);
        group.bench_function(name, |b| b.iter(|| transcoder.run(&units)));
    }
    group.finish();
    compare(&mut parts, &record, &units);
    ladder(&record, &units);
}

/// The transcoder beside its parts, in turn so that both have the same machine.
fn compare(parts: &mut Parts, record: &[u8], units: &[Vec<u8>]) {
    let mut transcoder = BenchTranscoder::new(record, &[720], no_time);
    let took = |work: &mut dyn FnMut()| {
        let begin = cpu_time();
        work();
        (cpu_time() - begin).as_secs_f64() * 1e3 / f64::from(PICTURES)
    };
    let mut rounds: Vec<[f64; 4]> = (0..ROUNDS)
        .map(|_| {
            let decode = took(&mut || parts.decode());
            let scale = took(&mut || parts.scale());
            let encode = took(&mut || parts.encode());
            let all = took(&mut || transcoder.run(units));
            [decode, scale, encode, all]
        })
        .collect();
    let ratio = |[decode, scale, encode, all]: &[f64; 4]| all / (decode + scale + encode);
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let median = rounds[ROUNDS / 2];
    let [decode, scale, encode, all] = median;
    println!(
        "cpu-ms a picture: decode {decode:.2} + scale {scale:.2} + x264 {encode:.2}; transcoder \
         {all:.2}: {:.3} times its parts (of {ROUNDS} rounds {:.3} to {:.3})",
        ratio(&median),
        ratio(&rounds[0]),
        ratio(&rounds[ROUNDS - 1]),
    );
}

/// Where the time of a ladder goes.
fn ladder(record: &[u8], units: &[Vec<u8>]) {
    let mut transcoder = BenchTranscoder::new(record, &[720, 480, 360], cpu_time);
    for _ in 0..ROUNDS {
        transcoder.run(units);
    }
    let report = transcoder.transcoder.report();
    let per_picture = |us: u64| us as f64 / report.decoded as f64 / 1e3;
    println!(
        "ladder: {} decoded, {:.2} cpu-ms each",
        report.decoded,
        per_picture(report.decode_us)
    );
    for made in &report.renditions {
        println!(
            "{}x{}: scale {:.2}, x264 {:.2} cpu-ms a picture",
            made.width,
            made.height,
            per_picture(made.scale_us),
            per_picture(made.encode_us)
        );
    }
}

criterion_group!(benches, video);
criterion_main!(benches);
