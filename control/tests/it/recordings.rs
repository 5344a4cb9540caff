//! What becomes of recordings: a shard is told to make them, by the application's setting, the broadcast's own, or a
//! request; files that are closed, or that a crash has left, are finished, listed, told of by webhook and by the
//! operator's program, served in ranges to whom may have them, and deleted.

use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use shardcast_cmaf::{Sample, Scan, Track, TrackRun, fragment, recording_head};
use shardcast_link::{BroadcastId, Command, EndReason, Event, WantedRecording};

use crate::server::{
    Client, Server, broadcasts, process::Process, receiver::Receiver, request, shard::Shard, stop,
    until,
};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn vods(rest: &str) -> String {
    format!("/StreamLick/rest/v2/vods/{rest}")
}

/// So many seconds of pictures of which nothing can be seen, as a shard writes them.
fn write_file(path: &Path, label: &str, seconds: u64) {
    let picture = Bytes::from_static(b"\0\0\0\x04\x65abc");
    write_pictures(path, label, seconds, &picture);
}

/// The same of pictures of this.
pub(crate) fn write_pictures(path: &Path, label: &str, seconds: u64, picture: &Bytes) {
    let track = Track::video(1, Bytes::from_static(b"no record"), 1280, 720);
    let mut bytes = recording_head(&[track], label).to_vec();
    for second in 0..seconds {
        let sample = |n| Sample {
            duration: 3_000,
            composition_offset: 0,
            key: n == 0,
            parameter_sets: None,
            payload: picture.clone(),
        };
        let run = TrackRun {
            track: 1,
            decoded_at: second * 90_000,
            samples: (0..30).map(sample).collect(),
        };
        let sequence = u32::try_from(second + 1).unwrap();
        bytes.extend(fragment(sequence, vec![run]).unwrap().concat());
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The recording of the next Want.
async fn wanted(shard: &mut Shard) -> Option<WantedRecording> {
    loop {
        if let Command::Want { broadcast } = shard.next().await {
            return broadcast.recording;
        }
    }
}

/// Writes the file of a recording and says that it is closed.
async fn close(shard: &mut Shard, wanted: &WantedRecording, number: u32, seconds: u64) {
    let name = format!("{}_{number}.mp4", wanted.id);
    let path = Path::new(&wanted.folder).join(name);
    write_file(&path, &wanted.label, seconds);
    let file = path.display().to_string();
    shard.say(Event::Recorded { file }).await;
}

async fn listed(server: &Server, count: usize) -> Vec<Value> {
    until("listed", async || {
        let rows = server.get(&vods("list/0/50")).await.json();
        let rows = rows.as_array().unwrap().clone();
        let are_ready = rows.iter().all(|row| row["processStatus"] == "finished");
        (rows.len() == count && are_ready).then_some(rows)
    })
    .await
}

async fn end(shard: &mut Shard, client: &mut Client, session: shardcast_link::SessionId) {
    client.send(stop("s1")).await;
    while !matches!(shard.next().await, Command::Unpublish { .. }) {}
    shard.ended(session, &id(), EndReason::Requested).await;
    while !matches!(shard.next().await, Command::Forget { .. }) {}
}

/// A program that writes its arguments into a file.
fn script(folder: &Path) -> (PathBuf, PathBuf) {
    let (script, out) = (folder.join("finish"), folder.join("out"));
    let text = format!("#!/bin/sh\necho \"$1 $2\" > {}\n", out.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    (script, out)
}

/// The line in a file, once it is there.
async fn written(path: &Path) -> String {
    until("a line", async || {
        let text = fs::read_to_string(path).ok();
        text.filter(|text| text.ends_with('\n'))
    })
    .await
}

/// Start, end and recording are told, in this order.
async fn told_in_order(receiver: &mut Receiver, vod: &str) {
    for action in ["liveStreamStarted", "liveStreamEnded"] {
        assert_eq!(receiver.next().await.action(), action);
    }
    let mut told = receiver.next().await.json();
    told["timestamp"].take();
    let all = json!({"id": "s1", "action": "vodReady", "app": "StreamLick", "streamName": "Evening",
        "vodName": "s1", "vodId": vod, "duration": 3_000, "timestamp": null});
    assert_eq!(told, all);
}

/// It is deleted with its file, once.
async fn deleted(server: &Server, id: &str, path: &Path) {
    let deleted = server.delete(&vods(id)).await;
    assert_eq!(deleted.json()["message"], "vod deleted");
    assert!(!path.exists());
    assert_eq!(server.get("/StreamLick/streams/s1.mp4").await.status, 404);
    assert!(!server.delete(&vods(id)).await.success());
    // An unknown one is empty, as there.
    let unknown = server.get(&vods(id)).await;
    assert_eq!(
        (unknown.status, &unknown.json()["vodId"]),
        (200, &Value::Null)
    );
}

#[tokio::test]
async fn a_show_is_recorded_finished_listed_told_served_and_deleted() {
    let mut receiver = Receiver::start().await;
    let told = tempfile::tempdir().unwrap();
    let (script, out) = script(told.path());
    let text = format!(
        "mp4MuxingEnabled = true\nmuxerFinishScript = \"{} ;first\"\n\
         [application.StreamLick]\nlistenerHookURL = \"{}\"\nrecording_minutes_max = 2\n",
        script.display(),
        receiver.url()
    );
    let server = Server::start_with_file(&text).await;
    let mut shard = Shard::join(&server).await;
    let body = json!({"streamId": "s1", "name": "Evening"});
    server.post(&broadcasts("create"), body).await;
    let (mut client, session) = shard.live(server.http(), &id()).await;
    let recording = wanted(&mut shard).await.expect("a recording");
    assert_eq!(recording.file_ms_max, 120_000);
    assert!(recording.filler);
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["recording"]["vodId"], json!(recording.id));
    end(&mut shard, &mut client, session).await;
    close(&mut shard, &recording, 0, 3).await;

    let rows = listed(&server, 1).await;
    let row = &rows[0];
    for (key, value) in [
        ("vodId", json!(recording.id)),
        ("streamId", json!("s1")),
        ("streamName", json!("Evening")),
        ("vodName", json!("s1.mp4")),
        ("filePath", json!("streams/s1.mp4")),
        ("type", json!("streamVod")),
        ("duration", json!(3_000)),
        ("previewFilePath", Value::Null),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    assert_eq!(server.get(&vods(&recording.id)).await.json(), *row);
    for (path, number) in [("count", 1), ("count/EVEN", 1), ("count/nothing", 0)] {
        assert_eq!(server.get(&vods(path)).await.json()["number"], number);
    }
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(
        (&read["status"], &read["recording"]),
        (&json!("finished"), &Value::Null)
    );

    told_in_order(&mut receiver, &recording.id).await;
    let file = server.get("/StreamLick/streams/s1.mp4").await;
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, "video/mp4")
    );
    let scan = Scan::of(&mut Cursor::new(&file.body)).unwrap();
    assert!(scan.is_finished && scan.sample_count(true) == 90);
    let ran = written(&out).await;
    let path = server
        .folder
        .path()
        .join("recordings/StreamLick/streams/s1.mp4");
    assert_eq!(ran, format!(";first {}\n", path.display()));

    deleted(&server, &recording.id, &path).await;
}

#[tokio::test]
async fn later_recordings_and_further_files_have_numbers_and_dates_where_that_is_set() {
    let text = "[application.StreamLick]\nmp4MuxingEnabled = true\n";
    let server = Server::start_with_file(text).await;
    let mut shard = Shard::join(&server).await;
    let (mut client, session) = shard.live(server.http(), &id()).await;
    let recording = wanted(&mut shard).await.unwrap();
    close(&mut shard, &recording, 0, 1).await;
    close(&mut shard, &recording, 1, 1).await;
    listed(&server, 2).await;
    end(&mut shard, &mut client, session).await;
    let (_client, _) = shard.live(server.http(), &id()).await;
    let again = wanted(&mut shard).await.unwrap();
    assert_ne!(again.id, recording.id);
    close(&mut shard, &again, 0, 1).await;
    let rows = listed(&server, 3).await;
    let mut names: Vec<_> = rows
        .iter()
        .map(|row| row["vodName"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["s1.mp4", "s1_1.mp4", "s1_2.mp4"]);
    let sorted = vods("list/0/2?sort_by=name&order_by=desc&streamId=s1");
    let sorted = server.get(&sorted).await.json();
    assert_eq!(sorted[0]["vodName"], "s1_2.mp4");
    assert_eq!(sorted.as_array().unwrap().len(), 2);
    assert_eq!(
        server.get(&vods("list/0/50?streamId=s2")).await.json(),
        json!([])
    );
}

#[tokio::test]
async fn recording_is_switched_by_the_broadcast_and_by_request() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let put = async |rest: &str| {
        let path = broadcasts(rest);
        request(server.http(), "PUT", &path, &[], b"").await.json()
    };
    assert_eq!(put("s1/recording/true").await["success"], false, "unknown");
    server.create("s1").await;
    // Not live: from the next start on.
    assert_eq!(put("s1/recording/true").await["success"], true);
    assert_eq!(
        put("s1/recording/true").await["success"],
        false,
        "on already"
    );
    assert_eq!(server.get(&broadcasts("s1")).await.json()["mp4Enabled"], 1);
    let (_client, _) = shard.live(server.http(), &id()).await;
    let first = wanted(&mut shard).await.expect("a recording");
    // Live: at once.
    assert_eq!(put("s1/recording/true").await["success"], false);
    let off = put("s1/recording/false").await;
    assert_eq!(
        (&off["success"], &off["dataId"]),
        (&json!(true), &json!(first.id))
    );
    assert_eq!(wanted(&mut shard).await, None);
    assert_eq!(put("s1/recording/false").await["success"], false);
    let on = put("s1/recording/true?fileName=special-1&recordType=mp4").await;
    let second = wanted(&mut shard).await.expect("a recording");
    assert_eq!(on["dataId"], json!(second.id));
    let at: u64 = on["message"].as_str().unwrap().parse().unwrap();
    assert!(at > 1_700_000_000_000);
    close(&mut shard, &second, 0, 1).await;
    assert_eq!(listed(&server, 1).await[0]["vodName"], "special-1.mp4");
    for bad in [
        "s1/recording/true?recordType=webm",
        "s1/recording/true?resolutionHeight=480",
        "s1/recording/true?fileName=..%2Fx",
        "s1/recording/maybe",
    ] {
        assert_eq!(put(bad).await["success"], false, "{bad}");
    }
}

#[tokio::test]
async fn a_broadcast_may_be_left_out_of_what_its_application_records() {
    let text = "[application.StreamLick]\nmp4MuxingEnabled = true\n";
    let server = Server::start_with_file(text).await;
    let mut shard = Shard::join(&server).await;
    let body = json!({"streamId": "s1", "mp4Enabled": -1});
    server.post(&broadcasts("create"), body).await;
    let (_client, _) = shard.live(server.http(), &id()).await;
    server
        .post(
            &broadcasts("s1/rtmp-endpoint"),
            json!({"rtmpUrl": "rtmp://h/a/k"}),
        )
        .await;
    assert_eq!(wanted(&mut shard).await, None);
}

#[tokio::test]
async fn what_a_crash_has_left_is_finished_at_the_next_start_and_what_is_written_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let growing = folder.path().join("recordings/growing");
    let label = json!({"broadcast": "StreamLick/s1", "name": "Evening", "file": "s1"}).to_string();
    for (name, cut) in [("left_0.mp4", 40), ("locked_0.mp4", 0), ("empty_0.mp4", 0)] {
        let path = growing.join(name);
        write_file(&path, &label, if name.starts_with("empty") { 0 } else { 4 });
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - cut).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(100);
        file.set_modified(long_ago).unwrap();
    }
    let locked = fs::File::open(growing.join("locked_0.mp4")).unwrap();
    locked.try_lock().unwrap();
    let (_process, http) = Process::start(folder.path()).await;
    let rows = async || {
        request(http, "GET", &vods("list/0/50"), &[], b"")
            .await
            .json()
    };
    let row = until("finished", async || {
        let rows = rows().await;
        rows.get(0)
            .filter(|row| row["processStatus"] == "finished")
            .cloned()
    })
    .await;
    assert_eq!(
        (&row["vodId"], &row["duration"]),
        (&json!("left"), &json!(3_000))
    );
    let started = row["startTime"].as_u64().unwrap();
    let created = row["creationDate"].as_u64().unwrap();
    assert!((100_000..140_000).contains(&(created - started)), "{row}");
    assert!(growing.join("locked_0.mp4").exists());
    until("removed", async || {
        (!growing.join("empty_0.mp4").exists()).then_some(())
    })
    .await;
    drop(locked);
    until("finished", async || {
        (rows().await.as_array()?.len() == 2).then_some(())
    })
    .await;
}

