//! The HLS of a seeded run, as control is handed it: players that poll come and go, and with the first and the last
//! of them packaging begins and ends. Control makes playlists of what is said of parts, so that has to be true:
//! numbers and times without a hole, lengths within limits, a keyframe in front of each segment, and one end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{io::Fragment, simulation_hook::HLS_SEGMENT_US_MAX};
use shardcast_link::{
    WantedHls,
    fragment::{FragmentHead, PART_MS_MAX, RungName, SegmentHead},
};

use super::{
    cmaf_checker::{Beginning, CmafChecker, Terms},
    consumer_plan::ladder,
    stream_checker::Rules,
    trace::note,
    world::{Verdict, World},
};

/// A part that does not end its segment has so many thousandths of the longest (RFC 8216bis, 4.4.4.9).
const PART_PERMILLE_MIN: u64 = 850;
/// Packaging begins with a keyframe, for whose audio it waits.
const BEGINS_MAX: Duration = Duration::from_secs(12);
/// Parts are a third of a second long, and pictures half a second apart at most.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// What is further apart on the media clock does not go on.
const STEP_US_MAX: u64 = 3_000_000;
/// Times are rounded to ticks of 90 kHz.
const ROUNDING_US: u64 = 12;

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Packages {
    variants: BTreeMap<Option<RungName>, Variant>,
    /// Parts have come, and no end.
    pub(super) is_begun: bool,
    /// It ends at this moment: what was held back is put out.
    ends_now: bool,
    wanted_since: Option<Instant>,
    /// When the last part of the publisher's video came.
    part_at: Option<Instant>,
    /// The largest number that a segment of each rung has had.
    numbers: BTreeMap<Option<RungName>, u64>,
}

/// One variant stream since packaging began.
#[derive(Debug)]
struct Variant {
    before: FragmentHead,
    begins: SegmentHead,
    /// Where its parts end on the media clock, in microseconds.
    ends_us: i64,
    checker: CmafChecker,
}

impl Packages {
    /// A part with media.
    fn part(&mut self, part: &Fragment, terms: Terms<'_>) -> Result<&Variant, String> {
        let head = &part.head;
        let before = self.variants.remove(&head.rung);
        let variant = match (before, &head.begins) {
            (None, None) => return Err("the first part begins no segment".to_owned()),
            (None, Some(begins)) => {
                let number = self.numbers.get(&head.rung);
                if number.is_some_and(|number| head.segment <= *number) {
                    return Err("the number of a segment is used again".to_owned());
                }
                if begins.discontinuity {
                    return Err("a discontinuity behind nothing".to_owned());
                }
                Variant::begin(part, begins, None, terms)?
            }
            // A rung may pause, or be left out for a while: what was not handed over is missing.
            (Some(before), Some(begins)) if before.has_paused(head) => {
                Variant::begin(part, begins, Some(before), terms)?
            }
            (Some(before), begins) => {
                before.is_followed_by(head, terms)?;
                match begins {
                    Some(begins) if begins.discontinuity => {
                        Variant::begin(part, begins, Some(before), terms)?
                    }
                    _ => before.go_on(part, terms)?,
                }
            }
        };
        self.numbers.insert(head.rung, head.segment);
        self.is_begun = true;
        Ok(self.variants.entry(head.rung).or_insert(variant))
    }

    /// Nothing goes on from here.
    fn end(&mut self, part: &Fragment) -> Verdict {
        // What has begun may have put out nothing yet.
        self.is_begun = false;
        if !part.is_empty() {
            return Err("an end with media".to_owned());
        }
        self.variants.clear();
        Ok(())
    }
}

impl Variant {
    /// A stream begins, or goes on with what does not follow from it.
    fn begin(
        part: &Fragment,
        begins: &SegmentHead,
        before: Option<Self>,
        terms: Terms<'_>,
    ) -> Result<Self, String> {
        let (init, media) = split(part, begins)?;
        let mut checker = CmafChecker::new(&init)?;
        checker.sent = before.and_then(|before| before.checker.sent);
        let mut variant = Self {
            before: part.head.clone(),
            begins: begins.clone(),
            ends_us: begins.at_us,
            checker,
        };
        // What lies in front of it was of another stream.
        let terms = Terms {
            complete: false,
            ..terms
        };
        variant.take(&part.head, &media, terms)?;
        Ok(variant)
    }

