//! Publishing by WHIP (RFC 9725), over real HTTP: sessions begin, trickle, restart ICE and end, each
//! refusal has its status, and a session is under the same rules as one of the WebSocket.

use std::time::Duration;

use shardcast_link::{BroadcastId, Command, EndReason, Event, Fault, Problem, SessionId};

use crate::server::{
    Reply, Server, broadcasts, publish, request,
    shard::{Shard, answer, live},
    until,
};

const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:first\r\n\
    a=ice-pwd:0123456789012345678901\r\n";
const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

async fn post(server: &Server, headers: &[(&str, &str)], body: &str) -> Reply {
    let path = "/StreamLick/whip/s1";
    request(server.http(), "POST", path, headers, body.as_bytes()).await
}

/// A session that publishes, its URL and its entity tag.
async fn published(server: &Server, shard: &mut Shard) -> (SessionId, String, String) {
    let (reply, session) = tokio::join!(post(server, &[SDP], OFFER), async {
        let session = shard.take_publish().await;
        shard.go_live(&session, &id()).await;
        shard.say(Event::Status(live(&id(), &session))).await;
        session
    });
    assert_eq!(reply.status, 201, "{}", reply.text());
    let url = reply.header("location").to_owned();
    (session, url, reply.header("etag").to_owned())
}

