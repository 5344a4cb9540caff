//! The server's end of a stream that a client plays (RTMP specification 7.2.2.1).

use super::{ServerOutput, ServerSession, Stage};
use crate::{command::Command, message::type_id, writer::MediaWriter};

/// User control events (7.1.7).
const STREAM_BEGIN: u16 = 0;
const STREAM_EOF: u16 = 1;

impl ServerSession {
    /// Lets the client watch: media follows by [`Self::player`]. Without effect when it is not waiting.
    pub fn accept_play(&mut self) {
        if let Stage::AskedToPlay { stream_id } = self.stage {
            self.stage = Stage::Playing { stream_id };
            self.send_stream_event(STREAM_BEGIN, stream_id);
            // Reset and start are two messages; players wait for the second.
            self.send_status(stream_id, "status", "NetStream.Play.Reset", "Playing");
            self.send_status(stream_id, "status", "NetStream.Play.Start", "Playing");
        }
    }

    /// Refuses to play with a code such as `NetStream.Play.StreamNotFound` and words. Without effect when the
    /// client is not waiting.
    pub fn reject_play(&mut self, code: &str, description: &str) {
        if let Stage::AskedToPlay { stream_id } = self.stage {
            self.stage = Stage::Idle;
            self.send_status(stream_id, "error", code, description);
        }
    }

    /// Tells a client that plays that the stream is over. Without effect when it does not.
    pub fn end_play(&mut self, description: &str) {
        if let Stage::Playing { stream_id } = self.stage {
            self.stage = Stage::Idle;
            self.send_stream_event(STREAM_EOF, stream_id);
            let code = "NetStream.Play.UnpublishNotify";
            self.send_status(stream_id, "status", code, description);
        }
    }

    /// What writes media for a client that plays; `None` while it does not.
    pub fn player(&self) -> Option<MediaWriter> {
        match self.stage {
            Stage::Playing { stream_id } => Some(MediaWriter {
                stream_id,
                chunk_bytes: self.connection.chunk_bytes(),
            }),
            _ => None,
        }
    }

    pub(super) fn on_play(&mut self, stream_id: u32, command: &Command) {
        let is_free = matches!(self.stage, Stage::Idle | Stage::Unpublished);
        let (true, Some(name)) = (is_free, command.first_text()) else {
            let description = "play names no stream, or this connection has one already";
            return self.send_status(stream_id, "error", "NetStream.Play.Failed", description);
        };
        self.stage = Stage::AskedToPlay { stream_id };
        let stream_key = name.to_owned();
        self.outputs.push_back(ServerOutput::Play { stream_key });
    }

    /// `deleteStream` or `closeStream` of a client that plays, or waits to; whether it is one.
    pub(super) fn on_stop_playing(&mut self) -> bool {
        let plays = matches!(
            self.stage,
            Stage::Playing { .. } | Stage::AskedToPlay { .. }
        );
        if plays {
            self.stage = Stage::Idle;
            self.outputs.push_back(ServerOutput::StopPlaying);
        }
        plays
    }

    fn send_stream_event(&mut self, event: u16, stream_id: u32) {
        let [a, b, c, d] = stream_id.to_be_bytes();
        let [high, low] = event.to_be_bytes();
        let payload = [high, low, a, b, c, d];
        self.connection
            .send_control(type_id::USER_CONTROL, &payload);
    }
}
