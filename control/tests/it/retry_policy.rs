//! How a destination is tried again: the application says it, a destination may say otherwise, and
//! the shard is told at once. What cannot be is refused in words.

use crate::server::{Server, broadcasts, offer, publish, shard::Shard};
use serde_json::{Value, json};
use shardcast_link::{Command, RetryPolicy};

const URL: &str = "rtmps://h/a/k";

/// A live broadcast `s1` at a shard.
async fn live(settings: &str) -> (Server, Shard, crate::server::Client) {
    let server = Server::start_with_file(settings).await;
    server.create("s1").await;
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    shard.take_publish().await;
    (server, shard, client)
}

/// The policy of the only destination that the shard is told of next.
async fn next_policy(shard: &mut Shard) -> RetryPolicy {
    match shard.next().await {
        Command::Want { broadcast } => broadcast.destinations[0].retry,
        other => panic!("not a Want: {other:?}"),
    }
}

async fn endpoint(server: &Server) -> Value {
    server.get(&broadcasts("s1")).await.json()["endPointList"][0].clone()
}

fn policy(delay_ms_min: u64, delay_ms_max: u64, retries_max: Option<u32>) -> RetryPolicy {
    RetryPolicy {
        delay_ms_min,
        delay_ms_max,
        retries_max,
        give_up_ms_min: 0,
    }
}

#[tokio::test]
async fn a_destination_that_says_nothing_is_tried_again_as_its_application_says() {
    let settings = "endpoint_retry_delay_ms_min = 700\n        [application.StreamLick.ant_media]\nendpointRepublishLimit = 3\n";
    let (server, mut shard, _client) = live(settings).await;
    let added = server
        .post(&broadcasts("s1/endpoint"), json!({"rtmpUrl": URL}))
        .await;
    assert!(added.success(), "{}", added.text());
    // Ant Media Server would look three times, 2 s apart, before each of them and before the end.
    let wanted = RetryPolicy {
        give_up_ms_min: 24_000,
        ..policy(700, 30_000, Some(3))
    };
    assert_eq!(next_policy(&mut shard).await, wanted);
    assert_eq!(endpoint(&server).await["retry"], Value::Null);
}

#[tokio::test]
async fn without_settings_it_is_tried_without_end() {
    let (server, mut shard, _client) = live("").await;
    server
        .post(&broadcasts("s1/endpoint"), json!({"rtmpUrl": URL}))
        .await;
    assert_eq!(next_policy(&mut shard).await, policy(500, 30_000, None));
}

#[tokio::test]
async fn a_destination_may_be_added_with_a_policy_of_its_own_and_change_it_while_live() {
    let (server, mut shard, _client) = live("endpoint_retries_max = 9").await;
    let body = json!({"rtmpUrl": URL, "endpointServiceId": "d1",
        "retry": {"delay_ms_min": 1000, "retries_max": -1}});
    assert!(
        server
            .post(&broadcasts("s1/endpoint"), body)
            .await
            .success()
    );
    assert_eq!(next_policy(&mut shard).await, policy(1_000, 30_000, None));
    let shown = endpoint(&server).await;
    assert_eq!(
        shown["retry"],
        json!({"delay_ms_min": 1000, "retries_max": -1})
    );

    let one = broadcasts("s1/endpoint/d1");
    let change = json!({"retry": {"delay_ms_max": 2000}});
    assert!(server.send_json("PUT", &one, &change).await.success());
    assert_eq!(next_policy(&mut shard).await, policy(500, 2_000, Some(9)));

    // What was read may be sent back whole, and an empty object is the application's again.
    let mut whole = endpoint(&server).await;
    whole["retry"] = json!({});
    assert!(server.send_json("PUT", &one, &whole).await.success());
    assert_eq!(next_policy(&mut shard).await, policy(500, 30_000, Some(9)));
    assert_eq!(endpoint(&server).await["retry"], Value::Null);
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_in_words() {
    let server = Server::start().await;
    server.create("s1").await;
    let add = broadcasts("s1/endpoint");
    let body = json!({"rtmpUrl": URL, "endpointServiceId": "d1"});
    assert!(server.post(&add, body).await.success());
    let one = broadcasts("s1/endpoint/d1");
    for (retry, words) in [
        (json!({"delay_ms_min": 99}), "from 100 to 3600000"),
        (json!({"delay_ms_max": 3_600_001}), "from 100 to 3600000"),
        (json!({"delay_ms_min": 40_000}), "below the shortest"),
        (json!({"retries_max": -2}), "-1, which is without end"),
    ] {
        let other = json!({"rtmpUrl": "rtmp://h/a/other", "retry": retry});
        for reply in [
            server.post(&add, other).await,
            server
                .send_json("PUT", &one, &json!({"retry": retry}))
                .await,
        ] {
            assert_eq!((reply.status, reply.success()), (200, false), "{retry}");
            assert!(reply.text().contains(words), "{}", reply.text());
        }
    }
    for retry in [
        json!({"delay": 5}),
        json!("often"),
        json!({"delay_ms_min": -1}),
    ] {
        let reply = server
            .send_json("PUT", &one, &json!({"retry": retry}))
            .await;
        assert_eq!(reply.status, 400, "{retry}: {}", reply.text());
        assert!(reply.text().contains("retry"), "{}", reply.text());
    }
    let list = server.get(&broadcasts("s1")).await.json()["endPointList"].clone();
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_destination_that_is_there_can_be_changed_and_its_url_stays() {
    let server = Server::start().await;
    let change = json!({"retry": {}});
    for stream in ["nobody", "s1"] {
        let path = broadcasts(&format!("{stream}/endpoint/d1"));
        let reply = server.send_json("PUT", &path, &change).await;
        assert_eq!((reply.status, reply.success()), (200, false), "{stream}");
        if stream == "nobody" {
            server.create("s1").await;
        }
    }
    let body = json!({"rtmpUrl": URL, "endpointServiceId": "d1"});
    server.post(&broadcasts("s1/endpoint"), body).await;
    let change = json!({"rtmpUrl": "rtmp://h/a/other"});
    let reply = server
        .send_json("PUT", &broadcasts("s1/endpoint/d1"), &change)
        .await;
    assert!(!reply.success());
    assert_eq!(endpoint(&server).await["rtmpUrl"], URL);
}

#[tokio::test]
async fn a_list_of_destinations_carries_policies_and_keeps_those_it_does_not_name() {
    let server = Server::start().await;
    let retry = json!({"retries_max": 2});
    let list = json!([{"rtmpUrl": URL, "retry": retry}]);
    let body = json!({"streamId": "s1", "endPointList": list});
    assert_eq!(server.post(&broadcasts("create"), body).await.status, 200);
    assert_eq!(endpoint(&server).await["retry"], retry);
    let update = json!({"endPointList": [{"rtmpUrl": URL}]});
    let updated = server.send_json("PUT", &broadcasts("s1"), &update).await;
    assert!(updated.success());
    assert_eq!(endpoint(&server).await["retry"], retry);
}
