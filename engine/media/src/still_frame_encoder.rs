//! One IDR picture by x264, coded so that its slice can stand under foreign parameter sets.

use bytes::Bytes;
use x264_sys::x264 as sys;

use crate::limits::{STILL_FRAME_BYTES_MIN, STILL_FRAME_PIXELS_PER_BYTE};
use crate::x264_handle::{self, Handle, IDR, Input, PPS, SPS};
use crate::{I420, StillFrameError, StillFrameNals, StillFrameTarget};

/// Rate factors in the order of trial. The first is near to what the eye can tell; most pictures
/// stay with it. The last is the coarsest that x264 has.
const RATE_FACTORS: [f32; 6] = [21.0, 27.0, 33.0, 39.0, 45.0, 51.0];

/// Codes a picture as one IDR of one slice. It is made coarser until it is small enough to be sent
/// in a moment: 184 kB for 1280×720.
pub(crate) fn encode(
    target: &StillFrameTarget,
    picture: &I420,
) -> Result<StillFrameNals, StillFrameError> {
    let (width, height) = (target.width, target.height);
    if (picture.width(), picture.height()) != (width, height) {
        return Err(StillFrameError::Size { width, height });
    }
    let bytes_max =
        ((width * height) as usize / STILL_FRAME_PIXELS_PER_BYTE).max(STILL_FRAME_BYTES_MIN);
    let mut smallest = None;
    for rate_factor in RATE_FACTORS {
        let nals = encode_once(target, picture, rate_factor)?;
        let bytes: usize = nals.slices.iter().map(Bytes::len).sum();
        smallest = Some(nals);
        if bytes <= bytes_max {
            break;
        }
    }
    smallest.ok_or_else(|| StillFrameError::Encoder("x264 was not asked".to_owned()))
}

fn encode_once(
    target: &StillFrameTarget,
    picture: &I420,
    rate_factor: f32,
) -> Result<StillFrameNals, StillFrameError> {
    let mut encoder = open(target, rate_factor)?;
    let [y, cb, cr] = picture.planes().map(<[u8]>::as_ptr);
    // A row has at most 8192 samples.
    let input = Input {
        planes: [y, cb, cr],
        strides: picture.row_lengths().map(|length| length as i32),
        pts: 0,
        idr: true,
    };
    let (mut sps, mut pps, mut slices) = (None, None, Vec::new());
    // SEI and delimiters are left out.
    let take = |nal: &[u8]| match nal.first().map(|header| header & 0x1F) {
        Some(SPS) => sps = Some(Bytes::copy_from_slice(nal)),
        Some(PPS) => pps = Some(Bytes::copy_from_slice(nal)),
        Some(IDR) => slices.push(Bytes::copy_from_slice(nal)),
        _ => {}
    };
    // SAFETY: the planes are whole by the invariants of `I420`, and of the size of the encoder.
    if !unsafe { encoder.encode(&input, take) } {
        return Err(StillFrameError::Encoder(
            "x264 refused the picture".to_owned(),
        ));
    }
    match (sps, pps) {
        (Some(sps), Some(pps)) if !slices.is_empty() => Ok(StillFrameNals { sps, pps, slices }),
        _ => Err(StillFrameError::Encoder(
            "x264 gave no IDR picture".to_owned(),
        )),
    }
}

fn open(target: &StillFrameTarget, rate_factor: f32) -> Result<Handle, StillFrameError> {
    let mut param = x264_handle::preset(c"medium", None).map_err(StillFrameError::Encoder)?;
    param.i_width = target.width as i32;
    param.i_height = target.height as i32;
    param.i_frame_reference = 1;
    param.rc.i_rc_method = sys::X264_RC_CRF as i32;
    param.rc.f_rf_constant = rate_factor;
    // What must be as in the stream that the slice goes into. The psychovisual tools would move
    // the chroma QP by an offset of their own; deblocking stays as it is without a word about it.
    param.b_cabac = target.cabac.into();
    param.analyse.b_transform_8x8 = target.transform_8x8.into();
    param.analyse.b_psy = 0;
    param.analyse.f_psy_rd = 0.0;
    param.analyse.f_psy_trellis = 0.0;
    param.analyse.i_chroma_qp_offset = target.chroma_qp_offset.into();
    param.b_deblocking_filter = 1;
    param.i_deblocking_filter_alphac0 = 0;
    param.i_deblocking_filter_beta = 0;
    param.vui.b_fullrange = target.full_range.into();
    Handle::open(&mut param).ok_or_else(|| {
        let (width, height) = (target.width, target.height);
        StillFrameError::Encoder(format!("x264 does not open for {width}x{height} pixels"))
    })
}
