//! Whoever codes single pictures for the shard: quickly, late, or not at all. What it is given to
//! look at is held against what the publisher sent and the operator wants.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_link::Command;

use super::{
    picture::{Picture, Shows, config_of},
    plan::SlatePlan,
    trace::note,
    world::{Happening, Verdict, World, ms},
};
use crate::io::{Input, StillId, StillJob, StillPicture, StillSource};

#[derive(Debug, Default)]
pub(super) struct Easel {
    /// Slates so far; each has its number for a name and for a file.
    slates: u64,
    coming: usize,
}

impl Easel {
    /// Pictures that were asked for and are not answered.
    pub(super) fn coming(&self) -> usize {
        self.coming
    }
}

impl World {
    /// Control sets, replaces or removes the slate.
    pub(super) fn slate(&mut self, plan: SlatePlan) -> Verdict {
        let before = self.wanted.slate.take();
        if !matches!(plan, SlatePlan::Removed) {
            self.easel.slates += 1;
            self.wanted.slate = Some(self.easel.slates.to_string());
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

    /// The shard wants a picture coded.
    pub(super) fn still_wanted(&mut self, job: &StillJob) -> Verdict {
        let shows = match &job.source {
            StillSource::Image(image) => self.slate_of(image)?,
            StillSource::LastOf { access_units, .. } => self.last_of(access_units)?,
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
            self.tally.count("picture not coded");
            Err("the coder is out of colours")
        } else {
            Ok(Picture::still(shows, config).coded())
        };
        if delay_ms > 1_000 {
            self.tally.count("picture coded late");
        }
        note!(self, "{shows:?} is to be coded, in {delay_ms} ms");
        self.easel.coming += 1;
        self.after(ms(delay_ms), Happening::Still(job.still, result));
        Ok(())
    }

    pub(super) fn still_coded(
        &mut self,
        still: StillId,
        result: Result<StillPicture, &'static str>,
    ) -> Verdict {
        self.easel.coming -= 1;
        let result = result.map_err(str::to_owned);
        self.handle(Input::Still { still, result })
    }

    /// A slate is shown while it is wanted and until the publisher has a picture, and never else.
    pub(super) fn look_at_still(&self) -> Verdict {
        let ring = self.shard.broadcasts.values().map(|it| &it.intake.ring);
        let keyframes = ring.filter_map(|ring| ring.get(ring.newest_keyframe()?));
        for unit in keyframes {
            let Some(Picture {
                shows: Shows::Slate(slate),
                ..
            }) = Picture::read(&unit.body)
            else {
                continue;
            };
            let wanted = self.wanted.slate.as_deref() == Some(&slate.to_string());
            if !wanted || self.stage.is_taken() {
                return Err(format!("slate {slate} is shown and is not to be"));
            }
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
            .ok_or("a picture that nobody sent is to be coded anew")?;
        let (Some(first), Some(last)) = (pictures.first(), pictures.last()) else {
            return Err("a picture of nothing is to be coded".to_owned());
        };
        let Shows::Sent(number) = last.shows else {
            return Err(format!("{last:?} is to be coded anew"));
        };
        let whole = pictures
            .windows(2)
            .all(|two| !two[1].is_key() && two[1].frame_num == two[0].frame_num_next());
        let newest = self.stage.admitted.last() == Some(&number);
        if first.is_key() && whole && (newest || pictures.len() == 1) {
            Ok(Shows::Last(number))
        } else {
            Err(format!("{first:?} to {last:?} are to be coded anew"))
        }
    }
}
