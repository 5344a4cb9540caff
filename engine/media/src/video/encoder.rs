//! One rendition's H.264, by x264.

use std::fmt;

use bytes::Bytes;
use x264_sys::x264 as sys;

use super::Coded;
use super::colours::Matrix;
use super::picture::Picture;
use super::settings;
use crate::MediaError;
use crate::x264_handle::{DELIMITER, Handle, IDR, Input, NAL_LENGTH_BYTES, PPS, SEI, SPS, preset};
use shardcast_link::{Preset, Profile, RenditionSpec};

/// Part of the buffer that x264 takes for full before the first picture: half a second for an IDR is
/// plenty, and over ten seconds it is 5 % of the bit rate.
const VBV_AT_BEGIN: f32 = 0.5;

/// Encodes pictures of one size at a constant frame rate, each at once and by itself: no B-frames, no
/// look-ahead, no threads. The parameter sets of the stream never change.
pub struct VideoEncoder {
    handle: Handle,
    /// As it was opened.
    param: sys::x264_param_t,
    width: u32,
    height: u32,
    wanted: Preset,
    in_force: (Preset, u32),
    pictures: i64,
    sets: Option<(Bytes, Bytes)>,
}

impl VideoEncoder {
    /// Opens x264 for pictures of this size; the width of the settings is not looked at. `first` is a
    /// picture of the stream, which knows its colours.
    ///
    /// # Errors
    /// [`MediaError::Encoder`] when the settings are out of range or x264 refuses.
    pub fn new(
        width: u32,
        height: u32,
        settings: &RenditionSpec,
        first: &Picture,
    ) -> Result<Self, MediaError> {
        Self::open(width, height, settings, first.matrix())
    }

    /// The same for pictures of this matrix.
    pub(crate) fn open(
        width: u32,
        height: u32,
        settings: &RenditionSpec,
        matrix: Matrix,
    ) -> Result<Self, MediaError> {
        let fixed = RenditionSpec {
            width: Some(width),
            height,
            ..*settings
        };
        settings::check(&fixed).map_err(MediaError::Encoder)?;
        let mut param = parameters(&fixed).map_err(MediaError::Encoder)?;
        // Sides are at most 8192.
        param.i_width = width as i32;
        param.i_height = height as i32;
        let code = matrix.code();
        param.vui.i_colorprim = code;
        param.vui.i_transfer = code;
        param.vui.i_colmatrix = code;
        let handle = Handle::open(&mut param).ok_or_else(|| {
            MediaError::Encoder(format!("x264 does not open for {width}x{height} pixels"))
        })?;
        Ok(Self {
            handle,
            param,
            width,
            height,
            wanted: settings.preset,
            in_force: (settings.preset, 1),
            pictures: 0,
            sets: None,
        })
    }

    /// Encodes the next picture and appends its NAL units, behind lengths of four bytes, to `unit`.
    ///
    /// # Errors
    /// [`MediaError::Encoder`] when the picture is not one of its size that
    /// [is encodable](Picture::is_encodable), or x264 refuses.
    pub fn encode(
        &mut self,
        picture: &Picture,
        idr: bool,
        unit: &mut Vec<u8>,
    ) -> Result<Coded, MediaError> {
        let size = (picture.width(), picture.height());
        if size != (self.width, self.height) || picture.is_empty() || !picture.is_encodable() {
            let reason = format!("{picture:?} for {}x{}", self.width, self.height);
            return Err(MediaError::Encoder(reason));
        }
        let planes = picture.planes();
        let ([y, cb, cr, _], [y_stride, cb_stride, cr_stride, _]) = (planes.data, planes.strides);
        let input = Input {
            planes: [y.cast_const(), cb.cast_const(), cr.cast_const()],
            strides: [y_stride, cb_stride, cr_stride],
            pts: self.pictures,
            idr,
        };
        self.pictures += 1;
        let (mut coded_idr, mut sps, mut pps) = (false, None, None);
        let take = |nal: &[u8]| match nal.first().map(|header| header & 0x1F) {
            Some(SPS) => sps = Some(Bytes::copy_from_slice(nal)),
            Some(PPS) => pps = Some(Bytes::copy_from_slice(nal)),
            // They only name the version of x264.
            None | Some(SEI | DELIMITER) => {}
            Some(kind) => {
                coded_idr |= kind == IDR;
                append(unit, nal);
            }
        };
        // SAFETY: the picture is whole, in 4:2:0 with 8 bits, and of the size of the encoder.
        if !unsafe { self.handle.encode(&input, take) } {
            return Err(MediaError::Encoder("x264 refused a picture".to_owned()));
        }
        Ok(Coded {
            idr: coded_idr,
            parameter_sets: coded_idr.then(|| self.keep_sets(sps, pps)).flatten(),
        })
    }

