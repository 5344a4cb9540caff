//! Destinations are added and removed in each of the ways that clients know.

use crate::server::{Server, broadcasts};
use serde_json::{Value, json};

const URL: &str = "rtmp://127.0.0.1:1936/live/key-of-one";

async fn endpoints(server: &Server) -> Vec<Value> {
    let read = server.get(&broadcasts("s1")).await.json();
    read["endPointList"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn both_paths_and_both_names_of_the_url_add_a_destination() {
    let server = Server::start().await;
    server.create("s1").await;
    for (n, (path, key)) in [
        ("rtmp-endpoint", "rtmpUrl"),
        ("rtmp-endpoint", "endpointUrl"),
        ("endpoint", "rtmpUrl"),
        ("endpoint", "endpointUrl"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("rtmp://127.0.0.1/live/{n}");
        let path = broadcasts(&format!("s1/{path}"));
        let added = server.post(&path, json!({key: url})).await.json();
        assert_eq!(added["success"], true, "{added}");
        assert_eq!(
            (&added["message"], &added["errorId"]),
            (&Value::Null, &json!(0))
        );
        let id = added["dataId"].as_str().unwrap();
        assert!(id.starts_with("custom") && id.len() == 12, "{id}");
    }
    let list = endpoints(&server).await;
    assert_eq!(list.len(), 4);
    assert_eq!(list[1]["rtmpUrl"], "rtmp://127.0.0.1/live/1");
    assert_eq!(list[1]["endpointUrl"], list[1]["rtmpUrl"]);
    assert_eq!(
        (&list[1]["status"], &list[1]["type"]),
        (&json!("created"), &json!("generic"))
    );
}

#[tokio::test]
async fn the_url_may_be_in_the_query_without_body_and_content_type() {
    let server = Server::start().await;
    server.create("s1").await;
    for (path, key) in [("rtmp-endpoint", "rtmpUrl"), ("endpoint", "endpointUrl")] {
        let path = broadcasts(&format!("s1/{path}?{key}=rtmp%3A%2F%2Fh%2Fa%2F{path}"));
        assert!(server.post_empty(&path).await.success());
    }
    assert_eq!(
        endpoints(&server).await[1]["rtmpUrl"],
        "rtmp://h/a/endpoint"
    );
}

#[tokio::test]
async fn an_id_that_the_client_chose_is_kept_and_the_type_is_generic() {
    let server = Server::start().await;
    server.create("s1").await;
    let body = json!({"rtmpUrl": URL, "endpointServiceId": "mine", "type": "special"});
    assert_eq!(
        server.post(&broadcasts("s1/endpoint"), body).await.json()["dataId"],
        "mine"
    );
    assert_eq!(endpoints(&server).await[0]["type"], "generic");
    let other = json!({"rtmpUrl": "rtmp://h/a/other", "endpointServiceId": "mine"});
    assert!(
        !server
            .post(&broadcasts("s1/endpoint"), other)
            .await
            .success()
    );
}

#[tokio::test]
async fn the_same_url_is_refused_the_second_time() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/rtmp-endpoint");
    assert!(server.post(&path, json!({"rtmpUrl": URL})).await.success());
    let second = server.post(&path, json!({"rtmpUrl": URL})).await;
    assert_eq!((second.status, second.success()), (200, false));
    assert!(
        second.json()["message"]
            .as_str()
            .unwrap()
            .contains("already")
    );
    assert_eq!(endpoints(&server).await.len(), 1);
}

#[tokio::test]
async fn an_address_in_other_capitals_or_with_its_own_port_is_the_same_destination() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/endpoint");
    for (first, same, other) in [
        (
            "rtmp://Live.Example/app/Key",
            "RTMP://live.example:1935/app/Key",
            "rtmp://live.example/app/key",
        ),
        (
            "rtmps://live.example:443/app/k",
            "rtmps://LIVE.example./app/k",
            "rtmps://live.example:1935/app/k",
        ),
        (
            "rtmp://[::1]/KEY?a=B",
            "rtmp://[0:0::1]:1935/KEY?a=B",
            "rtmp://[::1]/KEY?a=b",
        ),
    ] {
        let of = |url: &str| json!({"rtmpUrl": url});
        let added = server.post(&path, of(first)).await.json();
        assert_eq!(added["success"], true, "{first}: {added}");
        let refused = server.post(&path, of(same)).await;
        assert!(
            refused.text().contains("already"),
            "{same}: {}",
            refused.text()
        );
        assert!(server.post(&path, of(other)).await.success(), "{other}");

        let id = added["dataId"].as_str().unwrap();
        let put = format!("{path}/{id}");
        assert!(server.send_json("PUT", &put, &of(same)).await.success());
        assert!(!server.send_json("PUT", &put, &of(other)).await.success());

        let list = |urls: &[&str]| json!({"endPointList": urls.iter().map(|url| of(url)).collect::<Vec<_>>()});
        let s1 = broadcasts("s1");
        let twice = server.send_json("PUT", &s1, &list(&[first, same])).await;
        assert_eq!(twice.status, 400, "{}", twice.text());
        let kept = server.send_json("PUT", &s1, &list(&[other, same])).await;
        assert!(kept.success(), "{}", kept.text());
        assert_eq!(endpoints(&server).await[1]["endpointServiceId"], id);

        assert!(
            server
                .send_json("DELETE", &path, &of(first))
                .await
                .success()
        );
        assert!(
            server
                .send_json("DELETE", &path, &of(other))
                .await
                .success()
        );
        assert_eq!(endpoints(&server).await.len(), 0);
    }
}

#[tokio::test]
async fn an_address_without_a_key_of_its_own_is_taken_and_shown_without_its_secret() {
    let server = Server::start().await;
    server.create("s1").await;
    for url in [
        "rtmp://h/live-bvc/?streamname=SECRET-1&key=SECRET-2",
        "rtmp://h/SECRET-3-stream?user=SECRET-4&pass=SECRET-5",
        "rtmp://h/SECRET-6?sig=ab/SECRET-7",
        "rtmps://h/SECRET-8",
        "rtmp://user:SECRET-9@h/app/SECRET-0",
    ] {
        let added = server
            .post(&broadcasts("s1/endpoint"), json!({"rtmpUrl": url}))
            .await;
        assert!(added.success(), "{url}: {}", added.text());
        let status = server.get("/api/v1/status").await.text();
        assert!(!status.contains("SECRET"), "{url}: {status}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_destination_is_refused_in_words_and_not_stored() {
    let server = Server::start().await;
    server.create("s1").await;
    for (body, word) in [
        (json!({}), "missing"),
        (json!({"rtmpUrl": ""}), "missing"),
        (json!({"rtmpUrl": "key"}), "must begin with rtmp"),
        (json!({"rtmpUrl": "ftp://h/a/k"}), "must begin with rtmp"),
        (json!({"rtmpUrl": "srt://h:4200"}), "not supported"),
        (json!({"rtmpUrl": "rtmp://h/"}), "stream key"),
        (
            json!({"rtmpUrl": format!("rtmp://h/a/{}", "x".repeat(3000))}),
            "bytes",
        ),
    ] {
        let reply = server
            .post(&broadcasts("s1/rtmp-endpoint"), body.clone())
            .await;
        assert_eq!((reply.status, reply.success()), (200, false), "{body}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(word), "{body}: {message}");
    }
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["endPointList"],
        Value::Null
    );
}

#[tokio::test]
async fn a_height_that_is_not_there_is_refused_and_zero_is_the_source() {
    let server = Server::start().await;
    server.create("s1").await;
    let at = |height: u32| broadcasts(&format!("s1/endpoint?resolutionHeight={height}"));
    assert!(
        !server
            .post(&at(480), json!({"rtmpUrl": URL}))
            .await
            .success()
    );
    assert!(server.post(&at(0), json!({"rtmpUrl": URL})).await.success());
}

#[tokio::test]
async fn an_unknown_stream_takes_no_destination() {
    let server = Server::start().await;
    let path = broadcasts("nobody/rtmp-endpoint");
    let reply = server.post(&path, json!({"rtmpUrl": URL})).await;
    assert_eq!((reply.status, reply.success()), (200, false));
    let reply = server
        .send_json("DELETE", &path, &json!({"rtmpUrl": URL}))
        .await;
    assert_eq!((reply.status, reply.success()), (200, false));
}

#[tokio::test]
async fn a_destination_is_removed_by_id_or_url_in_query_or_body() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/rtmp-endpoint");
    for n in 0..4 {
        let body =
            json!({"rtmpUrl": format!("rtmp://h/a/{n}"), "endpointServiceId": n.to_string()});
        assert!(server.post(&path, body).await.success());
    }
    let body = json!({"rtmpUrl": "rtmp://h/a/0"});
    assert!(server.send_json("DELETE", &path, &body).await.success());
    let body = json!({"endpointServiceId": "1"});
    assert!(server.send_json("DELETE", &path, &body).await.success());
    assert!(
        server
            .delete(&format!("{path}?endpointServiceId=2&resolutionHeight=0"))
            .await
            .success()
    );
    assert!(
        server
            .delete(&format!("{path}?endpointUrl=rtmp://h/a/3"))
            .await
            .success()
    );
    assert_eq!(endpoints(&server).await.len(), 0);
    assert!(
        !server
            .delete(&format!("{path}?endpointServiceId=2"))
            .await
            .success()
    );
}

#[tokio::test]
async fn the_number_of_destinations_is_bounded_by_a_setting() {
    let server = Server::start_with_file("endpoints_max = 2").await;
    server.create("s1").await;
    let path = broadcasts("s1/endpoint");
    for (n, wanted) in [(0, true), (1, true), (2, false)] {
        let reply = server
            .post(&path, json!({"rtmpUrl": format!("rtmp://h/a/{n}")}))
            .await;
        assert_eq!(reply.success(), wanted, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_list_of_destinations_does_not_go_round_the_bound_and_keeps_the_ids_of_what_stays() {
    let server = Server::start_with_file("endpoints_max = 2").await;
    let list = |count: usize| -> Vec<Value> {
        let entry = |n| json!({"rtmpUrl": format!("rtmp://h/a/{n}")});
        (0..count).map(entry).collect()
    };
    let create = |count| json!({"streamId": "s1", "endPointList": list(count)});
    let refused = server.post(&broadcasts("create"), create(3)).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("endpoints_max"),
        "{}",
        refused.text()
    );
    assert_eq!(
        server.post(&broadcasts("create"), create(1)).await.status,
        200
    );
    let before = endpoints(&server).await;
    let update = |count| json!({"endPointList": list(count)});
    let refused = server.send_json("PUT", &broadcasts("s1"), &update(3)).await;
    assert_eq!(refused.status, 400);
    let changed = server.send_json("PUT", &broadcasts("s1"), &update(2)).await;
    assert!(changed.success());
    let after = endpoints(&server).await;
    assert_eq!(after.len(), 2);
    assert_eq!(
        after[0]["endpointServiceId"],
        before[0]["endpointServiceId"]
    );
}

#[tokio::test]
async fn the_status_for_pages_shows_no_stream_key() {
    let server = Server::start().await;
    server.create("s1").await;
    server
        .post(&broadcasts("s1/endpoint"), json!({"rtmpUrl": URL}))
        .await;
    let status = server.get("/api/v1/status").await;
    assert!(!status.text().contains("key-of-one"), "{}", status.text());
    let status = status.json();
    let destination = &status["broadcasts"][0]["destinations"][0];
    assert_eq!(destination["url"], "rtmp://127.0.0.1:1936/live/…ne");
}

#[tokio::test]
async fn a_service_id_is_a_short_plain_name_and_one_that_is_not_is_refused() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/rtmp-endpoint");
    for (n, (id, status)) in [
        ("a".repeat(128), 200),
        ("A-z_0.9".to_owned(), 200),
        ("a".repeat(129), 400),
        ("i".repeat(64_000), 400),
        ("with space".to_owned(), 400),
        ("../x".to_owned(), 400),
        ("é".to_owned(), 400),
        ("a\nb".to_owned(), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("rtmp://h/a/{n}");
        let body = json!({"rtmpUrl": url, "endpointServiceId": id});
        let reply = server.post(&path, body.clone()).await;
        assert_eq!(reply.status, status, "{id:.20}: {}", reply.text());
        let list = json!({"endPointList": [body]});
        let reply = server.send_json("PUT", &broadcasts("s1"), &list).await;
        assert_eq!(reply.status, status, "{id:.20}: {}", reply.text());
    }
}
