//! A moving picture with texture, and streams of it as publishers send them.

use std::time::Duration;

use bytes::Bytes;
use ffmpeg_next::color::Range;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use shardcast_link::{Preset, Profile, RenditionSpec, VideoCodec};
use shardcast_media::{I420, Picture, Transcoded, Transcoder, VideoEncoder};

/// A second in the unit of all timestamps.
pub(crate) const SECOND_US: i64 = 1_000_000;

/// A rendition as platforms want it, small enough for a debug build.
pub(crate) const SMALL: RenditionSpec = RenditionSpec {
    width: Some(320),
    height: 180,
    frames_per_second: 30,
    video_bps: 400_000,
    gop_ms: 2_000,
    preset: Preset::Superfast,
    profile: Profile::High,
    audio_bps: 128_000,
};

/// A clock that stands still; tests look at pictures.
pub(crate) fn no_time() -> Duration {
    Duration::ZERO
}

/// Picture number `n`: a texture that moves one pixel right and down each time, with a disc that
/// moves the other way, and fresh noise in luma.
pub(crate) fn samples(width: u32, height: u32, n: u32) -> I420 {
    let mut luma = Vec::with_capacity((width * height * 3 / 2) as usize);
    let (disc_x, disc_y) = (width / 2 + width / 4 - n * 3 % (width / 2), height / 2);
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x.abs_diff(disc_x), y.abs_diff(disc_y));
            let texture = if dx * dx + dy * dy < height * height / 16 {
                hash(dx / 2, dy / 2) % 120 + 80
            } else {
                hash((x + n) / 4, (y + n) / 4) % 90 + 30 + x * 60 / width
            };
            luma.push((texture + hash(x ^ n << 16, y) % 6) as u8);
        }
    }
    for plane in 0..2 {
        for y in 0..height / 2 {
            for x in 0..width / 2 {
                luma.push((112 + hash((x + n / 2) / 8, y / 8 + plane) % 32) as u8);
            }
        }
    }
    I420::from_samples(width, height, false, luma).unwrap()
}

fn hash(x: u32, y: u32) -> u32 {
    let mut h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^ h >> 13
}

/// A publisher's H.264.
pub(crate) struct H264 {
    encoder: VideoEncoder,
    width: u32,
    height: u32,
    pub(crate) pictures: u32,
    pub(crate) record: Vec<u8>,
}

impl H264 {
    pub(crate) fn new(width: u32, height: u32, video_bps: u32) -> Self {
        let settings = RenditionSpec {
            width: None,
            height,
            video_bps,
            ..SMALL
        };
        let first = Picture::from_i420(&samples(width, height, 0)).unwrap();
        let encoder = VideoEncoder::new(width, height, &settings, &first).unwrap();
        Self {
            encoder,
            width,
            height,
            pictures: 0,
            record: Vec::new(),
        }
    }

    /// The next access unit; the first one is an IDR. After it the record is known.
    pub(crate) fn next(&mut self) -> Bytes {
        let idr = self.pictures == 0;
        self.next_as(idr)
    }

    pub(crate) fn next_as(&mut self, idr: bool) -> Bytes {
        let picture = samples(self.width, self.height, self.pictures);
        self.encode(&picture, idr)
    }

    pub(crate) fn encode(&mut self, picture: &I420, idr: bool) -> Bytes {
        let picture = Picture::from_i420(picture).unwrap();
        self.pictures += 1;
        let mut unit = Vec::new();
        let coded = self.encoder.encode(&picture, idr, &mut unit).unwrap();
        assert_eq!(coded.idr, idr);
        if let Some((sps, pps)) = coded.parameter_sets {
            self.record = record(&sps, &pps);
        }
        Bytes::from(unit)
    }
}

/// The AVCDecoderConfigurationRecord of these (ISO/IEC 14496-15 §5.3.3.1).
pub(crate) fn record(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
    record.extend_from_slice(&(sps.len() as u16).to_be_bytes());
    record.extend_from_slice(sps);
    record.push(1);
    record.extend_from_slice(&(pps.len() as u16).to_be_bytes());
    record.extend_from_slice(pps);
    record
}

/// How browsers run libvpx and libaom: as the pictures come, none held back.
pub(crate) const LIBVPX_LIVE: [(&str, &str); 3] = [
    ("deadline", "realtime"),
    ("cpu-used", "8"),
    ("lag-in-frames", "0"),
];
pub(crate) const LIBAOM_LIVE: [(&str, &str); 3] = [
    ("usage", "realtime"),
    ("cpu-used", "8"),
    ("lag-in-frames", "0"),
];

