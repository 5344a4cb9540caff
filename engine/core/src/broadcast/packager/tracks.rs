//! The tracks of a stream: what its init segment and its playlists say of them.

use std::rc::Rc;

use bytes::Bytes;
use shardcast_cmaf::{Track, init_segment};

use crate::codec::{aac::AacConfig, h264::ParameterSets};

pub(super) const VIDEO_TRACK: u32 = 1;
pub(super) const AUDIO_TRACK: u32 = 2;

/// What a stream is made of.
#[derive(Clone, Debug)]
pub(super) struct Tracks {
    /// `None`: audio alone.
    pub(super) video: Option<Rc<ParameterSets>>,
    pub(super) audio: AacConfig,
}

impl Tracks {
    /// Its init segment.
    pub(super) fn init(&self) -> Bytes {
        let mut tracks = Vec::with_capacity(2);
        if let Some(config) = &self.video {
            let [width, height] = [config.width(), config.height()]
                .map(|pixels| u16::try_from(pixels).unwrap_or(u16::MAX));
            let record = config.record().clone();
            tracks.push(Track::video(VIDEO_TRACK, record, width, height));
        }
        let config = Bytes::copy_from_slice(self.audio.specific_config());
        let channels = u16::try_from(self.audio.channels).unwrap_or(2);
        let audio = Track::audio(AUDIO_TRACK, config, self.audio.sample_rate, channels);
        tracks.push(audio);
        init_segment(&tracks)
    }

    /// As `CODECS` of a playlist has them (RFC 6381, 3.3 and 3.4).
    pub(super) fn codecs(&self) -> String {
        let aac = "mp4a.40.2";
        match &self.video {
            None => aac.to_owned(),
            Some(config) => {
                let sps = config.sps();
                let (profile, constraints, level) = (sps.profile, sps.constraints, sps.level);
                format!("avc1.{profile:02x}{constraints:02x}{level:02x},{aac}")
            }
        }
    }

    /// Whether its pictures are coded so.
    pub(super) fn has(&self, config: &Rc<ParameterSets>) -> bool {
        let same =
            |it: &Rc<ParameterSets>| Rc::ptr_eq(it, config) || it.record() == config.record();
        self.video.as_ref().is_some_and(same)
    }
}
