//! Viewers by the SDK's `play`, over a real socket: the server offers, the client answers, tokens and
//! limits are kept, and every viewer is ended once, whoever ends it.

use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, Command, Event, Fault, Problem, SessionId, ViewEndReason, ViewRefusal,
};

use crate::server::{
    Client, Server, broadcasts, offer, publish,
    shard::{Shard, live},
    stop, until,
};

const OFFER: &str = "v=0\r\nm=audio 9 X 111\r\na=mid:abc\r\nm=video 9 X 108\r\na=mid:def\r\n";

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn play(token: &str) -> Value {
    json!({"command": "play", "streamId": "s1", "token": token, "room": "", "trackList": [],
        "subscriberId": "", "subscriberCode": "", "viewerInfo": "", "role": "", "userPublishId": ""})
}

/// A live stream, and a client whose `play` has reached the shard.
async fn playing(server: &Server, shard: &mut Shard) -> (Client, SessionId) {
    let mut client = server.connect().await;
    client.send(play("")).await;
    let session = view(shard).await;
    (client, session)
}

async fn view(shard: &mut Shard) -> SessionId {
    match shard.next().await {
        Command::View {
            session,
            broadcast,
            offer,
            ..
        } => {
            assert_eq!((broadcast, offer), (id(), None));
            session
        }
        other => panic!("not a view: {other:?}"),
    }
}

async fn described(shard: &mut Shard, session: &SessionId) {
    shard
        .say(Event::ViewDescribed {
            session: session.clone(),
            sdp: OFFER.into(),
            candidates: vec!["candidate:1 1 udp 2 127.0.0.1 50000 typ host".into()],
        })
        .await;
}

async fn ended(shard: &mut Shard, session: &SessionId, reason: ViewEndReason) {
    let (session, broadcast) = (session.clone(), id());
    shard
        .say(Event::ViewEnded {
            session,
            broadcast,
            reason,
        })
        .await;
}

#[tokio::test]
async fn the_server_offers_and_the_answer_and_candidates_reach_the_shard() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (mut client, session) = playing(&server, &mut shard).await;
    described(&mut shard, &session).await;
    let offer = client.next().await;
    assert_eq!(offer["command"], "takeConfiguration");
    assert_eq!(
        (&offer["type"], &offer["sdp"]),
        (&json!("offer"), &json!(OFFER))
    );
    assert_eq!(offer["idMapping"], json!({"abc": "s1", "def": "s1"}));
    let candidate = client.next().await;
    assert_eq!(candidate["command"], "takeCandidate");
    assert_eq!(
        (&candidate["label"], &candidate["id"]),
        (&json!(0), &json!("abc"))
    );
    client
        .send(
            json!({"command": "takeConfiguration", "streamId": "s1", "type": "answer",
            "sdp": "v=0\r\n"}),
        )
        .await;
    let (of, sdp) = (session.clone(), "v=0\r\n".to_owned());
    assert_eq!(shard.next().await, Command::ViewAnswer { session: of, sdp });
    let candidate = "candidate:7 1 udp 1 192.0.2.1 9 typ host".to_owned();
    client
        .send(
            json!({"command": "takeCandidate", "streamId": "s1", "label": 0, "id": "0",
            "candidate": candidate}),
        )
        .await;
    let of = session.clone();
    assert_eq!(
        shard.next().await,
        Command::Candidate {
            session: of,
            candidate
        }
    );
}

#[tokio::test]
async fn a_viewer_is_told_its_start_and_its_end_and_leaves_tracks_out() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (mut client, session) = playing(&server, &mut shard).await;
    let (of, broadcast) = (session.clone(), id());
    shard
        .say(Event::Viewing {
            session: of,
            broadcast,
        })
        .await;
    assert_eq!(client.next().await["definition"], "play_started");
    client
        .send(
            json!({"command": "toggleVideo", "streamId": "s1", "trackId": "s1",
            "enabled": false}),
        )
        .await;
    let tracks = Command::ViewTracks {
        session: session.clone(),
        video: false,
        audio: true,
    };
    assert_eq!(shard.next().await, tracks);
    assert_eq!(client.ask(stop("s1")).await["definition"], "play_finished");
    assert_eq!(
        shard.next().await,
        Command::EndView {
            session: session.clone()
        }
    );
    ended(&mut shard, &session, ViewEndReason::Requested).await;
    client.nothing_more().await;
}

