//! `DATA_DIR/runtime.json`: addresses and process ids of what runs now, for scripts and tests.
//! Written whole or not at all.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use shardcast_log::Limiter;

use crate::state::Control;

static NOT_WRITTEN: Limiter = Limiter::refusals();

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Runtime {
    http: SocketAddr,
    https: SocketAddr,
    pid: u32,
    /// Null until a shard is connected.
    engine_pid: Option<i32>,
    /// By shard.
    udp_ports: Vec<u16>,
}

/// Keeps the file up to date until the process ends.
pub(crate) async fn keep(control: Arc<Control>, http: SocketAddr, https: SocketAddr) {
    let path = control.settings.data_dir.join("runtime.json");
    let mut written = None;
    loop {
        let mut runtime = Runtime {
            http,
            https,
            pid: std::process::id(),
            engine_pid: None,
            udp_ports: Vec::new(),
        };
        control.shards.each(|_, view| {
            if view.is_connected() {
                runtime.engine_pid = runtime.engine_pid.or(view.engine_pid);
                runtime.udp_ports.push(view.hello.udp_port);
            }
        });
        if written.as_ref() != Some(&runtime) {
            let (path, copy) = (path.clone(), runtime.clone());
            match tokio::task::spawn_blocking(move || write(&path, &copy)).await {
                Ok(Ok(())) => written = Some(runtime),
                // On a full disk ten times a second.
                Ok(Err(error)) => {
                    if let Some(left_out) = NOT_WRITTEN.admit(Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot write runtime.json");
                    }
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn write(path: &PathBuf, runtime: &Runtime) -> std::io::Result<()> {
    let next = path.with_extension("json.next");
    fs::write(&next, serde_json::to_vec_pretty(runtime)?)?;
    fs::rename(next, path)
}
