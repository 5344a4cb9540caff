//! Proves: violations are borne for a while or not at all, refusals leave what can be passed through,
//! and the size of the video stays.

use shardcast_link::{PassthroughOverrides, VideoCodec};

use super::*;
use crate::limits::RENDITION_REFUSED_MS;

const HD: SourceFacts = SourceFacts {
    offers_video: true,
    codec: Some(VideoCodec::H264),
    width: 1_280,
    height: 720,
    profile: 66,
    keyframe_interval_ms: 2_000,
    video_bps: 2_500_000,
    b_frames: false,
    tells_decode_times: false,
};
const SMALL: SourceFacts = SourceFacts {
    width: 640,
    height: 360,
    ..HD
};
const VP8: SourceFacts = SourceFacts {
    codec: Some(VideoCodec::Vp8),
    width: 0,
    height: 0,
    ..HD
};

fn picture(reencode: Reencode) -> VideoSelector {
    let wanted = VideoSettings {
        reencode,
        rendition: None,
        passthrough: PassthroughOverrides {
            size_stable: Some(true),
            ..PassthroughOverrides::default()
        },
    };
    let mut picture = VideoSelector::new(wanted, Platform::generic());
    picture.size = Some((HD.width, HD.height));
    picture.passed_since = Instant::now().checked_sub(Duration::from_millis(SIZE_SETTLES_MS));
    picture
}

fn usual() -> RenditionSpec {
    RenditionSpec {
        width: Some(1_280),
        ..RenditionSpec::of_height(720)
    }
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn a_breach_is_borne_for_a_while_then_the_size_stays_and_good_times_bring_passthrough_back() {
    let (mut picture, start) = (picture(Reencode::Auto), Instant::now());
    assert_eq!(
        picture.select(start, &HD, &usual()),
        VideoSource::Passthrough
    );
    assert_eq!(
        picture.select(at(start, 1_000), &SMALL, &usual()),
        VideoSource::Passthrough
    );
    assert_eq!(
        picture.select(at(start, 3_000), &HD, &usual()),
        VideoSource::Passthrough
    );
    assert_eq!(
        picture.select(at(start, 4_000), &SMALL, &usual()),
        VideoSource::Passthrough
    );
    let slip = at(start, 4_000 + CONSTRAINTS_GRACE_MS);
    let VideoSource::Rendition(spec) = picture.select(slip, &SMALL, &usual()) else {
        panic!("it is still passed on");
    };
    assert_eq!((spec.width, spec.height), (Some(1_280), 720));
    let well = at(slip, 10_000);
    assert_eq!(
        picture.select(well, &HD, &usual()),
        VideoSource::Rendition(spec)
    );
    let back = at(well, CONSTRAINTS_KEPT_MS - 1);
    assert_eq!(
        picture.select(back, &HD, &usual()),
        VideoSource::Rendition(spec)
    );
    assert_eq!(
        picture.select(at(back, 1), &HD, &usual()),
        VideoSource::Passthrough
    );
}

#[test]
fn a_picture_that_begins_small_may_grow_and_what_it_has_grown_to_counts() {
    let (mut picture, start) = (picture(Reencode::Auto), Instant::now());
    (picture.size, picture.passed_since) = (None, None);
    let mut pass = |ms, facts: &SourceFacts| {
        let now = at(start, ms);
        let choice = picture.select(now, facts, &usual());
        if choice == VideoSource::Passthrough {
            picture.passed(now, facts);
        }
        choice
    };
    for (ms, facts) in [(0, &SMALL), (6_000, &SMALL), (12_000, &HD), (20_000, &HD)] {
        assert_eq!(pass(ms, facts), VideoSource::Passthrough, "after {ms} ms");
    }
    assert_eq!(pass(21_000, &SMALL), VideoSource::Passthrough);
    let VideoSource::Rendition(spec) = pass(21_000 + CONSTRAINTS_GRACE_MS, &SMALL) else {
        panic!("it is still passed on");
    };
    assert_eq!((spec.width, spec.height), (Some(1_280), 720));
}

#[test]
fn a_codec_that_cannot_be_passed_on_is_re_encoded_at_once_unless_that_is_off() {
    let now = Instant::now();
    let mut auto = picture(Reencode::Auto);
    assert!(matches!(
        auto.select(now, &VP8, &usual()),
        VideoSource::Rendition(_)
    ));
    let mut off = picture(Reencode::Off);
    assert_eq!(off.select(now, &VP8, &usual()), VideoSource::None);
    assert!(off.reason().contains("VP8"), "{}", off.reason());
    assert_eq!(off.select(now, &HD, &usual()), VideoSource::Passthrough);
}

#[test]
fn b_frames_are_not_borne_for_a_while_and_are_passed_on_where_nothing_else_can_be() {
    let (now, b_frames) = (
        Instant::now(),
        SourceFacts {
            b_frames: true,
            ..HD
        },
    );
    let mut auto = picture(Reencode::Auto);
    assert_eq!(auto.select(now, &HD, &usual()), VideoSource::Passthrough);
    let choice = auto.select(now, &b_frames, &usual());
    assert!(matches!(choice, VideoSource::Rendition(_)));
    auto.refuse(now, RENDITION_REFUSED_MS, "no room", &b_frames);
    assert_eq!(auto.selected(), VideoSource::Passthrough);
    let mut off = picture(Reencode::Off);
    assert_eq!(
        off.select(now, &b_frames, &usual()),
        VideoSource::Passthrough
    );
}

#[test]
fn without_room_auto_passes_on_what_it_can_and_always_waits_for_room() {
    let now = Instant::now();
    let later = at(now, RENDITION_REFUSED_MS);
    let mut always = picture(Reencode::Always);
    let wanted = always.select(now, &HD, &usual());
    assert!(matches!(wanted, VideoSource::Rendition(_)));
    always.refuse(now, RENDITION_REFUSED_MS, "no room", &HD);
    assert_eq!(always.select(at(now, 1), &HD, &usual()), VideoSource::None);
    assert_eq!(always.select(later, &HD, &usual()), wanted);

    let mut auto = picture(Reencode::Auto);
    auto.select(now, &SMALL, &usual());
    let slip = at(now, CONSTRAINTS_GRACE_MS);
    assert!(matches!(
        auto.select(slip, &SMALL, &usual()),
        VideoSource::Rendition(_)
    ));
    auto.refuse(slip, RENDITION_REFUSED_MS, "no room", &SMALL);
    assert_eq!(
        auto.select(at(slip, 1), &SMALL, &usual()),
        VideoSource::Passthrough
    );
    assert_eq!(auto.reason(), "no room");
    assert_eq!(auto.select(at(slip, 2), &VP8, &usual()), VideoSource::None);
}
