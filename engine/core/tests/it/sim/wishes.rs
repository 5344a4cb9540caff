//! Broadcasts whose destinations have a wish for their picture, and what such destinations got.

use shardcast_link::{
    Command, DestinationId, Preset, Profile, Reencode, RenditionSpec, WantedBroadcast,
    WantedDestination, WantedPicture,
};
use str0m::format::Codec;

use super::{
    Site, World, broadcast,
    client::{Client, Sends},
};

pub(crate) const HD: RenditionSpec = RenditionSpec {
    width: Some(1_280),
    height: 720,
    frames_per_second: 30,
    video_bps: 3_000_000,
    gop_ms: 2_000,
    preset: Preset::Superfast,
    profile: Profile::High,
    audio_bps: 128_000,
};
pub(crate) const SMALL: RenditionSpec = RenditionSpec {
    width: Some(640),
    height: 360,
    video_bps: 800_000,
    ..HD
};

pub(crate) fn always(rendition: RenditionSpec) -> WantedPicture {
    WantedPicture {
        reencode: Reencode::Always,
        rendition: Some(rendition),
        ..WantedPicture::default()
    }
}

pub(crate) fn of(reencode: Reencode) -> WantedPicture {
    WantedPicture {
        reencode,
        ..WantedPicture::default()
    }
}

/// Destinations by name, each with a wish for its picture.
pub(crate) fn want(world: &mut World, wishes: &[(&str, WantedPicture)]) {
    let sites: Vec<_> = wishes.iter().map(|(name, _)| (*name, Site::Well)).collect();
    world.stand(&sites);
    let mut wanted = WantedBroadcast::new(broadcast());
    for (name, picture) in wishes {
        wanted.destinations.push(WantedDestination {
            picture: *picture,
            ..WantedDestination::new(
                DestinationId((*name).to_owned()),
                format!("rtmp://{name}/app/key-of-{name}"),
            )
        });
    }
    world.command(Command::Want { broadcast: wanted });
}

pub(crate) fn on_air(wishes: &[(&str, WantedPicture)], codec: Codec) -> World {
    on_air_with(900, wishes, codec)
}

pub(crate) fn on_air_with(permille: u32, wishes: &[(&str, WantedPicture)], codec: Codec) -> World {
    let mut world = World::with_codecs(permille);
    want(&mut world, wishes);
    let sends = Sends {
        codec,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world
}

pub(crate) fn run_s(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.run_ms(1_000);
        world.report_lanes();
    }
}

/// Whose pictures a server got, in turns: true for those of a rendition.
pub(crate) fn turns(world: &World, name: &str) -> Vec<bool> {
    let pictures = world.server(name, 0).pictures();
    let mut turns: Vec<bool> = pictures
        .iter()
        .map(|picture| picture.last() == Some(&0xEE))
        .collect();
    turns.dedup();
    turns
}

pub(crate) fn assert_constant_gop(world: &World, name: &str) {
    let keys = world.server(name, 0).keyframe_times_ms();
    assert!(keys.len() > 2, "{keys:?}");
    for two in keys.windows(2) {
        let gop_ms = two[1] - two[0];
        assert!((1_966..=2_034).contains(&gop_ms), "{keys:?}");
    }
}

/// Every frame of sound is there once.
pub(crate) fn assert_whole_sound(world: &World, name: &str) {
    let server = world.server(name, 0);
    let times: Vec<u32> = server.audio().iter().map(|m| m.timestamp_ms).collect();
    for two in times.windows(2) {
        let step_ms = two[1] - two[0];
        assert!((20..=23).contains(&step_ms), "{step_ms} ms at {}", two[0]);
    }
}
