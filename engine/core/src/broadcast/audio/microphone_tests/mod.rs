//! Proves: whatever a microphone does, what it says is heard. It stops for 60 ms to 10 s, its RTP
//! clock stops with it, goes on, or jumps; with sender reports and without, with drift, with jitter,
//! beside video and alone. Audio is back at once and in step with the frame, and what is fed to
//! the encoder has no hole.

mod show;

use self::show::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{broadcast::Ingest, webrtc::audio_receiver::PlacedPacket};

/// Each pause with each way in which the RTP times show it, on all kinds of networks.
fn pauses() -> Vec<Show> {
    let mut shows = Vec::new();
    for pause_ms in [
        60, 100, 150, 200, 300, 400, 700, 1_000, 1_500, 3_000, 4_000, 10_000,
    ] {
        for jump_ms in [
            0,
            pause_ms / 2,
            pause_ms,
            pause_ms + 300,
            pause_ms + 40_000_000,
        ] {
            shows.extend(networks().map(|show| Show {
                pause_us: pause_ms * 1_000,
                jump_us: jump_ms * 1_000,
                ..show
            }));
        }
    }
    seeded(shows)
}

fn networks() -> impl Iterator<Item = Show> {
    let reports = [0, 1_000_000, 5_000_000];
    let of = |reports_us, drift_ppm, jitter_us, video| Show {
        pause_us: 0,
        jump_us: 0,
        reports_us,
        drift_ppm,
        jitter_us,
        video,
        network: Network::Steady,
        seed: 0,
    };
    let mut shows = Vec::new();
    for reports_us in reports {
        for drift_ppm in [-200, 0, 200] {
            for jitter_us in [0, 30_000, 80_000] {
                shows
                    .extend([true, false].map(|video| of(reports_us, drift_ppm, jitter_us, video)));
            }
        }
    }
    shows.into_iter()
}

fn seeded(mut shows: Vec<Show>) -> Vec<Show> {
    for (seed, show) in (1..).zip(&mut shows) {
        show.seed = seed;
    }
    shows
}

#[test]
fn what_is_said_after_any_pause_is_heard_at_once_and_in_step() {
    for show in pauses() {
        let heard = show.play();
        let returns_us = PAUSE_AT_US + show.pause_us;
        let (first_us, missing_us) = heard.lost_after_return_us(returns_us);
        let apart_us = heard.apart_us(returns_us + 500_000);
        let told = format!("{show:?}");
        assert!(
            first_us <= 200_000,
            "{told}: first heard {first_us} us late"
        );
        assert!(
            missing_us <= 100_000,
            "{told}: {missing_us} us left out later"
        );
        assert!(
            apart_us.abs() <= 100_000,
            "{told}: {apart_us} us from the picture"
        );
    }
}

#[test]
fn a_publisher_that_is_lost_while_its_sound_is_held_leaves_silence() {
    let epoch = Instant::now();
    let at = |ms: u64| epoch + Duration::from_millis(ms);
    let mut ingest = Ingest::new(Duration::from_secs(2));
    ingest.start(at(0), false);
    for n in 0..50 {
        let opus = PlacedPacket {
            pts_us: n * PACKET_US,
            packet: Arc::from(OPUS),
            lost: 0,
        };
        ingest.audio(at(n as u64 * 20), &opus);
    }
    ingest.audio_held(at(1_000), 1_000_000);
    ingest.stop(at(1_050));
    ingest.audio_inputs.clear();
    for ms in (1_050..3_000).step_by(50) {
        ingest.fill(at(ms), ms as i64 * 1_000);
    }
    let silent: u32 = ingest
        .audio_inputs
        .iter()
        .map(|it| it.input.samples())
        .sum();
    assert!(
        silent > 48 * 1_700,
        "{silent} samples of silence in two seconds"
    );
}

#[test]
fn a_held_packet_that_is_no_opus_leaves_silence() {
    // Nothing, a count of frames that is missing, and 63 frames of 60 ms.
    for packet in [&[][..], &[0xfb], &[0x1b, 63]] {
        let epoch = Instant::now();
        let at = |ms: u64| epoch + Duration::from_millis(ms);
        let mut ingest = Ingest::new(Duration::from_secs(2));
        ingest.start(at(0), false);
        let of = |n: i64, packet: &[u8]| PlacedPacket {
            pts_us: n * PACKET_US,
            packet: Arc::from(packet),
            lost: 0,
        };
        for n in 0..50 {
            ingest.audio(at(n as u64 * 20), &of(n, OPUS));
        }
        ingest.audio_held(at(1_000), 1_000_000);
        ingest.audio(at(1_080), &of(50, packet));
        ingest.audio_inputs.clear();
        for ms in (1_080..4_000).step_by(50) {
            ingest.fill(at(ms), ms as i64 * 1_000);
        }
        let silent: u32 = ingest
            .audio_inputs
            .iter()
            .map(|it| it.input.samples())
            .sum();
        assert!(
            silent > 48 * 2_700,
            "{silent} samples of silence after {packet:?}"
        );
    }
}

#[test]
fn a_network_that_holds_everything_back_moves_no_sound_against_the_picture() {
    let mut shows = Vec::new();
    for ms in [100, 200, 300, 600, 1_000, 2_000] {
        for network in [
            Network::Stalls(ms * 1_000),
            Network::Queues(ms.min(400) * 1_000),
        ] {
            shows.extend(networks().map(|show| Show { network, ..show }));
        }
    }
    for show in seeded(shows) {
        let heard = show.play();
        let apart_us = heard.apart_us(PAUSE_AT_US);
        let (_, missing_us) = heard.lost_after_return_us(PAUSE_AT_US);
        // Without frames there is nothing that tells a full queue from a stopped clock, and nothing
        // that audio could be out of step with.
        let missing_us_max = if show.video { 100_000 } else { 300_000 };
        let told = format!("{show:?}");
        assert!(
            missing_us <= missing_us_max,
            "{told}: {missing_us} us left out"
        );
        assert!(
            apart_us.abs() <= 100_000,
            "{told}: {apart_us} us from the picture"
        );
    }
}

/// Silence was sent for the time of a stall before its packets came: they are left out, and what
/// follows is heard in step. Lengths up to beyond what the timeline trusts.
#[test]
fn a_stall_that_ends_in_a_burst_moves_no_audio_against_the_picture_for_good() {
    let stalls = [
        300, 400, 500, 600, 700, 800, 1_000, 2_000, 2_800, 4_000, 6_000,
    ];
    for us in stalls.map(|ms| ms * 1_000) {
        let shows = [Network::Stalls(us), Network::StallsAudio(us)]
            .into_iter()
            .flat_map(|network| networks().map(move |show| Show { network, ..show }));
        for show in seeded(shows.collect()) {
            let heard = show.play();
            let since_us = PAUSE_AT_US + us + 10_000_000;
            let apart_us = heard.apart_us(since_us);
            let ahead_us = heard.ahead_us(since_us);
            assert!(
                apart_us.abs() <= 80_000,
                "{show:?}: audio is {apart_us} us from the picture"
            );
            assert!(
                ahead_us <= 120_000,
                "{show:?}: a picture is {ahead_us} us ahead of its capture"
            );
            let packets = heard.packets.iter();
            let count = packets.filter(|(at_us, _)| *at_us >= since_us).count();
            assert!(count >= 95, "{show:?}: {count} packets heard of 100");
        }
    }
}
