//! Draining: nothing new is taken, what is live goes on and may come back, and after the last of
//! it the process ends well.

use std::{
    path::Path,
    process::{Child, Command as Process, ExitStatus, Stdio},
};

use crate::server::{Server, broadcasts, publish, request, shard::Shard, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, EndReason, ShardStatus};

const DRAIN: &str = "/api/v1/drain";

fn id(stream: &str) -> BroadcastId {
    BroadcastId::new("StreamLick", stream).unwrap()
}

#[tokio::test]
async fn a_draining_server_takes_nothing_new_and_whoever_comes_back() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    server.create("s2").await;
    let (client, session) = shard.live(server.http(), &id("s1")).await;
    assert_eq!(
        server.get(DRAIN).await.json(),
        json!({"draining": false, "live_broadcasts": 1})
    );
    let draining = json!({"draining": true, "live_broadcasts": 1});
    assert_eq!(server.post_empty(DRAIN).await.json(), draining);
    assert_eq!(server.get(DRAIN).await.json(), draining);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("draining: 1 broadcast"),
        "{}",
        ready.text()
    );
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("shardcast_draining 1"), "{metrics}");

    let mut other = server.connect().await;
    for stream in ["s2", "s3"] {
        assert_eq!(other.error(publish(stream)).await, "highResourceUsage");
    }
    drop(client);
    shard.ended(session, &id("s1"), EndReason::Lost).await;
    until("the publisher may come back", async || {
        let answer = other.ask(publish("s1")).await;
        (answer["command"] == "start").then_some(())
    })
    .await;

    let cancelled = server.delete(DRAIN).await.json();
    assert_eq!(cancelled["draining"], false);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(other.ask(publish("s2")).await["command"], "start");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_drain_the_server() {
    let server = Server::start().await;
    let headers = [("Origin", "https://elsewhere.example")];
    let reply = request(server.http(), "POST", DRAIN, &headers, b"").await;
    assert_eq!(reply.status, 403);
    assert_eq!(server.get(DRAIN).await.json()["draining"], false);
}

/// A `shardcast` process that is killed with the test.
struct Shardcast(Child);

impl Drop for Shardcast {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Shardcast {
    async fn start(command: &str, data_dir: &Path, more: &[&str]) -> (Self, Value) {
        let child = Process::new(env!("CARGO_BIN_EXE_shardcast"))
            .args([command, "--bind", "127.0.0.1", "--shards", "1"])
            .args(["--http-port", "0", "--https-port", "0"])
            .args(["--udp-port-base", "0"])
            .args(more)
            .arg("--data-dir")
            .arg(data_dir)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let process = Self(child);
        let runtime = until("runtime.json", async || {
            let text = std::fs::read(data_dir.join("runtime.json")).ok()?;
            let runtime: Value = serde_json::from_slice(&text).unwrap();
            (runtime["pid"] == pid).then_some(runtime)
        })
        .await;
        (process, runtime)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn end(&mut self) -> ExitStatus {
        until("it has ended", async || self.0.try_wait().unwrap()).await
    }
}

#[tokio::test]
async fn a_signal_drains_and_the_process_ends_with_the_last_broadcast() {
    let folder = tempfile::tempdir().unwrap();
    let (mut process, runtime) = Shardcast::start("control", folder.path(), &[]).await;
    let http = runtime["http"].as_str().unwrap().parse().unwrap();
    let mut shard = Shard::listen(folder.path());
    shard.accept(ShardStatus::default()).await;
    let (_client, _) = shard.live(http, &id("s1")).await;
    process.signal(Signal::USR1);
    until("it drains", async || {
        let state = request(http, "GET", DRAIN, &[], b"").await.json();
        (state == json!({"draining": true, "live_broadcasts": 1})).then_some(())
    })
    .await;
    assert_eq!(process.0.try_wait().unwrap(), None);
    request(http, "POST", &broadcasts("s1/stop"), &[], b"").await;
    assert!(process.end().await.success());
}

#[tokio::test]
async fn a_drained_server_ends_its_engine_properly() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let engine = folder.path().join("engine");
    let words = folder.path().join("words");
    let script = format!(
        "#!/bin/sh\ntrap 'echo ended > {0}; exit 0' TERM\necho begun > {0}\n         while :; do sleep 0.05; done\n",
        words.display()
    );
    std::fs::write(&engine, script).unwrap();
    std::fs::set_permissions(&engine, PermissionsExt::from_mode(0o755)).unwrap();
    let path = engine.to_str().unwrap();
    let (mut process, _) = Shardcast::start("run", folder.path(), &["--engine-path", path]).await;
    let said = || std::fs::read_to_string(&words).unwrap_or_default();
    until("the engine runs", async || {
        (said() == "begun\n").then_some(())
    })
    .await;
    process.signal(Signal::USR1);
    assert!(process.end().await.success());
    assert_eq!(said(), "ended\n");
}
