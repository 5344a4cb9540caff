//! `resolutionHeight`: the rendition that a height stands for.

use shardcast_link::{BroadcastId, Reencode};

use crate::{
    ladder::{Ladder, Rung},
    settings::EncodingSettings,
    source,
    state::Control,
    video_settings::{RenditionOverrides, VideoChange, VideoOverrides, VideoSettingsError},
    wants,
};

/// There is no video of this height. The client's fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum HeightError {
    #[error(
        "the height {height} is not available: {}; leave resolutionHeight out for the source",
        available(.rungs, *.source_height)
    )]
    NotThere {
        height: u32,
        rungs: Vec<u32>,
        /// When it is known.
        source_height: Option<u32>,
    },
    #[error(
        "the source has {lines} lines, and the rendition of {height} is not made of fewer \
         (forceEncode is false)"
    )]
    SmallSource { height: u32, lines: u32 },
    #[error("send either resolutionHeight or rendition: both name the video")]
    Both,
    #[error("the height {0} is a rendition, which reencode off excludes")]
    Off(u32),
    #[error("{0}")]
    Video(#[from] VideoSettingsError),
}

fn available(rungs: &[u32], source: Option<u32>) -> String {
    let rungs: Vec<String> = rungs.iter().map(u32::to_string).collect();
    let rungs = match rungs.split_last() {
        None => "there is no ladder (encoderSettings)".to_owned(),
        Some((last, [])) => format!("there is {last}"),
        Some((last, others)) => format!("there are {} and {last}", others.join(", ")),
    };
    match source {
        Some(source) => format!("{rungs}, and the source has {source}"),
        None => rungs,
    }
}

/// The video settings of a new destination of `id` whose body sets `change` and whose query asks for
/// `height`; 0 is the source.
pub(super) fn video_of(
    control: &Control,
    application: &EncodingSettings,
    id: &BroadcastId,
    height: u32,
    change: &VideoChange,
) -> Result<VideoOverrides, HeightError> {
    let said = VideoOverrides::default().changed(change)?;
    if height == 0 {
        return Ok(said);
    }
    if said.rendition.is_some() {
        return Err(HeightError::Both);
    }
    let ladder = wants::ladder(control, application, id);
    match rung_at(height, &ladder, source_height(control, id))? {
        Some(_) if said.reencode == Some(Reencode::Off) => Err(HeightError::Off(height)),
        Some(rung) => {
            let video = VideoOverrides {
                rendition: Some(RenditionOverrides::from(rung)),
                ..said
            };
            video.check()?;
            Ok(video)
        }
        None => Ok(source_itself(application, said)),
    }
}

/// A destination that asks for the source by its height is not sent the usual rendition instead.
fn source_itself(application: &EncodingSettings, said: VideoOverrides) -> VideoOverrides {
    let usual = (application.reencode == Reencode::Always).then_some(Reencode::Auto);
    VideoOverrides {
        reencode: said.reencode.or(usual),
        ..said
    }
}

/// Height of what is published now.
fn source_height(control: &Control, id: &BroadcastId) -> Option<u32> {
    let (_, height) = source::size(&control.shards.broadcast(id)?)?;
    Some(height)
}

/// The rung that is meant; `None` when it is the source itself. A rung stays one where the source
/// happens to have its height now: the next publisher may send another.
fn rung_at(height: u32, ladder: &Ladder, source: Option<u32>) -> Result<Option<Rung>, HeightError> {
    match (ladder.rung(height), source) {
        (Some(rung), Some(source)) if source < height && !rung.force_encode => {
            Err(HeightError::SmallSource {
                height,
                lines: source,
            })
        }
        (Some(rung), _) => Ok(Some(rung)),
        (None, Some(source)) if source == height => Ok(None),
        (None, _) => Err(HeightError::NotThere {
            height,
            rungs: ladder.rungs().iter().map(|rung| rung.height).collect(),
            source_height: source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(height: u32, force_encode: bool) -> Rung {
        Rung {
            height,
            video_bitrate: 1_000_000,
            audio_bitrate: 64_000,
            force_encode,
            force_same_resolution_encode: false,
        }
    }

    #[test]
    fn a_height_is_its_rung_and_without_one_the_source() {
        let rungs = vec![rung(720, true), rung(480, false)];
        let ladder = Ladder::new(rungs).unwrap();
        let at = |height, source| rung_at(height, &ladder, source);
        let made = |height, source| at(height, source).map(|rung| rung.map(|rung| rung.height));
        assert_eq!(made(720, None), Ok(Some(720)));
        assert_eq!(made(720, Some(360)), Ok(Some(720)));
        assert_eq!(made(720, Some(720)), Ok(Some(720)));
        assert_eq!(made(480, Some(480)), Ok(Some(480)));
        assert_eq!(made(480, None), Ok(Some(480)));
        assert_eq!(made(1_080, Some(1_080)), Ok(None));
        let small = HeightError::SmallSource {
            height: 480,
            lines: 360,
        };
        assert_eq!(made(480, Some(360)), Err(small));
    }

    #[test]
    fn the_source_by_its_height_is_not_the_usual_rendition() {
        let asked = |reencode, said| {
            let application = EncodingSettings {
                reencode,
                ..EncodingSettings::default()
            };
            let said = VideoOverrides {
                reencode: said,
                ..VideoOverrides::default()
            };
            source_itself(&application, said).reencode
        };
        assert_eq!(asked(Reencode::Always, None), Some(Reencode::Auto));
        let always = Some(Reencode::Always);
        assert_eq!(asked(Reencode::Always, always), always);
        assert_eq!(asked(Reencode::Auto, None), None);
    }

    #[test]
    fn a_height_that_is_not_there_is_told_with_those_that_are() {
        let rungs = vec![rung(720, true), rung(480, true)];
        let both = Ladder::new(rungs).unwrap();
        let one = Ladder::new(vec![rung(480, true)]).unwrap();
        for (ladder, source, words) in [
            (
                &both,
                Some(1_080),
                "there are 720 and 480, and the source has 1080;",
            ),
            (&one, None, "there is 480;"),
            (&Ladder::default(), None, "there is no ladder"),
        ] {
            let error = rung_at(333, ladder, source).unwrap_err().to_string();
            assert!(error.contains("the height 333 is not available"), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }
}
