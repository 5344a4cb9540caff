//! Watching by WHEP, over real HTTP: the shard answers the client's offer, candidates and the end reach it,
//! and each refusal has its status.

use shardcast_link::{BroadcastId, Command, Event, Fault, Problem, SessionId, ViewRefusal};

use crate::server::{
    Reply, Server, broadcasts, request,
    shard::{Shard, answer},
};

const OFFER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 108\r\na=mid:0\r\na=ice-ufrag:first\r\n\
    a=ice-pwd:0123456789012345678901\r\n";
const SDP: (&str, &str) = ("Content-Type", "application/sdp");

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

async fn post(server: &Server, headers: &[(&str, &str)], body: &str) -> Reply {
    let path = "/StreamLick/whep/s1";
    request(server.http(), "POST", path, headers, body.as_bytes()).await
}

async fn take_view(shard: &mut Shard) -> SessionId {
    match shard.next().await {
        Command::View { session, offer, .. } => {
            assert_eq!(offer.as_deref(), Some(OFFER));
            session
        }
        other => panic!("not a view: {other:?}"),
    }
}

async fn describe(shard: &mut Shard, session: &SessionId) {
    let Event::Answer {
        sdp, candidates, ..
    } = answer(session, true)
    else {
        panic!("an answer");
    };
    let session = session.clone();
    shard
        .say(Event::ViewDescribed {
            session,
            sdp,
            candidates,
        })
        .await;
}

/// An offer that the shard answers.
async fn answered(server: &Server, shard: &mut Shard) -> (Reply, SessionId) {
    tokio::join!(post(server, &[SDP], OFFER), async {
        let session = take_view(shard).await;
        describe(shard, &session).await;
        session
    })
}

async fn patch(server: &Server, url: &str, etag: &str, body: &str) -> Reply {
    let length = body.len().to_string();
    let headers = [
        ("Content-Type", "application/trickle-ice-sdpfrag"),
        ("If-Match", etag),
        ("Content-Length", &length),
    ];
    request(server.http(), "PATCH", url, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_offer_to_receive_is_answered_and_its_session_trickles_and_ends() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (reply, session) = answered(&server, &mut shard).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert!(reply.text().contains("a=candidate:1 1 udp"));
    let (url, etag) = (reply.header("location"), reply.header("etag"));
    assert!(url.starts_with("/StreamLick/whep/s1/"), "{url}");
    let candidate = "candidate:7 1 udp 1 192.0.2.1 9 typ host".to_owned();
    let fragment = format!("a=ice-ufrag:first\r\na={candidate}\r\n");
    assert_eq!(patch(&server, url, etag, &fragment).await.status, 204);
    let of = session.clone();
    let trickled = Command::Candidate {
        session: of,
        candidate,
    };
    assert_eq!(shard.next().await, trickled);
    assert_eq!(server.delete(url).await.status, 200);
    assert_eq!(shard.next().await, Command::EndView { session });
    assert_eq!(server.delete(url).await.status, 404);
}

#[tokio::test]
async fn ice_is_restarted_and_the_session_goes_on_when_that_is_refused() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let (reply, session) = answered(&server, &mut shard).await;
    let (url, etag) = (reply.header("location"), reply.header("etag"));
    let restart = "a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\n";
    let (reply, sdp) = tokio::join!(patch(&server, url, "*", restart), async {
        let Command::Renegotiate { sdp, .. } = shard.next().await else {
            panic!("not a further offer");
        };
        describe(&mut shard, &session).await;
        sdp
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        sdp.contains("a=ice-ufrag:other\r\na=ice-pwd:0123456789"),
        "{sdp}"
    );
    assert!(reply.text().contains("a=candidate:1"), "{}", reply.text());
    let renewed = reply.header("etag").to_owned();
    assert_eq!(patch(&server, url, etag, "").await.status, 412);
    let refused = Event::NotRenegotiated {
        session: session.clone(),
        problem: Problem {
            fault: Fault::Publisher,
            message: "not like this".into(),
        },
    };
    let again = restart.replace("other", "again");
    let (reply, ()) = tokio::join!(patch(&server, url, "*", &again), async {
        assert!(matches!(shard.next().await, Command::Renegotiate { .. }));
        shard.say(refused).await;
    });
    assert_eq!((reply.status, reply.text().trim()), (400, "not like this"));
    assert_eq!(patch(&server, url, &renewed, "").await.status, 204);
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    let server = Server::start_with(|settings| {
        for application in settings.application.values_mut() {
            application.play_token_control_enabled = true;
        }
    })
    .await;
    let mut shard = Shard::join(&server).await;
    server.create("s1").await;
    assert_eq!(post(&server, &[SDP], OFFER).await.status, 403);
    let path = broadcasts("s1/token?expireDate=4000000000&type=play");
    let token = server.get(&path).await.json()["tokenId"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let headers = [SDP, ("Authorization", bearer.as_str())];
    assert_eq!(post(&server, &headers, OFFER).await.status, 404);
    assert_eq!(post(&server, &headers[1..], OFFER).await.status, 415);
    assert_eq!(post(&server, &headers, "").await.status, 400);
    let _publisher = shard.live(server.http(), &id()).await;
    for (refusal, status) in [
        (ViewRefusal::NotOnAir, 404),
        (ViewRefusal::Full, 503),
        (ViewRefusal::Unplayable, 406),
        (ViewRefusal::BadDescription, 400),
        (ViewRefusal::Internal, 500),
    ] {
        let (reply, ()) = tokio::join!(post(&server, &headers, OFFER), async {
            let session = take_view(&mut shard).await;
            let problem = Problem {
                fault: Fault::Publisher,
                message: "why".into(),
            };
            let refused = Event::ViewRefused {
                session,
                refusal,
                problem,
            };
            shard.say(refused).await;
        });
        assert_eq!(reply.status, status, "{refusal:?}: {}", reply.text());
    }
}