async fn patch(server: &Server, url: &str, etag: &str, body: &str) -> Reply {
    let headers = [
        FRAGMENT,
        ("If-Match", etag),
        ("Content-Length", &body.len().to_string()),
    ];
    request(server.http(), "PATCH", url, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_offer_is_answered_with_all_candidates_and_ends_by_its_url() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (reply, session) = tokio::join!(post(&server, &[SDP], OFFER), async {
        let session = shard.take_publish().await;
        shard.go_live(&session, &id()).await;
        session
    });
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert_eq!(
        reply.header("accept-patch"),
        "application/trickle-ice-sdpfrag"
    );
    assert!(
        reply.header("link").contains("rel=\"ice-server\""),
        "{}",
        reply.header("link")
    );
    assert!(
        reply.text().contains("a=candidate:1 1 udp"),
        "{}",
        reply.text()
    );
    let exposed = reply
        .header("access-control-expose-headers")
        .to_ascii_lowercase();
    assert!(
        exposed.contains("location") && exposed.contains("etag"),
        "{exposed}"
    );
    let url = reply.header("location").to_owned();
    assert!(url.starts_with("/StreamLick/whip/s1/"), "{url}");
    assert_eq!(server.delete(&url).await.status, 200);
    let command = shard.next().await;
    assert!(
        matches!(&command, Command::Unpublish { session: ended } if *ended == session),
        "{command:?}"
    );
    assert_eq!(server.delete(&url).await.status, 404, "it has ended");
}

#[tokio::test]
async fn candidates_go_to_the_shard_and_foreign_ones_do_not() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (session, url, etag) = published(&server, &mut shard).await;
    let body = "a=ice-ufrag:first\r\na=ice-pwd:x\r\na=candidate:9 1 udp 1 192.0.2.9 9 typ host\r\n";
    let reply = request(
        server.http(),
        "PATCH",
        &url,
        &[FRAGMENT, ("Content-Length", &body.len().to_string())],
        body.as_bytes(),
    )
    .await;
    assert_eq!(reply.status, 428, "no If-Match");
    assert_eq!(patch(&server, &url, "\"other\"", body).await.status, 412);
    assert_eq!(
        patch(&server, &format!("{url}0"), &etag, body).await.status,
        404
    );
    assert_eq!(patch(&server, &url, &etag, body).await.status, 204);
    match shard.next().await {
        Command::Candidate {
            session: to,
            candidate,
        } => {
            assert_eq!(to, session);
            assert_eq!(candidate, "candidate:9 1 udp 1 192.0.2.9 9 typ host");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ice_is_restarted_and_the_session_goes_on_when_that_is_refused() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (session, url, etag) = published(&server, &mut shard).await;
    let restart = |n: u32| format!("a=ice-ufrag:again{n}\r\na=ice-pwd:secret{n}\r\n");
    let (body, answered) = (restart(1), answer(&session, true));
    let (reply, sdp) = tokio::join!(patch(&server, &url, "*", &body), async {
        let Command::Renegotiate { sdp, .. } = shard.next().await else {
            panic!("not a further offer");
        };
        shard.say(answered).await;
        sdp
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        sdp.contains("a=ice-ufrag:again1\r\na=ice-pwd:secret1\r\n"),
        "{sdp}"
    );
    assert!(reply.text().contains("a=candidate:1"), "{}", reply.text());
    let renewed = reply.header("etag").to_owned();
    assert_ne!(renewed, etag);
    assert_eq!(
        patch(&server, &url, &etag, "").await.status,
        412,
        "the old ICE session"
    );
    let refused = Event::NotRenegotiated {
        session: session.clone(),
        problem: Problem {
            fault: Fault::Publisher,
            message: "not like this".into(),
        },
    };
    let body = restart(2);
    let (reply, ()) = tokio::join!(patch(&server, &url, "*", &body), async {
        assert!(matches!(shard.next().await, Command::Renegotiate { .. }));
        shard.say(refused).await;
    });
    assert_eq!((reply.status, reply.text().trim()), (400, "not like this"));
    assert_eq!(
        patch(&server, &url, &renewed, "").await.status,
        204,
        "it goes on"
    );
}

#[tokio::test]
async fn a_session_whose_media_ends_is_gone() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (session, url, etag) = published(&server, &mut shard).await;
    shard.ended(session, &id(), EndReason::PeerClosed).await;
    until("the session to be gone", async || {
        (patch(&server, &url, &etag, "").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_its_status() {
    let server = Server::start().await;
    let text = ("Content-Type", "text/plain");
    let long = "x".repeat(300_000);
    for (path, headers, body, status) in [
        ("/Nobody/whip/s1", &[SDP][..], OFFER, 404),
        ("/StreamLick/whip/a%20b", &[SDP], OFFER, 400),
        ("/StreamLick/whip/s1", &[text], OFFER, 415),
        ("/StreamLick/whip/s1", &[], OFFER, 415),
        ("/StreamLick/whip/s1", &[SDP], &long, 413),
        ("/StreamLick/whip/s1", &[SDP], "", 400),
        (
            "/StreamLick/whip/s1",
            &[SDP, ("Authorization", &long[..9_000])],
            OFFER,
            400,
        ),
    ] {
        let reply = request(server.http(), "POST", path, headers, body.as_bytes()).await;
        assert_eq!(
            reply.status,
            status,
            "{path} {headers:.60?}: {}",
            reply.text()
        );
    }
    let path = "/StreamLick/whip/s1";
    assert_eq!(server.get(path).await.status, 405);
    let preflight = [
        ("Origin", "https://elsewhere.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    let reply = request(server.http(), "OPTIONS", path, &preflight, b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn tokens_and_streams_in_use_are_refused_as_on_the_websocket() {
    let server = Server::start_with(|settings| {
        for application in settings.application.values_mut() {
            application.publish_token_control_enabled = true;
        }
    })
    .await;
    let mut shard = Shard::join(&server).await;
    server.create("s1").await;
    for headers in [&[SDP][..], &[SDP, ("Authorization", "Bearer wrong")]] {
        let reply = post(&server, headers, OFFER).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    let token = server
        .get(&broadcasts("s1/token?expireDate=4000000000&type=publish"))
        .await
        .json();
    let bearer = format!("Bearer {}", token["tokenId"].as_str().unwrap());
    let authorised = [SDP, ("Authorization", bearer.as_str())];
    let (reply, _) = tokio::join!(post(&server, &authorised, OFFER), async {
        let session = shard.take_publish().await;
        shard.go_live(&session, &id()).await;
        shard.say(Event::Status(live(&id(), &session))).await;
    });
    assert_eq!(reply.status, 201, "{}", reply.text());
    let reply = post(&server, &authorised, OFFER).await;
    assert_eq!(reply.status, 409, "{}", reply.text());
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_frees_the_stream() {
    let server = Server::start().await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), post(&server, &[SDP], OFFER));
    assert!(waiting.await.is_err(), "there is no shard to answer");
    let mut client = server.connect().await;
    until("the stream to be free", async || {
        (client.ask(publish("s1")).await["command"] == "start").then_some(())
    })
    .await;
}
