//! The rungs of a ladder are packaged while somebody plays by it, and no longer; those that are made are in the
//! multivariant playlist, and have files of their own.

use super::*;

const SMALL: RungName = RungName {
    height: 180,
    kbps: 500,
};
const LARGE: RungName = RungName {
    height: 360,
    kbps: 800,
};

/// A server with a ladder of three rungs, the broadcast live, and its engine.
async fn with_ladder() -> (Server, Engine, Shard, impl Sized) {
    let ladder = "encoderSettings = \"720,2000000,128000,360,800000,64000,180,500000,64000\"";
    let server = Server::start_with_file(ladder).await;
    let engine = Engine::listen(&server);
    let mut shard = Shard::join(&server).await;
    let publisher = shard.live(server.http(), &id()).await;
    (server, engine, shard, publisher)
}

#[tokio::test]
async fn rungs_that_are_made_are_listed_and_served_until_they_are_made_no_more() {
    let (server, mut engine, mut shard, _publisher) = with_ladder().await;
    let player = [("User-Agent", "player")];
    let asks = get(&server, "s1_adaptive.m3u8", &player);
    let comes = async {
        // The publisher's video and the ladder, maybe one after the other.
        while wanted_hls(&mut shard).await.is_none_or(|it| !it.ladder) {}
        let made = [LARGE, SMALL];
        for rung in [None, Some(LARGE), Some(SMALL)] {
            for part in [(100, 0, false), (100, 1, true), (101, 0, false)] {
                engine.part_of(rung, Some(&made), part).await;
            }
        }
    };
    let (master, ()) = tokio::join!(asks, comes);
    let text = master.text();
    let addresses: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    // The largest rung is not made.
    let expected = ["s1.m3u8", "s1_360p800kbps.m3u8", "s1_180p500kbps.m3u8"];
    assert_eq!(addresses, expected, "{text}");
    let text = until("the last part", async || {
        let text = get(&server, "s1_180p500kbps.m3u8", &player).await.text();
        text.contains("101.0.m4s\"").then_some(text)
    })
    .await;
    for line in [
        "s1_180p500kbps000000100.m4s\n",
        "URI=\"s1_180p500kbps000000101.0.m4s\"",
        "#EXT-X-RENDITION-REPORT:URI=\"s1.m3u8\",LAST-MSN=101,LAST-PART=0\n",
        "#EXT-X-RENDITION-REPORT:URI=\"s1_360p800kbps.m3u8\",LAST-MSN=101,LAST-PART=0\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let segment = get(&server, "s1_180p500kbps000000100.m4s", &player).await;
    assert_eq!(segment.text(), media(100, 0) + &media(100, 1));
    let init = text.split('"').find(|it| it.contains(".init.")).unwrap();
    assert_eq!(get(&server, init, &player).await.body, INIT);
    for name in ["s1_720p2000kbps.m3u8", "s1_90p100kbps.m3u8"] {
        let reply = get(&server, name, &player).await;
        assert_eq!(reply.status, 404, "{name}: {}", reply.text());
    }
    // One viewer, whatever it plays.
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["hlsViewerCount"], 1);
    // A rung that cannot be made any more is gone, so that players take another.
    engine.part_of(None, Some(&[LARGE]), (101, 1, true)).await;
    engine.part_of(None, Some(&[LARGE]), (102, 0, false)).await;
    until("the rung to be gone", async || {
        let reply = get(&server, "s1_180p500kbps.m3u8", &player).await;
        (reply.status == 404).then_some(())
    })
    .await;
    engine.end().await;
    until("the end of the other rung", async || {
        let reply = get(&server, "s1_360p800kbps.m3u8", &player).await;
        reply.text().ends_with("#EXT-X-ENDLIST\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_plays_the_publishers_video_alone_has_no_rung_made() {
    let (server, mut engine, mut shard, _publisher) = with_ladder().await;
    let asks = get(&server, "s1.m3u8", &[]);
    let comes = async {
        assert!(!wanted_hls(&mut shard).await.unwrap().ladder);
        engine.segments(100..103).await;
    };
    let (reply, ()) = tokio::join!(asks, comes);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        !reply.text().contains("RENDITION-REPORT"),
        "{}",
        reply.text()
    );
    // A broadcast may be called as a rung is.
    let body = json!({"streamId": "s1_360p800kbps", "name": "test", "type": "liveStream"});
    server.post(&broadcasts("create"), body).await;
    let reply = get(&server, "s1_360p800kbps.m3u8", &[]).await;
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("not live"), "{}", reply.text());
}
