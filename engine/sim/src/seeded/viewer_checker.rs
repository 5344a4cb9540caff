//! What one viewer was sent, judged by what it received: pictures are those of the publisher's ring in their order, or a
//! rendition's; the first one is a keyframe with its parameter sets, and so is each that does not follow on the one
//! before. Who lost nothing was sent every picture, soon after it was there.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use shardcast_core::io::RenditionId;

use crate::{
    picture::{Picture, Shows, config_of_sps},
    viewer_client::Received,
};

/// A picture leaves within this, where it does not have to be paced.
const LATE_MAX: Duration = Duration::from_millis(60);
/// What was there before the viewer is paced meanwhile, and what comes behind it with it.
const CATCHES_UP: Duration = Duration::from_millis(4_000);
/// NAL unit types (ITU-T H.264, table 7-1), and those of payloads (RFC 6184, 5.2).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const FILLER_DATA: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// One video unit of the publisher's ring.
#[derive(Clone, Copy, Debug)]
struct Unit {
    at: Instant,
    hash: u64,
    key: bool,
}

/// The video units of the publisher's ring, in their order.
#[derive(Debug, Default)]
pub(super) struct UnitLog {
    units: Vec<Unit>,
}

impl UnitLog {
    /// This unit is in the ring since now.
    pub(super) fn push(&mut self, now: Instant, avcc: &[u8]) {
        let key = Picture::read_unit(avcc).is_some_and(Picture::is_key);
        let (at, hash) = (now, hash_of(avcc));
        self.units.push(Unit { at, hash, key });
    }

    /// The newest keyframe that was there at `at`.
    fn keyframe(&self, at: Instant) -> Option<usize> {
        self.units
            .iter()
            .rposition(|unit| unit.key && unit.at <= at)
    }

    /// The oldest unit like this one from `from` on, or the newest, that was there at `at`. Repetitions are alike.
    fn find(
        &self,
        (hash, key): (u64, bool),
        from: usize,
        at: Instant,
        newest: bool,
    ) -> Option<usize> {
        let is_it = |unit: &Unit| unit.at <= at && (unit.hash, unit.key) == (hash, key);
        let units = self.units.get(from..).unwrap_or_default();
        let found = match newest {
            true => units.iter().rposition(is_it),
            false => units.iter().position(is_it),
        };
        found.map(|index| from + index)
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What is known of a viewer when it has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) log: &'a UnitLog,
    /// When each packet of video left the shard.
    pub(super) video_at: &'a [Instant],
    /// Number of the first packet.
    pub(super) first_video: Option<u16>,
    /// Media could be sent to it from then on, and until then.
    pub(super) connected: Instant,
    pub(super) until: Instant,
    /// Nothing was lost on its way.
    pub(super) is_whole: bool,
    /// It was to be sent the publisher's video all the time, which came as it was sent.
    pub(super) is_plain: bool,
    /// Its network is taken to carry everything.
    pub(super) is_prompt: bool,
}

/// What a picture follows on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A unit of the log.
    Source(usize),
    Made(RenditionId, u64),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ViewerChecker<'a> {
    terms: Terms<'a>,
    before: Before,
    /// The last unit of the log that was found.
    newest: Option<usize>,
    /// Some packet before the picture did not come.
    is_torn: bool,
    /// Of the parameter sets in force.
    config: Option<u8>,
    pub(super) pictures: u64,
    /// Keyframes that did not follow on the picture before.
    pub(super) restarts: u64,
    /// Goings over between the publisher's video and renditions.
    pub(super) switches: u64,
}

/// One access unit, as a client puts it together.
#[derive(Debug, Default)]
struct AccessUnit {
    /// Parameter sets in front of everything else.
    sets: Vec<Vec<u8>>,
    /// All else behind lengths of four bytes, without padding.
    avcc: Vec<u8>,
    key: bool,
}

