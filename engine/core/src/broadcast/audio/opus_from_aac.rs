//! Opus of an encoder's broadcast, for viewers over WebRTC: made once of its AAC, while one of them is there.
//!
//! ```text
//!  units of AAC   frame │ frame │    │ frame          where the encoder's clock says
//!  transcoder     frame │ frame │ silence │ frame     without gaps, in samples
//!  units of Opus  packet │ packet │ packet │ …        of 20 ms each, by the count of samples
//! ```
//!
//! A transcoder counts samples, an encoder writes times in whole milliseconds by a clock that is not ours. So
//! small differences between the two are smoothed and taken back by stretching the sound, some samples a frame;
//! a gap is filled with silence; a frame whose time is taken is left out. Sound is off by [`OFF_SAMPLES_MAX`] at the most.

use bytes::Bytes;

use crate::{
    broadcast::{
        ingest::decode_clock::STEP_US_MIN,
        ring::{Kind, Unit},
    },
    codec::aac::{AacConfig, FRAME_SAMPLES, SAMPLE_RATE},
    ids::AudioTranscoderId,
    io::AudioJob,
};

/// Bit rate of the Opus in stereo, in bits a second: what libopus calls transparent for music.
const STEREO_BPS: u32 = 96_000;
/// The same of a mono source.
const MONO_BPS: u32 = 64_000;
/// Samples of one packet: 20 ms, what browsers send.
const PACKET_SAMPLES: u32 = 960;
/// What the sound of a packet is behind its time: Opus looks 312 samples ahead, and a resampler 17.
const CODEC_DELAY_SAMPLES: i64 = 312 + 17;
/// Parts of a sample in which frames are whole numbers: one of 44.1 kHz is 163 840 of them.
const PARTS: i64 = 147;
/// An encoder that bunches its frames is off by two of them for a moment (40 ms); more is a gap, or comes twice.
const OFF_SAMPLES_MAX: i64 = 40 * SAMPLE_RATE / 1_000;
/// Longest gap that is filled with silence; time jumps over a longer one. Silence in front of this was made already.
const FILL_SAMPLES_MAX: i64 = 2 * SAMPLE_RATE;
/// Most that a frame is stretched by, in samples: 0.4 %, a fifteenth of a semitone, which is 3.7 ms a second.
const STRETCH_SAMPLES_MAX: i64 = 4;
/// A new difference counts a sixteenth, and a thirty-second of the mean is taken back with each frame.
const SMOOTHING: i64 = 16;
const TAKEN_BACK: i64 = 32;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct OpusFromAac {
    open: Option<Open>,
    /// Time of the last unit, whichever transcoder it is of.
    last_us: Option<i64>,
}

/// A transcoder.
#[derive(Debug)]
struct Open {
    id: AudioTranscoderId,
    config: AacConfig,
    /// Position of its first sample on the media clock, in samples.
    start: i64,
    /// What it was given, in parts of a sample.
    fed_parts: i64,
    packets: i64,
    /// By how much frames belong behind where they are put, in samples, times [`SMOOTHING`].
    behind: i64,
}

impl Open {
    fn at(id: AudioTranscoderId, config: AacConfig, start: i64) -> Self {
        Self {
            id,
            config,
            start,
            fed_parts: 0,
            packets: 0,
            behind: 0,
        }
    }

    /// Where the next sample goes.
    fn end(&self) -> i64 {
        self.start + self.fed_parts / PARTS
    }

    /// What is to be done with a frame that belongs at `position`.
    fn place(&mut self, position: i64, frame: Bytes, mut job: impl FnMut(AudioJob)) {
        let transcoder = self.id;
        let mut off = position - self.end();
        if off < -OFF_SAMPLES_MAX {
            return; // Its time was heard already.
        }
        if let Ok(samples) = u32::try_from(off)
            && off > OFF_SAMPLES_MAX
        {
            self.fed_parts += off * PARTS;
            job(AudioJob::Silence {
                transcoder,
                samples,
            });
            off = 0;
        }
        self.behind += off - self.behind / SMOOTHING;
        let stretch =
            (self.behind / SMOOTHING / TAKEN_BACK).clamp(-STRETCH_SAMPLES_MAX, STRETCH_SAMPLES_MAX);
        let rate = i64::from(self.config.sample_rate);
        self.fed_parts += FRAME_SAMPLES * SAMPLE_RATE * PARTS / rate + stretch * PARTS;
        job(AudioJob::DecodeAac {
            transcoder,
            frame,
            stretch_samples: stretch as i32,
        });
    }
}

