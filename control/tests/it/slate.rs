//! The picture that a broadcast shows while its publisher is away: what is taken, and that the shard
//! of the broadcast is sent it whenever it lacks it.

use std::io::Cursor;

use crate::server::{
    Reply, Server, broadcasts, offer, publish, request,
    shard::{Shard, live},
    until,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{DynamicImage, ImageFormat};
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, Command, Event, SessionId, ShardStatus};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height)
        .write_to(&mut file, format)
        .unwrap();
    file.into_inner()
}

async fn put(server: &Server, stream: &str, kind: &str, file: &[u8]) -> Reply {
    let path = broadcasts(&format!("{stream}/slate"));
    request(server.http(), "PUT", &path, &[("Content-Type", kind)], file).await
}

/// Sets a slate and gives its name.
async fn set(server: &Server, width: u32) -> (String, Vec<u8>) {
    let file = picture(width, 90, ImageFormat::Png);
    let reply = put(server, "s1", "image/png", &file).await;
    assert!(reply.status == 200 && reply.success(), "{}", reply.text());
    (reply.json()["dataId"].as_str().unwrap().to_owned(), file)
}

/// A live broadcast `s1` at a shard that has reported it.
async fn go_live(server: &Server) -> (Shard, crate::server::Client, SessionId) {
    let mut shard = Shard::join(server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    shard.go_live(&session, &id()).await;
    (shard, client, session)
}

/// A report of `s1` with the slate `name`.
fn report(session: &SessionId, name: Option<&str>) -> ShardStatus {
    let mut status = live(&id(), session);
    status.broadcasts[0].slate = name.map(str::to_owned);
    status
}

/// The name and the file of the slate that the shard is sent next.
async fn sent(shard: &mut Shard) -> (String, Vec<u8>) {
    match shard.next().await {
        Command::Slate {
            broadcast,
            name,
            image_base64,
        } => {
            assert_eq!(broadcast, id());
            (name, STANDARD.decode(image_base64).unwrap())
        }
        other => panic!("not a slate: {other:?}"),
    }
}

async fn wanted_slate(shard: &mut Shard) -> Option<String> {
    match shard.next().await {
        Command::Want { broadcast } => broadcast.slate,
        other => panic!("not a Want: {other:?}"),
    }
}

#[tokio::test]
async fn a_picture_is_given_back_as_it_came_until_it_is_removed() {
    let server = Server::start().await;
    server.create("s1").await;
    assert_eq!(server.get(&broadcasts("s1/slate")).await.status, 404);
    for (format, kind) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg; q=1"),
    ] {
        let file = picture(160, 90, format);
        let reply = put(&server, "s1", kind, &file).await;
        assert!(reply.status == 200 && reply.success(), "{}", reply.text());
        let name = reply.json()["dataId"].clone();
        assert_eq!(server.get(&broadcasts("s1")).await.json()["slate"], name);
        let back = server.get(&broadcasts("s1/slate")).await;
        assert_eq!(back.header("content-type"), format.to_mime_type());
        assert_eq!(back.body, file);
    }
    assert!(server.delete(&broadcasts("s1/slate")).await.success());
    assert!(!server.delete(&broadcasts("s1/slate")).await.success());
    assert_eq!(server.get(&broadcasts("s1/slate")).await.status, 404);
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["slate"], Value::Null);
    assert_eq!(server.delete(&broadcasts("nobody/slate")).await.status, 404);
}

#[tokio::test]
async fn what_is_no_picture_of_a_usable_size_is_refused_in_words() {
    let server = Server::start().await;
    server.create("s1").await;
    let png = picture(160, 90, ImageFormat::Png);
    let large = vec![0; (4 << 20) + 1];
    let (low, wide) = (
        picture(160, 15, ImageFormat::Png),
        picture(8_193, 16, ImageFormat::Png),
    );
    // Its head is whole; what follows is not.
    let noise: Vec<u8> = (0..160 * 90 * 3u32).map(|n| (n * n % 251) as u8).collect();
    let noise = image::RgbImage::from_raw(160, 90, noise).unwrap();
    let mut torn = Cursor::new(Vec::new());
    noise.write_to(&mut torn, ImageFormat::Png).unwrap();
    let mut torn = torn.into_inner();
    torn.truncate(torn.len() / 2);
    let cases: [(&str, &str, &[u8], u16, &str); 10] = [
        ("s1", "image/png", &torn, 400, "damaged"),
        ("s1", "image/gif", &png, 415, "image/png or image/jpeg"),
        (
            "s1",
            "application/json",
            b"{}",
            415,
            "image/png or image/jpeg",
        ),
        ("s1", "image/jpeg", &png, 400, "no image/jpeg file"),
        ("s1", "image/png", b"", 400, "no image/png file"),
        ("s1", "image/png", &png[..20], 400, "damaged"),
        ("s1", "image/png", &low, 400, "160×15"),
        ("s1", "image/png", &wide, 400, "8193×16"),
        ("s1", "image/png", &large, 413, "4194304"),
        ("nobody", "image/png", &png, 404, "does not exist"),
    ];
    for (stream, kind, file, status, words) in cases {
        let reply = put(&server, stream, kind, file).await;
        assert_eq!(reply.status, status, "{words}: {}", reply.text());
        assert!(
            !reply.success() && reply.text().contains(words),
            "{words}: {}",
            reply.text()
        );
    }
    assert_eq!(server.get(&broadcasts("s1/slate")).await.status, 404);
}

