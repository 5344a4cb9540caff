//! HLS from outside: a broadcast is packaged from the first request on and until nobody asks; playlists, segments and
//! parts are served with what players and caches need; who waits for a part is answered when it is there; tokens and
//! limits are kept; and what cannot be served is refused in words.

mod ladder;

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use serde_json::json;
use shardcast_link::{
    BroadcastId, Command, WantedHls,
    fragment::{self, FragmentHead, RungName, SegmentHead},
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    time::{Instant, sleep, timeout},
};

use crate::server::{
    PATIENCE, Reply, Server, broadcasts, receiver::Receiver, request, shard::Shard, until,
};

const INIT: &[u8] = b"an init segment";

/// The engine's side of the fragment socket.
struct Engine {
    listener: UnixListener,
    control: Option<UnixStream>,
}

impl Engine {
    fn listen(server: &Server) -> Self {
        let folder = server.link_dir().join("link");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(fragment::FILE_NAME)).unwrap();
        let control = None;
        Self { listener, control }
    }

    /// Hands a part of `s1` over: its media is `segment.part`.
    async fn part(&mut self, segment: u64, part: u32, last: bool) {
        self.part_of(None, None, (segment, part, last)).await;
    }

    /// The same of a rung, or beside `made` rungs.
    async fn part_of(
        &mut self,
        rung: Option<RungName>,
        made: Option<&[RungName]>,
        (segment, part, last): (u64, u32, bool),
    ) {
        let begins = (part == 0).then(|| SegmentHead {
            at_unix_ms: 1_795_976_430_000,
            at_us: 5_000_000,
            discontinuity: false,
            discontinuities: 0,
            init_bytes: INIT.len() as u32,
            codecs: "avc1.42c01f,mp4a.40.2".into(),
            width: 640,
            height: 360,
            wanted_ms: 2_000,
            frames_per_second: 30,
            rungs: made.map(<[_]>::to_vec),
        });
        let head = FragmentHead {
            broadcast: id(),
            rung,
            segment,
            part,
            duration_us: 300_000,
            independent: part == 0,
            last,
            begins,
            ends: false,
        };
        let init = if part == 0 { INIT } else { b"" };
        self.write(&head, &[init, media(segment, part).as_bytes()].concat())
            .await;
    }

    async fn end(&mut self) {
        let head = FragmentHead {
            broadcast: id(),
            rung: None,
            segment: 0,
            part: 0,
            duration_us: 0,
            independent: false,
            last: true,
            begins: None,
            ends: true,
        };
        self.write(&head, b"").await;
    }

    async fn write(&mut self, head: &FragmentHead, body: &[u8]) {
        if self.control.is_none() {
            let accepted = timeout(PATIENCE, self.listener.accept()).await;
            self.control = Some(accepted.expect("no control").unwrap().0);
        }
        let control = self.control.as_mut().unwrap();
        let head = fragment::encode_head(head, body.len()).unwrap();
        control.write_all(&head).await.unwrap();
        control.write_all(body).await.unwrap();
    }

    /// Segments of two parts.
    async fn segments(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.part(number, 0, false).await;
            self.part(number, 1, true).await;
        }
    }
}

fn media(segment: u64, part: u32) -> String {
    format!("media {segment}.{part};")
}

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn file(name: &str) -> String {
    format!("/StreamLick/streams/{name}")
}

async fn get(server: &Server, name: &str, headers: &[(&str, &str)]) -> Reply {
    request(server.http(), "GET", &file(name), headers, b"").await
}

/// Whether the shard is to package the broadcast, as it is told next.
async fn wanted(shard: &mut Shard) -> bool {
    wanted_hls(shard).await.is_some()
}

async fn wanted_hls(shard: &mut Shard) -> Option<WantedHls> {
    loop {
        if let Command::Want { broadcast } = shard.next().await {
            return broadcast.hls;
        }
    }
}

/// The first request, answered with the segments that it brings about.
async fn first(server: &Server, shard: &mut Shard, engine: &mut Engine, name: &str) -> Reply {
    let asks = get(server, name, &[]);
    let comes = async {
        assert!(wanted(shard).await);
        engine.segments(100..103).await;
        engine.part(103, 0, false).await;
    };
    let (reply, ()) = tokio::join!(asks, comes);
    assert_eq!(reply.status, 200, "{}", reply.text());
    // The last part may have come behind the answer.
    until("the last part", async || {
        let reply = get(server, name, &[]).await;
        reply.text().contains("s1000000103.0.m4s").then_some(reply)
    })
    .await
}

