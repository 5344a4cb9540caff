//! Previews: a shard is told to make them where the application has them on; the newest is served while its show is
//! live, and as the finished one afterwards, to whom may watch, with what caches need; operators need no token; and
//! with the broadcast its preview goes.

use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, Command, PreviewFormat, WantedPreview,
    fragment::{self, PreviewHead},
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::server::{PATIENCE, Reply, Server, broadcasts, request, shard::Shard, until};

/// The engine's side of the socket that previews come over.
struct Engine(UnixStream);

impl Engine {
    async fn accept(server: &Server) -> Self {
        let folder = server.link_dir().join("link");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(fragment::FILE_NAME)).unwrap();
        let accepted = timeout(PATIENCE, listener.accept()).await;
        Self(accepted.expect("no control").unwrap().0)
    }

    async fn show(&mut self, stream: &str, at_unix_ms: u64, file: &str) {
        let head = PreviewHead {
            broadcast: id(stream),
            format: PreviewFormat::Png,
            at_unix_ms,
        };
        let head = fragment::encode_preview_head(&head, file.len()).unwrap();
        self.0.write_all(&head).await.unwrap();
        self.0.write_all(file.as_bytes()).await.unwrap();
    }
}

fn id(stream: &str) -> BroadcastId {
    BroadcastId::new("StreamLick", stream).unwrap()
}

async fn get(server: &Server, name: &str) -> Reply {
    server.get(&format!("/StreamLick/previews/{name}")).await
}

/// What the shard is to make, as it is told with a new destination.
async fn wanted(server: &Server, shard: &mut Shard) -> Option<WantedPreview> {
    let destination = json!({"rtmpUrl": "rtmp://h/a/k"});
    server
        .post(&broadcasts("s1/rtmp-endpoint"), destination)
        .await;
    loop {
        if let Command::Want { broadcast } = shard.next().await {
            return broadcast.preview;
        }
    }
}

async fn shown(server: &Server, name: &str, file: &str) -> Reply {
    until("the preview", async || {
        let reply = get(server, name).await;
        (reply.status == 200 && reply.text() == file).then_some(reply)
    })
    .await
}

#[tokio::test]
async fn the_newest_is_served_while_the_show_is_live_and_as_the_finished_one_afterwards() {
    let server = Server::start_with_file("generatePreview = true\npreviewHeight = 360\n").await;
    server.create("s1").await;
    let mut engine = Engine::accept(&server).await;
    let mut shard = Shard::join(&server).await;
    let (_publisher, _) = shard.live(server.http(), &id("s1")).await;
    let told = wanted(&server, &mut shard).await.unwrap();
    assert_eq!((told.period_ms, told.height), (5_000, 360));
    let none = get(&server, "s1.png").await;
    assert_eq!(none.status, 404);
    assert!(none.text().contains("generatePreview"), "{}", none.text());
    engine
        .show("nobody", 5, "of a broadcast that is deleted")
        .await;
    engine.show("s1", 7_000, "first").await;
    shown(&server, "s1.png", "first").await;
    engine.show("s1", 12_000, "second").await;
    let reply = shown(&server, "s1.png", "second").await;
    for (name, value) in [
        ("content-type", "image/png"),
        ("cache-control", "no-cache"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(reply.header(name), value);
    }
    let tag = reply.header("etag").to_owned();
    let path = "/StreamLick/previews/s1.png";
    let known = request(server.http(), "GET", path, &[("If-None-Match", &tag)], b"").await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(server.delete(path).await.status, 403);
    for name in [
        "s1.jpg",
        "s1_finished.png",
        "nobody.png",
        "s1",
        "..%2fs1.png",
    ] {
        assert_ne!(get(&server, name).await.status, 200, "{name}");
    }
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["broadcasts"][0]["preview_unix_ms"], 12_000);
    let of_operators = server.get("/api/v1/preview/StreamLick/s1").await;
    assert_eq!(of_operators.text(), "second");
    assert!(server.post_empty(&broadcasts("s1/stop")).await.success());
    shown(&server, "s1_finished.png", "second").await;
    assert_eq!(get(&server, "s1.png").await.status, 404);
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["broadcasts"][0]["preview_unix_ms"], Value::Null);
    server.delete(&broadcasts("s1")).await;
    assert_eq!(get(&server, "s1_finished.png").await.status, 404);
}

#[tokio::test]
async fn they_are_off_unless_asked_for_and_need_a_token_where_watching_does() {
    let text = "playTokenControlEnabled = true\n";
    let server = Server::start_with_file(text).await;
    server.create("s1").await;
    let mut engine = Engine::accept(&server).await;
    let mut shard = Shard::join(&server).await;
    let (_publisher, _) = shard.live(server.http(), &id("s1")).await;
    assert_eq!(wanted(&server, &mut shard).await, None);
    engine.show("s1", 7_000, "first").await;
    let path = broadcasts("s1/token?expireDate=4000000000&type=play");
    let token = server.get(&path).await.json();
    let token = token["tokenId"].as_str().unwrap();
    shown(&server, &format!("s1.png?token={token}"), "first").await;
    for query in ["", "?token=guess"] {
        let refused = get(&server, &format!("s1.png{query}")).await;
        assert_eq!(refused.status, 403, "{query}");
        assert!(refused.text().contains("unauthorized_access"));
    }
    let of_operators = server.get("/api/v1/preview/StreamLick/s1").await;
    assert_eq!(of_operators.text(), "first");
}
