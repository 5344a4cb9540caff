//! An RTMP server in memory that takes notes.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use shardcast_core::rtmp::{
    Message, ServerConfig, ServerOutput, ServerSession, message::type_id, server::UnpublishedBy,
};

use super::Site;

pub(crate) struct Server {
    site: Site,
    session: ServerSession,
    answers: VecDeque<Bytes>,
    greeted: bool,
    pub(crate) key: Option<String>,
    pub(crate) metadata: usize,
    pub(crate) media: Vec<Message>,
    pub(crate) ended_by: Vec<UnpublishedBy>,
}

impl Server {
    pub(crate) fn new(site: Site) -> Self {
        Self {
            site,
            session: ServerSession::new(ServerConfig::default()),
            answers: VecDeque::new(),
            greeted: false,
            key: None,
            metadata: 0,
            media: Vec::new(),
            ended_by: Vec::new(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        match self.site {
            Site::Mute => return,
            Site::Garbage => {
                if !std::mem::replace(&mut self.greeted, true) {
                    self.answers.push_back(Bytes::from(vec![0x48; 4000]));
                }
                return;
            }
            _ => {}
        }
        self.session.handle(bytes).expect("the shard speaks RTMP");
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Send(bytes) => self.answers.push_back(bytes),
                ServerOutput::Publish { stream_key } => {
                    self.key = Some(stream_key);
                    if self.site == Site::RejectsKey {
                        self.session
                            .reject_publish("NetStream.Publish.BadName", "no such key");
                    } else {
                        self.session.accept_publish();
                    }
                }
                ServerOutput::Metadata(_) => self.metadata += 1,
                ServerOutput::Media(message) => self.media.push(message),
                ServerOutput::Unpublish { by } => self.ended_by.push(by),
                _ => {}
            }
        }
    }

    pub(crate) fn answers(&mut self) -> Vec<Bytes> {
        self.answers.drain(..).collect()
    }

    pub(crate) fn media_since(&self, _opened: Instant) -> bool {
        !self.media.is_empty()
    }

    /// Video frames without sequence headers.
    pub(crate) fn video(&self) -> Vec<&Message> {
        self.of(type_id::VIDEO)
    }

    /// Audio frames without sequence headers.
    pub(crate) fn audio(&self) -> Vec<&Message> {
        self.of(type_id::AUDIO)
    }

    pub(crate) fn sequence_headers(&self, type_id: u8) -> usize {
        let headers = self
            .media
            .iter()
            .filter(|m| m.type_id == type_id && m.payload[1] == 0);
        headers.count()
    }

    /// The payloads of the video frames: what two servers must agree on.
    pub(crate) fn pictures(&self) -> Vec<Bytes> {
        self.video()
            .iter()
            .map(|message| message.payload.clone())
            .collect()
    }

    pub(crate) fn keyframe_times_ms(&self) -> Vec<u32> {
        let keys = self
            .video()
            .into_iter()
            .filter(|message| message.payload[0] == 0x17);
        keys.map(|message| message.timestamp_ms).collect()
    }

    /// Largest distance of two pictures that follow each other, from `from_ms` on.
    pub(crate) fn largest_gap_ms(&self, from_ms: u32) -> u32 {
        let times = self.video().into_iter().map(|message| message.timestamp_ms);
        let times: Vec<u32> = times.filter(|at| *at >= from_ms).collect();
        let gaps = times.windows(2).map(|two| two[1] - two[0]);
        gaps.max().expect("pictures")
    }

    /// Fails unless headers come before media, the first picture is a keyframe, and no timestamp
    /// steps back.
    pub(crate) fn assert_sound(&self) {
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
        assert_eq!(
            first_audio.payload[1], 0,
            "media before the AAC sequence header"
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
            .filter(|m| m.type_id == type_id && m.payload[1] != 0)
            .collect()
    }
}
