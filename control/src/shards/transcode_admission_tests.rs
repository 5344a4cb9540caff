use shardcast_link::{DecoderStatus, PublisherStatus, SessionId, VideoCodec, VideoStatus};

use super::*;

/// A 720p30 rendition costs 210 here, and a 720p30 source 60.
fn codec(used_permille: u32) -> CodecStatus {
    CodecStatus {
        capacity_permille: 800,
        used_permille,
        yielding_permille: 0,
        decode_720p_us: 2_000,
        scale_720p_us: 500,
        encode_720p_us: 6_500,
        refused: 0,
    }
}

fn id() -> BroadcastId {
    BroadcastId::new("app", "s1").unwrap()
}

fn begin(specs: &[RenditionSpec]) -> RenditionDelta {
    RenditionDelta {
        begin: specs.to_vec(),
        end: Vec::new(),
    }
}

fn rendition(spec: RenditionSpec) -> shardcast_link::RenditionStatus {
    serde_json::from_value(serde_json::json!({
        "spec": spec, "width": 0, "height": 0, "destinations": 1, "frames": 0, "repeated": 0,
        "dropped": 0, "keyframes": 0, "scale_us": 0, "encode_us": 0, "bitrate_bps": 0,
        "preset": "superfast", "frames_per_second": 30
    }))
    .unwrap()
}

/// A source of 1920×1080 at 60 frames a second that is decoded for `specs`.
fn decoded(specs: &[RenditionSpec]) -> BroadcastStatus {
    let publisher = PublisherStatus {
        protocol: Default::default(),
        session: SessionId("s".into()),
        since_unix_ms: 0,
        remote: String::new(),
        video: Some(VideoStatus {
            width: 1_920,
            height: 1_080,
            frames_per_second: 60,
            ..VideoStatus::default()
        }),
        audio: None,
        bytes_received: 0,
        bitrate_bps: 0,
        packets_lost: 0,
        jitter_ms: 0,
        rtt_ms: 0,
        media_age_ms: 0,
    };
    BroadcastStatus {
        publisher: Some(publisher),
        decoder: (!specs.is_empty()).then_some(DecoderStatus {
            codec: VideoCodec::Vp8,
            width: 1_920,
            height: 1_080,
            frames: 0,
            errors: 0,
            late: 0,
            cpu_us: 0,
        }),
        renditions: specs.iter().copied().map(rendition).collect(),
        ..BroadcastStatus::new(id())
    }
}

#[test]
fn a_cost_grows_with_pixels_pictures_and_preset() {
    let source = Source::of(None);
    let cost = |spec: RenditionSpec| source.rendition_permille(&codec(0), &spec);
    let usual = RenditionSpec::of_height(720);
    assert_eq!((cost(usual), source.decode_permille(&codec(0))), (210, 60));
    let half = RenditionSpec {
        width: Some(640),
        ..usual
    };
    let faster = RenditionSpec {
        preset: Preset::Faster,
        ..usual
    };
    let fifteen = RenditionSpec {
        frames_per_second: 15,
        ..usual
    };
    assert_eq!((cost(half), cost(fifteen)), (105, 105));
    assert_eq!(cost(faster), 697);
    let source = Source::of(Some(&decoded(&[])));
    assert_eq!(source.decode_permille(&codec(0)), 270);
    let huge = CodecStatus {
        encode_720p_us: u32::MAX,
        ..codec(0)
    };
    let spec = RenditionSpec {
        width: Some(u32::MAX),
        height: u32::MAX,
        frames_per_second: u32::MAX,
        ..faster
    };
    assert_eq!(source.rendition_permille(&huge, &spec), u32::MAX);
}

#[test]
fn what_does_not_fit_is_refused_with_its_numbers() {
    let mut admitted = Admitted::default();
    let usual = RenditionSpec {
        width: Some(1_280),
        ..RenditionSpec::of_height(720)
    };
    let live = decoded(&[RenditionSpec::of_height(360)]);
    let refused = admitted.admit(&codec(740), &id(), Some(&live), &begin(&[usual]));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the shard of this broadcast has no room to re-encode for another destination: \
         1280x720 at 30 frames a second needs about 21 % of a core, 74 % of 80 % are in use; \
         remove one, lower its size or preset, or add codec cores"
    );
    let none = CodecStatus::default();
    let refused = admitted.admit(&none, &id(), Some(&live), &begin(&[usual]));
    assert_eq!(refused, Err(TranscodeRefusal::NoCodecs));
    let equal = begin(&[RenditionSpec::of_height(360)]);
    assert_eq!(admitted.admit(&none, &id(), Some(&live), &equal), Ok(()));
    // Exactly full is not too full.
    let room = admitted.admit(&codec(590), &id(), Some(&live), &begin(&[usual]));
    assert_eq!(room, Ok(()));
}

#[test]
fn the_source_is_decoded_once() {
    let mut admitted = Admitted::default();
    let specs = [720, 480, 360].map(RenditionSpec::of_height);
    // 60 to decode, 210, 93 and 52.
    let whole = codec(800 - 415);
    let short = codec(800 - 414);
    assert!(admitted.admit(&short, &id(), None, &begin(&specs)).is_err());
    assert_eq!(admitted.admit(&whole, &id(), None, &begin(&specs)), Ok(()));
    assert_eq!(admitted.0.len(), 3);
}

