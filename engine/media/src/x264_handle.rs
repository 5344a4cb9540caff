//! An encoder of the `x264` crate, with what that crate leaves out: rate control, IDRs when they are
//! wished for, and other parameters while it runs. These go past it to libx264.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use x264::{Data, Encoder};
use x264_sys::x264 as sys;

/// Bytes in front of each NAL unit of x264, when Annex B is off: its length.
pub(crate) const NAL_LENGTH_BYTES: usize = 4;
/// `nal_unit_type` of a slice of an IDR picture (ITU-T H.264, table 7-1).
pub(crate) const IDR: u8 = 5;
/// Of supplemental enhancement information.
pub(crate) const SEI: u8 = 6;
/// Of a sequence parameter set.
pub(crate) const SPS: u8 = 7;
/// Of a picture parameter set.
pub(crate) const PPS: u8 = 8;
/// Of an access unit delimiter.
pub(crate) const DELIMITER: u8 = 9;

/// The parameters of a preset; x264 logs nothing to the standard error.
///
/// # Errors
/// A reason, when x264 does not know it.
pub(crate) fn preset(name: &CStr, tune: Option<&CStr>) -> Result<sys::x264_param_t, String> {
    let mut param = MaybeUninit::uninit();
    let tune = tune.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: x264 fills in all of the structure when it knows the preset, and says so by a zero;
    // both names are C strings, and no tuning is a null pointer.
    let mut param: sys::x264_param_t = unsafe {
        if sys::x264_param_default_preset(param.as_mut_ptr(), name.as_ptr(), tune) != 0 {
            return Err(format!("x264 has no preset {}", name.to_string_lossy()));
        }
        param.assume_init()
    };
    param.i_log_level = sys::X264_LOG_NONE;
    param.i_csp = sys::X264_CSP_I420 as i32;
    // At once, on the thread that asks.
    param.i_threads = 1;
    param.b_sliced_threads = 0;
    param.i_sync_lookahead = 0;
    param.rc.i_lookahead = 0;
    param.rc.b_mb_tree = 0;
    param.b_vfr_input = 0;
    param.i_bframe = 0;
    param.i_scenecut_threshold = 0;
    // Lengths in place of start codes, and parameter sets with each IDR.
    param.b_annexb = 0;
    param.b_repeat_headers = 1;
    param.b_aud = 0;
    Ok(param)
}

/// A picture for the encoder: planes of 4:2:0 with 8 bits, of the size it was opened for.
#[derive(Clone, Copy)]
pub(crate) struct Input {
    pub(crate) planes: [*const u8; 3],
    pub(crate) strides: [i32; 3],
    pub(crate) pts: i64,
    pub(crate) idr: bool,
}

/// An open encoder.
pub(crate) struct Handle {
    raw: NonNull<sys::x264_t>,
    /// Closes it.
    _owner: Encoder,
}

impl Handle {
    /// `None` when x264 refuses the parameters.
    pub(crate) fn open(param: &mut sys::x264_param_t) -> Option<Self> {
        // SAFETY: the parameters were filled in by x264 and changed by value only; x264 copies them.
        let raw = NonNull::new(unsafe { sys::x264_encoder_open(ptr::from_mut(param)) })?;
        // SAFETY: it is open, and nobody else closes it.
        let owner = unsafe { Encoder::from_raw(raw.as_ptr()) };
        Some(Self { raw, _owner: owner })
    }

    /// Changes those parameters that can be changed while it runs, from the next picture on; false
    /// when x264 refuses them.
    pub(crate) fn reconfigure(&mut self, param: &mut sys::x264_param_t) -> bool {
        // SAFETY: the encoder is open; x264 reads and copies the parameters.
        unsafe { sys::x264_encoder_reconfig(self.raw.as_ptr(), ptr::from_mut(param)) == 0 }
    }

    /// Encodes one picture and hands each of its NAL units, header first, to `take`. False when x264
    /// refuses.
    ///
    /// # Safety
    /// The planes hold a whole picture of the size that the encoder was opened for.
    pub(crate) unsafe fn encode(&mut self, input: &Input, mut take: impl FnMut(&[u8])) -> bool {
        let mut picture = MaybeUninit::uninit();
        let mut output = MaybeUninit::uninit();
        let (mut nals, mut count) = (ptr::null_mut(), 0);
        // SAFETY: x264 fills in both pictures; it copies the samples out of planes that the caller
        // vouches for, and does not write there in spite of its types.
        let encoded = unsafe {
            sys::x264_picture_init(picture.as_mut_ptr());
            let mut picture: sys::x264_picture_t = picture.assume_init();
            picture.i_pts = input.pts;
            let kind = if input.idr {
                sys::X264_TYPE_IDR
            } else {
                sys::X264_TYPE_AUTO
            };
            picture.i_type = kind as i32;
            picture.img.i_csp = sys::X264_CSP_I420 as i32;
            picture.img.i_plane = 3;
            let planes = picture.img.plane.iter_mut().zip(input.planes);
            planes.for_each(|(to, from)| *to = from.cast_mut());
            let strides = picture.img.i_stride.iter_mut().zip(input.strides);
            strides.for_each(|(to, from)| *to = from);
            sys::x264_encoder_encode(
                self.raw.as_ptr(),
                &raw mut nals,
                &raw mut count,
                &raw mut picture,
                output.as_mut_ptr(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        if encoded < 0 || nals.is_null() {
            return encoded >= 0;
        }
        // SAFETY: x264 gave `count` units, valid until the next call of the encoder.
        let data = unsafe { Data::from_raw_parts(nals, count) };
        for index in 0..data.len() {
            // The length of the unit comes first.
            let unit = data.unit(index);
            take(unit.as_ref().get(NAL_LENGTH_BYTES..).unwrap_or_default());
        }
        true
    }
}

// SAFETY: with one thread of its own x264 keeps nothing that belongs to a thread; an encoder has one
// owner, who uses it on one thread at a time.
unsafe impl Send for Handle {}
