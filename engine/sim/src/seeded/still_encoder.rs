//! The still encoder of a seeded run: quick, late, or failing. Its jobs are held against what the
//! publisher sent and the operator wants.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::io::{Input, StillFrame, StillFrameId, StillFrameJob, StillFrameSource};
use shardcast_link::Command;

use super::{
    plan::SlatePlan,
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};
use crate::picture::{Picture, Shows, config_of};

#[derive(Debug, Default)]
pub(super) struct StillEncoder {
    /// Slates so far; each has its number for a name and for a file.
    slates: u64,
}

impl World {
    /// Control sets, replaces or removes the slate.
    pub(super) fn slate(&mut self, plan: SlatePlan) -> Verdict {
        let before = self.wanted.slate.take();
        if !matches!(plan, SlatePlan::Removed) {
            self.still_encoder.slates += 1;
            self.wanted.slate = Some(self.still_encoder.slates.to_string());
        }
        self.tally.count(match (&before, &self.wanted.slate) {
            (None, None) => "no slate to be removed",
            (None, Some(_)) => "slate set",
            (Some(_), None) => "slate removed",
            (Some(_), Some(_)) => "slate replaced",
        });
        self.want()?;
        let Some(name) = self.wanted.slate.clone() else {
            return Ok(());
        };
        if matches!(plan, SlatePlan::Named) {
            return Ok(());
        }
        self.handle(Input::Command(Command::Slate {
            broadcast: self.wanted.id.clone(),
            image_base64: BASE64.encode(&name),
            name,
        }))
    }

    /// The shard wants a still frame.
    pub(super) fn still_wanted(&mut self, job: &StillFrameJob) -> Verdict {
        let shows = match &job.source {
            StillFrameSource::Image(image) => self.slate_of(image)?,
            StillFrameSource::LastOf { access_units, .. } => self.last_of(access_units)?,
        };
        let Some(config) = config_of(job.target.width) else {
            return Err(format!("a picture of {} pixels", job.target.width));
        };
        // Like the publisher's, or of a size of its own.
        let config = if self.random.chance(60) {
            config
        } else {
            1 - config
        };
        let delay_ms = self.random.pick(&[0, 15, 60, 60, 400, 1_500, 30_000]);
        let result = if self.random.chance(15) {
            self.tally.count("still frame refused");
            Err("the still encoder failed in this run")
        } else {
            Ok(Picture::still(shows, config).coded())
        };
        if delay_ms > 1_000 {
            self.tally.count("still frame encoded late");
        }
        note!(self, "{shows:?} is to be coded, in {delay_ms} ms");
        self.after(ms(delay_ms), SimEvent::Still(job.still, result));
        Ok(())
    }

    pub(super) fn still_coded(
        &mut self,
        still: StillFrameId,
        result: Result<StillFrame, &'static str>,
    ) -> Verdict {
        let result = result.map_err(str::to_owned);
        self.handle(Input::StillFrame { still, result })
    }

    /// A slate is shown only while control wants it, and only until the publisher's first picture.
    pub(super) fn check_slate(&self) -> Verdict {
        let unit = self.view().newest_keyframe_unit();
        let Some(Picture {
            shows: Shows::Slate(slate),
            ..
        }) = unit.and_then(|unit| Picture::read_unit(&unit))
        else {
            return Ok(());
        };
        let wanted = self.wanted.slate.as_deref() == Some(&slate.to_string());
        if !wanted || self.publisher.is_taken() {
            return Err(format!("slate {slate} is shown and is not to be"));
        }
        Ok(())
    }

    pub(super) fn slate_of(&self, image: &Bytes) -> Result<Shows, String> {
        let name = std::str::from_utf8(image).unwrap();
        if self.wanted.slate.as_deref() != Some(name) {
            let wanted = &self.wanted.slate;
            return Err(format!("slate {name} is coded and {wanted:?} is wanted"));
        }
        Ok(Shows::Slate(name.parse().unwrap()))
    }

    /// From a keyframe to the last picture that came, or a keyframe alone where the rest is no
    /// longer kept.
    fn last_of(&self, access_units: &[Bytes]) -> Result<Shows, String> {
        let pictures = access_units.iter().map(|unit| Picture::read_unit(unit));
        let pictures: Vec<Picture> = pictures
            .collect::<Option<_>>()
            .ok_or("a still frame is to be made of a picture that nobody sent")?;
        let (Some(first), Some(last)) = (pictures.first(), pictures.last()) else {
            return Err("a picture of nothing is to be coded".to_owned());
        };
        let Shows::Sent(number) = last.shows else {
            return Err(format!("{last:?} is to be coded anew"));
        };
        let whole = pictures
            .windows(2)
            .all(|two| !two[1].is_key() && two[1].frame_num == two[0].frame_num_next());
        let newest = self.publisher.admitted.last() == Some(&number);
        if first.is_key() && whole && (newest || pictures.len() == 1) {
            Ok(Shows::Last(number))
        } else {
            Err(format!("{first:?} to {last:?} are to be coded anew"))
        }
    }
}
