//! The publisher's video as it stood when it stopped, and how pictures of ours stand beside it.

use std::{ops::Range, rc::Rc};

use bytes::Bytes;

use crate::{
    h264::{ParameterSets, Repeater, VideoUnit, adopt},
    io::{StillPicture, StillTarget},
    ring::{Kind, Ring},
    rtmp::flv::AVC_HEADER_BYTES,
};

#[derive(Debug)]
pub(super) struct Last {
    pub(super) config: Rc<ParameterSets>,
    /// Of the picture that is shown last, and when that is.
    pub(super) body: Bytes,
    pub(super) shown_us: i64,
    /// Pictures behind it that are shown before it, and that others lean on.
    pub(super) references: u32,
    /// The last keyframe.
    pub(super) keyframe: Bytes,
    /// Numbers in the ring of the last keyframe, and of what came behind the last picture.
    pub(super) group: Range<u64>,
}

impl Last {
    /// The access units of the last group of pictures; the keyframe alone when the ring has lost
    /// others.
    pub(super) fn access_units(&self, ring: &Ring) -> Vec<Bytes> {
        if ring.start() > self.group.start {
            return vec![nal_units(&self.keyframe)];
        }
        let units = self.group.clone().filter_map(|seq| ring.get(seq));
        units
            .filter(|unit| matches!(unit.kind, Kind::Video { .. }))
            .map(|unit| nal_units(&unit.body))
            .collect()
    }

    /// How a picture has to be coded that shall stand beside it.
    pub(super) fn target(&self) -> StillTarget {
        let config = &self.config;
        // A stream whose parameter sets cannot be borrowed gets a picture with sets of its own.
        config.still_target().unwrap_or_else(|| StillTarget {
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

    /// Puts a picture under the publisher's parameter sets, or else under its own.
    pub(super) fn place(
        &self,
        picture: &StillPicture,
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
        let unit =
            VideoUnit::from_nals(nals, bytes_expected, 0).map_err(|error| error.to_string())?;
        Ok((Rc::new(config), unit.body))
    }
}

/// An FLV body without its header.
fn nal_units(body: &Bytes) -> Bytes {
    body.slice(AVC_HEADER_BYTES.min(body.len())..)
}

/// Repeats the picture of this body, if it can be repeated; see [`Repeater::after`].
pub(super) fn repeater(config: &ParameterSets, body: &[u8], references: u32) -> Option<Repeater> {
    Repeater::after(config, body, references)
        .inspect_err(|error| tracing::debug!(%error, "a picture cannot be repeated"))
        .ok()
}