    fn go_on(mut self, part: &Fragment, terms: Terms<'_>) -> Result<Self, String> {
        let mut media = concat(&part.slices);
        if let Some(begins) = &part.head.begins {
            let (init, rest) = split(part, begins)?;
            if !self.checker.is_like(&init) {
                return Err("another init segment without a discontinuity".to_owned());
            }
            media = rest;
            self.begins = begins.clone();
        }
        self.before = part.head.clone();
        self.take(&part.head, &media, terms)?;
        Ok(self)
    }

    /// A segment begins that is not the next one, of a rung.
    fn has_paused(&self, head: &FragmentHead) -> bool {
        let before = &self.before;
        let is_next = before.last && head.segment == before.segment + 1;
        head.rung.is_some() && head.part == 0 && head.segment > before.segment && !is_next
    }

    /// Numbers go on, and the segment is as long as it may be.
    fn is_followed_by(&self, head: &FragmentHead, terms: Terms<'_>) -> Verdict {
        let before = &self.before;
        let Some(begins) = &head.begins else {
            let is_next =
                !before.last && (head.segment, head.part) == (before.segment, before.part + 1);
            let error = || format!("{head:?} behind {before:?}");
            return is_next.then_some(()).ok_or_else(error);
        };
        let is_next = before.last && head.segment == before.segment + 1;
        if head.part != 0 || !is_next {
            return Err(format!("{head:?} behind {before:?}"));
        }
        let discontinuities = self.begins.discontinuities + u64::from(begins.discontinuity);
        if begins.discontinuities != discontinuities {
            return Err(format!("{begins:?} behind {:?}", self.begins));
        }
        if begins.discontinuity {
            return Ok(());
        }
        if begins.at_us != self.ends_us {
            let ends_us = self.ends_us;
            return Err(format!("a segment at {} us behind {ends_us}", begins.at_us));
        }
        let length_us = self.ends_us - self.begins.at_us;
        let most_us = HLS_SEGMENT_US_MAX + longest_us(terms.rules);
        if length_us > most_us {
            return Err(format!("a segment of {length_us} us"));
        }
        // Without a keyframe a segment ends when it is too long, and never else.
        if !head.independent && length_us < HLS_SEGMENT_US_MAX {
            return Err(format!("no keyframe behind a segment of {length_us} us"));
        }
        Ok(())
    }

    /// The media of a part is what its head says.
    fn take(&mut self, head: &FragmentHead, media: &Bytes, terms: Terms<'_>) -> Verdict {
        let beginning = self.checker.fragment(media, terms)?;
        let has_video = self.begins.width > 0;
        if head.independent != (beginning.is_key || !has_video) {
            return Err(format!("{head:?} begins with {beginning:?}"));
        }
        if head.part == 0 {
            let at_us = self.begins.at_us.max(0).unsigned_abs();
            let differs = |us: u64| us.abs_diff(at_us) > ROUNDING_US;
            if has_video && beginning.video_us.is_none_or(differs) {
                return Err(format!("{:?} begins with {beginning:?}", self.begins));
            }
        }
        self.is_as_long_as_it_may(head, beginning, terms.rules)?;
        self.ends_us += i64::try_from(head.duration_us).unwrap();
        Ok(())
    }

    fn is_as_long_as_it_may(
        &self,
        head: &FragmentHead,
        beginning: Beginning,
        rules: Rules<'_>,
    ) -> Verdict {
        let most_us = u64::from(PART_MS_MAX) * 1_000;
        // A picture that is shown for longer makes one long part.
        let is_alone = beginning.pictures < 2;
        let alone_us = STEP_US_MAX.max(longest_us(rules).unsigned_abs());
        let too_long = head.duration_us > if is_alone { alone_us } else { most_us };
        let too_short = !head.last && head.duration_us < most_us * PART_PERMILLE_MIN / 1_000;
        if too_long || too_short || head.duration_us == 0 {
            return Err(format!("{head:?} with {beginning:?} is not of that length"));
        }
        Ok(())
    }
}

/// How long a picture may be shown, in microseconds.
fn longest_us(rules: Rules<'_>) -> i64 {
    i64::from(rules.silent_ms_max) * 1_000
}

fn concat(slices: &[Bytes]) -> Bytes {
    slices.concat().into()
}

