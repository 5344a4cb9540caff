//! Broadcasts whose destinations have video settings, and what such destinations got.

use bytes::Bytes;
use shardcast_link::{
    Command, DestinationId, Preset, Profile, Reencode, RenditionSpec, VideoSettings,
    WantedBroadcast, WantedDestination,
};
use str0m::format::Codec;

use super::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
};
use crate::picture::{Picture, Shows};

/// 720p at 30 frames a second.
pub const HD: RenditionSpec = RenditionSpec {
    width: Some(1_280),
    height: 720,
    frames_per_second: 30,
    video_bps: 3_000_000,
    gop_ms: 2_000,
    preset: Preset::Superfast,
    profile: Profile::High,
    audio_bps: 128_000,
};
/// 360p at 30 frames a second.
pub const SMALL: RenditionSpec = RenditionSpec {
    width: Some(640),
    height: 360,
    video_bps: 800_000,
    ..HD
};

/// Settings that re-encode always.
pub fn always(rendition: RenditionSpec) -> VideoSettings {
    VideoSettings {
        reencode: Reencode::Always,
        rendition: Some(rendition),
        ..VideoSettings::default()
    }
}

/// Settings with this choice and nothing else.
pub fn reencoding(reencode: Reencode) -> VideoSettings {
    VideoSettings {
        reencode,
        ..VideoSettings::default()
    }
}

/// Destinations by name, each with its video settings.
pub fn want(world: &mut World, settings: &[(&str, VideoSettings)]) {
    let hosts: Vec<_> = settings
        .iter()
        .map(|(name, _)| (*name, FaultMode::Well))
        .collect();
    world.add_hosts(&hosts);
    let mut wanted = WantedBroadcast::new(broadcast());
    for (name, picture) in settings {
        wanted.destinations.push(WantedDestination {
            video: *picture,
            ..WantedDestination::new(
                DestinationId((*name).to_owned()),
                format!("rtmp://{name}/app/key-of-{name}"),
            )
        });
    }
    world.command(Command::Want { broadcast: wanted });
}

/// A show that has begun, with capacity for a few renditions.
pub fn on_air(settings: &[(&str, VideoSettings)], codec: Codec) -> World {
    on_air_with(900, settings, codec)
}

/// The same with so many thousandths of a core for video codecs.
pub fn on_air_with(permille: u32, settings: &[(&str, VideoSettings)], codec: Codec) -> World {
    let mut world = World::with_codecs(permille);
    want(&mut world, settings);
    let sends = Sends {
        codec,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world
}

/// Lets seconds pass; after each the transcoders report.
pub fn run_s(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.run_ms(1_000);
        world.report_transcoders();
    }
}

/// Kinds of video that a server got, one after the other: true for a rendition.
pub fn kinds_of_video(world: &World, name: &str) -> Vec<bool> {
    let pictures = world.server(name, 0).pictures();
    let is_made = |body: &Bytes| {
        let picture = Picture::read(body);
        picture.is_some_and(|it| matches!(it.shows, Shows::Made { .. }))
    };
    let mut kinds: Vec<bool> = pictures.iter().map(is_made).collect();
    kinds.dedup();
    kinds
}

/// Keyframes are two seconds apart.
pub fn assert_constant_gop(world: &World, name: &str) {
    let keys = world.server(name, 0).keyframe_times_ms();
    assert!(keys.len() > 2, "{keys:?}");
    for two in keys.windows(2) {
        let gop_ms = two[1] - two[0];
        assert!((1_966..=2_034).contains(&gop_ms), "{keys:?}");
    }
}

/// Every audio frame is there once.
pub fn assert_gapless_audio(world: &World, name: &str) {
    let server = world.server(name, 0);
    let times: Vec<u32> = server.audio().iter().map(|m| m.timestamp_ms).collect();
    for two in times.windows(2) {
        let step_ms = two[1] - two[0];
        assert!((20..=23).contains(&step_ms), "{step_ms} ms at {}", two[0]);
    }
}