impl OpusFromAac {
    /// A unit of AAC that somebody wants in Opus: hands on what a transcoder is to do. `id` names a new one.
    pub(crate) fn unit(
        &mut self,
        unit: &Unit,
        id: impl FnOnce() -> AudioTranscoderId,
        mut job: impl FnMut(AudioJob),
    ) {
        let Kind::Audio { config } = unit.kind else {
            return;
        };
        let position = (unit.pts_us.saturating_mul(SAMPLE_RATE) + 500_000) / 1_000_000;
        let goes_on = |open: &Open| {
            open.config == config && position.saturating_sub(open.end()) <= FILL_SAMPLES_MAX
        };
        if !self.open.as_ref().is_some_and(goes_on) {
            if let Some(transcoder) = self.close() {
                job(AudioJob::Close { transcoder });
            }
            let transcoder = id();
            self.open = Some(Open::at(transcoder, config, position));
            job(AudioJob::OpenOpus {
                transcoder,
                config,
                audio_bps: if config.channels == 1 {
                    MONO_BPS
                } else {
                    STEREO_BPS
                },
            });
        }
        if let Some(open) = &mut self.open {
            open.place(position, unit.payload.clone(), job);
        }
    }

    /// Nobody wants it any more, or the encoder is gone: the transcoder that is to be closed.
    pub(crate) fn close(&mut self) -> Option<AudioTranscoderId> {
        self.open.take().map(|open| open.id)
    }

