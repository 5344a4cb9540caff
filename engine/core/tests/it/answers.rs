//! What the answer to an offer says: it takes what this server acts on and nothing else, and a refusal
//! tells the client fixed words.

use shardcast_link::{Command, Event};

use crate::sim::{
    World, broadcast,
    client::{Client, Sends},
    session,
};

/// The answer to the offer of a str0m client, changed by `edit`.
fn answer(stereo: bool, edit: impl Fn(&str) -> String) -> String {
    let mut world = World::new();
    let client = Client::new(world.now, 4000, Sends::default());
    let sdp = edit(&client.offer);
    publish(&mut world, "one", sdp, stereo);
    let sdp = world.events.iter().find_map(|event| match event {
        Event::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    sdp.expect("an answer")
}

fn publish(world: &mut World, name: &str, sdp: String, stereo: bool) {
    world.command(Command::Publish {
        session: session(name),
        broadcast: broadcast(),
        sdp,
        start_timeout_ms: 1_000,
        codecs: Vec::new(),
        stereo,
    });
}

/// The lines of the answer's media sections that are one of these.
fn lines<'a>(sdp: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    sdp.lines()
        .filter(|line| wanted.contains(line))
        .collect::<Vec<_>>()
}

const DIRECTIONS: [&str; 4] = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

#[test]
fn media_that_is_offered_in_both_directions_is_answered_as_received_only() {
    for (offered, answered) in [
        ("a=sendrecv", "a=recvonly"),
        ("a=sendonly", "a=recvonly"),
        ("a=recvonly", "a=inactive"),
        ("a=inactive", "a=inactive"),
    ] {
        let sdp = answer(false, |offer| offer.replace("a=sendonly", offered));
        assert_eq!(lines(&sdp, &DIRECTIONS), [answered, answered], "{offered}");
    }
    let sdp = answer(false, |offer| offer.replace("a=sendonly\r\n", ""));
    assert_eq!(lines(&sdp, &DIRECTIONS), ["a=recvonly"; 2], "no direction");
}

#[test]
fn header_extensions_are_taken_only_where_the_server_acts_on_them() {
    let offered = [
        "urn:3gpp:video-orientation",
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "urn:ietf:params:rtp-hdrext:toffset",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    ];
    let sdp = answer(false, |offer| {
        let without = offer.lines().filter(|line| !line.starts_with("a=extmap:"));
        let with = without.map(|line| {
            if line != "a=sendonly" {
                return format!("{line}\r\n");
            }
            let numbered = offered.iter().enumerate();
            let lines = numbered.map(|(n, uri)| format!("a=extmap:{} {uri}\r\n", n + 1));
            format!("{}{line}\r\n", lines.collect::<String>())
        });
        with.collect()
    });
    let taken: Vec<&str> = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=extmap:")?.split(' ').nth(1))
        .collect();
    let acted_on = &offered[7..];
    assert!(!taken.is_empty(), "{sdp}");
    assert!(taken.iter().all(|uri| acted_on.contains(uri)), "{taken:?}");
    assert!(
        acted_on.iter().all(|uri| taken.contains(uri)),
        "not all of {acted_on:?} in {taken:?}"
    );
}

#[test]
fn stereo_is_asked_for_where_it_is_wanted_and_not_elsewhere() {
    for stereo in [false, true] {
        let sdp = answer(stereo, str::to_owned);
        let fmtp = sdp
            .lines()
            .find(|line| line.contains("minptime"))
            .expect("parameters of Opus");
        assert_eq!(fmtp.contains("stereo=1"), stereo, "{fmtp}");
        assert!(fmtp.contains("useinbandfec=1"), "{fmtp}");
    }
}

#[test]
fn a_refusal_has_fixed_words_whatever_was_wrong_with_the_offer() {
    let mut world = World::new();
    let good = Client::new(world.now, 4000, Sends::default()).offer;
    let offers = [
        String::new(),
        "v=0".to_owned(),
        good.replace("a=fingerprint", "a=nothing"),
        good.replace("a=ice-ufrag", "a=nothing"),
        good.replace("a=group:BUNDLE", "a=group:BUNDLE zz"),
        good.replace("a=mid:", "a=mid:secret"),
        good.replace("m=audio", "m=text"),
    ];
    for (n, sdp) in offers.into_iter().enumerate() {
        world.events.clear();
        publish(&mut world, &format!("s{n}"), sdp.clone(), false);
        let refused = world.events.iter().find_map(|event| match event {
            Event::Refused { problem, .. } => Some(problem.message.as_str()),
            _ => None,
        });
        let known = [
            "the SDP offer cannot be read: send what RTCPeerConnection.createOffer gives, unchanged",
            "the SDP offer cannot be answered: send what RTCPeerConnection.createOffer gives, unchanged",
        ];
        let words = refused.unwrap_or_else(|| panic!("offer {n} was taken: {sdp}"));
        assert!(known.contains(&words), "offer {n}: {words}");
    }
}
