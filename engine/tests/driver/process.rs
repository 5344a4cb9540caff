//! The process: what it refuses, how it stops, and that losing its log reader does not hurt it.

use std::{
    fs,
    io::Read,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::rig::PATIENCE;

struct Engine {
    child: Child,
    link_dir: PathBuf,
}

impl Engine {
    fn command(link_dir: &Path, shards: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardcast-engine"));
        command
            .args(["--bind=127.0.0.1", "--udp-port-base=0"])
            .arg(format!("--link-dir={}", link_dir.display()))
            .arg(format!("--shards={shards}"))
            .stderr(Stdio::piped());
        command
    }

    /// Starts and waits until all shards listen.
    fn start(link_dir: &Path, shards: u16) -> Self {
        let child = Self::command(link_dir, shards).spawn().unwrap();
        let engine = Self {
            child,
            link_dir: link_dir.to_owned(),
        };
        let deadline = Instant::now() + PATIENCE;
        while !(0..shards).all(|shard| UnixStream::connect(engine.socket(shard)).is_ok()) {
            assert!(Instant::now() < deadline, "the engine does not listen");
            sleep(Duration::from_millis(10));
        }
        engine
    }

    fn socket(&self, shard: u16) -> PathBuf {
        self.link_dir.join(format!("shard-{shard}.sock"))
    }

    fn signal(&self, signal: i32) {
        // SAFETY: takes no pointers; the process is our child and not yet waited for.
        let result = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(result, 0);
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the engine does not end");
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an engine that is expected to refuse; its exit code and its message.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let mut words = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut words)
        .unwrap();
    (child.wait().unwrap().code(), words)
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Engine::start(dir.path(), 2);
        engine.signal(signal);
        assert_eq!(engine.wait().code(), Some(0), "signal {signal}");
        assert!(!engine.socket(0).exists() && !engine.socket(1).exists());
    }
}

#[test]
fn a_second_engine_in_the_same_directory_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Engine::start(dir.path(), 1);
    let (code, words) = refused(Engine::command(dir.path(), 1));
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains(&first.child.id().to_string()), "{words}");
    UnixStream::connect(first.socket(0)).unwrap();
    assert!(first.child.try_wait().unwrap().is_none());
}

#[test]
fn an_engine_that_was_killed_leaves_nothing_in_the_way_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Engine::start(dir.path(), 1);
    first.signal(libc::SIGKILL);
    first.wait();
    assert!(first.socket(0).exists());
    Engine::start(dir.path(), 1);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Engine::command(dir.path(), 1);
    command.arg(format!("--udp-port-base={port}"));
    let (code, words) = refused(command);
    assert_eq!(code, Some(2), "a flag given twice is an error: {words}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_shardcast-engine"));
    command
        .args(["--bind=127.0.0.1", "--shards=1"])
        .arg(format!("--udp-port-base={port}"))
        .arg(format!("--link-dir={}", dir.path().display()))
        .stderr(Stdio::piped());
    let (code, words) = refused(command);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains(&port.to_string()), "{words}");
}

#[test]
fn settings_that_cannot_be_are_refused_with_a_message() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, word) in [
        ("--cores=9999", "9999"),
        ("--codec-cores=9998", "--codec-cores names core 9998"),
        ("--log=shardcast=loud", "--log"),
        ("--shards=0", "shards"),
        ("--bind=localhost", "bind"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardcast-engine"));
        command
            .arg(format!("--link-dir={}", dir.path().display()))
            .arg(flag);
        command.stderr(Stdio::piped());
        let (code, words) = refused(command);
        assert_eq!(code, Some(2), "{flag}: {words}");
        assert!(words.contains(word), "{flag}: {words}");
    }
    let mut command = Engine::command(Path::new("/proc/not/here"), 1);
    command.stdin(Stdio::null());
    let (code, words) = refused(command);
    assert_eq!(code, Some(2));
    assert!(words.contains("/proc/not/here"), "{words}");
}

#[test]
fn it_goes_on_when_its_log_is_not_read_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(dir.path(), 1);
    drop(engine.child.stderr.take());
    for _ in 0..50 {
        // Each makes two log lines.
        let mut control = UnixStream::connect(engine.socket(0)).unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(control.read(&mut [0; 64]).unwrap() > 0);
    }
    engine.signal(libc::SIGTERM);
    assert_eq!(engine.wait().code(), Some(0));
}

#[test]
fn the_log_lines_are_json_without_a_terminal_and_name_the_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(dir.path(), 1);
    engine.signal(libc::SIGTERM);
    engine.wait();
    let mut log = String::new();
    engine
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(
        log.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{log}"
    );
    let listening = log
        .lines()
        .find(|line| line.contains("\"message\":\"listening\""))
        .unwrap();
    assert!(listening.contains("\"udp\":\"127.0.0.1:"), "{listening}");
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "only the lock file stays"
    );
}
