//! What a publisher sends next: the place in the loop, the encoding, the mark.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use str0m::media::{Frequency, MediaTime};

use crate::clip::{AUDIO_PACKETS_PER_SECOND, Clip, PHASE_FRAMES};
use crate::mark::Mark;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A picture ready for the packetiser.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) annex_b: Vec<u8>,
    pub(crate) key: bool,
    pub(crate) time: MediaTime,
}

/// A packet of sound.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) packet: Bytes,
    pub(crate) time: MediaTime,
}

/// Walks through the loop. Pure: the time of a frame follows from its number.
#[derive(Debug)]
pub(crate) struct Feeder {
    clip: Arc<Clip>,
    publisher: u32,
    /// Frames of the publisher's whole life.
    frame: u32,
    /// Since the session began.
    session_frames: u64,
    session_packets: u64,
    phase: u32,
    since_idr: u32,
    keyframe_wanted: bool,
}

impl Feeder {
    pub(crate) fn new(clip: Arc<Clip>, publisher: u32) -> Self {
        Self {
            clip,
            publisher,
            frame: 0,
            session_frames: 0,
            session_packets: 0,
            phase: 0,
            since_idr: 0,
            keyframe_wanted: false,
        }
    }

    /// A new session: the loop starts over, with an IDR; the numbers of the marks go on.
    pub(crate) fn restart(&mut self) {
        self.session_frames = 0;
        self.session_packets = 0;
        self.phase = 0;
        self.since_idr = 0;
        self.keyframe_wanted = false;
    }

    /// The receiver wants an IDR.
    pub(crate) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// When the next frame is due, from the beginning of the session.
    pub(crate) fn next_frame_due(&self) -> Duration {
        Duration::from_nanos(self.session_frames * 1_000_000_000 / u64::from(self.clip.format.fps))
    }

    /// When the next packet of sound is due.
    pub(crate) fn next_packet_due(&self) -> Duration {
        Duration::from_millis(self.session_packets * 1_000 / u64::from(AUDIO_PACKETS_PER_SECOND))
    }

    /// The next frame, marked with the time of now.
    pub(crate) fn next_frame(&mut self, now_us: u64) -> Option<Frame> {
        let format = self.clip.format;
        let place = (self.session_frames % u64::from(format.loop_frames())) as u32;
        // Two IDRs in a row would need different `idr_pic_id`s (H.264 7.4.3).
        let may_begin = place.is_multiple_of(PHASE_FRAMES) && self.since_idr >= PHASE_FRAMES;
        if self.keyframe_wanted && may_begin {
            self.phase = place / PHASE_FRAMES;
            self.since_idr = 0;
        }
        let picture = self.clip.picture(self.phase, self.since_idr)?;
        if picture.key {
            self.keyframe_wanted = false;
        }
        let mark = Mark {
            sent_us: now_us,
            frame: self.frame,
            publisher: self.publisher,
            flash: format.flashes(place),
        };
        let mut annex_b = Vec::with_capacity(picture.slice.len() + 256);
        if picture.key {
            for set in [&self.clip.sps, &self.clip.pps] {
                annex_b.extend_from_slice(&START_CODE);
                annex_b.extend_from_slice(set);
            }
        }
        mark.write_annex_b(&mut annex_b);
        annex_b.extend_from_slice(&START_CODE);
        annex_b.extend_from_slice(&picture.slice);
        let key = picture.key;
        let ticks = self.session_frames * 90_000 / u64::from(format.fps);
        self.frame += 1;
        self.session_frames += 1;
        self.since_idr = (self.since_idr + 1) % format.loop_frames();
        Some(Frame {
            annex_b,
            key,
            time: MediaTime::new(ticks, Frequency::NINETY_KHZ),
        })
    }

    /// The next packet of sound.
    pub(crate) fn next_packet(&mut self) -> Option<Sound> {
        let place = self.session_packets % self.clip.sound.len().max(1) as u64;
        let packet = self.clip.sound.get(place as usize)?.clone();
        let samples = self.session_packets * 48_000 / u64::from(AUDIO_PACKETS_PER_SECOND);
        self.session_packets += 1;
        Some(Sound {
            packet,
            time: MediaTime::new(samples, Frequency::FORTY_EIGHT_KHZ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::ClipFormat;

    fn feeder() -> Feeder {
        Feeder::new(Clip::load(ClipFormat::small()).unwrap(), 1)
    }

    #[test]
    fn an_idr_comes_every_two_seconds_and_within_a_frame_of_being_asked_for() {
        let mut feeder = feeder();
        let mut keys = Vec::new();
        for n in 0..200 {
            if n == 15 || n == 17 || n == 121 {
                feeder.want_keyframe();
            }
            if feeder.next_frame(0).unwrap().key {
                keys.push(n);
            }
        }
        assert_eq!(keys, [0, 16, 18, 78, 122, 182]);
    }

    #[test]
    fn flashes_stay_with_the_beeps_whatever_is_asked_for() {
        let mut feeder = feeder();
        for n in 0..300_u64 {
            if n % 7 == 0 {
                feeder.want_keyframe();
            }
            let due = feeder.next_frame_due();
            let frame = feeder.next_frame(n).unwrap();
            let bytes = &frame.annex_b;
            let sei = bytes.windows(5).position(|w| w == [0, 0, 0, 1, 6]).unwrap();
            let mark = Mark::read(&bytes[sei + 4..]).unwrap();
            assert_eq!(
                mark.flash,
                due.as_millis().is_multiple_of(1_000),
                "frame {n} at {due:?}"
            );
            assert_eq!((mark.frame, mark.sent_us), (n as u32, n));
        }
    }
}