/// The init segment in front of a part, and the part.
fn split(part: &Fragment, begins: &SegmentHead) -> Result<(Bytes, Bytes), String> {
    let mut media = concat(&part.slices);
    let init_bytes = usize::try_from(begins.init_bytes).unwrap();
    if init_bytes == 0 || init_bytes > media.len() {
        return Err(format!("an init segment of {init_bytes} bytes"));
    }
    let init = media.split_to(init_bytes);
    Ok((init, media))
}

impl World {
    /// The first player has come, or the last has gone.
    pub(super) fn set_hls(&mut self, hls: Option<WantedHls>) -> Verdict {
        let was_begun = self.packages.is_begun;
        self.wanted.hls = hls;
        if self.wanted.ladder.is_empty() {
            self.wanted.ladder = ladder();
        }
        self.packages.wanted_since = hls.map(|_| self.now);
        self.packages.ends_now = hls.is_none();
        self.want()?;
        self.packages.ends_now = false;
        if hls.is_none() && was_begun {
            self.tally.count("HLS ended by the operator");
        }
        self.check_packages()
    }

    /// The shard hands control a part.
    pub(super) fn packaged(&mut self, part: &Fragment) -> Verdict {
        let mut packages = std::mem::take(&mut self.packages);
        let verdict = if part.head.ends {
            packages.end(part)
        } else if self.wanted.hls.is_none() && !packages.is_begun && !packages.ends_now {
            Err("packaged, and that is not wanted".to_owned())
        } else {
            self.check_part(&mut packages, part)
        };
        self.packages = packages;
        verdict.map_err(|broken| format!("HLS: {broken}"))?;
        if part.head.rung.is_none() {
            self.packages.part_at = Some(self.now);
        }
        self.count_part(part);
        Ok(())
    }

    fn check_part(&self, packages: &mut Packages, part: &Fragment) -> Verdict {
        let rules = Rules {
            whole: !self.publisher.bunched,
            ..self.rules_of_consumer()
        };
        let terms = Terms {
            rules,
            start: self.start,
            complete: true,
        };
        let variant = packages.part(part, terms)?;
        let ahead_us = variant.ends_us - self.us();
        if rules.interleaved && ahead_us > longest_us(rules) {
            return Err(format!("a part from {ahead_us} us ahead"));
        }
        Ok(())
    }

    fn count_part(&mut self, part: &Fragment) {
        let head = &part.head;
        let variant = self.packages.variants.get(&head.rung);
        if let Some(stream) = variant.map(|it| &it.checker.stream) {
            let is_made = head.rung.is_none() && stream.rendition().is_some();
            self.tally
                .add("HLS of a rendition", u64::from(is_made && !head.ends));
        }
        let Some(begins) = &head.begins else {
            return self.tally.count(match (head.ends, head.rung) {
                (true, _) => "HLS ended",
                (_, Some(_)) => "HLS part of a rung",
                (_, None) => "HLS part",
            });
        };
        if head.part == 0 && self.trace.is_on() {
            let (rung, number) = (head.rung, head.segment);
            note!(self, "segment {number} of {rung:?} begins: {begins:?}");
        }
        self.tally.count("HLS segment");
        self.tally
            .add("HLS discontinuity", u64::from(begins.discontinuity));
        let has_no_keyframe = u64::from(!head.independent);
        self.tally
            .add("HLS segment without a keyframe", has_no_keyframe);
    }

    /// Control is told when it is over.
    pub(super) fn check_packages(&self) -> Verdict {
        let is_wanted = self.wanted.hls.is_some() && self.view().is_on_air();
        if self.packages.is_begun && !is_wanted {
            return Err("HLS has not ended, and nothing is to be packaged".to_owned());
        }
        let flows = self.publisher.flows_since().filter(|_| is_wanted);
        let flows = flows.filter(|_| !self.publisher.is_foreign() && self.publisher.hears());
        let (Some(flows), Some(wanted)) = (flows, self.packages.wanted_since) else {
            return Ok(());
        };
        if self.now.saturating_duration_since(flows.max(wanted)) < BEGINS_MAX {
            return Ok(());
        }
        let silent = self.packages.part_at.map(|at| self.now - at);
        match silent.filter(|silent| *silent <= SILENT_MAX) {
            Some(_) => Ok(()),
            None => Err(format!("nothing is packaged; the last was {silent:?} ago")),
        }
    }
}
