//! Recordings in S3-compatible storage, with SeaweedFS for storage: what is finished is uploaded, whole or in parts; once
//! its file is removed it is served from the bucket, and deleted there with its row; an upload that a restart has
//! interrupted goes on behind the last part; and while a bucket or a key is wrong the row says so, the file stays,
//! and other applications are served.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

use crate::{
    recordings::write_pictures,
    server::{Reply, Server, process::Process, request, until},
};

const WEED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/tools/seaweedfs/bin/weed"
);
const VALID: Duration = Duration::from_secs(600);

/// A SeaweedFS with one key and no buckets, killed with the test.
struct Storage {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Storage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = json!({"accessKey": "an-id", "secretKey": "a-key"});
        let config = json!({"identities": [{
            "name": "shardcast",
            "credentials": [key],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        let file = folder.path().join("s3.json");
        fs::write(&file, config.to_string()).unwrap();
        let free: Vec<StdListener> = (0..8)
            .map(|_| StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        let port = |n: usize| free[n].local_addr().unwrap().port();
        let mut command = Command::new(WEED);
        command
            .args(["server", "-ip=127.0.0.1", "-s3", "-s3.iam=false"])
            .args(["-s3.autoCreateBucket=false", "-s3.localSocket="])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64"])
            .args(["-volume.max=40", "-volume.preStopSeconds=0"])
            .arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", file.display()));
        let names = ["master", "volume", "filer", "s3"];
        for (n, name) in names.iter().enumerate() {
            command.arg(format!("-{name}.port={}", port(2 * n)));
            command.arg(format!("-{name}.port.grpc={}", port(2 * n + 1)));
        }
        let address = free[6].local_addr().unwrap();
        drop(free);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("make target/tools/seaweedfs/bin/weed installs it");
        let storage = Self {
            _process: Process(child),
            _folder: folder,
            address,
        };
        until("storage", async || {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        storage
    }

    /// With a bucket of this name.
    async fn with(bucket: &str) -> Self {
        let storage = Self::start().await;
        storage.create(bucket).await;
        storage
    }

    async fn create(&self, bucket: &str) {
        until("a bucket", async || {
            let (place, key) = self.bucket(bucket);
            let reply = self
                .send("PUT", place.create_bucket(&key).sign(VALID))
                .await;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    async fn object(&self, bucket: &str, name: &str) -> Reply {
        let (place, key) = self.bucket(bucket);
        let url = place.get_object(Some(&key), name).sign(VALID);
        self.send("GET", url).await
    }

    fn bucket(&self, name: &str) -> (Bucket, Credentials) {
        let endpoint = self.url().parse().unwrap();
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), "us-east-1");
        (bucket.unwrap(), Credentials::new("an-id", "a-key"))
    }

    async fn send(&self, method: &str, url: Url) -> Reply {
        request(self.address, method, &path_of(&url), &[], b"").await
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn path_of(url: &Url) -> String {
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// An application that uploads to a bucket.
fn application(name: &str, endpoint: &str, bucket: &str, key: &str) -> String {
    format!(
        "[application.{name}]\ns3RecordingEnabled = true\ns3AccessKey = \"an-id\"\ns3SecretKey = \"{key}\"\n\
         s3BucketName = \"{bucket}\"\ns3Endpoint = \"{endpoint}\"\n"
    )
}

/// A recording of `application` that an engine has left, of so many pictures of `bytes`.
fn leave(folder: &Path, application: &str, stream: &str, bytes: usize) {
    let path = folder
        .join("recordings/growing")
        .join(format!("{stream}_0.mp4"));
    let label = json!({"broadcast": format!("{application}/{stream}"), "file": stream});
    let mut picture = vec![7; bytes + 4];
    let length = u32::try_from(bytes).unwrap();
    picture[..4].copy_from_slice(&length.to_be_bytes());
    write_pictures(&path, &label.to_string(), 2, &Bytes::from(picture));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(100);
    file.set_modified(long_ago).unwrap();
}

async fn vod(server: &Server, application: &str, id: &str) -> Value {
    let path = format!("/{application}/rest/v2/vods/{id}");
    server.get(&path).await.json()
}

/// The row once what it says of the upload is as wanted.
async fn row(
    server: &Server,
    (application, id): (&str, &str),
    is_wanted: impl Fn(&Value) -> bool,
) -> Value {
    until("the upload", async || {
        let row = vod(server, application, id).await;
        is_wanted(&row["s3"]).then_some(row)
    })
    .await
}

fn is_uploaded(s3: &Value) -> bool {
    s3["status"] == "uploaded" && s3["problem"].is_null()
}

fn says(words: &'static str) -> impl Fn(&Value) -> bool {
    move |s3| {
        let problem = s3["problem"].as_str().unwrap_or_default();
        s3["status"] == "waiting" && problem.contains(words)
    }
}

#[tokio::test]
async fn what_is_finished_is_uploaded_served_from_the_bucket_and_deleted_there() {
    let storage = Storage::with("shows").await;
    let folder = tempfile::tempdir().unwrap();
    // One in a request, one in three parts.
    leave(folder.path(), "StreamLick", "small", 100);
    leave(folder.path(), "StreamLick", "large", 300_000);
    let text = application("StreamLick", &storage.url(), "shows", "a-key");
    let server = Server::start_in(folder, &format!("{text}s3_delete_local = true\n")).await;
    for stream in ["small", "large"] {
        let row = row(&server, ("StreamLick", stream), is_uploaded).await;
        let url = format!("{}/shows/streams/{stream}.mp4", storage.url());
        assert_eq!(row["s3"]["url"], url);
        let file = server.folder.path().join("recordings/StreamLick/streams");
        let file = file.join(format!("{stream}.mp4"));
        until("the file's end", async || (!file.exists()).then_some(())).await;
        let path = format!("/StreamLick/streams/{stream}.mp4");
        for method in ["GET", "HEAD"] {
            let sent = request(server.http(), method, &path, &[], b"").await;
            assert_eq!(sent.status, 302, "{}", sent.text());
            let link: Url = sent.header("location").parse().unwrap();
            assert!(!link.as_str().contains("a-key"));
            let found = storage.send(method, link).await;
            let length = found.header("content-length").parse::<u64>().unwrap();
            assert_eq!(
                (found.status, row["fileSize"].as_u64()),
                (200, Some(length))
            );
        }
        let name = format!("streams/{stream}.mp4");
        let object = storage.object("shows", &name).await;
        let scan = shardcast_cmaf::Scan::of(&mut std::io::Cursor::new(&object.body)).unwrap();
        assert!(scan.is_finished && scan.sample_count(true) == 60);
        let deleted = server
            .delete(&format!("/StreamLick/rest/v2/vods/{stream}"))
            .await;
        assert!(deleted.success(), "{}", deleted.text());
        assert_eq!(storage.object("shows", &name).await.status, 404);
        assert_eq!(server.get(&path).await.status, 404);
    }
}

#[tokio::test]
async fn a_wrong_key_or_bucket_is_told_files_stay_and_others_are_uploaded() {
    let storage = Storage::with("shows").await;
    let folder = tempfile::tempdir().unwrap();
    let url = storage.url();
    let text = |key: &str| {
        [
            application("StreamLick", &url, "shows", "a-key"),
            application("Absent", &url, "later", "a-key"),
            application("Wrong", &url, "shows", key),
            application("Down", "http://127.0.0.1:1", "shows", "a-key"),
        ]
        .concat()
    };
    for name in ["StreamLick", "Absent", "Wrong", "Down"] {
        leave(folder.path(), name, &name.to_lowercase(), 100);
    }
    let server = Server::start_in(folder, &text("no-key")).await;
    row(
        &server,
        ("Absent", "absent"),
        says("has no bucket later: create it"),
    )
    .await;
    row(&server, ("Wrong", "wrong"), says("correct s3SecretKey")).await;
    row(&server, ("Down", "down"), says("cannot be reached")).await;
    row(&server, ("StreamLick", "streamlick"), is_uploaded).await;
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["uploads"]["waiting"], 3);
    assert!(status["uploads"]["problem"].is_string());
    // An upload is counted right after its row is written, and the row has been seen already.
    let metrics = until("the counters", async || {
        let metrics = server.get("/metrics").await.text();
        let rows = ["waiting 3", "failing 3", "total 1"];
        let is_there = |row: &str| metrics.contains(&format!("\nshardcast_uploads_{row}\n"));
        rows.into_iter().all(is_there).then_some(metrics)
    })
    .await;
    let number = |name: &str| -> u64 {
        let row = metrics.lines().find_map(|line| line.strip_prefix(name));
        row.unwrap().trim().parse().unwrap()
    };
    assert!(number("shardcast_uploads_failed_total ") >= 3);
    assert!(number("shardcast_upload_bytes_total ") > 1_000);
    for name in ["Absent", "Wrong", "Down", "StreamLick"] {
        let path = format!("/{name}/streams/{}.mp4", name.to_lowercase());
        assert_eq!(server.get(&path).await.status, 200, "{name}");
    }
    // As soon as there is one.
    storage.create("later").await;
    row(&server, ("Absent", "absent"), is_uploaded).await;
    // What waits is found again by the next process.
    server.handle.stop().await;
    let server = Server::start_in(server.folder, &text("a-key")).await;
    row(&server, ("Wrong", "wrong"), is_uploaded).await;
    assert_eq!(
        storage.object("shows", "streams/wrong.mp4").await.status,
        200
    );
}

/// The way to storage, which breaks at a part.
struct Way {
    address: SocketAddr,
    state: Arc<Mutex<WayState>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct WayState {
    /// Numbers of the parts that were sent.
    parts: Vec<u32>,
    breaks_at: Option<u32>,
    is_broken: bool,
}

impl Way {
    async fn open(storage: SocketAddr, breaks_at: u32) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(WayState {
            breaks_at: Some(breaks_at),
            ..WayState::default()
        }));
        let of_task = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !of_task.lock().unwrap().is_broken {
                    tokio::spawn(pass(client, storage, Arc::clone(&of_task)));
                }
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// The parts that were sent before it is mended.
    fn mend(&self) -> Vec<u32> {
        let mut state = self.state.lock().unwrap();
        (state.is_broken, state.breaks_at) = (false, None);
        std::mem::take(&mut state.parts)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, storage: SocketAddr, state: Arc<Mutex<WayState>>) {
    let mut storage = TcpStream::connect(storage).await.unwrap();
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                let breaks = part_in(&up[..read]).is_some_and(|part| {
                    let mut state = state.lock().unwrap();
                    state.parts.push(part);
                    state.is_broken |= state.breaks_at == Some(part);
                    state.is_broken
                });
                if breaks || storage.write_all(&up[..read]).await.is_err() {
                    return;
                }
            }
            read = storage.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The number in the head of a request that carries a part.
fn part_in(bytes: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]);
    let (_, rest) = text.split_once("partNumber=")?;
    rest.split('&').next()?.parse().ok()
}

#[tokio::test]
async fn an_upload_that_is_interrupted_goes_on_behind_the_last_part_after_a_restart() {
    let storage = Storage::with("shows").await;
    let way = Way::open(storage.address, 3).await;
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), "StreamLick", "large", 450_000);
    let text = application(
        "StreamLick",
        &format!("http://{}", way.address),
        "shows",
        "a-key",
    );
    let server = Server::start_in(folder, &text).await;
    row(&server, ("StreamLick", "large"), says("cannot be reached")).await;
    server.handle.stop().await;
    let sent = way.mend();
    assert!(sent.starts_with(&[1, 2, 3]), "{sent:?}");
    let server = Server::start_in(server.folder, &text).await;
    let row = row(&server, ("StreamLick", "large"), is_uploaded).await;
    assert_eq!(way.mend(), [3, 4]);
    let object = storage.object("shows", "streams/large.mp4").await;
    let file = server.get("/StreamLick/streams/large.mp4").await;
    assert_eq!(row["fileSize"], file.body.len());
    assert!(object.body == file.body, "the object is not the file");
}