#[tokio::test]
async fn a_viewer_asks_for_a_height_of_the_ladder_and_is_told_what_it_is_sent() {
    let ladder = r#"encoderSettings = "1080,4000000,128000,480,900000,64000,240,400000,64000""#;
    let server = Server::start_with_file(ladder).await;
    let mut shard = Shard::join(&server).await;
    let (_publisher, publishes) = shard.live(server.http(), &id()).await;
    shard.say(Event::Status(live(&id(), &publishes))).await;
    let (mut client, session) = playing(&server, &mut shard).await;
    until("the status", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["height"] == 720).then_some(())
    })
    .await;
    let info = json!({"command": "getStreamInfo", "streamId": "s1"});
    let told = client.ask(info).await;
    let sizes = told["streamInfo"].as_array().unwrap().iter();
    let sizes: Vec<_> = sizes
        .map(|it| (it["streamWidth"].clone(), it["streamHeight"].clone()))
        .collect();
    let expected = [(1280, 720), (852, 480), (426, 240)];
    assert_eq!(
        sizes,
        expected.map(|(width, height)| (json!(width), json!(height)))
    );
    assert_eq!(told["streamInfo"][1]["videoBitrate"], 900_000);

    for (asked, height) in [
        (json!(480), Some(480)),
        (json!("240"), Some(240)),
        (json!(0), None),
        (json!("auto"), None),
        (json!(-1), None),
    ] {
        let force =
            json!({"command": "forceStreamQuality", "streamId": "s1", "streamHeight": asked});
        client.send(force).await;
        let session = session.clone();
        assert_eq!(shard.next().await, Command::ViewQuality { session, height });
    }
    let switched = Event::ViewSwitched {
        session: session.clone(),
        height: 480,
    };
    shard.say(switched).await;
    let told = client.next().await;
    assert_eq!(
        (
            &told["definition"],
            &told["streamHeight"],
            &told["streamId"]
        ),
        (&json!("resolutionChangeInfo"), &json!(480), &json!("s1"))
    );
}

#[tokio::test]
async fn a_shard_is_told_the_ladder_of_the_broadcast_or_of_its_application() {
    let ladder = r#"encoderSettings = "480,900000,64000""#;
    let server = Server::start_with_file(ladder).await;
    let mut shard = Shard::join(&server).await;
    let mut publishers = Vec::new();
    let own = json!([{"height": 360, "videoBitrate": 700_000, "audioBitrate": 64_000}]);
    for (stream, body, height) in [
        ("s1", json!({"streamId": "s1"}), 480),
        (
            "s2",
            json!({"streamId": "s2", "encoderSettingsList": own}),
            360,
        ),
    ] {
        let created = server.post(&broadcasts("create"), body).await;
        assert_eq!(created.status, 200, "{}", created.text());
        let mut publisher = server.connect().await;
        publisher.ask(publish(stream)).await;
        publisher.send(offer(stream)).await;
        publishers.push(publisher);
        let Command::Want { broadcast } = shard.next().await else {
            panic!("what is wanted comes first");
        };
        let heights: Vec<u32> = broadcast.ladder.iter().map(|rung| rung.height).collect();
        assert_eq!(heights, [height]);
        assert!(matches!(shard.next().await, Command::Publish { .. }));
    }
}

#[tokio::test]
async fn a_token_for_playing_is_needed_where_the_settings_say_so() {
    let server = Server::start_with(|settings| {
        for application in settings.application.values_mut() {
            application.play_token_control_enabled = true;
        }
    })
    .await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let token = async |kind: &str| {
        let path = broadcasts(&format!("s1/token?expireDate=4000000000&type={kind}"));
        let token = server.get(&path).await.json()["tokenId"].clone();
        token.as_str().unwrap().to_owned()
    };
    let mut client = server.connect().await;
    assert_eq!(client.error(play("")).await, "unauthorized_access");
    let publish = token("publish").await;
    assert_eq!(client.error(play(&publish)).await, "unauthorized_access");
    client.send(play(&token("play").await)).await;
    view(&mut shard).await;
}

#[tokio::test]
async fn a_stream_takes_as_many_viewers_as_its_limit_says() {
    let server = Server::start_with(|settings| {
        for application in settings.application.values_mut() {
            application.webrtc_viewer_limit = Some(1);
        }
    })
    .await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (mut first, session) = playing(&server, &mut shard).await;
    let mut second = server.connect().await;
    assert_eq!(second.error(play("")).await, "viewerLimitReached");
    assert_eq!(first.error(play("")).await, "already_playing");
    first.ask(stop("s1")).await;
    assert_eq!(shard.next().await, Command::EndView { session });
    second.send(play("")).await;
    view(&mut shard).await;
}