#[tokio::test]
async fn whoever_may_not_use_rest_may_not_set_a_slate() {
    let server = Server::start_with_file("remoteAllowedCIDR = \"203.0.113.0/24\"").await;
    let png = picture(160, 90, ImageFormat::Png);
    assert_eq!(put(&server, "s1", "image/png", &png).await.status, 403);
}

#[tokio::test]
async fn a_slate_goes_with_its_broadcast() {
    let server = Server::start().await;
    server.create("s1").await;
    set(&server, 160).await;
    assert!(server.delete(&broadcasts("s1")).await.success());
    server.create("s1").await;
    assert_eq!(server.get(&broadcasts("s1/slate")).await.status, 404);
}

#[tokio::test]
async fn a_slate_of_a_live_broadcast_is_at_its_shard_at_once_and_can_be_replaced_and_removed() {
    let server = Server::start().await;
    server.create("s1").await;
    let (mut shard, _client, session) = go_live(&server).await;
    shard.say(Event::Status(report(&session, None))).await;
    until("the report", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["bitrate"] == 2_500_000).then_some(())
    })
    .await;
    for width in [160, 320] {
        let (name, file) = set(&server, width).await;
        assert_eq!(wanted_slate(&mut shard).await.as_ref(), Some(&name));
        assert_eq!(sent(&mut shard).await, (name, file));
    }
    assert!(server.delete(&broadcasts("s1/slate")).await.success());
    assert_eq!(wanted_slate(&mut shard).await, None);
}

#[tokio::test]
async fn a_shard_that_reports_another_slate_is_sent_the_right_one_and_not_with_each_report() {
    let server = Server::start().await;
    server.create("s1").await;
    let (name, file) = set(&server, 160).await;
    let (mut shard, _client, session) = go_live(&server).await;
    shard
        .say(Event::Status(report(&session, Some("old"))))
        .await;
    assert_eq!(sent(&mut shard).await, (name.clone(), file.clone()));
    // Reports that were on their way, and one that shows it.
    for shown in ["old", "old", "old", &name] {
        shard
            .say(Event::Status(report(&session, Some(shown))))
            .await;
    }
    until("the slate to be shown", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["hold"]["slate"] == name.as_str()).then_some(())
    })
    .await;
    let update = json!({"holdMs": 5});
    let updated = server.send_json("PUT", &broadcasts("s1"), &update).await;
    assert!(updated.success());
    assert_eq!(
        wanted_slate(&mut shard).await.as_ref(),
        Some(&name),
        "nothing came between"
    );
    // One that is lost again is sent again; one that never appears, after some reports.
    shard.say(Event::Status(report(&session, None))).await;
    assert_eq!(sent(&mut shard).await, (name.clone(), file.clone()));
    for _ in 0..4 {
        shard.say(Event::Status(report(&session, None))).await;
    }
    assert_eq!(sent(&mut shard).await, (name, file));
}

#[tokio::test]
async fn an_engine_that_comes_back_without_it_is_sent_the_slate() {
    let server = Server::start().await;
    server.create("s1").await;
    let (name, file) = set(&server, 160).await;
    let (mut shard, _client, session) = go_live(&server).await;
    shard.say(Event::Status(report(&session, None))).await;
    assert_eq!(sent(&mut shard).await, (name.clone(), file.clone()));
    shard.cut();
    shard.accept(report(&session, None)).await;
    assert_eq!(wanted_slate(&mut shard).await.as_ref(), Some(&name));
    assert_eq!(sent(&mut shard).await, (name, file));
}
