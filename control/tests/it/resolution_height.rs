//! `resolutionHeight`: a destination asks for a rung of the ladder, of its broadcast or of its
//! application, and keeps it; or for the source by its height.

use crate::server::{
    Client, Server, broadcasts,
    shard::{Shard, live},
    until,
};
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, Command, Event, Reencode};

/// A ladder whose highest rung is not made of fewer lines.
const LADDER: &str = r#"encoderSettings = '''[{"height":1080,"videoBitrate":4000000,
    "audioBitrate":128000,"forceEncode":false},{"height":720,"videoBitrate":2500000,
    "audioBitrate":96000},{"height":480,"videoBitrate":900000,"audioBitrate":64000}]'''"#;

async fn add(server: &Server, height: u32, url: &str) -> crate::server::Reply {
    let path = broadcasts(&format!("s1/rtmp-endpoint?resolutionHeight={height}"));
    server.post(&path, json!({"rtmpUrl": url})).await
}

async fn endpoints(server: &Server) -> Value {
    server.get(&broadcasts("s1")).await.json()["endPointList"].clone()
}

/// A live broadcast `s1` of 1280×720.
async fn with_source(settings: &str) -> (Server, Shard, Client) {
    let server = Server::start_with_file(settings).await;
    server.create("s1").await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    let mut shard = Shard::join_with_room(&server, 8_000).await;
    let (client, session) = shard.live(server.http(), &id).await;
    let mut report = live(&id, &session);
    report.codec = crate::server::shard::codec(8_000, 0);
    shard.say(Event::Status(report)).await;
    until("the source", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["height"] == 720).then_some(())
    })
    .await;
    (server, shard, client)
}

#[tokio::test]
async fn a_height_of_the_ladder_is_its_rendition_always() {
    let server = Server::start_with_file(LADDER).await;
    server.create("s1").await;
    let added = add(&server, 480, "rtmp://h/a/k").await;
    assert!(added.success(), "{}", added.text());
    let shown = endpoints(&server).await[0].clone();
    let wanted = json!({"height": 480, "videoBitrate": 900_000, "audioBitrate": 64_000});
    assert_eq!(shown["rendition"], wanted);
}

#[tokio::test]
async fn a_height_that_is_not_there_is_refused_with_those_that_are() {
    let (server, _shard, _client) = with_source(LADDER).await;
    let refused = add(&server, 333, "rtmp://h/a/k").await;
    assert_eq!((refused.status, refused.success()), (200, false));
    for words in [
        "333 is not available",
        "1080, 720 and 480",
        "source has 720",
    ] {
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    let refused = add(&server, 1_080, "rtmp://h/a/k").await;
    assert!(refused.text().contains("forceEncode"), "{}", refused.text());
    assert_eq!(endpoints(&server).await, Value::Null);
}

#[tokio::test]
async fn a_rung_stays_a_rung_when_the_source_has_its_height() {
    let (server, mut shard, _client) = with_source(LADDER).await;
    let added = add(&server, 720, "rtmp://h/a/k").await;
    assert!(added.success(), "{}", added.text());
    assert_eq!(endpoints(&server).await[0]["rendition"]["height"], 720);
    let Command::Want { broadcast } = shard.next().await else {
        panic!("the shard was not told");
    };
    let picture = broadcast.destinations[0].video;
    assert_eq!(picture.reencode, Reencode::Always);
    assert_eq!(picture.rendition.unwrap().video_bps, 2_500_000);
}

#[tokio::test]
async fn the_height_of_the_source_without_a_rung_is_the_source() {
    for (settings, reencode) in [("", json!(null)), ("reencode = \"always\"", json!("auto"))] {
        let (server, _shard, _client) = with_source(settings).await;
        let added = add(&server, 720, "rtmp://h/a/k").await;
        assert!(added.success(), "{}", added.text());
        let shown = endpoints(&server).await[0].clone();
        assert_eq!(shown["rendition"], Value::Null);
        assert_eq!(shown["reencode"], reencode, "{settings}");
    }
}

#[tokio::test]
async fn the_ladder_of_a_broadcast_stands_in_place_of_its_applications() {
    let server = Server::start_with_file(LADDER).await;
    let rung = json!({"height": 360, "videoBitrate": 600_000, "audioBitrate": 48_000});
    let body = json!({"streamId": "s1", "encoderSettingsList": [rung]});
    let created = server.post(&broadcasts("create"), body).await.json();
    let list = json!([{"height": 360, "videoBitrate": 600_000, "audioBitrate": 48_000,
        "forceEncode": true, "forceSameResolutionEncode": false}]);
    assert_eq!(created["encoderSettingsList"], list);
    assert!(!add(&server, 480, "rtmp://h/a/1").await.success());
    assert!(add(&server, 360, "rtmp://h/a/2").await.success());
    let update = json!({"encoderSettingsList": []});
    server.send_json("PUT", &broadcasts("s1"), &update).await;
    assert!(add(&server, 480, "rtmp://h/a/3").await.success());
    for (list, words) in [
        (
            json!([{"height": 361, "videoBitrate": 600_000, "audioBitrate": 48_000}]),
            "361",
        ),
        (json!([{"hight": 360}]), "hight"),
        (json!("360,600000,48000"), "must be a list"),
    ] {
        let update = json!({"encoderSettingsList": list});
        let refused = server.send_json("PUT", &broadcasts("s1"), &update).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(
            refused.text().contains("encoderSettingsList"),
            "{}",
            refused.text()
        );
        assert!(refused.text().contains(words), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_height_and_what_contradicts_it_are_refused() {
    let server = Server::start_with_file(LADDER).await;
    server.create("s1").await;
    let path = broadcasts("s1/endpoint?resolutionHeight=480");
    for (more, words) in [
        (
            json!({"rendition": {"height": 480}}),
            "either resolutionHeight or rendition",
        ),
        (json!({"reencode": "off"}), "reencode off excludes"),
    ] {
        let mut body = more;
        body["rtmpUrl"] = json!("rtmp://h/a/k");
        let refused = server.post(&path, body).await;
        assert_eq!((refused.status, refused.success()), (200, false));
        assert!(refused.text().contains(words), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_height_does_not_matter_for_removing_a_destination_that_is_named() {
    let server = Server::start_with_file(LADDER).await;
    server.create("s1").await;
    assert!(add(&server, 480, "rtmp://h/a/k").await.success());
    let query = "s1/rtmp-endpoint?rtmpUrl=rtmp://h/a/k&resolutionHeight=720";
    assert!(server.delete(&broadcasts(query)).await.success());
    assert_eq!(endpoints(&server).await, json!([]));
}
