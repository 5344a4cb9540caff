//! What clients of Ant Media Server rely on beside the calls themselves: paths with a slash behind
//! them, lists that begin below 0, fields of older versions, the form of the build number.

use serde_json::{Value, json};
use shardcast_link::{AudioStatus, BroadcastId, Event};

use crate::server::{
    Server, broadcasts, request,
    shard::{Shard, live},
    until,
};

#[tokio::test]
async fn a_slash_behind_a_path_changes_nothing() {
    let server = Server::start().await;
    let body = json!({"streamId": "s1"});
    assert_eq!(server.post(&broadcasts("create/"), body).await.status, 200);
    for path in [
        "/StreamLick/rest/v2/version/",
        "/rest/v2/version/",
        "/rest/v2/applications/",
        &broadcasts("s1/"),
        &broadcasts("s1//"),
        &broadcasts("count/"),
        &broadcasts("list/0/10/?sort_by=name&order_by=asc"),
        &broadcasts("s1/broadcast-statistics/"),
    ] {
        let with = server.get(path).await;
        let without = server.get(&path.replace("/?", "?")).await;
        assert_eq!(with.status, 200, "{path}");
        assert_eq!(with.body, without.body, "{path}");
    }
    let body = json!({"rtmpUrl": "rtmp://h/a/k"});
    let added = server.post(&broadcasts("s1/rtmp-endpoint/"), body).await;
    assert!(added.success());
    for path in [
        "/StreamLick/rest/v2/broadcasts?ids=s1",
        &broadcasts("?ids=s1"),
    ] {
        assert!(server.delete(path).await.success(), "{path}");
        server.create("s1").await;
    }
}