    /// The next packet of its transcoder, at its time; `None` if it is of another one.
    pub(crate) fn packet(&mut self, id: AudioTranscoderId, packet: Bytes) -> Option<Unit> {
        let open = self.open.as_mut().filter(|open| open.id == id)?;
        let before = open.packets * i64::from(PACKET_SAMPLES) - CODEC_DELAY_SAMPLES;
        open.packets += 1;
        let pts_us = (open.start + before) * 1_000_000 / SAMPLE_RATE;
        let last_us = self.last_us;
        let pts_us = last_us.map_or(pts_us, |last_us| pts_us.max(last_us + STEP_US_MIN));
        self.last_us = Some(pts_us);
        Some(Unit {
            kind: Kind::Opus {
                samples: PACKET_SAMPLES,
            },
            pts_us,
            dts_us: pts_us,
            payload: packet,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CD: [u8; 2] = [0x12, 0x10];
    const DVD: [u8; 2] = [0x11, 0x90];

    /// Plays the transcoder, and keeps by how much each packet's samples are off.
    #[derive(Default)]
    struct Show {
        opus: OpusFromAac,
        ids: u64,
        /// The media time in microseconds and the first position, in parts, of each frame that was decoded.
        frames: Vec<(i64, i64)>,
        parts: i64,
        opened: usize,
        silence: u32,
        packets: Vec<i64>,
    }

    impl Show {
        fn frame(&mut self, config: [u8; 2], pts_us: i64) {
            let config = AacConfig::read(&config).unwrap();
            let unit = Unit {
                kind: Kind::Audio { config },
                pts_us,
                dts_us: pts_us,
                payload: Bytes::from_static(b"aac"),
            };
            self.ids += 1;
            let mut jobs = Vec::new();
            let id = AudioTranscoderId::numbered(self.ids);
            self.opus.unit(&unit, || id, |job| jobs.push(job));
            for job in jobs {
                match job {
                    AudioJob::OpenOpus { .. } => {
                        (self.opened, self.parts) = (self.opened + 1, 0);
                        self.packets.clear();
                    }
                    AudioJob::Silence { samples, .. } => {
                        self.silence += samples;
                        self.parts += i64::from(samples) * PARTS;
                    }
                    AudioJob::DecodeAac {
                        stretch_samples, ..
                    } => {
                        self.frames.push((pts_us, self.parts));
                        let rate = i64::from(config.sample_rate);
                        self.parts +=
                            1_024 * 48_000 * PARTS / rate + i64::from(stretch_samples) * PARTS;
                    }
                    _ => {}
                }
            }
            let open = self.opus.open.as_ref().unwrap().id;
            while self.parts / PARTS / 960 > self.packets.len() as i64 {
                let packet = Bytes::from_static(&[0xFC, 0xFF, 0xFE]);
                let unit = self.opus.packet(open, packet).unwrap();
                self.packets.push(unit.pts_us);
            }
        }

        /// By how many microseconds the sound of the last frame is heard early or late.
        fn off_us(&self) -> i64 {
            let (pts_us, parts) = self.frames.last().unwrap();
            let first = self.packets[0] + CODEC_DELAY_SAMPLES * 1_000_000 / SAMPLE_RATE;
            first + parts * 1_000_000 / PARTS / SAMPLE_RATE - pts_us
        }
    }

    #[test]
    fn packets_follow_each_other_every_20_ms_and_sound_stays_where_the_encoder_put_it() {
        for (config, rate) in [(CD, 44_100), (DVD, 48_000)] {
            let mut show = Show::default();
            for n in 0..20_000_i64 {
                // RTMP has whole milliseconds.
                let pts_us = 5_000_000 + n * 1_024_000 / rate * 1_000;
                show.frame(config, pts_us);
                assert!(
                    n < 2 || show.off_us().abs() <= 1_500,
                    "{n}: {}",
                    show.off_us()
                );
            }
            assert_eq!((show.opened, show.silence), (1, 0));
            let steps = show.packets.windows(2).map(|two| two[1] - two[0]);
            assert!(steps.into_iter().all(|us| us == 20_000));
            assert_eq!(show.packets[0], 5_000_000 - 329 * 1_000_000 / 48_000 - 1);
        }
    }

    #[test]
    fn a_clock_that_is_not_ours_is_followed_without_a_break() {
        for ppm in [-2_000, -100, 100, 2_000] {
            let mut show = Show::default();
            for n in 0..10_000_i64 {
                let pts_us = n * 1_024_000_000 / 44_100 * (1_000_000 + ppm) / 1_000_000;
                show.frame(CD, pts_us);
                assert!(
                    n < 2 || show.off_us().abs() <= 10_000,
                    "{ppm}: {}",
                    show.off_us()
                );
            }
            assert_eq!(show.frames.len(), 10_000, "{ppm}");
            assert_eq!((show.opened, show.silence), (1, 0), "{ppm}");
        }
    }

    #[test]
    fn gaps_are_silent_what_comes_twice_is_left_out_and_what_is_too_far_begins_anew() {
        let mut show = Show::default();
        let frame_us = |n: i64| n * 1_024_000_000 / 48_000;
        (0..50).for_each(|n| show.frame(DVD, frame_us(n)));
        (60..100).for_each(|n| show.frame(DVD, frame_us(n)));
        assert_eq!((show.opened, show.silence), (1, 10 * 1_024));
        (90..110).for_each(|n| show.frame(DVD, frame_us(n)));
        assert_eq!(
            show.frames.len(),
            50 + 40 + 10 + 1,
            "within 40 ms nothing is lost"
        );
        (1_000..1_010).for_each(|n| show.frame(DVD, frame_us(n)));
        assert!(show.opened == 2 && show.off_us().abs() <= 50);
        (1_010..1_020).for_each(|n| show.frame(CD, frame_us(n)));
        assert_eq!(show.opened, 3);
    }

    #[test]
    fn time_rises_over_transcoders_and_a_packet_of_a_closed_one_is_not_taken() {
        let mut show = Show::default();
        (0..50).for_each(|n| show.frame(DVD, n * 21_333));
        let (closed, last_us) = (show.opus.close().unwrap(), *show.packets.last().unwrap());
        assert!(show.opus.packet(closed, Bytes::new()).is_none());
        (50..60).for_each(|n| show.frame(DVD, n * 21_333));
        assert_eq!(show.opened, 2);
        assert!(show.packets[0] > last_us);
        assert!(show.opus.packet(closed, Bytes::new()).is_none());
    }
}
