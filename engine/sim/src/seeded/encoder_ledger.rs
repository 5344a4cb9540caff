//! What encoders have sent, and whether a consumer was sent that: each payload to the byte, no frame of audio
//! left out, steps of time as they were, and sound as far from the picture as it was.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::picture::{Picture, Shows};

/// The place of an encoder's media is moved by at most a millisecond at a time, and times are rounded to as much. A
/// picture whose place is taken is led on by less than five, and what follows is not.
const STEP_US_MAX: i64 = 3_000 + 5_000;
/// It is moved by at most two milliseconds a second.
const SLEW_PER_MILLE: i64 = 2;
/// Sound may be so far from the picture: frames that come bunched are put a millisecond behind one another.
const APART_US_MAX: i64 = 20_000;
/// An AAC frame as fake transcoders make them says 0 kbit/s where it is an encoder's. Its number follows.
const FRAME_HEAD: [u8; 4] = [0x21, 0x10, 0x04, 0];

/// The AAC frame of that number.
pub(super) fn frame(number: u32) -> [u8; 8] {
    let mut frame = [0; 8];
    frame[..4].copy_from_slice(&FRAME_HEAD);
    frame[4..].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The number of an encoder's frame; none of its silence.
pub(super) fn frame_number(frame: &[u8]) -> Option<u32> {
    let number = frame.strip_prefix(&FRAME_HEAD)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// A picture or frame as it was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    session: u64,
    /// Since the session began to count.
    at_us: i64,
    composition_us: i64,
    hash: u64,
}

/// All that encoders have sent.
#[derive(Debug, Default)]
pub(super) struct EncoderLedger {
    pictures: BTreeMap<u64, Sent>,
    frames: Vec<Sent>,
}

impl EncoderLedger {
    /// Picture `number`, decoded at `at_ms` and shown so much later.
    pub(super) fn picture(
        &mut self,
        session: u64,
        number: u64,
        at_ms: u64,
        composition_ms: u32,
        avcc: &[u8],
    ) {
        let sent = Sent {
            session,
            at_us: us(at_ms),
            composition_us: us(composition_ms.into()),
            hash: hash(avcc),
        };
        self.pictures.insert(number, sent);
    }

    /// The next frame is heard at `at_ms`. Its number.
    pub(super) fn frame(&mut self, session: u64, at_ms: u64) -> u32 {
        self.frames.push(Sent {
            session,
            at_us: us(at_ms),
            composition_us: 0,
            hash: 0,
        });
        u32::try_from(self.frames.len() - 1).unwrap()
    }
}

fn us(ms: u64) -> i64 {
    i64::try_from(ms).unwrap() * 1_000
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Holds what one consumer is sent against the ledger.
#[derive(Debug, Default)]
pub(super) struct EncoderChecker {
    /// Session, time as sent, and by how much later it stands here, of the last picture, if that is an encoder's.
    video: Option<(u64, i64, i64)>,
    /// Number of the last frame; none behind other audio.
    frame: Option<u32>,
    pub(super) pictures: u64,
    pub(super) frames: u64,
}

impl EncoderChecker {
    /// A picture that is decoded at `at_us` here, and shown so much later. `whole`: nothing may be left out.
    pub(super) fn picture(
        &mut self,
        ledger: &EncoderLedger,
        picture: Picture,
        (at_us, composition_us): (i64, i64),
        avcc: &[u8],
        whole: bool,
    ) -> Result<(), String> {
        let number = match picture.shows {
            Shows::Sent(number) if !picture.is_resent() => Some(number),
            _ => None,
        };
        let sent = number.and_then(|number| ledger.pictures.get(&number));
        let before = self.video.take();
        let Some(sent) = sent else {
            return Ok(());
        };
        self.pictures += 1;
        if sent.hash != hash(avcc) {
            return Err(format!("{picture:?} is not as its encoder sent it"));
        }
        if sent.composition_us != composition_us {
            let told_us = sent.composition_us;
            return Err(format!(
                "{picture:?} is shown {composition_us} us later than decoded, and not {told_us}"
            ));
        }
        let later_us = at_us - sent.at_us;
        self.video = Some((sent.session, sent.at_us, later_us));
        match before {
            Some((session, sent_us, before_us)) if whole && session == sent.session => {
                let step_us = sent.at_us - sent_us;
                let most_us = STEP_US_MAX + step_us * SLEW_PER_MILLE / 1_000;
                let moved_us = later_us - before_us;
                let error = || format!("{picture:?} is moved by {moved_us} us");
                (moved_us.abs() <= most_us).then_some(()).ok_or_else(error)
            }
            _ => Ok(()),
        }
    }

    /// An AAC frame that is heard at `at_us` here. `whole`: nothing may be left out.
    pub(super) fn frame(
        &mut self,
        ledger: &EncoderLedger,
        at_us: i64,
        frame: &[u8],
        whole: bool,
    ) -> Result<(), String> {
        let before = self.frame.take();
        let Some(number) = frame_number(frame) else {
            return Ok(());
        };
        self.frame = Some(number);
        self.frames += 1;
        let sent = usize::try_from(number).ok();
        let sent = sent.and_then(|number| ledger.frames.get(number));
        let sent = sent.ok_or_else(|| format!("frame {number}, which no encoder sent"))?;
        if let Some(before) = before {
            let session = ledger.frames[usize::try_from(before).unwrap()].session;
            let left_out = whole && session == sent.session && number != before + 1;
            if number <= before || left_out {
                return Err(format!("frame {number} of an encoder behind {before}"));
            }
        }
        if let Some((session, _, later_us)) = self.video.filter(|_| whole)
            && session == sent.session
        {
            let apart_us = at_us - sent.at_us - later_us;
            if apart_us.abs() > APART_US_MAX {
                return Err(format!(
                    "frame {number} of an encoder is {apart_us} us from its picture"
                ));
            }
        }
        Ok(())
    }
}