impl AccessUnit {
    /// Of the payloads of all packets (RFC 6184, 5.6 to 5.8).
    fn new(packets: &[Received]) -> Result<Self, String> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for payload in packets.iter().map(|packet| &packet.payload) {
            match payload[0] & 0x1f {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                        let (nal, next) = behind.split_at(u16::from_be_bytes(*length).into());
                        nals.push(nal.to_vec());
                        rest = next;
                    }
                }
                FU_A => {
                    if payload[1] & 0x80 != 0 {
                        nals.push(vec![(payload[0] & 0xe0) | (payload[1] & 0x1f)]);
                    }
                    let nal = nals.last_mut().ok_or("a fragment without a beginning")?;
                    nal.extend_from_slice(&payload[2..]);
                }
                _ => nals.push(payload.clone()),
            }
        }
        let mut unit = Self::default();
        for nal in nals {
            match nal[0] & 0x1f {
                FILLER_DATA => {}
                SPS | PPS if unit.avcc.is_empty() => unit.sets.push(nal),
                SPS | PPS => return Err("parameter sets behind a slice".to_owned()),
                kind => {
                    unit.key |= kind == IDR;
                    let length = u32::try_from(nal.len()).unwrap();
                    unit.avcc.extend_from_slice(&length.to_be_bytes());
                    unit.avcc.extend_from_slice(&nal);
                }
            }
        }
        Ok(unit)
    }
}

impl<'a> ViewerChecker<'a> {
    pub(super) fn new(terms: Terms<'a>) -> Self {
        Self {
            terms,
            before: Before::Nothing,
            newest: None,
            is_torn: false,
            config: None,
            pictures: 0,
            restarts: 0,
            switches: 0,
        }
    }

    /// Judges all that has come.
    pub(super) fn check(&mut self, mut packets: Vec<Received>) -> Result<(), String> {
        packets.retain(|packet| packet.is_video);
        packets.sort_by_key(|packet| packet.sequence);
        packets.dedup_by_key(|packet| packet.sequence);
        let first = self.terms.first_video.map_or(0, u64::from);
        for packet in &mut packets {
            let index = packet.sequence.checked_sub(first);
            let index = index.filter(|index| *index < self.terms.video_at.len() as u64);
            packet.sequence = index.ok_or("a packet comes that was never sent")?;
        }
        let last = packets.last().map_or(0, |packet| packet.sequence);
        // What follows a packet that did not come may be the rest of a picture.
        let mut next = Some(0);
        for packets in packets.chunk_by(|a, b| a.time == b.time) {
            let (head, tail) = (&packets[0], &packets[packets.len() - 1]);
            let span = tail.sequence - head.sequence + 1;
            let begins = next == Some(head.sequence);
            let is_whole = begins && span == packets.len() as u64;
            next = tail.marker.then_some(tail.sequence + 1);
            if is_whole && tail.marker {
                let at = head.sequence;
                self.picture(packets)
                    .map_err(|broken| format!("the picture of packet {at}: {broken}"))?;
                continue;
            }
            // A client may leave within a picture.
            if self.terms.is_whole && !(is_whole && tail.sequence == last) {
                let (from, to) = (head.sequence, tail.sequence);
                return Err(format!(
                    "packets {from} to {to} are no picture, and nothing was lost"
                ));
            }
            self.is_torn = true;
        }
        self.is_all()
    }

    fn picture(&mut self, packets: &[Received]) -> Result<(), String> {
        let unit = AccessUnit::new(packets)?;
        let picture = Picture::read_unit(&unit.avcc).ok_or("it is none of the simulation's")?;
        self.sets(&unit, picture)?;
        let sent =
            |packet: &Received| self.terms.video_at[usize::try_from(packet.sequence).unwrap()];
        let (began, ended) = (sent(&packets[0]), sent(&packets[packets.len() - 1]));
        let was_torn = std::mem::take(&mut self.is_torn);
        let before = self.before;
        self.before = match picture.shows {
            Shows::Made { rendition, number } => self.made(rendition, number, picture, was_torn)?,
            _ => self.source(&unit, picture, was_torn, began)?,
        };
        if let Before::Source(index) = self.before
            && self.before != before
        {
            self.is_prompt(index, ended)?;
        }
        let is_other = matches!(
            (before, self.before),
            (Before::Source(_), Before::Made(..)) | (Before::Made(..), Before::Source(_))
        );
        self.switches += u64::from(is_other);
        self.pictures += 1;
        Ok(())
    }

    /// A keyframe has its parameter sets in front, and they hold for what follows.
    fn sets(&mut self, unit: &AccessUnit, picture: Picture) -> Result<(), String> {
        if unit.key != picture.is_key() {
            return Err(format!("{picture:?} in another kind of slice"));
        }
        match (unit.key, &unit.sets[..]) {
            (true, [sps, pps]) if (sps[0] & 0x1f, pps[0] & 0x1f) == (SPS, PPS) => {
                self.config = config_of_sps(sps);
            }
            (true, _) => return Err(format!("{picture:?} without its parameter sets")),
            (false, []) => {}
            (false, _) => return Err(format!("{picture:?} with parameter sets")),
        }
        // A keyframe that is lost has told others.
        if self.config != Some(picture.config) && (unit.key || self.terms.is_whole) {
            return Err(format!(
                "{picture:?} under the parameter sets {:?}",
                self.config
            ));
        }
        Ok(())
    }

