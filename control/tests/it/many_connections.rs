//! Who connects and says nothing, or too much, is let go, and takes little meanwhile.

use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server, process::Process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

#[tokio::test]
async fn a_head_of_more_than_any_browser_sends_is_431_and_nothing_else_suffers() {
    let server = Server::start().await;
    for (length, status) in [
        (8 << 10, 200),
        (20 << 10, 200),
        (100 << 10, 431),
        (4 << 20, 431),
    ] {
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Long: ",
            server.http()
        );
        let mut stream = TcpStream::connect(server.http()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has everything.
        let _ = stream.write_all(&vec![b'a'; length]).await;
        let _ = stream.write_all(b"\r\n\r\n").await;
        let mut answer = [0; 12];
        if stream.read_exact(&mut answer).await.is_ok() {
            let expected = format!("HTTP/1.1 {status}");
            assert_eq!(String::from_utf8_lossy(&answer), expected, "{length} bytes");
        } else {
            assert_eq!(status, 431, "{length} bytes: closed");
        }
        assert_eq!(server.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_ten_seconds() {
    let server = Server::start().await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.http()).await.unwrap();
    let mut slow = TcpStream::connect(server.http()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = async {
        let mut read = [0; 64];
        loop {
            let _ = slow.write_all(b"a").await;
            let wait = timeout(Duration::from_millis(500), slow.read(&mut read));
            if let Ok(Ok(0) | Err(_)) = wait.await {
                return;
            }
        }
    };
    timeout(PATIENCE, trickle)
        .await
        .expect("the slow one is still there");
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the silent one is still there");
    assert!(
        begun.elapsed() >= Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
}

/// Resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn idle_sockets_and_unfinished_heads_cost_some_kilobytes_each() {
    let folder = tempfile::tempdir().unwrap();
    let (process, http) = Process::start(folder.path()).await;
    let pid = process.0.id();
    let upgrade = format!(
        "GET /StreamLick/websocket HTTP/1.1\r\nHost: {http}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    let long = format!(
        "GET / HTTP/1.1\r\nHost: {http}\r\nX-Long: {}",
        "a".repeat(390_000)
    );
    for (first, most_kib) in [(upgrade, 60), (long, 100)] {
        let before = resident_kib(pid);
        let mut open = Vec::new();
        let count = 200;
        for _ in 0..count {
            let mut stream = TcpStream::connect(http).await.unwrap();
            let _ = stream.write_all(first.as_bytes()).await;
            let _ = timeout(PATIENCE, stream.read(&mut [0; 1_024])).await;
            open.push(stream);
        }
        let each = resident_kib(pid).saturating_sub(before) / count;
        assert!(each < most_kib, "{each} KiB each");
    }
}
