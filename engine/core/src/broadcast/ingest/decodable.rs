//! Whether a publisher's frames can be decoded, and the problem in its status when none can for some
//! seconds.

use std::time::{Duration, Instant};

use shardcast_link::VideoCodec;

/// Frames that cannot be decoded for so long are a problem in the publisher's status. A keyframe repairs
/// a loss within a second or two, also on a bad network.
const REPORTED_AFTER: Duration = Duration::from_secs(5);
/// Without a frame for so long the publisher has stopped, which is no problem of decoding.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// An unanswered keyframe request is repeated after the first of these, then after twice as long each time
/// up to the second: a publisher that does not answer has no keyframe to give, or does not receive RTCP.
const KEYFRAME_REPEAT: Duration = Duration::from_millis(400);
const KEYFRAME_REPEAT_MAX: Duration = Duration::from_secs(2);

/// How long a keyframe is waited for before it is asked for again.
#[derive(Debug)]
pub(crate) struct KeyframeRepeat(Duration);

impl Default for KeyframeRepeat {
    fn default() -> Self {
        Self(KEYFRAME_REPEAT)
    }
}

impl KeyframeRepeat {
    /// After the request that is made now; longer from one to the next.
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.0;
        self.0 = KEYFRAME_REPEAT_MAX.min(2 * next);
        next
    }
}

/// The frames of one publisher on their way to something that can use them.
#[derive(Debug, Default)]
pub(crate) struct Decodable {
    /// When the first of those came that cannot be used, with none behind it that can.
    unusable_since: Option<Instant>,
    last: Option<Instant>,
}

impl Decodable {
    /// Frames have come, and one that can be used was among them, or none was.
    pub(crate) fn came(&mut self, now: Instant, usable: bool) {
        self.last = Some(now);
        if usable {
            self.unusable_since = None;
        } else {
            self.unusable_since.get_or_insert(now);
        }
    }

    /// Whether nothing could be decoded for so long that the status reports it.
    fn is_undecodable(&self, now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        let comes = self.last.is_some_and(|last| age(last) < STOPPED_AFTER);
        comes
            && self
                .unusable_since
                .is_some_and(|at| age(at) >= REPORTED_AFTER)
    }

    /// What is wrong when no frame is one that a decoder could begin with or go on from.
    pub(crate) fn lacks_keyframes(&self, now: Instant) -> Option<String> {
        self.is_undecodable(now).then(|| {
            "video arrives, and for some seconds no picture of it could be decoded, since no whole \
             keyframe comes: publish again; if it stays so, lower the bit rate of the page or let it \
             send H.264"
                .to_owned()
        })
    }

    /// What is wrong when the decoder makes nothing of what it is given.
    pub(crate) fn defeats_decoder(&self, now: Instant, codec: VideoCodec) -> Option<String> {
        self.is_undecodable(now).then(|| {
            format!(
                "video arrives as {}, and for some seconds the decoder has made no picture of it: let \
                 the page send H.264, or another codec without a scalabilityMode",
                codec.name()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_after_five_seconds_without_a_usable_picture_and_while_pictures_come() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut pictures = Decodable::default();
        assert_eq!(pictures.lacks_keyframes(at(0)), None);
        for ms in (0..5_000).step_by(100) {
            assert_eq!(pictures.lacks_keyframes(at(ms)), None, "after {ms} ms");
            pictures.came(at(ms), false);
        }
        pictures.came(at(5_000), false);
        let words = pictures.lacks_keyframes(at(5_000)).unwrap();
        assert!(words.contains("publish again"), "{words}");
        let words = pictures.defeats_decoder(at(5_000), VideoCodec::Av1);
        assert!(words.unwrap().contains("AV1"));
        assert_eq!(pictures.lacks_keyframes(at(8_000)), None, "none come");
        pictures.came(at(9_000), false);
        assert!(pictures.lacks_keyframes(at(9_000)).is_some());
        pictures.came(at(9_033), true);
        assert_eq!(pictures.lacks_keyframes(at(9_033)), None);
    }
}