#[tokio::test]
async fn lists_begin_at_0_at_the_earliest() {
    let server = Server::start().await;
    for stream in ["a", "b"] {
        server.create(stream).await;
    }
    for (page, count) in [
        ("0/10", Some(2)),
        ("-1/10", Some(2)),
        ("-1/-5", Some(0)),
        ("0/-1", Some(0)),
        ("1/1", Some(1)),
        ("-9223372036854775808/1", Some(1)),
        ("x/1", None),
        ("0/1.5", None),
        ("99999999999999999999/1", None),
    ] {
        for path in [
            format!("list/{page}"),
            format!("filter-list/{page}/liveStream"),
        ] {
            let reply = server.get(&broadcasts(&path)).await;
            match count {
                Some(count) => {
                    assert_eq!(reply.json().as_array().map(Vec::len), Some(count), "{path}");
                }
                None => assert_eq!(reply.status, 404, "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_ids_is_deleted_up_to_the_first_that_does_not_exist() {
    // For each list: whether it succeeds, and what is left of a, b, c.
    let cases: [(Value, bool, &[&str]); 6] = [
        (json!(["a", "b"]), true, &["c"]),
        (json!(["b"]), true, &["a", "c"]),
        (json!(["a", "nobody", "b"]), false, &["b", "c"]),
        (json!(["nobody", "a"]), false, &["a", "b", "c"]),
        (json!(["a b", "a"]), false, &["a", "b", "c"]),
        (json!([]), false, &["a", "b", "c"]),
    ];
    for (list, success, left) in cases {
        let server = Server::start().await;
        for stream in ["a", "b", "c"] {
            server.create(stream).await;
        }
        let reply = server.send_json("DELETE", &broadcasts("bulk"), &list).await;
        assert_eq!((reply.status, reply.success()), (200, success), "{list}");
        let rows = server.get(&broadcasts("list/0/9")).await.json();
        let mut ids: Vec<&str> = Vec::new();
        for row in rows.as_array().unwrap() {
            ids.push(row["streamId"].as_str().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, left, "{list}");
    }
}

#[tokio::test]
async fn a_broadcast_may_be_called_bulk_and_a_list_must_be_one_of_ids() {
    let server = Server::start().await;
    server.create("bulk").await;
    for body in [json!({"ids": ["bulk"]}), json!("bulk"), json!([1])] {
        let reply = server.send_json("DELETE", &broadcasts("bulk"), &body).await;
        assert_eq!(reply.status, 400, "{body}");
    }
    let headers = [("Content-Type", "text/plain")];
    let path = broadcasts("bulk");
    let reply = request(server.http(), "DELETE", &path, &headers, b"[\"bulk\"]").await;
    assert_eq!(reply.status, 415);
    assert_eq!(server.get(&broadcasts("bulk")).await.status, 200);
    assert!(server.delete(&broadcasts("bulk")).await.success());
}

#[tokio::test]
async fn the_kind_of_a_room_is_taken_and_shown() {
    let server = Server::start().await;
    let body = json!({"streamId": "s1", "conferenceMode": "legacy"});
    let created = server.post(&broadcasts("create"), body).await.json();
    assert_eq!(created["conferenceMode"], "legacy");
    // What was read may be sent back whole.
    let reply = server.send_json("PUT", &broadcasts("s1"), &created).await;
    assert!(reply.success());
}

#[tokio::test]
async fn a_source_has_an_address_that_could_be_pulled() {
    let server = Server::start().await;
    server.create("live").await;
    let source = json!({"streamId": "cam", "type": "streamSource", "streamUrl": "rtsp://h/a"});
    assert_eq!(server.post(&broadcasts("create"), source).await.status, 200);
    for (url, good) in [
        ("rtsp://192.0.2.1:8554/live1.sdp", true),
        ("rtsps://u:p@h/a", true),
        ("http://h/a.m3u8", true),
        ("https://h/a.m3u8", true),
        ("rtmp://h/a/k", true),
        ("srt://h:4200", true),
        ("udp://239.0.0.1:1234", true),
        ("rrtsp://192.0.2.1:8554/live1.sdp", false),
        ("htp://h/a", false),
        ("rtsp:/h", false),
        ("rtsp://", false),
        ("file:///etc/passwd", false),
        ("h/a", false),
    ] {
        for kind in ["streamSource", "ipCamera"] {
            let body = json!({"type": kind, "streamUrl": url});
            let reply = server.post(&broadcasts("create"), body).await;
            assert_eq!(reply.status, if good { 200 } else { 400 }, "{kind} {url}");
        }
        for stream in ["cam", "live"] {
            let body = json!({"streamUrl": url});
            let reply = server.send_json("PUT", &broadcasts(stream), &body).await;
            assert_eq!(
                (reply.status, reply.success()),
                (200, good),
                "{stream} {url}"
            );
        }
    }
}

#[tokio::test]
async fn the_build_number_is_a_time_of_13_characters() {
    let server = Server::start().await;
    let version = server.get("/rest/v2/version").await.json();
    let number = version["buildNumber"].as_str().unwrap();
    let (day, time) = number.split_once('_').unwrap();
    assert_eq!((day.len(), time.len()), (8, 4), "{number}");
    let part = |text: &str| text.parse::<u32>().unwrap();
    assert!(part(&day[..4]) >= 2024, "{number}");
    assert!((1..=12).contains(&part(&day[4..6])), "{number}");
    assert!((1..=31).contains(&part(&day[6..])), "{number}");
    assert!(part(&time[..2]) < 24 && part(&time[2..]) < 60, "{number}");
}

#[tokio::test]
async fn the_rate_of_the_sound_is_told_beside_that_of_the_picture() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    server.create("s1").await;
    let (mut client, session) = shard.live(server.http(), &id).await;
    let mut report = live(&id, &session);
    let publisher = report.broadcasts[0].publisher.as_mut().unwrap();
    publisher.bitrate_bps = 2_500_000;
    publisher.audio = Some(AudioStatus {
        codec: "opus".into(),
        bitrate_bps: 48_000,
        ..AudioStatus::default()
    });
    shard.say(Event::Status(report)).await;
    let info = until("the rate", async || {
        let info = server.get(&broadcasts("s1/stream-info")).await.json()[0].clone();
        (info["audioBitrate"] != 0).then_some(info)
    })
    .await;
    assert_eq!(info["audioBitrate"], 48_000);
    assert_eq!(info["videoBitrate"], 2_452_000);
    let asked = json!({"command": "getStreamInfo", "streamId": "s1"});
    let told = client.ask(asked).await["streamInfo"][0].clone();
    assert_eq!(told["audioBitrate"], 48_000);
    assert_eq!(told["videoBitrate"], 2_452_000);
}
