//! An HTTP connection of a player that stays open (RFC 9112): requests one after the other, and bodies that are
//! read into memory or not kept. Far cheaper than a whole client, since a thousand of them share a core.

use std::{net::SocketAddr, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::BenchError;
use crate::limits::HTTP_BODY_BYTES_MAX;

/// The first request for a broadcast is answered within 12 s.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const READ_BYTES: usize = 4 << 10;
/// Read at a time of what is not kept.
const SCRATCH_BYTES: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What becomes of the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Keep,
    Drop,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of the head itself.
    bytes: usize,
    body_bytes: usize,
    cookie: Option<String>,
}

/// A connection, made with the first request and again after a failure.
#[derive(Debug)]
pub(super) struct HttpConnection {
    server: SocketAddr,
    stream: Option<TcpStream>,
    /// Head of the last answer, and its body if that was kept.
    buffer: Vec<u8>,
    body_at: usize,
    cookie: Option<String>,
}

/// An answer without its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body_bytes: usize,
}

impl HttpConnection {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            stream: None,
            buffer: Vec::with_capacity(READ_BYTES),
            body_at: 0,
            cookie: None,
        }
    }

    /// Asks for a file.
    ///
    /// # Errors
    /// When the server is not reachable, closes the connection, or does not answer in time.
    pub(super) async fn get(&mut self, path: &str, body: Body) -> Result<Answer, BenchError> {
        let Ok(answer) = timeout(TIME_LIMIT, self.exchange(path, body)).await else {
            self.stream = None;
            return Err(BenchError::Late {
                what: format!("answer to GET {path}"),
                waited: TIME_LIMIT,
            });
        };
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    /// The body of the last answer, if it was kept.
    pub(super) fn text(&self) -> &str {
        let body = self.buffer.get(self.body_at..).unwrap_or_default();
        std::str::from_utf8(body).unwrap_or_default()
    }

    async fn exchange(&mut self, path: &str, body: Body) -> Result<Answer, BenchError> {
        let server = self.server;
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\n");
        if let Some(cookie) = &self.cookie {
            request.push_str("cookie: ");
            request.push_str(cookie);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(server).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(stream, &mut self.buffer).await?;
        self.body_at = head.bytes;
        if head.cookie.is_some() {
            self.cookie = head.cookie;
        }
        let end = head.bytes + head.body_bytes;
        match body {
            Body::Keep => {
                while self.buffer.len() < end {
                    read(stream, &mut self.buffer, end).await?;
                }
            }
            Body::Drop => {
                let mut left = end.saturating_sub(self.buffer.len());
                let mut scratch = Vec::with_capacity(SCRATCH_BYTES.min(left));
                while left > 0 {
                    scratch.clear();
                    read(stream, &mut scratch, left.min(SCRATCH_BYTES)).await?;
                    left = left.saturating_sub(scratch.len());
                }
            }
        }
        Ok(Answer {
            status: head.status,
            body_bytes: head.body_bytes,
        })
    }
}

async fn read_head(stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<Head, BenchError> {
    buffer.clear();
    loop {
        let most = buffer.len() + READ_BYTES;
        read(stream, buffer, most).await?;
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = buffer.get(..end).unwrap_or_default();
            let head = std::str::from_utf8(head).ok().and_then(parse);
            return head.ok_or_else(|| BenchError::network("HTTP", "an answer of unknown length"));
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(BenchError::network("HTTP", "the head has no end"));
        }
    }
}

/// Reads once, until there are at most so many bytes.
async fn read(stream: &TcpStream, buffer: &mut Vec<u8>, most: usize) -> Result<(), BenchError> {
    let more = most.saturating_sub(buffer.len());
    buffer.reserve(more);
    loop {
        stream.readable().await?;
        let mut room = bytes::BufMut::limit(&mut *buffer, more);
        match stream.try_read_buf(&mut room) {
            Ok(0) => return Err(BenchError::network("HTTP", "the connection was closed")),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a head without its empty line; `None` when it does not say how long its body is.
fn parse(text: &str) -> Option<Head> {
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut cookie) = (None, None);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("set-cookie") {
            cookie = value.split(';').next().map(|pair| pair.trim().to_owned());
        }
    }
    Some(Head {
        status,
        bytes: text.len() + 4,
        body_bytes: length.filter(|length| *length <= HTTP_BODY_BYTES_MAX)?,
        cookie,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_those_without_a_length_are_not() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\
                    set-cookie: shardcast_hls=00ff; Path=/; HttpOnly";
        let head = Head {
            status: 200,
            bytes: text.len() + 4,
            body_bytes: 12,
            cookie: Some("shardcast_hls=00ff".to_owned()),
        };
        assert_eq!(parse(text), Some(head));
        for text in [
            "",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked",
            "HTTP/1.1 x\r\ncontent-length: 1",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
