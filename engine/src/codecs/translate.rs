//! Results of a transcoder, as the shard takes them.

use bytes::Bytes;
use shardcast_core::io::{EncodedFrame, RenditionId, RenditionReport, VideoTranscoderReport};
use shardcast_media::{Transcoded, TranscoderReport};

/// One encoded frame.
pub(super) fn encoded(picture: Transcoded) -> EncodedFrame {
    EncodedFrame {
        rendition: RenditionId(picture.key_of_rendition),
        pts_us: picture.pts_us,
        key: picture.idr,
        parameter_sets: picture.parameter_sets,
        unit: Bytes::from(picture.unit),
    }
}

/// The statistics of one transcoder.
pub(super) fn transcoder_report(report: &TranscoderReport) -> VideoTranscoderReport {
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
        preset: rendition.preset,
        frames_per_second: rendition.frames_per_second,
    });
    VideoTranscoderReport {
        width: report.width,
        height: report.height,
        frames: report.decoded,
        errors: report.errors,
        late: report.late,
        decode_us: report.decode_us,
        renditions: renditions.collect(),
    }
}