    fn source(
        &mut self,
        unit: &AccessUnit,
        picture: Picture,
        was_torn: bool,
        began: Instant,
    ) -> Result<Before, String> {
        let hash = hash_of(&unit.avcc);
        let log = self.terms.log;
        let next = match self.before {
            Before::Source(index) => Some(index + 1),
            Before::Nothing | Before::Made(..) => None,
        };
        let is_it = |next: &usize| log.units.get(*next).is_some_and(|unit| unit.hash == hash);
        let found = match next.filter(is_it).filter(|_| !was_torn) {
            Some(index) => Some(index),
            None => {
                // It began at the newest keyframe, and after a loss goes on soon behind it. Who goes over to other video
                // and back may be sent a keyframe once more.
                let first = || log.keyframe(self.terms.video_at[0]).unwrap_or(0);
                let from = match self.newest {
                    _ if unit.key && !self.terms.is_plain => 0,
                    Some(newest) => newest + 1,
                    None => first(),
                };
                log.find((hash, unit.key), from, began, unit.key)
            }
        };
        if was_torn && !matches!(picture.shows, Shows::Sent(_)) {
            // Repetitions are alike, so it cannot be told which one it is.
            self.is_torn = true;
            return Ok(self.before);
        }
        let lacks = || format!("{picture:?} is not in the ring behind {:?}", self.before);
        let found = found.ok_or_else(lacks)?;
        if Some(found) != next && !was_torn {
            if !unit.key {
                return Err(format!(
                    "{picture:?} after {:?} is no keyframe",
                    self.before
                ));
            }
            let is_whole = self.terms.is_plain && self.terms.is_whole;
            // What was there before it is too much sometimes.
            let catches_up = began < self.terms.video_at[0] + CATCHES_UP;
            if is_whole && !catches_up && self.before != Before::Nothing {
                return Err(format!("pictures were left out before {picture:?}"));
            }
            self.restarts += u64::from(self.before != Before::Nothing);
        }
        self.newest = Some(found);
        Ok(Before::Source(found))
    }

    fn made(
        &mut self,
        rendition: RenditionId,
        number: u64,
        picture: Picture,
        was_torn: bool,
    ) -> Result<Before, String> {
        let (follows, is_later) = match self.before {
            Before::Made(same, before) if same == rendition => {
                (before + 1 == number, before < number)
            }
            _ => (false, true),
        };
        let goes_back = picture.is_key() && !self.terms.is_plain;
        if !(is_later || goes_back) || !(follows || picture.is_key() || was_torn) {
            return Err(format!("{picture:?} after {:?}", self.before));
        }
        if self.terms.is_plain {
            return Err(format!("{picture:?} to a viewer that did not ask for it"));
        }
        Ok(Before::Made(rendition, number))
    }

    /// It left the shard soon after it was there, whatever others do.
    fn is_prompt(&self, index: usize, ended: Instant) -> Result<(), String> {
        let unit = self.terms.log.units[index];
        let is_live = unit.at >= self.terms.video_at[0] + CATCHES_UP;
        if self.terms.is_prompt && is_live && ended - unit.at > LATE_MAX {
            let late = ended - unit.at;
            return Err(format!("it leaves {late:?} after it was there"));
        }
        Ok(())
    }

    /// Who lost nothing was sent all that was there, from the first keyframe on.
    fn is_all(&self) -> Result<(), String> {
        if !self.terms.is_whole || !self.terms.is_plain {
            return Ok(());
        }
        let (connected, until) = (self.terms.connected, self.terms.until);
        let units = &self.terms.log.units;
        let due = match self.before {
            Before::Source(index) => units.get(index + 1),
            _ => units.iter().find(|unit| unit.key && unit.at >= connected),
        };
        let began = self.terms.video_at.first().copied().unwrap_or(connected);
        let catches_up = began + CATCHES_UP;
        match due {
            Some(unit) if unit.at.max(catches_up) + LATE_MAX < until => {
                Err(format!("the unit after {:?} was not sent", self.before))
            }
            _ => Ok(()),
        }
    }
}
