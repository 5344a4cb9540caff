//! A small HTTP client that opens a connection for each request.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::BenchError;
use crate::limits::HTTP_BODY_BYTES_MAX;

const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// The header `Location`, if there is one.
    pub location: Option<String>,
    /// The body as text; invalid UTF-8 is replaced.
    pub text: String,
}

impl Response {
    /// The body as JSON; null when it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Sends a request, with a JSON body if there is one.
///
/// # Errors
/// When the server does not answer within ten seconds.
pub async fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, BenchError> {
    let body = body.map(|body| ("application/json", body.to_string()));
    send(server, method, path, body).await
}

/// Sends a request, with a body of any type if there is one: its type and its text.
///
/// # Errors
/// When the server does not answer within ten seconds.
pub async fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, String)>,
) -> Result<Response, BenchError> {
    let late = |_| BenchError::Late {
        what: format!("answer to {method} {path}"),
        waited: TIME_LIMIT,
    };
    timeout(TIME_LIMIT, exchange(server, method, path, body))
        .await
        .map_err(late)?
}

async fn exchange(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, String)>,
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
    let (kind, text) = body.unzip();
    if let Some(kind) = kind {
        builder = builder.header("Content-Type", kind);
    }
    let bytes = text.unwrap_or_default();
    let request = builder
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status().as_u16();
    let location = response.headers().get("location");
    let location = location.and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let body = Limited::new(response.into_body(), HTTP_BODY_BYTES_MAX)
        .collect()
        .await;
    let bytes = body.map_err(|e| failed(&e))?.to_bytes();
    connection.abort();
    Ok(Response {
        status,
        location,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
