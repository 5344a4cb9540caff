//! A rendition for which a shard has no room is refused in words before it is stored, and one that
//! runs there already costs nothing more. What ends gives its room back.

use crate::server::{
    Client, Reply, Server, broadcasts,
    shard::{Shard, codec, live, rendition},
    until,
};
use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, DecoderStatus, Event, RenditionSpec, SessionId, ShardStatus, VideoCodec,
};

struct Live {
    server: Server,
    shard: Shard,
    session: SessionId,
    _client: Client,
}

impl Live {
    /// A live broadcast `s1` of 720p30, whose shard has `capacity_permille` and none of it in use.
    /// A rendition of 720p30 costs 210, and decoding costs 60.
    async fn start(capacity_permille: u32) -> Self {
        let server = Server::start().await;
        server.create("s1").await;
        let mut shard = Shard::join(&server).await;
        let (client, session) = shard.live(server.http(), &id()).await;
        let mut this = Self {
            server,
            shard,
            session,
            _client: client,
        };
        let mut report = this.report();
        report.codec = codec(capacity_permille, 0);
        this.say(report).await;
        this
    }

    fn report(&self) -> ShardStatus {
        live(&id(), &self.session)
    }

    /// Reports, and waits until control has it.
    async fn say(&mut self, mut report: ShardStatus) {
        // Told apart by a number that nothing depends on.
        let mark = next_mark();
        report.datagrams_unknown = mark;
        self.shard.say(Event::Status(report)).await;
        until("the report", async || {
            let status = self.server.get("/api/v1/status").await.json();
            (status["shards"][0]["datagrams_unknown"] == mark).then_some(())
        })
        .await;
    }

    async fn add(&self, name: &str, more: Value) -> Reply {
        let mut body = more;
        body["rtmpUrl"] = json!(format!("rtmp://h/a/{name}"));
        body["endpointServiceId"] = json!(name);
        self.server.post(&broadcasts("s1/endpoint"), body).await
    }

    async fn change(&self, name: &str, change: Value) -> Reply {
        let path = broadcasts(&format!("s1/endpoint/{name}"));
        self.server.send_json("PUT", &path, &change).await
    }
}

fn next_mark() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn of_height(height: u32) -> Value {
    json!({"rendition": {"height": height}})
}

fn accepted(reply: &Reply) {
    assert!(reply.success(), "{}", reply.text());
}

fn refused(reply: &Reply, reason: &str) {
    assert_eq!((reply.status, reply.success()), (200, false));
    assert!(reply.text().contains(reason), "{}", reply.text());
}

