//! A control process inside the test, on free ports with its own data directory, and clients for
//! it: plain HTTP and signalling. No engine is needed for what these tests look at.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "a module of test binaries")]

pub mod process;
pub mod receiver;
pub mod shard;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shardcast_control::{
    Handle, Settings, serve,
    settings::{EngineSettings, Overrides},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, handshake::client::Request},
};

/// Long enough for a loaded machine; nothing waits for it in vain.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running control process.
pub struct Server {
    pub handle: Handle,
    pub folder: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one whose settings `change` has seen.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path());
        change(&mut settings);
        let handle = serve(settings).await.unwrap();
        Self { handle, folder }
    }

    /// Starts one with a settings file.
    pub async fn start_with_file(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), text).await
    }

    /// The same with what another one has left in `folder`.
    pub async fn start_in(folder: TempDir, text: &str) -> Self {
        Self::start_in_at(folder, [127, 0, 0, 1].into(), text).await
    }

    /// Starts one with a settings file and its ports at `bind`.
    pub async fn start_at(bind: IpAddr, text: &str) -> Self {
        Self::start_in_at(tempfile::tempdir().unwrap(), bind, text).await
    }

    async fn start_in_at(folder: TempDir, bind: IpAddr, text: &str) -> Self {
        let file = folder.path().join("shardcast.toml");
        std::fs::write(&file, text).unwrap();
        let overrides = Overrides {
            config: Some(file),
            bind: Some(bind),
            http_port: Some(0),
            https_port: Some(0),
            engine: EngineSettings {
                udp_port_base: Some(0),
                shards: Some(1),
                ..EngineSettings::default()
            },
            data_dir: Some(folder.path().to_owned()),
            ..Overrides::default()
        };
        // The store is closed when the last task of the one before has ended.
        let handle = until("control starts", async || {
            serve(Settings::load(&overrides).unwrap()).await.ok()
        })
        .await;
        Self { handle, folder }
    }

    pub fn http(&self) -> SocketAddr {
        self.handle.http_addr
    }

    pub async fn get(&self, path: &str) -> Reply {
        request(self.http(), "GET", path, &[], b"").await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        request(self.http(), "DELETE", path, &[], b"").await
    }

    /// POST without a body and without a content type.
    pub async fn post_empty(&self, path: &str) -> Reply {
        request(self.http(), "POST", path, &[], b"").await
    }

    pub async fn send_json(&self, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [("Content-Type", "application/json")];
        request(
            self.http(),
            method,
            path,
            &headers,
            body.to_string().as_bytes(),
        )
        .await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send_json("POST", path, &body).await
    }

    /// Creates `stream` in `StreamLick`.
    pub async fn create(&self, stream: &str) {
        let body = json!({"streamId": stream, "name": "test", "type": "liveStream"});
        let reply = self.post(&broadcasts("create"), body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.http(), "StreamLick").await
    }

    pub fn link_dir(&self) -> &Path {
        self.folder.path()
    }
}

/// The path of `rest` below the broadcasts of `StreamLick`.
pub fn broadcasts(rest: &str) -> String {
    format!("/StreamLick/rest/v2/broadcasts/{rest}")
}

/// An HTTP response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The `success` of a Result.
    pub fn success(&self) -> bool {
        self.json()["success"].as_bool().unwrap()
    }
}

/// One request on its own connection.
pub async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (key, value) in headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    timeout(PATIENCE, raw(to, &[head.as_bytes(), body]))
        .await
        .expect("no response in time")
}

/// Writes `parts` and reads the response.
pub async fn raw(to: SocketAddr, parts: &[&[u8]]) -> Reply {
    let mut stream = TcpStream::connect(to).await.unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a response head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let header = |line: &str| {
        let (key, value) = line.split_once(':').unwrap();
        (key.trim().to_owned(), value.trim().to_owned())
    };
    Reply {
        status,
        headers: lines.map(header).collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

/// A signalling client, as low as its frames.
pub struct Client {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn connect(to: SocketAddr, application: &str) -> Self {
        let url = format!("ws://{to}/{application}/websocket?target=origin");
        Self::connect_with(url.into_client_request().unwrap()).await
    }

    /// Connects with headers of its own.
    pub async fn connect_with(request: Request) -> Self {
        let (stream, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Self { stream }
    }

    pub async fn send(&mut self, message: Value) {
        self.send_frame(Message::text(message.to_string())).await;
    }

    pub async fn send_frame(&mut self, frame: Message) {
        // The server may have closed already; what it said is read afterwards.
        let _ = self.stream.send(frame).await;
    }

    /// The same, with others that follow.
    pub async fn feed_frame(&mut self, frame: Message) {
        let _ = self.stream.feed(frame).await;
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        match self.next_frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next text or close frame.
    pub async fn next_frame(&mut self) -> Message {
        loop {
            let frame = timeout(PATIENCE, self.stream.next())
                .await
                .expect("no frame in time");
            match frame.expect("the socket has ended").expect("a frame") {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    /// The code with which the server closes.
    pub async fn close_code(&mut self) -> u16 {
        match self.next_frame().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("not a close: {other:?}"),
        }
    }

    /// Sends `message` and reads one answer.
    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    /// Shows that nothing else is on its way: everything sent before is answered before.
    pub async fn nothing_more(&mut self) {
        assert_eq!(
            self.ask(json!({"command": "ping"})).await["command"],
            "pong"
        );
    }

    /// The definition of the error that `message` gets.
    pub async fn error(&mut self, message: Value) -> String {
        let answer = self.ask(message.clone()).await;
        assert_eq!(answer["command"], "error", "{message} got {answer}");
        answer["definition"].as_str().unwrap().to_owned()
    }
}

/// A client behind a proxy on this machine that names it by `address`.
pub async fn client_at(server: &Server, address: &str) -> Client {
    let url = format!("ws://{}/StreamLick/websocket", server.http());
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("x-forwarded-for", address.parse().unwrap());
    Client::connect_with(request).await
}

pub fn publish(stream: &str) -> Value {
    json!({"command": "publish", "streamId": stream, "token": "", "subscriberId": "",
        "subscriberCode": "", "streamName": "", "mainTrack": "", "metaData": "", "role": "",
        "video": true, "audio": true})
}

pub fn offer(stream: &str) -> Value {
    json!({"command": "takeConfiguration", "streamId": stream, "type": "offer", "sdp": "v=0\r\n"})
}

pub fn stop(stream: &str) -> Value {
    json!({"command": "stop", "streamId": stream})
}

/// Asks `probe` again and again until it gives something.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
