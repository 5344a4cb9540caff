//! The real binary of control, without an engine.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::until;

pub const BINARY: &str = env!("CARGO_BIN_EXE_shardcast");

/// A `shardcast control` process that is killed with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub async fn start(data_dir: &Path) -> (Self, SocketAddr) {
        Self::start_with(data_dir, Stdio::null()).await
    }

    /// Starts one that logs to `log`.
    pub async fn start_with(data_dir: &Path, log: Stdio) -> (Self, SocketAddr) {
        let child = Command::new(BINARY)
            .args([
                "control",
                "--bind",
                "127.0.0.1",
                "--http-port",
                "0",
                "--https-port",
                "0",
            ])
            .args(["--shards", "1", "--data-dir"])
            .arg(data_dir)
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self(child);
        let pid = process.0.id();
        let http = until("runtime.json", async || {
            let text = std::fs::read(data_dir.join("runtime.json")).ok()?;
            let runtime: Value = serde_json::from_slice(&text).unwrap();
            (runtime["pid"] == pid).then(|| runtime["http"].as_str().unwrap().parse().unwrap())
        })
        .await;
        (process, http)
    }
}