/// Access units in another codec, from libavcodec's encoder of this name, one keyframe first.
pub(crate) fn foreign(
    encoder: &str,
    options: &[(&str, &str)],
    pictures: &[frame::Video],
) -> Vec<Bytes> {
    let codec = ffmpeg_next::encoder::find_by_name(encoder).unwrap();
    let mut context = ffmpeg_next::codec::Context::new_with_codec(codec);
    context.set_threading(ffmpeg_next::threading::Config::count(1));
    let mut video = context.encoder().video().unwrap();
    video.set_width(pictures[0].width());
    video.set_height(pictures[0].height());
    video.set_format(pictures[0].format());
    video.set_color_range(pictures[0].color_range());
    video.set_time_base((1, 30));
    video.set_frame_rate(Some((30, 1)));
    video.set_bit_rate(1_000_000);
    video.set_gop(1_000);
    let mut dictionary = ffmpeg_next::Dictionary::new();
    for (name, value) in options {
        dictionary.set(name, value);
    }
    let mut encoder = video.open_as_with(codec, dictionary).unwrap();
    let mut packet = ffmpeg_next::Packet::empty();
    let mut units = Vec::new();
    for (n, picture) in pictures.iter().enumerate() {
        let mut picture = picture.clone();
        picture.set_pts(Some(n as i64));
        encoder.send_frame(&picture).unwrap();
        while encoder.receive_packet(&mut packet).is_ok() {
            units.push(Bytes::copy_from_slice(packet.data().unwrap()));
        }
    }
    encoder.send_eof().unwrap();
    while encoder.receive_packet(&mut packet).is_ok() {
        units.push(Bytes::copy_from_slice(packet.data().unwrap()));
    }
    units
}

/// Pictures in another format of samples, by libswscale.
pub(crate) fn frames(
    format: Pixel,
    full_range: bool,
    width: u32,
    height: u32,
    n: u32,
) -> Vec<frame::Video> {
    (0..n)
        .map(|n| frame_of(&samples(width, height, n), format, full_range))
        .collect()
}

pub(crate) fn frame_of(picture: &I420, format: Pixel, full_range: bool) -> frame::Video {
    let (width, height) = (picture.width(), picture.height());
    let mut plain = frame::Video::new(Pixel::YUV420P, width, height);
    let (luma, chroma) = picture.samples().split_at((width * height) as usize);
    let (cb, cr) = chroma.split_at(chroma.len() / 2);
    for (plane, from) in [luma, cb, cr].into_iter().enumerate() {
        let length = (width as usize) >> u32::from(plane > 0);
        let stride = plain.stride(plane);
        let rows = plain.data_mut(plane).chunks_mut(stride);
        for (to, from) in rows.zip(from.chunks(length)) {
            to[..length].copy_from_slice(from);
        }
    }
    let mut frame = plain;
    if format != Pixel::YUV420P {
        let mut converted = frame::Video::empty();
        let mut scaler = ffmpeg_next::software::converter((width, height), frame.format(), format);
        scaler
            .as_mut()
            .unwrap()
            .run(&frame, &mut converted)
            .unwrap();
        frame = converted;
    }
    frame.set_color_range(if full_range { Range::JPEG } else { Range::MPEG });
    frame
}

/// A transcoder behind a publisher of H.264.
pub(crate) struct Studio {
    pub(crate) source: H264,
    pub(crate) transcoder: Transcoder,
    pub(crate) out: Vec<Transcoded>,
}

impl Studio {
    pub(crate) fn new(source: H264, renditions: &[(u64, RenditionSpec)]) -> Self {
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(renditions);
        Self {
            source,
            transcoder,
            out: Vec::new(),
        }
    }

    /// The publisher's next picture has this time.
    pub(crate) fn publish(&mut self, pts_us: i64) {
        let first = self.source.pictures == 0;
        let unit = self.source.next();
        if first {
            let record = Some(&self.source.record[..]);
            self.transcoder
                .set_source(VideoCodec::H264, record)
                .unwrap();
        }
        let out = &mut self.out;
        self.transcoder.decode(pts_us, &unit, true, out).unwrap();
    }
}
