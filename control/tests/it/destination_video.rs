//! What picture a destination is sent: it says so when it is added or later, the application says the
//! rest, and the shard is told at once. What cannot be is refused in words.

use crate::server::{Server, broadcasts, offer, publish, shard::Shard};
use serde_json::{Value, json};
use shardcast_link::{
    Command, PassthroughOverrides, Preset, Profile, Reencode, RenditionSpec, VideoSettings,
    WantedBroadcast,
};

const URL: &str = "rtmp://h/a/k";

/// A broadcast `s1` at a shard that has not reported of it.
async fn placed(settings: &str) -> (Server, Shard, crate::server::Client) {
    let server = Server::start_with_file(settings).await;
    server.create("s1").await;
    let mut shard = Shard::join_with_room(&server, 8_000).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    shard.take_publish().await;
    (server, shard, client)
}

/// What the shard is told next.
async fn told(shard: &mut Shard) -> WantedBroadcast {
    match shard.next().await {
        Command::Want { broadcast } => broadcast,
        other => panic!("not a Want: {other:?}"),
    }
}

/// Of the first destination.
async fn picture(shard: &mut Shard) -> VideoSettings {
    told(shard).await.destinations[0].video
}

async fn endpoint(server: &Server) -> Value {
    server.get(&broadcasts("s1")).await.json()["endPointList"][0].clone()
}

