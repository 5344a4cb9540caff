//! The backend of an operator: a real HTTP server that takes webhooks, or does not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};

use super::PATIENCE;

/// Listens on a port of its own until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Script>,
    calls: mpsc::UnboundedReceiver<Call>,
    task: JoinHandle<()>,
}

struct Script {
    /// What it answers from now on.
    status: AtomicU16,
    /// Takes calls and never answers.
    hangs: AtomicBool,
    heard: mpsc::UnboundedSender<Call>,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .to_str()
            .unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn action(&self) -> String {
        self.json()["action"].as_str().unwrap().to_owned()
    }
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, calls) = mpsc::unbounded_channel();
        let script = Arc::new(Script {
            status: AtomicU16::new(200),
            hangs: AtomicBool::new(false),
            heard,
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            script,
            calls,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks?token=hush", self.address)
    }

    /// Answers `status` from now on.
    pub fn answer(&self, status: u16) {
        self.script.status.store(status, Ordering::SeqCst);
    }

    /// Answers nothing from now on.
    pub fn hang(&self) {
        self.script.hangs.store(true, Ordering::SeqCst);
    }

    /// The next call, whatever it was answered.
    pub async fn next(&mut self) -> Call {
        let call = timeout(PATIENCE, self.calls.recv()).await;
        call.expect("no call in time").unwrap()
    }

    /// Whether nobody has called, or all calls were read.
    pub fn is_unheard(&mut self) -> bool {
        self.calls.try_recv().is_err()
    }

    /// The next call that was taken.
    pub async fn next_taken(&mut self) -> Call {
        loop {
            let call = self.next().await;
            if call.status == 200 {
                return call;
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(script): State<Arc<Script>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let status = script.status.load(Ordering::SeqCst);
    let call = Call {
        path: uri.to_string(),
        headers,
        body: body.to_vec(),
        status,
    };
    // The test may have seen enough.
    let _ = script.heard.send(call);
    if script.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("Location", "/elsewhere")])
}
