//! Starts and stops another server, with its configuration in a folder of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use super::{CompareOptions, Profile};
use crate::BenchError;
use crate::harness::{CorePlan, kill, pin_tree, process_tree, terminate};
use crate::load::{Door, Ingest, Processes, generator_threads};

/// Longest wait until a server listens: Ant Media Server needs half a minute.
const START_TIME_LIMIT: Duration = Duration::from_secs(90);
/// After this time a server that was told to end is killed.
const STOP_TIME_LIMIT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Free ports for a server.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// RTMP.
    pub rtmp: u16,
    /// HTTP: REST or WHIP.
    pub http: u16,
    /// RTSP.
    pub rtsp: u16,
    /// Media of WebRTC.
    pub udp: u16,
}

impl Ports {
    fn free() -> Result<Self, BenchError> {
        // All are held until all are known, so that none is given twice.
        let any = (Ipv4Addr::LOCALHOST, 0);
        let tcp = [
            TcpListener::bind(any)?,
            TcpListener::bind(any)?,
            TcpListener::bind(any)?,
        ];
        let udp = UdpSocket::bind(any)?;
        let [rtmp, http, rtsp] = &tcp;
        Ok(Self {
            rtmp: rtmp.local_addr()?.port(),
            http: http.local_addr()?.port(),
            rtsp: rtsp.local_addr()?.port(),
            udp: udp.local_addr()?.port(),
        })
    }
}

/// A running server. Dropping it ends it with all its descendants.
#[derive(Debug)]
pub struct OtherServer {
    profile: Profile,
    ports: Ports,
    child: Child,
    directory: TempDir,
}

impl OtherServer {
    /// Writes the configuration, starts the server, and waits until it listens.
    ///
    /// # Errors
    /// When there is no command, or the server does not listen in time; with the end of its output.
    pub async fn start(options: &CompareOptions, sinks: &[SocketAddr]) -> Result<Self, BenchError> {
        let profile = options.profile;
        let given = options.command.as_deref();
        let command = given.or_else(|| profile.command()).ok_or_else(|| {
            let name = profile.name();
            BenchError::Argument(format!(
                "--server-cmd has to say how {name} is started, such as '/path/of/{name} {{config}}'"
            ))
        })?;
        let directory = tempfile::Builder::new()
            .prefix("shardcast-bench-")
            .tempdir()?;
        let ports = Ports::free()?;
        let file = directory.path().join(profile.file_name());
        let cores = options.setup.cores.engine.as_ref();
        let workers = cores.map_or(1, |cores| cores.numbers().len().max(1));
        let text = profile.configuration(directory.path(), &ports, workers, sinks);
        fs::write(&file, text).map_err(|error| BenchError::File {
            path: file.clone(),
            error,
        })?;
        let command = command
            .replace("{config}", &file.to_string_lossy())
            .replace("{dir}", &directory.path().to_string_lossy());
        let mut server = Self {
            profile,
            ports,
            child: spawn(&command, &directory)?,
            directory,
        };
        server.listens(options.ingest).await?;
        if let Some(cores) = cores {
            pin_tree(server.pid(), cores)?;
        }
        Ok(server)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    async fn listens(&mut self, ingest: Ingest) -> Result<(), BenchError> {
        let port = match (ingest, self.profile.rest_application()) {
            (Ingest::Rtmp, None) => self.ports.rtmp,
            _ => self.ports.http,
        };
        let deadline = Instant::now() + START_TIME_LIMIT;
        loop {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_ok()
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let reason = format!("it ended with {status}; {}", self.end_of_log());
                return Err(BenchError::Program {
                    program: self.profile.name().to_owned(),
                    reason,
                });
            }
            if Instant::now() >= deadline {
                let (name, log) = (self.profile.name(), self.end_of_log());
                return Err(BenchError::Late {
                    what: format!("{name} at port {port}; {log}"),
                    waited: START_TIME_LIMIT,
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// All its processes, and the cores of both sides.
    pub fn processes(&self, plan: &CorePlan) -> Processes {
        Processes {
            media: vec![self.pid()],
            others: Vec::new(),
            server_cores: plan.engine.clone(),
            generator_cores: plan.generator.clone(),
            generator_threads: generator_threads(),
        }
    }

    /// The way into it.
    pub fn door(&self, ingest: Ingest) -> Door<'static> {
        let publish = self.profile.publish_url(ingest, &self.ports);
        match self.profile.rest_application() {
            Some(application) => Door::AntMedia {
                http: (Ipv4Addr::LOCALHOST, self.ports.http).into(),
                application: application.to_owned(),
                publish,
            },
            None => Door::Configured { publish },
        }
    }

    /// An error together with what the server has said.
    pub(super) fn explain(&self, error: &BenchError) -> BenchError {
        BenchError::Program {
            program: self.profile.name().to_owned(),
            reason: format!("{error}; {}", self.end_of_log()),
        }
    }

    fn end_of_log(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        let log = read("output") + &read("error.log");
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(8)..);
        format!("its output ends:\n{}", end.unwrap_or_default().join("\n"))
    }
}

impl Drop for OtherServer {
    fn drop(&mut self) {
        let tree = process_tree(self.pid());
        // The server may have ended already.
        let _ = terminate(self.pid());
        let deadline = Instant::now() + STOP_TIME_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Workers and helpers that outlive their parent; a number may have been taken by another
        // process only if the kernel has been through all numbers since.
        for pid in tree.into_iter().skip(1) {
            let _ = kill(pid);
        }
    }
}

/// A shell cuts the command into words and is replaced by the server, so that its number is the server's.
fn spawn(command: &str, directory: &TempDir) -> Result<Child, BenchError> {
    let output = File::create(directory.path().join("output"))?;
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn();
    child.map_err(|error| BenchError::Program {
        program: command.to_owned(),
        reason: error.to_string(),
    })
}
