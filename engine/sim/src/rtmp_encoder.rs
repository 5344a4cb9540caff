//! The client of an encoder: begins as control reads it, up to `publish`, and sends audio and video messages.

use bytes::Bytes;
use shardcast_core::rtmp::{
    MediaKind, PublishClient, PublishConfig, PublishError, PublishOutput, RtmpUrl, ServerConfig,
    ServerOutput, ServerSession,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct RtmpEncoder {
    client: PublishClient,
    /// What the server told it when it ended the stream.
    pub(crate) refusal: Option<PublishError>,
    sends: Vec<Bytes>,
}

impl RtmpEncoder {
    /// Reads what the client sends up to `publish`, and answers as control does; and what was read.
    pub(crate) fn begin() -> (Self, Vec<u8>) {
        let url = RtmpUrl::parse("rtmp://shardcast.example/StreamLick/show").unwrap();
        let mut client = PublishClient::new(&url, PublishConfig::default());
        let mut server = ServerSession::new(ServerConfig::default());
        let mut read = client.start().to_vec();
        server.handle(&read).unwrap();
        loop {
            match server.poll() {
                Some(ServerOutput::Send(bytes)) => client.handle(&bytes).unwrap(),
                Some(ServerOutput::Publish { .. }) => break,
                Some(_) => {}
                None => {
                    let mut sent = Vec::new();
                    while let Some(output) = client.poll() {
                        if let PublishOutput::Send(bytes) = output {
                            sent.extend_from_slice(&bytes);
                        }
                    }
                    assert!(!sent.is_empty(), "both wait");
                    server.handle(&sent).unwrap();
                    read.extend_from_slice(&sent);
                }
            }
        }
        let encoder = Self {
            client,
            refusal: None,
            sends: Vec::new(),
        };
        (encoder, read)
    }

    /// Whether the server has let it begin.
    pub(crate) fn is_publishing(&self) -> bool {
        self.client.is_publishing()
    }

    /// What the server has written.
    pub(crate) fn receive(&mut self, slices: &[Bytes]) {
        for slice in slices {
            if let Err(error) = self.client.handle(slice) {
                self.refusal.get_or_insert(error);
            }
        }
        while let Some(output) = self.client.poll() {
            if let PublishOutput::Send(bytes) = output {
                self.sends.push(bytes);
            }
        }
    }

    /// The bytes of an audio or video message, and of what is to be answered before it.
    pub(crate) fn media(&mut self, kind: MediaKind, timestamp_ms: u32, payload: &Bytes) -> Vec<u8> {
        let mut sends = std::mem::take(&mut self.sends);
        sends.extend(self.client.media(kind, timestamp_ms, payload));
        sends.concat()
    }

    /// The commands that end the stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.client.finish()
    }
}
