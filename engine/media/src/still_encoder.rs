//! One IDR picture by x264, coded so that its slice can stand under foreign parameter sets.

use std::mem::MaybeUninit;

use bytes::Bytes;
use x264::{Colorspace, Encoder, Image, Plane};
use x264_sys::x264 as sys;

use crate::limits::{STILL_BYTES_MIN, STILL_PIXELS_PER_BYTE};
use crate::{I420, StillError, StillNals, StillTarget};

/// Rate factors in the order of trial. The first is near to what the eye can tell; most pictures
/// stay with it. The last is the coarsest that x264 has.
const RATE_FACTORS: [f32; 6] = [21.0, 27.0, 33.0, 39.0, 45.0, 51.0];

const NAL_LENGTH_BYTES: usize = 4;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// Codes a picture as one IDR of one slice. It is made coarser until it is small enough to be sent
/// in a moment: 184 kB for 1280×720.
pub(crate) fn encode(target: &StillTarget, picture: &I420) -> Result<StillNals, StillError> {
    let (width, height) = (target.width, target.height);
    if (picture.width(), picture.height()) != (width, height) {
        return Err(StillError::Size { width, height });
    }
    let bytes_max = ((width * height) as usize / STILL_PIXELS_PER_BYTE).max(STILL_BYTES_MIN);
    let mut smallest = None;
    for rate_factor in RATE_FACTORS {
        let nals = encode_once(target, picture, rate_factor)?;
        let bytes: usize = nals.slices.iter().map(Bytes::len).sum();
        smallest = Some(nals);
        if bytes <= bytes_max {
            break;
        }
    }
    smallest.ok_or_else(|| StillError::Encoder("x264 was not asked".to_owned()))
}

fn encode_once(
    target: &StillTarget,
    picture: &I420,
    rate_factor: f32,
) -> Result<StillNals, StillError> {
    let mut encoder = open(target, rate_factor)?;
    let planes = picture.planes().into_iter().zip(picture.row_lengths());
    // A row has at most 8192 samples.
    let planes: Vec<Plane<'_>> = planes
        .map(|(data, stride)| Plane {
            stride: stride as i32,
            data,
        })
        .collect();
    // Sides are even and each plane is whole, by the invariants of `I420`.
    let image = Image::new(
        Colorspace::I420,
        target.width as i32,
        target.height as i32,
        &planes,
    );
    let (data, _) = encoder
        .encode(0, image)
        .map_err(|_| StillError::Encoder("x264 refused the picture".to_owned()))?;
    let (mut sps, mut pps, mut slices) = (None, None, Vec::new());
    for index in 0..data.len() {
        let unit = data.unit(index);
        let nal = unit.as_ref().get(NAL_LENGTH_BYTES..).unwrap_or_default();
        // SEI and delimiters are left out.
        match nal.first().map(|header| header & 0x1F) {
            Some(SPS) => sps = Some(Bytes::copy_from_slice(nal)),
            Some(PPS) => pps = Some(Bytes::copy_from_slice(nal)),
            Some(IDR) => slices.push(Bytes::copy_from_slice(nal)),
            _ => {}
        }
    }
    match (sps, pps) {
        (Some(sps), Some(pps)) if !slices.is_empty() => Ok(StillNals { sps, pps, slices }),
        _ => Err(StillError::Encoder("x264 gave no IDR picture".to_owned())),
    }
}

fn open(target: &StillTarget, rate_factor: f32) -> Result<Encoder, StillError> {
    let mut param = default_param()?;
    param.i_log_level = sys::X264_LOG_NONE;
    param.i_csp = sys::X264_CSP_I420 as i32;
    param.i_width = target.width as i32;
    param.i_height = target.height as i32;
    // One picture, at once, on the thread that asks.
    param.i_threads = 1;
    param.b_sliced_threads = 0;
    param.i_sync_lookahead = 0;
    param.rc.i_lookahead = 0;
    param.rc.b_mb_tree = 0;
    param.b_vfr_input = 0;
    param.i_bframe = 0;
    param.i_frame_reference = 1;
    param.i_scenecut_threshold = 0;
    param.b_annexb = 0;
    param.b_repeat_headers = 1;
    param.b_aud = 0;
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
    // SAFETY: the parameters were filled in by x264 and changed by value only; x264 copies them.
    // The encoder is checked for null and given to its owner, who closes it.
    unsafe {
        let raw = sys::x264_encoder_open(&raw mut param);
        if raw.is_null() {
            let (width, height) = (target.width, target.height);
            let words = format!("x264 does not open for {width}x{height} pixels");
            return Err(StillError::Encoder(words));
        }
        Ok(Encoder::from_raw(raw))
    }
}

fn default_param() -> Result<sys::x264_param_t, StillError> {
    let mut param = MaybeUninit::uninit();
    // SAFETY: x264 fills in all of the structure when it knows the preset, and says so by a zero;
    // the name is a C string, and no tuning is a null pointer.
    unsafe {
        let preset = c"medium".as_ptr();
        if sys::x264_param_default_preset(param.as_mut_ptr(), preset, std::ptr::null()) != 0 {
            return Err(StillError::Encoder("x264 has no presets".to_owned()));
        }
        Ok(param.assume_init())
    }
}
