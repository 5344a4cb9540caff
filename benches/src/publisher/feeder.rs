//! Chooses what a publisher sends next: the place in the loop, the encoding, the stamp.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shardcast_core::h264::ParameterSets;
use str0m::media::{Frequency, MediaTime};

use super::corruption::FrameCorruptor;
use super::pace::Pace;
use crate::frame_stamp::FrameStamp;
use crate::test_clip::{AUDIO_PACKETS_PER_SECOND, EncodedFrame, TestClip, annex_b};

/// A video frame ready for the packetiser.
#[derive(Debug)]
pub(crate) struct Frame {
    /// H.264 with start codes; other codecs as RTP carries them.
    pub(crate) unit: Vec<u8>,
    pub(crate) key: bool,
    pub(crate) time: MediaTime,
}

/// An Opus packet and its time.
#[derive(Debug)]
pub(crate) struct AudioPacket {
    pub(crate) packet: Bytes,
    pub(crate) time: MediaTime,
}

/// Walks through the loop of the test clip. It reads no clock: the time of a frame follows from its
/// number.
#[derive(Debug)]
pub(crate) struct Feeder {
    clip: Arc<TestClip>,
    publisher: u32,
    pace: Pace,
    corruptor: Option<FrameCorruptor>,
    /// Frames in all sessions of the publisher.
    frame: u32,
    /// Frames since the session began.
    session_frames: u64,
    session_packets: u64,
    phase: u32,
    since_idr: u32,
    keyframe_requested: bool,
}

impl Feeder {
    pub(crate) fn new(
        clip: Arc<TestClip>,
        publisher: u32,
        pace: Pace,
        corruptor: Option<FrameCorruptor>,
    ) -> Self {
        Self {
            clip,
            publisher,
            pace,
            corruptor,
            frame: 0,
            session_frames: 0,
            session_packets: 0,
            phase: 0,
            since_idr: 0,
            keyframe_requested: false,
        }
    }

    /// Begins a new session: the loop starts over with an IDR; frame numbers go on.
    pub(crate) fn restart(&mut self) {
        self.session_frames = 0;
        self.session_packets = 0;
        self.phase = 0;
        self.since_idr = 0;
        self.keyframe_requested = false;
    }

    /// Takes a keyframe request of the receiver.
    pub(crate) fn request_keyframe(&mut self) {
        self.keyframe_requested = true;
    }

    /// When the next frame is due, from the beginning of the session.
    pub(crate) fn next_frame_due(&self) -> Duration {
        self.pace.due(self.session_frames, self.clip.format.fps)
    }

    /// When the next audio packet is due.
    pub(crate) fn next_packet_due(&self) -> Duration {
        Duration::from_millis(self.session_packets * 1_000 / u64::from(AUDIO_PACKETS_PER_SECOND))
    }

    /// The next frame, stamped with the current time.
    pub(crate) fn next_frame(&mut self, now_us: u64) -> Option<Frame> {
        let time = self
            .pace
            .media_time(self.session_frames, self.clip.format.fps);
        let (encoded, stamp) = self.advance(now_us)?;
        let key = encoded.key;
        let valid = unit(self.clip.sets.as_ref(), &encoded, &stamp);
        let unit = match &mut self.corruptor {
            Some(corruptor) => corruptor.corrupt(valid, key),
            None => valid,
        };
        Some(Frame { unit, key, time })
    }

    /// The next frame of H.264 as RTMP carries it: NAL units behind lengths of four bytes, without
    /// parameter sets.
    pub(crate) fn next_unit(&mut self, now_us: u64) -> Option<EncodedFrame> {
        let (encoded, stamp) = self.advance(now_us)?;
        let mut sei = Vec::with_capacity(encoded.data.len() + 128);
        stamp.write_annex_b(&mut sei);
        // The start code has the size of a length.
        let length = (sei.len() as u32).saturating_sub(4).to_be_bytes();
        if let Some(start_code) = sei.first_chunk_mut() {
            *start_code = length;
        }
        sei.extend_from_slice(&(encoded.data.len() as u32).to_be_bytes());
        sei.extend_from_slice(&encoded.data);
        Some(EncodedFrame {
            data: Bytes::from(sei),
            key: encoded.key,
        })
    }