async fn serves_ranges(server: &Server, path: &str) {
    let get = async |method: &str, headers: &[(&str, &str)]| {
        request(server.http(), method, path, headers, b"").await
    };
    let whole = get("GET", &[]).await;
    assert_eq!(
        (whole.status, whole.header("accept-ranges")),
        (200, "bytes")
    );
    let bytes = whole.body.len();
    let tag = whole.header("etag").to_owned();
    assert_eq!(whole.header("content-length"), bytes.to_string());
    let head = get("HEAD", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), bytes.to_string());
    for (range, first, last) in [
        ("bytes=0-9", 0, 9),
        ("bytes=100-", 100, bytes - 1),
        ("bytes=-7", bytes - 7, bytes - 1),
    ] {
        let part = get("GET", &[("Range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/{bytes}")
        );
        assert_eq!(part.body, whole.body[first..=last]);
    }
    let beyond = get("GET", &[("Range", "bytes=99999999-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, &*format!("bytes */{bytes}"))
    );
    let old = get("GET", &[("Range", "bytes=0-9"), ("If-Range", "\"old\"")]).await;
    assert_eq!((old.status, old.body.len()), (200, bytes));
    assert_eq!(get("GET", &[("If-None-Match", &tag)]).await.status, 304);
    assert_eq!(get("POST", &[]).await.status, 403);
    assert_eq!(get("OPTIONS", &[]).await.status, 200);
}

#[tokio::test]
async fn files_are_served_in_ranges_and_to_whom_may_have_them() {
    let text = "[application.StreamLick]\nmp4MuxingEnabled = true\nplayTokenControlEnabled = true\n\
        [application.LiveApp]\nmp4MuxingEnabled = true\n";
    let server = Server::start_with_file(text).await;
    let mut shard = Shard::join(&server).await;
    let (_client, _) = shard.live(server.http(), &id()).await;
    let recording = wanted(&mut shard).await.unwrap();
    close(&mut shard, &recording, 0, 2).await;
    listed(&server, 1).await;
    let path = "/StreamLick/streams/s1.mp4";
    for query in ["", "?token=", "?token=guess"] {
        assert_eq!(
            server.get(&format!("{path}{query}")).await.status,
            403,
            "{query}"
        );
    }
    assert_eq!(server.get("/StreamLick/streams/none.mp4").await.status, 403);
    let token = async |stream: &str, kind: &str| {
        let path = format!("{stream}/token?expireDate=4000000000&type={kind}");
        let token = server.get(&broadcasts(&path)).await.json();
        token["tokenId"].as_str().unwrap().to_owned()
    };
    for (stream, kind) in [("s1", "publish"), ("s2", "play")] {
        let path = format!("{path}?token={}", token(stream, kind).await);
        assert_eq!(server.get(&path).await.status, 403, "{stream} {kind}");
    }
    let path = format!("{path}?token={}", token("s1", "play").await);
    serves_ranges(&server, &path).await;
    // Where no token is asked for, a path still stays in its folder.
    for path in [
        "none.mp4",
        "../../../store.redb",
        "..%2f..%2f..%2fstore.redb",
        "a.mp4/..",
        ".mp4",
    ] {
        let path = format!("/LiveApp/streams/{path}");
        assert_eq!(server.get(&path).await.status, 404, "{path}");
    }
}
