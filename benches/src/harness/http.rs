//! The smallest HTTP client: one request, one connection.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::BenchError;
use crate::limits::HTTP_BODY_BYTES_MAX;

const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub text: String,
}

impl Response {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Sends a request; a body is JSON.
///
/// # Errors
/// When nobody answers within ten seconds.
pub async fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, BenchError> {
    let late = |_| BenchError::Late {
        what: format!("answer to {method} {path}"),
        waited: PATIENCE,
    };
    timeout(PATIENCE, exchange(server, method, path, body))
        .await
        .map_err(late)?
}

async fn exchange(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, BenchError> {
    let failed = |e: &dyn std::fmt::Display| BenchError::network("HTTP", e);
    let stream = TcpStream::connect(server).await.map_err(|e| failed(&e))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| failed(&e))?;
    let connection = tokio::spawn(connection);
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", server.to_string());
    if body.is_some() {
        builder = builder.header("Content-Type", "application/json");
    }
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let request = builder
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), HTTP_BODY_BYTES_MAX)
        .collect()
        .await;
    let bytes = body.map_err(|e| failed(&e))?.to_bytes();
    connection.abort();
    Ok(Response {
        status,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