    /// Chooses the next frame, and goes on to the one behind it.
    fn advance(&mut self, now_us: u64) -> Option<(EncodedFrame, FrameStamp)> {
        let format = self.clip.format;
        let place = (self.session_frames % u64::from(format.loop_frames())) as u32;
        let phase_frames = format.phase_frames();
        // Two IDRs in a row would need different `idr_pic_id`s (H.264 7.4.3).
        let may_begin = place.is_multiple_of(phase_frames) && self.since_idr >= phase_frames;
        if self.keyframe_requested && may_begin {
            self.phase = place / phase_frames;
            self.since_idr = 0;
        }
        let encoded = self.clip.frame(self.phase, self.since_idr)?.clone();
        if encoded.key {
            self.keyframe_requested = false;
        }
        let stamp = FrameStamp {
            sent_us: now_us,
            frame: self.frame,
            publisher: self.publisher,
            flash: format.flashes(place),
        };
        self.frame += 1;
        self.session_frames += 1;
        self.since_idr = (self.since_idr + 1) % format.loop_frames();
        Some((encoded, stamp))
    }

    /// The next audio packet.
    pub(crate) fn next_packet(&mut self) -> Option<AudioPacket> {
        let place = self.session_packets % self.clip.audio.len().max(1) as u64;
        let packet = self.clip.audio.get(place as usize)?.clone();
        let samples = self.session_packets * 48_000 / u64::from(AUDIO_PACKETS_PER_SECOND);
        self.session_packets += 1;
        Some(AudioPacket {
            packet,
            time: MediaTime::new(samples, Frequency::FORTY_EIGHT_KHZ),
        })
    }
}

/// A frame as the packetiser takes it. Only H.264 has parameter sets and a place for a stamp.
fn unit(sets: Option<&ParameterSets>, encoded: &EncodedFrame, stamp: &FrameStamp) -> Vec<u8> {
    let Some(sets) = sets else {
        return encoded.data.to_vec();
    };
    let mut stream = Vec::with_capacity(encoded.data.len() + 256);
    if encoded.key {
        stream = annex_b([sets.sps_nal()].into_iter().chain(sets.pps_nals()));
    }
    stamp.write_annex_b(&mut stream);
    stream.extend_from_slice(&annex_b([&encoded.data]));
    stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clip::TestClipFormat;

    fn feeder() -> Feeder {
        let clip = TestClip::load(TestClipFormat::small()).unwrap();
        Feeder::new(clip, 1, Pace::Constant, None)
    }

    #[test]
    fn an_idr_comes_every_two_seconds_and_within_a_frame_of_a_request() {
        let mut feeder = feeder();
        let mut keys = Vec::new();
        for n in 0..200 {
            if n == 15 || n == 17 || n == 121 {
                feeder.request_keyframe();
            }
            if feeder.next_frame(0).unwrap().key {
                keys.push(n);
            }
        }
        assert_eq!(keys, [0, 16, 18, 78, 122, 182]);
    }

    #[test]
    fn flashes_stay_with_the_beeps_whatever_is_requested() {
        let mut feeder = feeder();
        for n in 0..300_u64 {
            if n % 7 == 0 {
                feeder.request_keyframe();
            }
            let due = feeder.next_frame_due();
            let frame = feeder.next_frame(n).unwrap();
            let bytes = &frame.unit;
            let sei = bytes.windows(5).position(|w| w == [0, 0, 0, 1, 6]).unwrap();
            let stamp = FrameStamp::read(&bytes[sei + 4..]).unwrap();
            assert_eq!(
                stamp.flash,
                due.as_millis().is_multiple_of(1_000),
                "frame {n} at {due:?}"
            );
            assert_eq!((stamp.frame, stamp.sent_us), (n as u32, n));
        }
    }
}