#[test]
fn what_was_let_in_counts_until_a_report_has_it_or_enough_have_not() {
    let mut admitted = Admitted::default();
    let of = |height| begin(&[RenditionSpec::of_height(height)]);
    assert_eq!(admitted.admit(&codec(400), &id(), None, &of(720)), Ok(()));
    let equal = admitted.admit(&codec(400), &id(), None, &of(720));
    assert_eq!((equal, admitted.0.len()), (Ok(()), 1));
    let refused = admitted.admit(&codec(400), &id(), None, &of(718));
    assert!(
        matches!(refused, Err(TranscodeRefusal::Full { used: 670, .. })),
        "{refused:?}"
    );
    admitted.reported(|_, spec| spec.height == 720);
    assert_eq!(admitted.admit(&codec(400), &id(), None, &of(718)), Ok(()));
    for _ in 0..limits::CODEC_ADMITTED_REPORTS {
        assert_eq!(admitted.0.len(), 1);
        admitted.reported(|_, _| false);
    }
    assert!(admitted.0.is_empty());
}

#[test]
fn what_ends_makes_room_for_what_takes_its_place() {
    let mut admitted = Admitted::default();
    let [old, new] = [720, 480].map(RenditionSpec::of_height);
    let live = decoded(&[old]);
    let change = RenditionDelta {
        begin: vec![new],
        end: vec![old],
    };
    assert_eq!(
        admitted.admit(&codec(790), &id(), Some(&live), &change),
        Ok(())
    );
    let larger = RenditionDelta {
        begin: vec![RenditionSpec::of_height(1_080)],
        end: vec![old],
    };
    let refused = Admitted::default().admit(&codec(790), &id(), Some(&live), &larger);
    assert!(
        matches!(refused, Err(TranscodeRefusal::Full { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_was_let_in_and_ends_gives_its_place_back() {
    let mut admitted = Admitted::default();
    let [old, new, other] = [720, 718, 360].map(RenditionSpec::of_height);
    // 60 to decode, 210 and 52.
    let full = codec(800 - 322);
    assert_eq!(
        admitted.admit(&full, &id(), None, &begin(&[old, other])),
        Ok(())
    );
    let change = RenditionDelta {
        begin: vec![RenditionSpec::of_height(1_080)],
        end: vec![old],
    };
    assert!(admitted.admit(&full, &id(), None, &change).is_err());
    assert_eq!((admitted.0.len(), admitted.permille()), (2, 322));
    let change = RenditionDelta {
        begin: vec![new],
        end: vec![old],
    };
    assert_eq!(admitted.admit(&full, &id(), None, &change), Ok(()));
    assert!(!admitted.has(&id(), &old) && admitted.has(&id(), &new));
    let end = |specs: &[RenditionSpec]| RenditionDelta {
        begin: Vec::new(),
        end: specs.to_vec(),
    };
    assert_eq!(admitted.admit(&full, &id(), None, &end(&[new])), Ok(()));
    // What is left has to be decoded all the same.
    assert_eq!(admitted.permille(), 112);
    let elsewhere = BroadcastId::new("app", "s2").unwrap();
    assert_eq!(
        admitted.admit(&full, &elsewhere, None, &end(&[other])),
        Ok(())
    );
    assert_eq!(admitted.permille(), 112);
    admitted.forget(&id());
    assert_eq!(admitted.permille(), 0);
}

#[test]
fn a_rendition_that_is_not_made_for_a_reason_does_not_let_its_like_in() {
    let spec = RenditionSpec::of_height(720);
    let mut live = decoded(&[spec]);
    live.renditions[0].problem = Some("there is no room".into());
    let refused = Admitted::default().admit(&codec(790), &id(), Some(&live), &begin(&[spec]));
    assert!(
        matches!(refused, Err(TranscodeRefusal::Full { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_is_let_in_is_bounded() {
    let mut admitted = Admitted::default();
    let endless = CodecStatus {
        capacity_permille: u32::MAX,
        ..codec(0)
    };
    for height in 0..200 {
        let delta = begin(&[RenditionSpec::of_height(90 + 2 * height)]);
        assert_eq!(admitted.admit(&endless, &id(), None, &delta), Ok(()));
    }
    assert_eq!(admitted.0.len(), limits::CODEC_ADMITTED_MAX);
}

#[test]
fn what_viewers_rungs_take_is_there_for_destinations_and_taken_over_at_its_whole_cost() {
    let mut admitted = Admitted::default();
    let [usual, small] = [720, 360].map(RenditionSpec::of_height);
    let mut live = decoded(&[usual]);
    live.renditions[0].yields = true;
    let shard = CodecStatus {
        yielding_permille: 210,
        ..codec(800)
    };
    // 590 stay, and 210 do not.
    assert_eq!(
        admitted.admit(&shard, &id(), Some(&live), &begin(&[usual])),
        Ok(())
    );
    let refused = admitted.admit(&shard, &id(), Some(&live), &begin(&[small]));
    assert!(
        matches!(refused, Err(TranscodeRefusal::Full { used: 800, .. })),
        "{refused:?}"
    );
    let mut other = Admitted::default();
    assert_eq!(
        other.admit(&shard, &id(), Some(&live), &begin(&[small])),
        Ok(())
    );
}
