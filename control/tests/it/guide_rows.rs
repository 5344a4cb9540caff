//! What the StreamLick guide asks of an Ant Media Server, row by row, in its own request shapes.

use crate::server::{Client, Server, broadcasts, publish, request};
use serde_json::json;

fn in_an_hour_ms() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    now.as_millis() as u64 + 3_600_000
}

#[tokio::test]
async fn row_1_the_removed_path_and_the_new_one_are_both_there() {
    let server = Server::start().await;
    server.create("s1").await;
    for path in ["s1/rtmp-endpoint", "s1/endpoint"] {
        let body = json!({"rtmpUrl": format!("rtmp://h/{path}/k")});
        assert!(
            server.post(&broadcasts(path), body).await.success(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn row_2_the_curl_check_with_a_query_and_no_body_works() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/rtmp-endpoint?rtmpUrl=rtmp://h/a/k");
    let reply = request(server.http(), "POST", &path, &[], b"").await;
    assert_eq!((reply.status, reply.success()), (200, true));
}

#[tokio::test]
async fn row_3_a_delete_with_the_url_in_its_body_really_removes() {
    let server = Server::start().await;
    server.create("s1").await;
    let body = json!({"rtmpUrl": "rtmp://h/a/k"});
    server
        .post(&broadcasts("s1/rtmp-endpoint"), body.clone())
        .await;
    let reply = server
        .send_json("DELETE", &broadcasts("s1/rtmp-endpoint"), &body)
        .await;
    assert_eq!((reply.status, reply.success()), (200, true));
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["endPointList"],
        json!([])
    );
}

#[tokio::test]
async fn row_4_a_date_in_milliseconds_is_a_date() {
    let server = Server::start().await;
    let ms = in_an_hour_ms();
    let path = broadcasts(&format!("s1/token?expireDate={ms}&type=publish"));
    let token = server.get(&path).await;
    assert_eq!(token.status, 200, "{}", token.text());
    assert_eq!(token.json()["expireDate"], ms / 1000);
    assert!(token.json()["tokenId"].as_str().unwrap().len() >= 20);
}

#[tokio::test]
async fn row_5_the_names_that_the_guide_reads_are_there_beside_the_real_ones() {
    let server = Server::start().await;
    server.create("s1").await;
    server
        .post(
            &broadcasts("s1/endpoint"),
            json!({"rtmpUrl": "rtmp://h/a/k"}),
        )
        .await;
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["rtmpUrl"], read["rtmpURL"]);
    assert_eq!(read["rtmpEndpointList"], json!(["rtmp://h/a/k"]));
    let hls_url = read["hlsUrl"].as_str().unwrap();
    assert!(
        hls_url.ends_with("/StreamLick/streams/s1.m3u8"),
        "{hls_url}"
    );
}

#[tokio::test]
async fn row_6_create_then_publish_and_a_second_create_is_400() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
    let again = server
        .post(&broadcasts("create"), json!({"streamId": "s1"}))
        .await;
    assert_eq!((again.status, again.success()), (400, false));
}

#[tokio::test]
async fn row_7_a_destination_can_be_added_while_the_stream_is_starting() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    let path = broadcasts("s1/rtmp-endpoint");
    assert!(
        server
            .post(&path, json!({"rtmpUrl": "rtmp://h/a/k"}))
            .await
            .success()
    );
}

#[tokio::test]
async fn row_8_rest_is_for_this_machine_until_the_setting_that_the_403_names_is_opened() {
    let closed = Server::start_with_file("remoteAllowedCIDR = \"203.0.113.0/24\"").await;
    let reply = closed.get(&broadcasts("s1")).await;
    assert_eq!(reply.status, 403);
    let text = reply.text();
    assert!(
        text.contains("Not allowed IP") && text.contains("remoteAllowedCIDR"),
        "{text}"
    );
    let open = Server::start_with_file("remoteAllowedCIDR = [\"127.0.0.0/8\"]").await;
    assert_eq!(open.get(&broadcasts("s1")).await.status, 404);
}

#[tokio::test]
async fn row_9_a_preflight_is_answered_in_front_of_the_filter() {
    let server = Server::start_with_file("remoteAllowedCIDR = \"203.0.113.0/24\"").await;
    let headers = [
        ("Origin", "https://studio.example"),
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let path = broadcasts("s1/rtmp-endpoint");
    let reply = request(server.http(), "OPTIONS", &path, &headers, b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let methods = reply.header("access-control-allow-methods").to_owned();
    for method in ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let allowed = reply.header("access-control-allow-headers").to_lowercase();
    for header in [
        "accept",
        "origin",
        "x-requested-with",
        "content-type",
        "authorization",
    ] {
        assert!(allowed.contains(header), "{allowed}");
    }
    // A page on this machine, from another port, as the guide has it.
    let local = Server::start().await;
    local.create("s1").await;
    for origin in ["http://localhost:3000", "http://127.0.0.1:8000"] {
        let headers = [("Origin", origin), ("Content-Type", "application/json")];
        let body = br#"{"rtmpUrl": "rtmp://h/a/k"}"#;
        let reply = request(local.http(), "POST", &path, &headers, body).await;
        assert_eq!(reply.status, 200, "{origin}: {}", reply.text());
    }
    let refused = request(server.http(), "GET", &path, &headers[..1], b"").await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "*",
        "the page can read why"
    );
}

#[tokio::test]
async fn row_10_a_publish_that_says_it_has_no_media_is_accepted() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut message = publish("s1");
    message["video"] = json!(false);
    message["audio"] = json!(false);
    assert_eq!(client.ask(message).await["command"], "start");
    client.nothing_more().await;
}

#[tokio::test]
async fn row_11_the_real_sdk_is_served() {
    let server = Server::start().await;
    let sdk = server.get("/sdk/es/index.js").await;
    assert!(sdk.text().contains("WebRTCAdaptor"));
    assert!(sdk.header("content-type").starts_with("text/javascript"));
}

#[tokio::test]
async fn row_12_the_calls_of_the_guide_answer_as_documented() {
    let server = Server::start().await;
    server.create("s1").await;
    assert_eq!(
        server
            .get(&broadcasts("s1/broadcast-statistics"))
            .await
            .status,
        200
    );
    assert_eq!(server.get(&broadcasts("s1")).await.status, 200);
    assert!(server.delete(&broadcasts("s1")).await.success());
}

#[tokio::test]
async fn row_13_settings_that_are_none_are_accepted() {
    let server = Server::start_with_file(
        "[ant_media]\nrtmpEnabled = true\nwebRTCKeyFrameInterval = 2\nhlsSegmentTime = 2\n         dtlsTimeoutMs = 5000\nwebrtc.portRangeMin = 50000\nwebrtc.portRangeMax = 60000\n         webrtc.externalIP = \"127.0.0.1\"\nwebrtc.stunServerUri = \"stun:stun.example:1\"\n",
    )
    .await;
    let mut client = Client::connect(server.http(), "StreamLick").await;
    let config = client.ask(json!({"command": "getIceServerConfig"})).await;
    assert_eq!(config["stunServerUri"], "stun:stun.example:1");
}

#[tokio::test]
async fn row_14_twenty_five_destinations_need_no_licence() {
    let server = Server::start().await;
    server.create("s1").await;
    for n in 0..25 {
        let body = json!({"rtmpUrl": format!("rtmp://h/a/{n}")});
        assert!(
            server
                .post(&broadcasts("s1/rtmp-endpoint"), body)
                .await
                .success()
        );
    }
}