    /// From the next picture on: a faster preset, and so many times longer from picture to picture than
    /// declared, so that the bit rate stays what it is. Parameter sets stay as they are. False when x264
    /// refuses; then nothing changes.
    pub fn throttle(&mut self, preset: Preset, frame_divisor: u32) -> bool {
        let preset = preset.min(self.wanted);
        let divisor = frame_divisor.max(1);
        if self.in_force == (preset, divisor) {
            return true;
        }
        let mut param = self.param;
        if preset < self.wanted && ease(&mut param, preset).is_err() {
            return false;
        }
        // x264 believes the declared frame rate, so a second lasts `divisor` seconds to it.
        let times = i32::try_from(divisor).unwrap_or(1);
        param.rc.i_bitrate = param.rc.i_bitrate.saturating_mul(times);
        param.rc.i_vbv_max_bitrate = param.rc.i_vbv_max_bitrate.saturating_mul(times);
        let done = self.handle.reconfigure(&mut param);
        if done {
            self.in_force = (preset, divisor);
        }
        done
    }

    /// The preset in force.
    pub fn preset(&self) -> Preset {
        self.in_force.0
    }

    /// The sets of this IDR, in the memory of the last one's when they are the same, as they should.
    fn keep_sets(&mut self, sps: Option<Bytes>, pps: Option<Bytes>) -> Option<(Bytes, Bytes)> {
        let now = sps.zip(pps);
        if now.is_some() && now != self.sets {
            self.sets = now;
        }
        self.sets.clone()
    }
}

fn append(unit: &mut Vec<u8>, nal: &[u8]) {
    let Ok(length) = u32::try_from(nal.len()) else {
        return;
    };
    unit.reserve(NAL_LENGTH_BYTES + nal.len());
    unit.extend_from_slice(&length.to_be_bytes());
    unit.extend_from_slice(nal);
}

fn parameters(settings: &RenditionSpec) -> Result<sys::x264_param_t, String> {
    let mut param = preset(name(settings.preset), Some(c"zerolatency"))?;
    let rate = settings.frames_per_second;
    (param.i_fps_num, param.i_fps_den) = (rate, 1);
    (param.i_timebase_num, param.i_timebase_den) = (1, rate);
    // The grid decides which pictures are IDRs.
    param.i_keyint_max = sys::X264_KEYINT_MAX_INFINITE as i32;
    // At most 100 Mbit/s. x264 counts kilobits.
    let kilobits = (settings.video_bps / 1_000) as i32;
    param.rc.i_rc_method = sys::X264_RC_ABR as i32;
    param.rc.i_bitrate = kilobits;
    param.rc.i_vbv_max_bitrate = kilobits;
    param.rc.i_vbv_buffer_size = kilobits;
    // What is in the buffer at the beginning is sent on top of the bit rate. A buffer that is fuller,
    // as receivers have it, runs dry all the less.
    param.rc.f_vbv_buffer_init = VBV_AT_BEGIN;
    param.vui.b_fullrange = 0;
    let profile = match settings.profile {
        Profile::Baseline => c"baseline",
        Profile::Main => c"main",
        Profile::High => c"high",
    };
    // SAFETY: the parameters were filled in by x264, and the name is a C string.
    if unsafe { sys::x264_param_apply_profile(&raw mut param, profile.as_ptr()) } == 0 {
        Ok(param)
    } else {
        Err(format!("x264 has no profile {:?}", settings.profile))
    }
}

fn name(preset: Preset) -> &'static std::ffi::CStr {
    match preset {
        Preset::Ultrafast => c"ultrafast",
        Preset::Superfast => c"superfast",
        Preset::Veryfast => c"veryfast",
        Preset::Faster => c"faster",
    }
}

/// Takes from a faster preset what x264 can change while it runs and no parameter set depends on.
fn ease(param: &mut sys::x264_param_t, to: Preset) -> Result<(), String> {
    let fast = preset(name(to), Some(c"zerolatency"))?;
    let (now, fast_analyse) = (&mut param.analyse, &fast.analyse);
    param.i_frame_reference = param.i_frame_reference.min(fast.i_frame_reference);
    now.intra &= fast_analyse.intra;
    now.inter &= fast_analyse.inter;
    now.b_transform_8x8 &= fast_analyse.b_transform_8x8;
    now.i_me_method = fast_analyse.i_me_method.min(now.i_me_method);
    // None at all cannot be reached from more, nor left again.
    now.i_subpel_refine = fast_analyse.i_subpel_refine.min(now.i_subpel_refine).max(1);
    now.b_mixed_references &= fast_analyse.b_mixed_references;
    now.i_trellis = fast_analyse.i_trellis.min(now.i_trellis);
    param.b_deblocking_filter &= fast.b_deblocking_filter;
    Ok(())
}

impl fmt::Debug for VideoEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoEncoder")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("in_force", &self.in_force)
            .finish_non_exhaustive()
    }
}

// SAFETY: the parameters hold pointers to nothing but what x264 has for all of its life, and the
// handle may go from thread to thread.
unsafe impl Send for VideoEncoder {}
