//! What an offer may hold: what browsers send is answered, and one that holds more than any of them
//! sends is refused before it is read.

use shardcast_link::{Command, Event, VideoCodec};

use crate::sim::{World, broadcast, session};

const SDK: &str = include_str!("../../../link/tests/offers/chromium_sdk.sdp");
const SIMULCAST: &str = include_str!("../../../link/tests/offers/chromium_simulcast.sdp");
const FOUR_CAMERAS: &str = include_str!("../../../link/tests/offers/chromium_four_cameras.sdp");

/// The words with which `sdp` is refused; none when it is answered.
fn refusal(sdp: String) -> Option<String> {
    let mut world = World::new();
    world.command(Command::Publish {
        session: session("one"),
        broadcast: broadcast(),
        sdp,
        start_timeout_ms: 10_000,
        codecs: VideoCodec::ALL.to_vec(),
        stereo: false,
    });
    let outcome = world.events.iter().find_map(|event| match event {
        Event::Answer { .. } => Some(None),
        Event::Refused { problem, .. } => Some(Some(problem.message.clone())),
        _ => None,
    });
    outcome.expect("an answer or a refusal")
}

#[test]
fn offers_of_chromium_are_answered() {
    for offer in [SDK, SIMULCAST, FOUR_CAMERAS] {
        assert_eq!(refusal(offer.to_owned()), None);
    }
}

#[test]
fn an_offer_with_more_than_any_browser_sends_is_refused_in_words() {
    for (line, count, word) in [
        ("a=ssrc:1 cname:x", 200, "a=ssrc:"),
        (
            "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
            300,
            "a=candidate:",
        ),
        ("a=rtpmap:96 H264/90000", 400, "a=rtpmap:"),
        ("m=video 9 X 96", 20, "media sections"),
        ("a=x", 1_000, "lines"),
        (
            "a=fmtp:96 something-that-is-far-longer-than-it-should-be",
            600,
            "bytes",
        ),
    ] {
        let refused = refusal(format!("{SDK}{}", format!("{line}\r\n").repeat(count)));
        assert!(
            refused.as_ref().is_some_and(|text| text.contains(word)),
            "{line}: {refused:?}"
        );
    }
}
