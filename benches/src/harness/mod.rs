//! Runs `shardcast run` for a test or a measurement, on free ports and with a temporary data
//! directory, and makes the REST calls of a studio.
//!
//! The executables are those of the same target directory, so `cargo build --bins` comes first.

mod core_times;
mod cores;
mod http;
mod lag;
mod process;
mod rest;
mod status;

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

pub use core_times::CoreTimes;
pub use cores::{CorePlan, Cores, Pinned, pin_tree};
pub use http::{Response, request, send};
pub use lag::LagProbe;
pub use process::{
    Usage, children_cpu, kill, pause, process_tree, resume, terminate, threads_cpu, usage,
};
pub use status::{BroadcastState, DestinationState, ShardState, Status};

use crate::BenchError;

/// Longest wait for readiness, on the slowest machine.
const START_TIME_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The Ant Media application whose paths the harness uses.
pub const APPLICATION: &str = "StreamLick";

/// How Shardcast is started.
#[derive(Clone, Debug)]
pub struct HarnessOptions {
    /// The executable `shardcast`, or the directory that holds it, of the Shardcast to start; its
    /// engine is next to it. `None`: the one next to this executable.
    pub server: Option<PathBuf>,
    /// Shards of the engine.
    pub shards: u16,
    /// Cores of the shards; the first ones when empty.
    pub cores: Vec<u16>,
    /// More arguments of `shardcast run`.
    pub arguments: Vec<String>,
    /// PEM file with the CAs that the engine trusts for RTMPS destinations.
    pub ca_file: Option<PathBuf>,
    /// More environment variables; the engine inherits them from control.
    pub environment: Vec<(String, String)>,
}

impl Default for HarnessOptions {
    fn default() -> Self {
        Self {
            server: None,
            shards: 1,
            cores: Vec::new(),
            arguments: Vec::new(),
            ca_file: None,
            environment: Vec::new(),
        }
    }
}

/// `runtime.json` of the data directory.
#[derive(Clone, Debug, Deserialize)]
pub struct Runtime {
    /// Address of the HTTP server of control.
    pub http: SocketAddr,
    /// Process id of control.
    pub pid: u32,
    /// Process id of the engine; `None` until it was started.
    pub engine_pid: Option<i32>,
    /// Media ports of the shards.
    #[serde(default)]
    pub udp_ports: Vec<u16>,
}

/// A running Shardcast. Dropping it kills control and engine and deletes their files.
#[derive(Debug)]
pub struct Harness {
    options: HarnessOptions,
    directory: TempDir,
    control: Child,
    /// Process ids of all engines so far; they are killed on drop.
    engines: Vec<i32>,
    /// Address of the HTTP server of control.
    http: SocketAddr,
}

