//! Between the words of the shard and those of the codecs.

use shardcast_core::io::{
    ENCODED_HEADROOM_BYTES, EncodedPicture, LaneReport, RenditionId, RenditionReport,
};
use shardcast_link::{Preset, Profile, RenditionSpec, VideoCodec};
use shardcast_media::{self as media, Transcoded, TranscoderReport};

const _: () = assert!(media::HEADROOM_BYTES == ENCODED_HEADROOM_BYTES);

pub(super) fn encoded(picture: Transcoded) -> EncodedPicture {
    EncodedPicture {
        rendition: RenditionId(picture.key_of_rendition),
        pts_us: picture.pts_us,
        key: picture.idr,
        parameter_sets: picture.parameter_sets,
        unit: picture.unit,
    }
}

pub(super) fn lane_report(report: &TranscoderReport) -> LaneReport {
    let renditions = report.renditions.iter().map(|rendition| RenditionReport {
        rendition: RenditionId(rendition.key),
        width: rendition.width,
        height: rendition.height,
        frames: rendition.frames,
        repeated: rendition.repeated,
        dropped: rendition.dropped,
        keyframes: rendition.keyframes,
        scale_us: rendition.scale_us,
        encode_us: rendition.encode_us,
        preset: link_preset(rendition.preset),
        frames_per_second: rendition.frames_per_second,
    });
    LaneReport {
        width: report.width,
        height: report.height,
        frames: report.decoded,
        errors: report.errors,
        late: report.late,
        decode_us: report.decode_us,
        renditions: renditions.collect(),
    }
}

pub(super) fn media_settings(spec: &RenditionSpec) -> media::RenditionSettings {
    let RenditionSpec {
        width,
        height,
        frames_per_second,
        video_bps,
        gop_ms,
        preset,
        profile,
        // The sound of a rendition is made by audio lanes.
        audio_bps: _,
    } = *spec;
    media::RenditionSettings {
        width,
        height,
        frames_per_second,
        video_bps,
        gop_ms,
        preset: media_preset(preset),
        profile: match profile {
            Profile::Baseline => media::Profile::Baseline,
            Profile::Main => media::Profile::Main,
            Profile::High => media::Profile::High,
        },
    }
}

pub(super) fn media_codec(codec: VideoCodec) -> media::VideoCodec {
    match codec {
        VideoCodec::H264 => media::VideoCodec::H264,
        VideoCodec::Vp8 => media::VideoCodec::Vp8,
        VideoCodec::Vp9 => media::VideoCodec::Vp9,
        VideoCodec::Av1 => media::VideoCodec::Av1,
    }
}

fn media_preset(preset: Preset) -> media::Preset {
    match preset {
        Preset::Ultrafast => media::Preset::Ultrafast,
        Preset::Superfast => media::Preset::Superfast,
        Preset::Veryfast => media::Preset::Veryfast,
        Preset::Faster => media::Preset::Faster,
    }
}

fn link_preset(preset: media::Preset) -> Preset {
    match preset {
        media::Preset::Ultrafast => Preset::Ultrafast,
        media::Preset::Superfast => Preset::Superfast,
        media::Preset::Veryfast => Preset::Veryfast,
        media::Preset::Faster => Preset::Faster,
    }
}
