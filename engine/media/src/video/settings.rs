//! What may be asked of a rendition, and what follows from it.

use shardcast_link::RenditionSpec;

use crate::limits::{
    GOP_MS_MAX, GOP_MS_MIN, PICTURE_PIXELS_MAX, PICTURE_SIDE_PIXELS_MAX, RENDITION_FPS_MAX,
    RENDITION_SIDE_PIXELS_MIN, VIDEO_BPS_MAX, VIDEO_BPS_MIN,
};

/// Whether it can be encoded, or the reason why not. Its audio is not looked at.
pub(crate) fn check(spec: &RenditionSpec) -> Result<(), String> {
    let sides = RENDITION_SIDE_PIXELS_MIN..=PICTURE_SIDE_PIXELS_MAX;
    for side in spec.width.into_iter().chain([spec.height]) {
        if !sides.contains(&side) || !side.is_multiple_of(2) {
            return Err(format!(
                "a side of {side} pixels; even ones of {} to {} are made",
                sides.start(),
                sides.end()
            ));
        }
    }
    let pixels = spec
        .width
        .unwrap_or(spec.height)
        .saturating_mul(spec.height);
    if pixels > PICTURE_PIXELS_MAX {
        return Err(format!(
            "{pixels} pixels; at most {PICTURE_PIXELS_MAX} are made"
        ));
    }
    let within = |what: &str, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(format!("{value} {what}; {least} to {most} are possible"))
        }
    };
    within(
        "frames a second",
        spec.frames_per_second,
        1,
        RENDITION_FPS_MAX,
    )?;
    within("bit/s", spec.video_bps, VIDEO_BPS_MIN, VIDEO_BPS_MAX)?;
    within("ms between keyframes", spec.gop_ms, GOP_MS_MIN, GOP_MS_MAX)
}

/// The width for a first picture of this size: as wanted, or of its shape, even and bounded.
pub(crate) fn width_for(spec: &RenditionSpec, width: u32, height: u32) -> u32 {
    if let Some(width) = spec.width {
        return width;
    }
    let most = (PICTURE_PIXELS_MAX / spec.height.max(1))
        .clamp(RENDITION_SIDE_PIXELS_MIN, PICTURE_SIDE_PIXELS_MAX);
    let (height, wanted) = (u64::from(height.max(1)), u64::from(spec.height));
    // To the nearest even number.
    let half = (wanted * u64::from(width) + height) / (2 * height);
    let half = u32::try_from(half).unwrap_or(most);
    half.saturating_mul(2)
        .clamp(RENDITION_SIDE_PIXELS_MIN, most & !1)
}

/// Frames from one keyframe to the next, at least one.
pub(crate) fn gop_frames(spec: &RenditionSpec) -> i64 {
    let frames = u64::from(spec.gop_ms) * u64::from(spec.frames_per_second) + 500;
    i64::try_from(frames / 1_000).unwrap_or(1).max(1)
}
