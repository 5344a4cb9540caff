//! Broadcasts are created, read, changed, listed and deleted as Ant Media Server's clients expect.

use crate::server::{Server, broadcasts};
use serde_json::json;

#[tokio::test]
async fn a_created_broadcast_has_every_field_of_the_original() {
    let server = Server::start().await;
    let body = json!({"streamId": "s1", "name": "Mine", "type": "liveStream", "metaData": null});
    let created = server.post(&broadcasts("create"), body).await;
    assert_eq!(created.status, 200);
    let created = created.json();
    for (key, value) in [
        ("streamId", json!("s1")),
        ("name", json!("Mine")),
        ("status", json!("created")),
        ("type", json!("liveStream")),
        ("publish", json!(true)),
        ("publicStream", json!(true)),
        ("zombi", json!(false)),
        ("endPointList", json!(null)),
        ("metaData", json!(null)),
        ("rtmpURL", json!("rtmp://127.0.0.1/StreamLick/s1")),
        ("userAgent", json!("N/A")),
        ("webRTCViewerLimit", json!(-1)),
        ("playlistLoopEnabled", json!(true)),
        ("subTrackStreamIds", json!([])),
        ("mp4Enabled", json!(0)),
    ] {
        assert_eq!(created[key], value, "{key}");
    }
    let object = created.as_object().unwrap();
    for key in FIELDS.split_whitespace() {
        assert!(object.contains_key(key), "{key} is missing");
    }
    assert!(created["date"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(server.get(&broadcasts("s1")).await.json(), created);
}

/// Ant Media Server's fields, and the three that the StreamLick guide reads.
const FIELDS: &str = "streamId name description category metaData role quality status
    playListStatus type publishType publish publicStream is360 zombi virtual autoStartStopEnabled
    playlistLoopEnabled date startTime updateTime absoluteStartTimeMs plannedStartDate
    plannedEndDate duration seekTimeInMs expireDurationMS endPointList playListItemList
    encoderSettingsList listenerHookURL rtmpURL originAdress ipAddr username password streamUrl
    remoteIp userAgent mp4Enabled webMEnabled speed bitrate receivedBytes width height
    pendingPacketSize encoderQueueSize dropPacketCountInIngestion dropFrameCountInEncoding
    packetsLost jitterMs rttMs packetLostRatio hlsViewerCount dashViewerCount webRTCViewerCount
    rtmpViewerCount webRTCViewerLimit hlsViewerLimit dashViewerLimit subtracksLimit
    mainTrackStreamId subFolder latitude longitude altitude currentPlayIndex maxIdleTime
    hlsParameters subTrackStreamIds rtmpUrl hlsUrl rtmpEndpointList";

#[tokio::test]
async fn a_second_create_of_the_same_id_is_refused() {
    let server = Server::start().await;
    server.create("s1").await;
    let second = server
        .post(&broadcasts("create"), json!({"streamId": "s1"}))
        .await;
    assert_eq!((second.status, second.success()), (400, false));
    assert!(
        second.json()["message"]
            .as_str()
            .unwrap()
            .contains("already")
    );
}

#[tokio::test]
async fn an_id_is_trimmed_and_made_up_when_it_is_blank() {
    let server = Server::start().await;
    let trimmed = server
        .post(&broadcasts("create"), json!({"streamId": "  s1 "}))
        .await;
    assert_eq!(trimmed.json()["streamId"], "s1");
    for reply in [
        server
            .post(&broadcasts("create"), json!({"streamId": " "}))
            .await,
        server.post(&broadcasts("create"), json!({})).await,
        server.post_empty(&broadcasts("create")).await,
    ] {
        let id = reply.json()["streamId"].as_str().unwrap().to_owned();
        assert!(
            id.len() == 24 && id.bytes().all(|b| b.is_ascii_digit()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut read = server.get(&broadcasts("s1")).await.json();
    read["name"] = json!("changed");
    assert!(
        server
            .send_json("PUT", &broadcasts("s1"), &read)
            .await
            .success()
    );
    read["streamId"] = json!("s2");
    assert_eq!(server.post(&broadcasts("create"), read).await.status, 200);
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["name"],
        "changed"
    );
}

#[tokio::test]
async fn a_change_touches_only_what_it_names() {
    let server = Server::start().await;
    server.create("s1").await;
    let change = json!({"description": "new", "name": null});
    assert!(
        server
            .send_json("PUT", &broadcasts("s1"), &change)
            .await
            .success()
    );
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(
        (&read["name"], &read["description"]),
        (&json!("test"), &json!("new"))
    );
    let unknown = server
        .send_json("PUT", &broadcasts("nobody"), &json!({}))
        .await;
    assert_eq!((unknown.status, unknown.success()), (200, false));
}

#[tokio::test]
async fn an_unknown_broadcast_is_404_without_a_body() {
    let server = Server::start().await;
    for id in ["nobody", "not%20a%20name"] {
        let reply = server.get(&broadcasts(id)).await;
        assert_eq!((reply.status, reply.body.len()), (404, 0), "{id}");
    }
}

#[tokio::test]
async fn a_deleted_broadcast_is_gone_and_a_second_delete_says_so() {
    let server = Server::start().await;
    server.create("s1").await;
    assert!(server.delete(&broadcasts("s1")).await.success());
    assert_eq!(server.get(&broadcasts("s1")).await.status, 404);
    let again = server.delete(&broadcasts("s1")).await;
    assert_eq!((again.status, again.success()), (200, false));
}

#[tokio::test]
async fn several_are_deleted_until_the_first_that_is_unknown() {
    let server = Server::start().await;
    for stream in ["a", "b", "c"] {
        server.create(stream).await;
    }
    let path = "/StreamLick/rest/v2/broadcasts/?ids=a,nobody,c";
    assert!(!server.delete(path).await.success());
    assert_eq!(server.get(&broadcasts("a")).await.status, 404);
    assert_eq!(server.get(&broadcasts("c")).await.status, 200);
}

#[tokio::test]
async fn lists_are_paged_sorted_and_searched() {
    let server = Server::start().await;
    for (stream, name) in [("a1", "Zoe"), ("a2", "Yak"), ("b1", "Xen")] {
        server
            .post(
                &broadcasts("create"),
                json!({"streamId": stream, "name": name}),
            )
            .await;
    }
    let ids = |reply: crate::server::Reply| -> Vec<String> {
        let rows = reply.json();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["streamId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        ids(server.get(&broadcasts("list/0/10")).await),
        ["a1", "a2", "b1"]
    );
    assert_eq!(ids(server.get(&broadcasts("list/1/1")).await), ["a2"]);
    let sorted = broadcasts("list/0/10?sort_by=name&order_by=asc");
    assert_eq!(ids(server.get(&sorted).await), ["b1", "a2", "a1"]);
    assert_eq!(
        ids(server.get(&broadcasts("list/0/10?search=ZO")).await),
        ["a1"]
    );
    assert_eq!(
        ids(server.get(&broadcasts("list/0/10?type_by=ipCamera")).await),
        [""; 0]
    );
    assert_eq!(
        server.get(&broadcasts("count")).await.json(),
        json!({"number": 3})
    );
    assert_eq!(server.get(&broadcasts("count/a")).await.json()["number"], 2);
    assert_eq!(
        server
            .get(&broadcasts("active-live-stream-count"))
            .await
            .json()["number"],
        0
    );
}

#[tokio::test]
async fn applications_do_not_see_each_other() {
    let server = Server::start().await;
    server.create("s1").await;
    assert_eq!(
        server.get("/LiveApp/rest/v2/broadcasts/s1").await.status,
        404
    );
    assert_eq!(
        server.get("/Nobody/rest/v2/broadcasts/s1").await.status,
        404
    );
    let names = server.get("/rest/v2/applications").await.json();
    assert_eq!(names, json!({"applications": ["LiveApp", "StreamLick"]}));
}

#[tokio::test]
async fn statistics_of_an_unknown_stream_are_all_minus_one() {
    let server = Server::start().await;
    server.create("s1").await;
    let unknown = server.get(&broadcasts("nobody/broadcast-statistics")).await;
    assert_eq!(unknown.status, 200);
    assert_eq!(
        unknown.json(),
        json!({"totalRTMPWatchersCount": -1, "totalHLSWatchersCount": -1,
            "totalWebRTCWatchersCount": -1, "totalDASHWatchersCount": -1})
    );
    let known = server
        .get(&broadcasts("s1/broadcast-statistics"))
        .await
        .json();
    assert_eq!(known["totalWebRTCWatchersCount"], 0);
    let total = server
        .get(&broadcasts("total-broadcast-statistics"))
        .await
        .json();
    assert_eq!(
        (
            &total["activeLiveStreamCount"],
            &total["totalRTMPWatchersCount"]
        ),
        (&json!(0), &json!(-1))
    );
}

#[tokio::test]
async fn a_stream_that_is_not_live_cannot_be_stopped() {
    let server = Server::start().await;
    server.create("s1").await;
    let reply = server.post_empty(&broadcasts("s1/stop")).await;
    assert_eq!((reply.status, reply.success()), (200, false));
}

#[tokio::test]
async fn a_change_is_refused_for_what_a_create_is_refused_for() {
    let server = Server::start().await;
    server.create("s1").await;
    let change = json!({"subFolder": "../up"});
    let reply = server.send_json("PUT", &broadcasts("s1"), &change).await;
    assert!(
        !reply.success() && reply.text().contains("subFolder"),
        "{}",
        reply.text()
    );
}
