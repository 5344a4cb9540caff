//! A whole Shardcast for a test or a measurement: `shardcast run` on free ports with a data
//! directory of its own, and the calls a studio makes.
//!
//! The executables are those of the same target directory, so `cargo build --bins` comes first.

mod http;
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

pub use http::{Response, request};
pub use process::{
    Usage, children_cpu, keep_off, kill, pause, resume, terminate, threads_cpu, usage,
};
pub use status::{BroadcastState, DestinationState, ShardState, Status};

use crate::BenchError;

/// Ready after so long, on the slowest machine.
const START_PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// The application that the harness uses.
pub const APPLICATION: &str = "StreamLick";

/// How it is started.
#[derive(Clone, Debug)]
pub struct HarnessOptions {
    pub shards: u16,
    /// Cores of the shards; the first ones when empty.
    pub cores: Vec<u16>,
    /// More arguments of `shardcast run`.
    pub arguments: Vec<String>,
    /// A file of certificates, PEM, that RTMPS destinations may be signed by.
    pub ca_file: Option<PathBuf>,
    /// More of the environment, which the engine inherits from control.
    pub environment: Vec<(String, String)>,
}

impl Default for HarnessOptions {
    fn default() -> Self {
        Self {
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
    pub http: SocketAddr,
    pub pid: u32,
    pub engine_pid: Option<i32>,
    #[serde(default)]
    pub udp_ports: Vec<u16>,
}

/// A running Shardcast. Dropped, control and engine are killed and all files are gone.
#[derive(Debug)]
pub struct Harness {
    options: HarnessOptions,
    directory: TempDir,
    control: Child,
    /// Every engine seen, to be killed in the end.
    engines: Vec<i32>,
    http: SocketAddr,
}

impl Harness {
    /// Starts control and engine, and waits until they are ready.
    ///
    /// # Errors
    /// When the executables are missing, or do not become ready; with the end of their log.
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

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where a publisher signals.
    pub fn signalling(&self) -> String {
        format!("ws://{}/{APPLICATION}/websocket", self.http)
    }

    pub fn control_pid(&self) -> i32 {
        i32::try_from(self.control.id()).unwrap_or_default()
    }

    /// The newest engine.
    pub fn engine_pid(&self) -> i32 {
        self.engines.last().copied().unwrap_or_default()
    }

    /// What the processes wrote of themselves.
    pub fn runtime(&self) -> Option<Runtime> {
        let text = fs::read(self.directory.path().join("runtime.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Everything logged so far by control and engine.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `kill -9` of the control process. The engine goes on.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill_control(&mut self) -> Result<(), BenchError> {
        self.control.kill()?;
        self.control.wait()?;
        Ok(())
    }

    /// Starts control again, on the same port and data.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart_control(&mut self) -> Result<(), BenchError> {
        // Or the old file would name the old process until the new one writes its own.
        let _ = fs::remove_file(self.directory.path().join("runtime.json"));
        self.control = spawn(&self.options, self.directory.path(), self.http.port())?;
        self.wait_ready().await
    }

    /// `kill -9` of the engine. Control starts another one.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill_engine(&self) -> Result<(), BenchError> {
        kill(self.engine_pid())
    }

    /// Waits for another engine than the one known, and for readiness.
    ///
    /// # Errors
    /// [`BenchError::Late`] when none comes.
    pub async fn wait_new_engine(&mut self, patience: Duration) -> Result<(), BenchError> {
        let deadline = Instant::now() + patience;
        let old = self.engine_pid();
        while Instant::now() < deadline {
            let pid = self.runtime().and_then(|runtime| runtime.engine_pid);
            if let Some(pid) = pid.filter(|pid| *pid != old) {
                self.engines.push(pid);
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(BenchError::Late {
            what: "new engine".to_owned(),
            waited: patience,
        })
    }

    /// Asks both to end properly, as `systemctl stop` does, and waits for it.
    ///
    /// # Errors
    /// [`BenchError::Late`] when control does not end.
    pub async fn stop(&mut self, patience: Duration) -> Result<(), BenchError> {
        terminate(self.control_pid())?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.control.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(BenchError::Late {
            what: "end of control".to_owned(),
            waited: patience,
        })
    }

    async fn wait_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_PATIENCE;
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
                    waited: START_PATIENCE,
                });
            }
            sleep(LOOK).await;
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
        // Control first, or it would start the engine again.
        let _ = self.control.kill();
        let _ = self.control.wait();
        let newest = self.runtime().and_then(|runtime| runtime.engine_pid);
        for engine in self.engines.iter().copied().chain(newest) {
            process::kill_engine_of(engine, self.directory.path());
        }
    }
}

fn spawn(options: &HarnessOptions, directory: &Path, http_port: u16) -> Result<Child, BenchError> {
    let program = executable("shardcast")?;
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
        // Read by the engine, which inherits it from control.
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

/// Whether the engine knows this flag.
///
/// # Errors
/// When there is no engine.
pub fn engine_knows(flag: &str) -> Result<bool, BenchError> {
    let help = Command::new(executable("shardcast-engine")?)
        .arg("--help")
        .output()?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
}

/// Beside this executable, or one directory up from a test or benchmark.
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
            "it is not beside {}; run `cargo build --bins` first",
            own.display()
        ),
    })
}
