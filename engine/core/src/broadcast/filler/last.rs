//! The publisher's video as it stood when it stopped, and how frames of ours stand beside it.

use std::{ops::Range, rc::Rc};

use bytes::Bytes;

use crate::{
    broadcast::ring::{Kind, Ring},
    codec::h264::{ParameterSets, Repeater, VideoUnit, adopt},
    io::{StillFrame, StillFrameTarget},
};

#[derive(Debug)]
pub(super) struct Last {
    pub(super) config: Rc<ParameterSets>,
    /// Of the frame that is shown last, and when that is.
    pub(super) payload: Bytes,
    pub(super) shown_us: i64,
    /// Reference frames that were decoded behind it and are shown before it.
    pub(super) references: u32,
    /// The last keyframe.
    pub(super) keyframe: Bytes,
    /// Numbers in the ring of the last keyframe, and of what came behind the last frame.
    pub(super) group: Range<u64>,
}

impl Last {
    /// The access units of the last group of frames; the keyframe alone when the ring has lost
    /// others.
    pub(super) fn access_units(&self, ring: &Ring) -> Vec<Bytes> {
        if ring.start() > self.group.start {
            return vec![self.keyframe.clone()];
        }
        let units = self.group.clone().filter_map(|seq| ring.get(seq));
        units
            .filter(|unit| matches!(unit.kind, Kind::Video { .. }))
            .map(|unit| unit.payload.clone())
            .collect()
    }

    /// How a frame has to be coded that shall stand beside it.
    pub(super) fn target(&self) -> StillFrameTarget {
        let config = &self.config;
        // A stream whose parameter sets cannot be borrowed gets a frame with sets of its own.
        config.still_target().unwrap_or_else(|| StillFrameTarget {
            width: config.width() & !1,
            height: config.height() & !1,
            profile: config.sps().profile,
            level: config.sps().level,
            cabac: false,
            transform_8x8: false,
            chroma_qp_offset: 0,
            full_range: false,
        })
    }

    /// Puts a frame under the publisher's parameter sets, or else under its own.
    pub(super) fn place(
        &self,
        picture: &StillFrame,
        idr_pic_id: u16,
    ) -> Result<(Rc<ParameterSets>, Bytes), String> {
        match adopt(&self.config, picture, idr_pic_id) {
            Ok(body) => return Ok((self.config.clone(), body)),
            Err(error) => tracing::debug!(%error, "a picture keeps parameter sets of its own"),
        }
        let config = ParameterSets::new(&picture.sps, std::slice::from_ref(&picture.pps))
            .map_err(|error| error.to_string())?;
        let nals = picture.slices.iter().map(Bytes::as_ref);
        let bytes_expected = picture.slices.iter().map(|slice| slice.len() + 4).sum();
        let unit = VideoUnit::from_nals(nals, bytes_expected).map_err(|error| error.to_string())?;
        Ok((Rc::new(config), unit.avcc))
    }
}

/// Repeats the frame of this access unit, if it can be repeated; see [`Repeater::after`].
pub(super) fn repeater(config: &ParameterSets, unit: &[u8], references: u32) -> Option<Repeater> {
    Repeater::after(config, unit, references)
        .inspect_err(|error| tracing::debug!(%error, "a picture cannot be repeated"))
        .ok()
}