#[tokio::test]
async fn a_refusal_of_the_shard_has_its_word() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    for (refusal, word) in [
        (ViewRefusal::NotOnAir, "no_stream_exist"),
        (ViewRefusal::Full, "viewerLimitReached"),
        (ViewRefusal::Unplayable, "webrtc_not_enabled"),
        (ViewRefusal::BadDescription, "notSetRemoteDescription"),
        (ViewRefusal::Internal, "server_error_check_logs"),
    ] {
        let (mut client, session) = playing(&server, &mut shard).await;
        let problem = Problem {
            fault: Fault::Operator,
            message: "why".into(),
        };
        shard
            .say(Event::ViewRefused {
                session,
                refusal,
                problem,
            })
            .await;
        let told = client.next().await;
        assert_eq!(
            (&told["command"], &told["definition"]),
            (&json!("error"), &json!(word))
        );
    }
}

#[tokio::test]
async fn the_end_of_a_viewer_is_told_unless_the_sdk_tries_again_by_itself() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    for (reason, word) in [
        (ViewEndReason::BroadcastEnded, "play_finished"),
        (ViewEndReason::PeerClosed, "play_finished"),
        (ViewEndReason::Unplayable, "webrtc_not_enabled"),
    ] {
        let (mut client, session) = playing(&server, &mut shard).await;
        ended(&mut shard, &session, reason).await;
        assert_eq!(client.next().await["definition"], word);
        // The `stop` behind it is a straggler.
        client.send(stop("s1")).await;
        client.nothing_more().await;
    }
    let (mut client, session) = playing(&server, &mut shard).await;
    ended(&mut shard, &session, ViewEndReason::Lost).await;
    client.nothing_more().await;
}

#[tokio::test]
async fn a_socket_that_closes_ends_its_viewers_and_a_new_engine_sends_them_back() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (client, session) = playing(&server, &mut shard).await;
    drop(client);
    assert_eq!(shard.next().await, Command::EndView { session });
    let (mut client, _) = playing(&server, &mut shard).await;
    shard.die();
    shard.accept(shardcast_link::ShardStatus::default()).await;
    assert_eq!(client.next().await["definition"], "server_will_stop");
    assert_eq!(client.close_code().await, 1012);
}

#[tokio::test]
async fn who_is_back_behind_a_new_engine_before_the_publisher_is_sent_the_offer_when_that_is() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (mut before, _) = shard.live(server.http(), &id()).await;
    shard.die();
    shard.accept(shardcast_link::ShardStatus::default()).await;
    assert_eq!(before.next().await["definition"], "server_will_stop");
    let (mut viewer, session) = playing(&server, &mut shard).await;
    shard
        .say(Event::ViewRefused {
            session: session.clone(),
            refusal: ViewRefusal::NotOnAir,
            problem: Problem {
                fault: Fault::Publisher,
                message: "the broadcast is not on air".into(),
            },
        })
        .await;
    let mut publisher = server.connect().await;
    assert_eq!(publisher.ask(publish("s1")).await["command"], "start");
    publisher.send(offer("s1")).await;
    let publishing = shard.take_publish().await;
    shard.go_live(&publishing, &id()).await;
    assert_eq!(view(&mut shard).await, session, "it waited");
    described(&mut shard, &session).await;
    assert_eq!(viewer.next().await["type"], "offer");
}

#[tokio::test]
async fn viewers_are_counted_in_the_broadcast_and_its_statistics() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut shard = Shard::join(&server).await;
    let (_publisher, session) = shard.live(server.http(), &id()).await;
    let mut status = live(&id(), &session);
    status.broadcasts[0].viewers = 3;
    status.broadcasts[0].rtmp_viewers = 2;
    status.broadcasts[0].data.lost = 7;
    shard.say(Event::Status(status)).await;
    until("three viewers", async || {
        let broadcast = server.get(&broadcasts("s1")).await.json();
        (broadcast["webRTCViewerCount"] == 3).then_some(())
    })
    .await;
    let statistics = server.get(&broadcasts("s1/broadcast-statistics")).await;
    assert_eq!(
        statistics.json(),
        json!({"totalRTMPWatchersCount": 2, "totalHLSWatchersCount": 0,
            "totalWebRTCWatchersCount": 3, "totalDASHWatchersCount": 0})
    );
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("shardcast_viewers{shard=\"0\"} 5"),
        "{metrics}"
    );
    assert!(
        metrics.contains("shardcast_data_messages_lost{shard=\"0\"} 7"),
        "{metrics}"
    );
}