#[tokio::test]
async fn the_first_request_has_a_broadcast_packaged_and_files_are_what_the_shard_has_made() {
    let server = Server::start().await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let reply = get(&server, "s1.m3u8", &[]).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(reply.text().contains("not live"), "{}", reply.text());
    let _publisher = shard.live(server.http(), &id()).await;
    let reply = first(&server, &mut shard, &mut engine, "s1.m3u8").await;
    assert_eq!(
        reply.header("content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(reply.header("cache-control"), "no-cache");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let text = reply.text();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:100\n"), "{text}");
    let part = get(&server, "s1000000101.1.m4s", &[]).await;
    assert_eq!(part.text(), media(101, 1));
    let segment = get(&server, "s1000000101.m4s", &[]).await;
    assert_eq!(segment.text(), media(101, 0) + &media(101, 1));
    assert_eq!(segment.header("content-type"), "video/mp4");
    assert_eq!(
        segment.header("cache-control"),
        "public, max-age=3600, immutable"
    );
    let length = segment.text().len().to_string();
    assert_eq!(segment.header("content-length"), length);
    let map = text
        .lines()
        .find(|line| line.starts_with("#EXT-X-MAP"))
        .unwrap();
    let init = map.split('"').nth(1).unwrap();
    assert_eq!(get(&server, init, &[]).await.body, INIT);
    for name in [
        "s1000000099.m4s",
        "s1000000103.m4s",
        "s1000000101.2.m4s",
        "nothing.txt",
    ] {
        let reply = get(&server, name, &[]).await;
        assert_eq!(reply.status, 404, "{name}");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn the_multivariant_playlist_leads_to_the_stream_and_viewers_are_counted_up_to_the_end() {
    let server = Server::start().await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    first(&server, &mut shard, &mut engine, "s1.m3u8").await;
    let master = get(&server, "s1_adaptive.m3u8", &[]).await;
    let text = master.text();
    assert!(
        text.contains(
            "CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=30.000\ns1.m3u8\n"
        ),
        "{text}"
    );
    let master = get(&server, "ll-hls/s1/s1__master.m3u8", &[]).await;
    assert!(
        master.text().ends_with("\n../../s1.m3u8\n"),
        "{}",
        master.text()
    );
    // Who watches is counted once.
    let read = server
        .get(&broadcasts("s1/broadcast-statistics"))
        .await
        .json();
    assert_eq!(read["totalHLSWatchersCount"], 1);
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["hlsViewerCount"],
        1
    );
    let metrics = server.get("/metrics").await.text();
    for row in ["shardcast_hls_broadcasts 1\n", "shardcast_hls_viewers 1\n"] {
        assert!(metrics.contains(row), "{row}");
    }
    engine.end().await;
    until("the end of the playlist", async || {
        let reply = get(&server, "s1.m3u8", &[]).await;
        reply.text().ends_with("#EXT-X-ENDLIST\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn caches_and_browsers_are_served_alike() {
    let server = Server::start().await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let plain = first(&server, &mut shard, &mut engine, "s1.m3u8").await;
    let packed = get(&server, "s1.m3u8", &[("Accept-Encoding", "br, gzip;q=0.5")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.header("vary"), "accept-encoding");
    let mut text = String::new();
    GzDecoder::new(packed.body.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.text());
    for name in ["s1.m3u8", "s1000000101.m4s"] {
        let tag = get(&server, name, &[]).await.header("etag").to_owned();
        let again = get(&server, name, &[("If-None-Match", &tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
        let head = request(server.http(), "HEAD", &file(name), &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{name}");
        let reply = request(server.http(), "DELETE", &file(name), &[], b"").await;
        assert_eq!(reply.status, 403);
        let preflight = [
            ("Origin", "https://player.example"),
            ("Access-Control-Request-Method", "GET"),
        ];
        let reply = request(server.http(), "OPTIONS", &file(name), &preflight, b"").await;
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    // A browser is told apart by a cookie, which a request that caches share does not set.
    let cookie = plain.header("set-cookie").to_owned();
    assert!(cookie.contains("Path=/StreamLick/streams/"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let again = get(&server, "s1.m3u8", &[("Cookie", cookie)]).await;
    assert_eq!(again.header("set-cookie"), "");
    let blocking = get(&server, "s1.m3u8?_HLS_msn=102", &[]).await;
    assert_eq!(blocking.header("set-cookie"), "");
    assert_eq!(blocking.header("cache-control"), "public, max-age=2");
}

#[tokio::test]
async fn who_waits_for_a_part_or_its_playlist_is_answered_when_it_is_there() {
    let server = Server::start().await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    first(&server, &mut shard, &mut engine, "s1.m3u8").await;
    let began = Instant::now();
    let playlist = get(&server, "s1.m3u8?_HLS_msn=103&_HLS_part=1", &[]);
    let hinted = get(&server, "s1000000103.1.m4s", &[]);
    let comes = async {
        sleep(Duration::from_millis(300)).await;
        engine.part(103, 1, true).await;
    };
    let (playlist, hinted, ()) = tokio::join!(playlist, hinted, comes);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(
        playlist.text().contains("s1000000103.1.m4s\"\n"),
        "{}",
        playlist.text()
    );
    assert_eq!(hinted.text(), media(103, 1));
    for (query, words) in [
        ("_HLS_msn=106", "too far ahead"),
        ("_HLS_msn=soon", "_HLS_msn must be a whole number"),
        ("_HLS_part=1", "needs _HLS_msn"),
    ] {
        let reply = get(&server, &format!("s1.m3u8?{query}"), &[]).await;
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains(words), "{}", reply.text());
    }
    // Nothing comes any more.
    let reply = timeout(PATIENCE, get(&server, "s1.m3u8?_HLS_msn=104", &[]))
        .await
        .unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
}

#[tokio::test]
async fn a_token_is_needed_where_it_is_asked_for_and_goes_with_each_address() {
    let file = "playTokenControlEnabled = true";
    let server = Server::start_with_file(file).await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let reply = get(&server, "s1.m3u8", &[]).await;
    assert_eq!(reply.status, 403);
    assert!(
        reply.text().contains("unauthorized_access"),
        "{}",
        reply.text()
    );
    let path = broadcasts("s1/token?expireDate=4000000000&type=play");
    let token = server.get(&path).await.json()["tokenId"]
        .as_str()
        .unwrap()
        .to_owned();
    let name = format!("s1.m3u8?token={token}");
    let playlist = first(&server, &mut shard, &mut engine, &name).await;
    assert!(
        playlist
            .text()
            .contains(&format!("s1000000101.m4s?token={token}\n"))
    );
    let segment = get(&server, &format!("s1000000101.m4s?token={token}"), &[]).await;
    assert_eq!(segment.status, 200);
    assert!(segment.header("cache-control").starts_with("private"));
    assert_eq!(get(&server, "s1000000101.m4s", &[]).await.status, 403);
    // Who watches already goes on when the token is revoked, and nobody else begins.
    let revoked = server.delete(&broadcasts("s1/tokens")).await;
    assert!(revoked.success());
    assert_eq!(get(&server, &name, &[]).await.status, 200);
    let other = get(&server, &name, &[("User-Agent", "another")]).await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn an_application_may_be_without_hls_and_a_broadcast_may_limit_its_viewers() {
    let text = "hls_always = true\n[application.Off]\nhlsMuxingEnabled = false\n";
    let server =
        Server::start_with_file(&format!("applications = [\"StreamLick\", \"Off\"]\n{text}")).await;
    let reply = server.get("/Off/streams/s1.m3u8").await;
    assert_eq!(reply.status, 404);
    assert!(
        reply.text().contains("hlsMuxingEnabled is off"),
        "{}",
        reply.text()
    );
    assert_eq!(server.get("/Nothing/streams/s1.m3u8").await.status, 404);
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let body = json!({"streamId": "s1", "name": "test", "type": "liveStream", "hlsViewerLimit": 1});
    server.post(&broadcasts("create"), body).await;
    // It is packaged before anybody asks.
    let publisher = shard.live(server.http(), &id()).await;
    engine.segments(100..103).await;
    until("the first viewer", async || {
        let reply = get(&server, "s1.m3u8", &[("User-Agent", "one")]).await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(
        get(&server, "s1.m3u8", &[("User-Agent", "one")])
            .await
            .status,
        200
    );
    let other = get(&server, "s1.m3u8", &[("User-Agent", "two")]).await;
    assert_eq!(other.status, 403);
    assert!(
        other.text().contains("viewerLimitReached"),
        "{}",
        other.text()
    );
    drop(publisher);
}

#[tokio::test]
async fn a_backend_is_told_once_of_who_begins_to_watch_and_once_when_it_has_gone() {
    let mut receiver = Receiver::start().await;
    let text = format!("listenerHookURL = \"{}\"\n", receiver.url());
    let server = Server::start_with_file(&text).await;
    let mut engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    first(&server, &mut shard, &mut engine, "s1.m3u8").await;
    get(&server, "s1_adaptive.m3u8", &[]).await;
    // It is gone when it has asked for nothing for ten seconds.
    for action in ["liveStreamStarted", "playStarted", "playStopped"] {
        let told = receiver.next().await.json();
        assert_eq!(
            (&told["action"], &told["id"]),
            (&json!(action), &json!("s1"))
        );
    }
}