impl Harness {
    /// Starts control and engine, and waits until they are ready.
    ///
    /// # Errors
    /// When an executable is missing or does not become ready; the error holds the end of the log.
    pub async fn start(options: HarnessOptions) -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new().prefix("shardcast-").tempdir()?;
        let control = spawn(&options, directory.path(), 0)?;
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut harness = Self {
            options,
            directory,
            control,
            engines: Vec::new(),
            http,
        };
        harness.wait_ready().await?;
        Ok(harness)
    }

    /// `http://address:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Address of the HTTP server of control.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// WebSocket address for publishers.
    pub fn signalling(&self) -> String {
        format!("ws://{}/{APPLICATION}/websocket", self.http)
    }

    /// Process id of control.
    pub fn control_pid(&self) -> i32 {
        i32::try_from(self.control.id()).unwrap_or_default()
    }

    /// Process id of the newest engine; 0 before the first one.
    pub fn engine_pid(&self) -> i32 {
        self.engines.last().copied().unwrap_or_default()
    }

    /// The contents of `runtime.json`; `None` until control has written it.
    pub fn runtime(&self) -> Option<Runtime> {
        let text = fs::read(self.directory.path().join("runtime.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The log of control and engine so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Kills control with SIGKILL. The engine goes on.
    ///
    /// # Errors
    /// When control has ended already.
    pub fn kill_control(&mut self) -> Result<(), BenchError> {
        self.control.kill()?;
        self.control.wait()?;
        Ok(())
    }

    /// Starts control again with the same port and data directory.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart_control(&mut self) -> Result<(), BenchError> {
        // Until the new process writes the file, the old file would name the old process.
        let _ = fs::remove_file(self.directory.path().join("runtime.json"));
        self.control = spawn(&self.options, self.directory.path(), self.http.port())?;
        self.wait_ready().await
    }

    /// Kills the engine with SIGKILL. Control starts another one.
    ///
    /// # Errors
    /// When the engine has ended already.
    pub fn kill_engine(&self) -> Result<(), BenchError> {
        kill(self.engine_pid())
    }

    /// Waits until control has started another engine than the newest known one.
    ///
    /// # Errors
    /// [`BenchError::Late`] when control starts none in time.
    pub async fn wait_new_engine(&mut self, time_limit: Duration) -> Result<(), BenchError> {
        let deadline = Instant::now() + time_limit;
        let old = self.engine_pid();
        while Instant::now() < deadline {
            let pid = self.runtime().and_then(|runtime| runtime.engine_pid);
            if let Some(pid) = pid.filter(|pid| *pid != old) {
                self.engines.push(pid);
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(BenchError::Late {
            what: "new engine".to_owned(),
            waited: time_limit,
        })
    }

    /// Stops control with SIGTERM, as `systemctl stop` does, and waits until it has ended.
    ///
    /// # Errors
    /// [`BenchError::Late`] when control does not end in time.
    pub async fn stop(&mut self, time_limit: Duration) -> Result<(), BenchError> {
        terminate(self.control_pid())?;
        let deadline = Instant::now() + time_limit;
        while Instant::now() < deadline {
            if self.control.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(BenchError::Late {
            what: "end of control".to_owned(),
            waited: time_limit,
        })
    }

    async fn wait_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_TIME_LIMIT;
        loop {
            if let Some(status) = self.control.try_wait()? {
                let reason = format!("it ended with {status}; {}", self.end_of_log());
                return Err(BenchError::Program {
                    program: "shardcast run".to_owned(),
                    reason,
                });
            }
            let runtime = self
                .runtime()
                .filter(|runtime| runtime.pid == self.control.id());
            if let Some(Runtime {
                http,
                engine_pid: Some(engine),
                ..
            }) = runtime
            {
                self.http = http;
                if self.engines.last() != Some(&engine) {
                    self.engines.push(engine);
                }
                let ready = request(http, "GET", "/readyz", None).await;
                if ready.is_ok_and(|response| response.status == 200) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                let what = format!("readiness of shardcast run; {}", self.end_of_log());
                return Err(BenchError::Late {
                    what,
                    waited: START_TIME_LIMIT,
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default();
        format!("its log ends:\n{}", end.join("\n"))
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // Control is killed first: it would start the engine again. An engine that it has just started is
        // known only as its child, and a stopped control starts no further one.
        let control = i32::try_from(self.control.id()).unwrap_or_default();
        let _ = pause(control);
        let children = process_tree(control).into_iter().skip(1);
        let _ = self.control.kill();
        let _ = self.control.wait();
        let newest = self.runtime().and_then(|runtime| runtime.engine_pid);
        for engine in self.engines.iter().copied().chain(newest).chain(children) {
            process::kill_engine_of(engine, self.directory.path());
        }
    }
}

fn spawn(options: &HarnessOptions, directory: &Path, http_port: u16) -> Result<Child, BenchError> {
    let program = match &options.server {
        Some(path) if path.is_dir() => path.join("shardcast"),
        Some(path) => path.clone(),
        None => executable("shardcast")?,
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let cores: Vec<String> = options.cores.iter().map(ToString::to_string).collect();
    let mut command = Command::new(&program);
    command
        .arg("run")
        .arg("--data-dir")
        .arg(directory)
        .args([
            "--bind",
            "127.0.0.1",
            "--https-port",
            "0",
            "--udp-port-base",
            "0",
        ])
        .args(["--http-port", &http_port.to_string()])
        .args([
            "--shards",
            &options.shards.to_string(),
            "--log-format",
            "json",
        ]);
    if !cores.is_empty() {
        command.args(["--cores", &cores.join(",")]);
    }
    command.args(&options.arguments).env_clear();
    if let Some(path) = &options.ca_file {
        // The engine reads this variable; it inherits it from control.
        command.env("SHARDCAST_ENGINE_CA_FILE", path);
    }
    for (name, value) in &options.environment {
        command.env(name, value);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    child.map_err(|e| BenchError::Program {
        program: program.display().to_string(),
        reason: e.to_string(),
    })
}

/// Whether the help text of the engine lists this flag.
///
/// # Errors
/// When the engine's executable is missing.
pub fn engine_knows(flag: &str) -> Result<bool, BenchError> {
    let help = Command::new(executable("shardcast-engine")?)
        .arg("--help")
        .output()?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
}

/// Finds an executable next to this one, or one directory up from a test or benchmark.
fn executable(name: &str) -> Result<PathBuf, BenchError> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.ok_or_else(|| BenchError::Program {
        program: name.to_owned(),
        reason: format!(
            "it is not in the directory of {}; run `cargo build --bins` first",
            own.display()
        ),
    })
}
