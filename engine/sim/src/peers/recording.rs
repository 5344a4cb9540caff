//! What arrives at a simulated server, kept for a test to look at.

use bytes::Bytes;
use shardcast_core::rtmp::{Message, UnpublishedBy, enhanced::OPUS_HEADER, message::type_id};

use crate::rtmp_server::{Answer, ServerEvent, is_sequence_header};

/// Everything that one connection brought to its server.
#[derive(Debug, Default)]
pub struct Recording {
    /// The stream key under which the shard asked to publish.
    pub key: Option<String>,
    /// Messages of metadata.
    pub metadata: usize,
    /// Audio and video messages in the order in which they came, sequence headers included.
    pub media: Vec<Message>,
    /// How the shard ended the stream.
    pub ended_by: Vec<UnpublishedBy>,
}

impl Recording {
    /// Notes an event, or gives back the answer that it is.
    pub(super) fn record(&mut self, event: ServerEvent) -> Option<Answer> {
        match event {
            ServerEvent::Answer(answer) => return Some(answer),
            ServerEvent::Key(key) => self.key = Some(key),
            ServerEvent::Metadata => self.metadata += 1,
            ServerEvent::Media(message) => self.media.push(message),
            ServerEvent::Ended(by) => self.ended_by.push(by),
            ServerEvent::HangsUp => {}
        }
        None
    }

    /// Video frames without sequence headers.
    pub fn video(&self) -> Vec<&Message> {
        self.of(type_id::VIDEO)
    }

    /// Audio frames without sequence headers.
    pub fn audio(&self) -> Vec<&Message> {
        self.of(type_id::AUDIO)
    }

    /// The Opus packets, and when they are to be heard, in milliseconds. Other audio is none.
    pub fn opus(&self) -> Vec<(u32, Bytes)> {
        let audio = self.audio().into_iter();
        let opus = audio.filter(|m| m.payload.starts_with(&OPUS_HEADER));
        opus.map(|m| (m.timestamp_ms, m.payload.slice(OPUS_HEADER.len()..)))
            .collect()
    }

    /// Sequence headers of audio or video.
    pub fn sequence_headers(&self, type_id: u8) -> usize {
        let headers = self
            .media
            .iter()
            .filter(|m| m.type_id == type_id && is_sequence_header(m));
        headers.count()
    }

    /// The payloads of the video frames: what two servers must agree on.
    pub fn pictures(&self) -> Vec<Bytes> {
        self.video()
            .iter()
            .map(|message| message.payload.clone())
            .collect()
    }

    /// Time stamps of the keyframes, in milliseconds.
    pub fn keyframe_times_ms(&self) -> Vec<u32> {
        let keys = self
            .video()
            .into_iter()
            .filter(|message| message.payload[0] == 0x17);
        keys.map(|message| message.timestamp_ms).collect()
    }

    /// Largest distance of two pictures that follow each other, from `from_ms` on.
    pub fn largest_gap_ms(&self, from_ms: u32) -> u32 {
        let times = self.video().into_iter().map(|message| message.timestamp_ms);
        let times: Vec<u32> = times.filter(|at| *at >= from_ms).collect();
        let gaps = times.windows(2).map(|two| two[1] - two[0]);
        gaps.max().expect("pictures")
    }

    /// How far a picture was behind the audio that had come before it, at most.
    pub fn video_behind_audio_ms(&self) -> u32 {
        let (mut heard_ms, mut most_ms) = (0, 0);
        for message in self.media.iter().filter(|m| !is_sequence_header(m)) {
            if message.type_id == type_id::AUDIO {
                heard_ms = message.timestamp_ms;
            } else {
                most_ms = most_ms.max(heard_ms.saturating_sub(message.timestamp_ms));
            }
        }
        most_ms
    }

    /// Fails unless headers come before media, the first picture is a keyframe, and no timestamp
    /// steps back.
    pub fn assert_well_formed(&self) {
        assert!(self.metadata > 0, "no metadata");
        let first_video = self
            .media
            .iter()
            .find(|m| m.type_id == type_id::VIDEO)
            .unwrap();
        assert_eq!(
            first_video.payload[1], 0,
            "media before the AVC sequence header"
        );
        let first_audio = self
            .media
            .iter()
            .find(|m| m.type_id == type_id::AUDIO)
            .unwrap();
        assert!(
            is_sequence_header(first_audio),
            "media before the sequence header of the audio"
        );
        assert_eq!(
            self.video()[0].payload[0],
            0x17,
            "does not start on a keyframe"
        );
        for kind in [type_id::VIDEO, type_id::AUDIO] {
            let times: Vec<u32> = self.of(kind).iter().map(|m| m.timestamp_ms).collect();
            for pair in times.windows(2) {
                assert!(
                    pair[0] <= pair[1],
                    "type {kind} steps back from {} to {}",
                    pair[0],
                    pair[1]
                );
            }
        }
    }

    fn of(&self, type_id: u8) -> Vec<&Message> {
        self.media
            .iter()
            .filter(|m| m.type_id == type_id && !is_sequence_header(m))
            .collect()
    }
}
