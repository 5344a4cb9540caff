//! What a publisher sends next: the place in the loop, the encoding, the mark.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shardcast_core::h264::ParameterSets;
use str0m::media::{Frequency, MediaTime};

use super::hostile::Spoiler;
use super::pace::Pace;
use crate::clip::{AUDIO_PACKETS_PER_SECOND, Clip, Picture, annex_b};
use crate::mark::Mark;

/// A picture ready for the packetiser.
#[derive(Debug)]
pub(crate) struct Frame {
    /// H.264 with start codes; other codecs as they are.
    pub(crate) unit: Vec<u8>,
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
    pace: Pace,
    spoiler: Option<Spoiler>,
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
    pub(crate) fn new(
        clip: Arc<Clip>,
        publisher: u32,
        pace: Pace,
        spoiler: Option<Spoiler>,
    ) -> Self {
        Self {
            clip,
            publisher,
            pace,
            spoiler,
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
        self.pace.due(self.session_frames, self.clip.format.fps)
    }

    /// When the next packet of sound is due.
    pub(crate) fn next_packet_due(&self) -> Duration {
        Duration::from_millis(self.session_packets * 1_000 / u64::from(AUDIO_PACKETS_PER_SECOND))
    }

    /// The next frame, marked with the time of now.
    pub(crate) fn next_frame(&mut self, now_us: u64) -> Option<Frame> {
        let format = self.clip.format;
        let place = (self.session_frames % u64::from(format.loop_frames())) as u32;
        let phase_frames = format.phase_frames();
        // Two IDRs in a row would need different `idr_pic_id`s (H.264 7.4.3).
        let may_begin = place.is_multiple_of(phase_frames) && self.since_idr >= phase_frames;
        if self.keyframe_wanted && may_begin {
            self.phase = place / phase_frames;
            self.since_idr = 0;
        }
        let picture = self.clip.picture(self.phase, self.since_idr)?;
        let key = picture.key;
        if key {
            self.keyframe_wanted = false;
        }
        let mark = Mark {
            sent_us: now_us,
            frame: self.frame,
            publisher: self.publisher,
            flash: format.flashes(place),
        };
        let honest = unit(self.clip.sets.as_ref(), picture, &mark);
        let unit = match &mut self.spoiler {
            Some(spoiler) => spoiler.spoil(honest, key),
            None => honest,
        };
        let time = self.pace.media_time(self.session_frames, format.fps);
        self.frame += 1;
        self.session_frames += 1;
        self.since_idr = (self.since_idr + 1) % format.loop_frames();
        Some(Frame { unit, key, time })
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

/// A picture as the packetiser takes it. Only H.264 has parameter sets, and room for a mark.
fn unit(sets: Option<&ParameterSets>, picture: &Picture, mark: &Mark) -> Vec<u8> {
    let Some(sets) = sets else {
        return picture.data.to_vec();
    };
    let mut stream = Vec::with_capacity(picture.data.len() + 256);
    if picture.key {
        stream = annex_b([sets.sps_nal()].into_iter().chain(sets.pps_nals()));
    }
    mark.write_annex_b(&mut stream);
    stream.extend_from_slice(&annex_b([&picture.data]));
    stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::ClipFormat;

    fn feeder() -> Feeder {
        let clip = Clip::load(ClipFormat::small()).unwrap();
        Feeder::new(clip, 1, Pace::Constant, None)
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
            let bytes = &frame.unit;
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