#[tokio::test]
async fn what_fits_is_taken_and_the_next_is_refused_with_the_numbers() {
    let live = Live::start(480).await;
    accepted(&live.add("one", of_height(720)).await);
    // Equal ones are made once.
    accepted(&live.add("two", of_height(720)).await);
    let reply = live
        .add(
            "three",
            json!({"rendition": {"height": 720, "gopSeconds": 1}}),
        )
        .await;
    accepted(&reply);
    refused(
        &live.add("four", of_height(480)).await,
        "the shard of this broadcast has no room to re-encode for another destination: 854x480 at \
         30 frames a second needs about 10 % of a core, 48 % of 48 % are in use; remove one, lower \
         its size or preset, or add codec cores",
    );
    // What is passed on, and what may have to slip, costs nothing now.
    accepted(&live.add("five", json!({"reencode": "off"})).await);
    let auto = json!({"reencode": "auto", "rendition": {"height": 480}});
    accepted(&live.add("six", auto).await);
    let list = live.server.get(&broadcasts("s1")).await.json()["endPointList"].clone();
    assert_eq!(list.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_report_that_shows_a_rendition_takes_the_place_of_the_estimate() {
    let mut live = Live::start(480).await;
    accepted(&live.add("one", of_height(720)).await);
    let mut report = live.report();
    report.broadcasts[0].renditions = vec![rendition(RenditionSpec::of_height(720))];
    // It was cheaper than was thought.
    report.codec = codec(480, 100);
    live.say(report).await;
    let other = json!({"rendition": {"height": 720, "gopSeconds": 1}});
    accepted(&live.add("two", other).await);
}

#[tokio::test]
async fn on_a_full_machine_a_rendition_can_still_be_made_smaller() {
    let mut live = Live::start(300).await;
    accepted(&live.add("one", of_height(720)).await);
    let mut report = live.report();
    report.broadcasts[0].renditions = vec![rendition(RenditionSpec::of_height(720))];
    report.codec = codec(300, 290);
    live.say(report).await;
    refused(&live.add("two", of_height(480)).await, "no room");
    refused(&live.change("one", of_height(1_080)).await, "1920x1080");
    accepted(&live.change("one", of_height(480)).await);
}

#[tokio::test]
async fn what_is_removed_or_changed_before_a_report_shows_it_gives_its_room_back() {
    let live = Live::start(300).await;
    accepted(&live.add("one", of_height(720)).await);
    refused(&live.add("two", of_height(480)).await, "no room");
    accepted(&live.change("one", of_height(480)).await);
    accepted(&live.add("two", of_height(360)).await);
    refused(&live.add("three", of_height(718)).await, "no room");
    for name in ["one", "two"] {
        let path = broadcasts(&format!("s1/endpoint?endpointServiceId={name}"));
        accepted(&live.server.delete(&path).await);
    }
    accepted(&live.add("three", of_height(718)).await);
}

#[tokio::test]
async fn a_change_that_cannot_be_is_told_before_room_is_asked_for_and_takes_none() {
    let live = Live::start(300).await;
    let list = |height: u32| {
        let rendition = json!({"height": height});
        json!([{"rtmpUrl": "rtmp://h/a/k", "rendition": rendition}])
    };
    for height in [720, 1_080] {
        let wrong = json!({"endPointList": list(height), "encoderSettingsList": [{"hight": 1}]});
        let reply = live
            .server
            .send_json("PUT", &broadcasts("s1"), &wrong)
            .await;
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    accepted(&live.add("one", of_height(718)).await);
}

#[tokio::test]
async fn a_server_that_is_told_to_re_encode_nothing_refuses_without_asking_a_shard() {
    let server = Server::start_with_file("reencode_enabled = false").await;
    server.create("s1").await;
    let reason = "this server re-encodes nothing";
    for said in [
        of_height(720),
        json!({"reencode": "always"}),
        json!({"reencode": "auto", "rendition": {"height": 720}}),
    ] {
        let mut body = said;
        body["rtmpUrl"] = json!("rtmp://h/a/k");
        refused(
            &server.post(&broadcasts("s1/endpoint"), body.clone()).await,
            reason,
        );
        let list = json!({"endPointList": [body]});
        refused(
            &server.send_json("PUT", &broadcasts("s1"), &list).await,
            reason,
        );
        let created = server.post(&broadcasts("create"), list).await;
        assert_eq!(created.status, 400);
        assert!(created.text().contains(reason), "{}", created.text());
    }
    for (name, said) in [("off", json!({"reencode": "off"})), ("silent", json!({}))] {
        let mut body = said;
        body["rtmpUrl"] = json!(format!("rtmp://h/a/{name}"));
        accepted(&server.post(&broadcasts("s1/endpoint"), body).await);
    }
}

#[tokio::test]
async fn a_seventeenth_rendition_of_a_broadcast_is_refused() {
    let server = Server::start().await;
    server.create("s1").await;
    let add = async |height: u32, name: &str| {
        let mut body = of_height(height);
        body["rtmpUrl"] = json!(format!("rtmp://h/a/{name}"));
        server.post(&broadcasts("s1/endpoint"), body).await
    };
    for height in 0..16 {
        accepted(&add(100 + 2 * height, &height.to_string()).await);
    }
    accepted(&add(100, "equal").await);
    refused(&add(720, "other").await, "16 different renditions");
}

#[tokio::test]
async fn the_size_that_only_the_decoder_knows_is_counted() {
    let mut live = Live::start(200).await;
    let mut report = live.report();
    report.codec = codec(200, 0);
    let broadcast = &mut report.broadcasts[0];
    let video = broadcast
        .publisher
        .as_mut()
        .unwrap()
        .video
        .as_mut()
        .unwrap();
    (video.codec, video.width, video.height) = ("VP8".into(), 0, 0);
    broadcast.decoder = Some(DecoderStatus {
        codec: VideoCodec::Vp8,
        width: 720,
        height: 1_280,
        frames: 1,
        errors: 0,
        late: 0,
        cpu_us: 0,
    });
    live.say(report).await;
    let read = live.server.get(&broadcasts("s1")).await.json();
    assert_eq!(
        (&read["width"], &read["height"]),
        (&json!(720), &json!(1_280))
    );
    let info = live.server.get(&broadcasts("s1/stream-info")).await.json();
    assert_eq!(
        (&info[0]["videoWidth"], &info[0]["videoCodec"]),
        (&json!(720), &json!("VP8"))
    );
    refused(&live.add("one", of_height(1_280)).await, "720x1280");
}

#[tokio::test]
async fn a_list_of_destinations_does_not_go_round_the_bound() {
    let live = Live::start(300).await;
    let entry = |height: u32| {
        let rendition = json!({"height": height});
        json!({"rtmpUrl": format!("rtmp://h/a/{height}"), "rendition": rendition})
    };
    let both = json!({"endPointList": [entry(720), entry(480)]});
    let reply = live.server.send_json("PUT", &broadcasts("s1"), &both).await;
    refused(&reply, "needs about 37 % of a core");
    let one = json!({"endPointList": [entry(720)]});
    accepted(&live.server.send_json("PUT", &broadcasts("s1"), &one).await);
}

#[tokio::test]
async fn a_server_without_codecs_says_so_and_a_broadcast_without_a_shard_is_not_asked() {
    let live = Live::start(0).await;
    refused(&live.add("one", of_height(720)).await, "re-encodes nothing");
    refused(
        &live.add("one", json!({"reencode": "always"})).await,
        "built or started without codecs",
    );
    live.server.create("later").await;
    let mut body = of_height(720);
    body["rtmpUrl"] = json!("rtmp://h/a/k");
    accepted(&live.server.post(&broadcasts("later/endpoint"), body).await);
}