async fn add(server: &Server, more: Value) {
    let mut body = json!({"rtmpUrl": URL, "endpointServiceId": "d1"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let added = server.post(&broadcasts("s1/endpoint"), body).await;
    assert!(added.success(), "{}", added.text());
}

async fn change(server: &Server, change: Value) {
    let path = broadcasts("s1/endpoint/d1");
    let changed = server.send_json("PUT", &path, &change).await;
    assert!(changed.success(), "{}", changed.text());
}

#[tokio::test]
async fn a_destination_that_says_nothing_is_sent_what_its_application_says() {
    let (server, mut shard, _client) = placed("").await;
    add(&server, json!({})).await;
    assert_eq!(picture(&mut shard).await, VideoSettings::default());
    let shown = endpoint(&server).await;
    for key in ["reencode", "rendition", "contract"] {
        assert_eq!(shown[key], Value::Null, "{key}");
    }

    let settings = "reencode = \"always\"\nencoder_preset = \"veryfast\"\n\
        encoder_profile = \"main\"\nwebRTCFrameRate = 25\ngopSize = 75\n";
    let (server, mut shard, _client) = placed(settings).await;
    add(&server, json!({})).await;
    let wanted = told(&mut shard).await;
    assert_eq!(wanted.destinations[0].video.reencode, Reencode::Always);
    assert_eq!(wanted.destinations[0].video.rendition, None);
    let usual = RenditionSpec {
        width: Some(1_280),
        frames_per_second: 25,
        gop_ms: 3_000,
        preset: Preset::Veryfast,
        profile: Profile::Main,
        ..RenditionSpec::of_height(720)
    };
    assert_eq!(wanted.rendition_default, usual);
}

#[tokio::test]
async fn a_rendition_of_its_own_reaches_the_shard_whole() {
    let (server, mut shard, _client) = placed("").await;
    let rendition = json!({"width": 854, "height": 480, "videoBitrate": 1_200_000,
        "frameRate": 25, "gopSeconds": 1.5, "preset": "faster", "profile": "main",
        "audioBitrate": 96_000});
    let contract = json!({"keyframeIntervalMsMax": 4_000, "sizeStable": false,
        "videoBitrateMax": 6_000_000});
    let said = json!({"reencode": "auto", "rendition": rendition, "contract": contract});
    add(&server, said.clone()).await;
    let wanted = VideoSettings {
        reencode: Reencode::Auto,
        rendition: Some(RenditionSpec {
            width: Some(854),
            height: 480,
            frames_per_second: 25,
            video_bps: 1_200_000,
            gop_ms: 1_500,
            preset: Preset::Faster,
            profile: Profile::Main,
            audio_bps: 96_000,
        }),
        passthrough: PassthroughOverrides {
            keyframe_interval_ms_max: Some(4_000),
            size_stable: Some(false),
            video_bps_max: Some(6_000_000),
        },
    };
    assert_eq!(picture(&mut shard).await, wanted);
    let shown = endpoint(&server).await;
    for key in ["reencode", "rendition", "contract"] {
        assert_eq!(shown[key], said[key], "{key}");
    }
}

#[tokio::test]
async fn the_picture_can_be_changed_while_live_and_the_rest_stays() {
    let (server, mut shard, _client) = placed("").await;
    let retry = json!({"retries_max": 2});
    add(&server, json!({"reencode": "off", "retry": retry})).await;
    assert_eq!(picture(&mut shard).await.reencode, Reencode::Off);

    change(&server, json!({"rendition": {"height": 360}})).await;
    let wanted = picture(&mut shard).await;
    assert_eq!(wanted.reencode, Reencode::Always);
    assert_eq!(wanted.rendition, Some(RenditionSpec::of_height(360)));

    // What was read may be sent back whole.
    let whole = endpoint(&server).await;
    change(&server, whole.clone()).await;
    assert_eq!(picture(&mut shard).await, wanted);
    assert_eq!(endpoint(&server).await, whole);

    change(&server, json!({"reencode": "passthrough"})).await;
    let passed = picture(&mut shard).await;
    assert_eq!(passed.reencode, Reencode::Off);
    assert_eq!(passed.rendition, wanted.rendition);

    let nothing = json!({"reencode": "", "rendition": {}, "contract": {}});
    change(&server, nothing).await;
    assert_eq!(picture(&mut shard).await, VideoSettings::default());
    assert_eq!(endpoint(&server).await["retry"], retry);
}

#[tokio::test]
async fn a_list_of_destinations_carries_pictures_and_keeps_those_it_does_not_name() {
    let server = Server::start().await;
    let rendition = json!({"height": 480});
    let list = json!([{"rtmpUrl": URL, "rendition": rendition}]);
    let body = json!({"streamId": "s1", "endPointList": list});
    assert_eq!(server.post(&broadcasts("create"), body).await.status, 200);
    assert_eq!(endpoint(&server).await["rendition"], rendition);
    let update = json!({"endPointList": [{"rtmpUrl": URL, "reencode": "auto"}]});
    let updated = server.send_json("PUT", &broadcasts("s1"), &update).await;
    assert!(updated.success(), "{}", updated.text());
    let shown = endpoint(&server).await;
    assert_eq!(
        (&shown["rendition"], &shown["reencode"]),
        (&rendition, &json!("auto"))
    );
}

#[tokio::test]
async fn a_picture_that_cannot_be_is_refused_in_words() {
    let server = Server::start().await;
    server.create("s1").await;
    add(&server, json!({})).await;
    let path = broadcasts("s1/endpoint");
    let one = broadcasts("s1/endpoint/d1");
    for (said, status, words) in [
        (json!({"rendition": {"height": 88}}), 200, "from 90 to 2160"),
        (json!({"rendition": {"height": 481}}), 200, "must be even"),
        (
            json!({"contract": {"videoBitrateMax": 1}}),
            200,
            "contract.videoBitrateMax",
        ),
        (
            json!({"rendition": {"height": 480, "videoBitrate": 900_000},
                "contract": {"videoBitrateMax": 800_000}}),
            200,
            "900000, over contract.videoBitrateMax, which is 800000",
        ),
        (
            json!({"rendition": {"height": 480, "fps": 30}}),
            400,
            "`fps`",
        ),
        (json!({"contract": {"codec": "h264"}}), 400, "`codec`"),
        (json!({"reencode": "sometimes"}), 400, "off, auto or always"),
    ] {
        let mut other = said.clone();
        other["rtmpUrl"] = json!("rtmp://h/a/other");
        let list = json!({"endPointList": [other]});
        let listed = server.send_json("PUT", &broadcasts("s1"), &list).await;
        assert_eq!(listed.status, 400, "{said}");
        assert!(listed.text().contains(words), "{}", listed.text());
        for reply in [
            server.post(&path, other).await,
            server.send_json("PUT", &one, &said).await,
        ] {
            assert_eq!(reply.status, status, "{said}: {}", reply.text());
            assert!(reply.text().contains(words), "{}", reply.text());
        }
    }
    let list = server.get(&broadcasts("s1")).await.json()["endPointList"].clone();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["rendition"], Value::Null);
}
