//! The body of a call that posts a message of a data channel: `multipart/form-data` (RFC 7578), as Ant Media Server
//! posts it. It has the message in the part `data` alone; the other parts say whose it is.

use bytes::{BufMut, Bytes, BytesMut};
use shardcast_link::{BroadcastId, DataSender};

use super::client::delivery_id;

/// A message that a client has sent over its data channel.
#[derive(Clone, Debug)]
pub(crate) struct ClientMessage {
    pub(crate) sender: DataSender,
    pub(crate) is_text: bool,
    pub(crate) payload: Bytes,
    /// When it came.
    pub(crate) at_unix_ms: u64,
}

/// What each attempt sends.
#[derive(Debug)]
pub(crate) struct Form {
    pub(super) content_type: String,
    pub(super) body: Bytes,
    /// The same with every attempt.
    pub(super) delivery: String,
}

impl Form {
    pub(crate) fn of_message(id: &BroadcastId, message: &ClientMessage) -> Self {
        // Nobody who sends a message can know it, so none holds it.
        let boundary = delivery_id();
        let mut body = BytesMut::with_capacity(message.payload.len() + 800);
        let kind = match message.is_text {
            true => "text/plain; charset=UTF-8",
            false => "application/octet-stream",
        };
        let sender = match message.sender {
            DataSender::Publisher => "publisher",
            DataSender::Viewer => "viewer",
        };
        let text = "text/plain; charset=UTF-8";
        let timestamp = message.at_unix_ms.to_string();
        for (name, kind, value) in [
            ("data", kind, message.payload.as_ref()),
            ("id", text, id.stream().as_bytes()),
            ("app", text, id.application().as_bytes()),
            ("sender", text, sender.as_bytes()),
            ("timestamp", text, timestamp.as_bytes()),
        ] {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\
                 Content-Type: {kind}\r\n\r\n"
            );
            body.put_slice(head.as_bytes());
            body.put_slice(value);
            body.put_slice(b"\r\n");
        }
        body.put_slice(format!("--{boundary}--\r\n").as_bytes());
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            body: body.freeze(),
            delivery: delivery_id(),
        }
    }
}
