//! fdk-aac, as ffmpeg's `libfdk_aac` sets it: constant bit rate, afterburner on.

use std::ffi::{c_int, c_void};
use std::{mem, ptr};

use fdk_aac_sys as sys;

use super::{Stream, thread_cpu};
use crate::clip::{Clip, RATE_HZ};

struct Handle(sys::HANDLE_AACENCODER);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `aacEncOpen` and is closed once.
        unsafe { sys::aacEncClose(&mut self.0) };
    }
}

fn check(code: sys::AACENC_ERROR) -> Result<(), String> {
    if code == sys::AACENC_ERROR_AACENC_OK {
        Ok(())
    } else {
        Err(format!("fdk-aac: error {code:#x}"))
    }
}

pub fn encode(clip: &Clip, bps: u32) -> Result<Stream, String> {
    let channels = clip.channels.len();
    let mut handle = Handle(ptr::null_mut());
    // SAFETY: a place for the handle; the parameters are those of the header.
    check(unsafe { sys::aacEncOpen(&mut handle.0, 0, channels as u32) })?;
    for (parameter, value) in [
        (
            sys::AACENC_PARAM_AACENC_AOT,
            sys::AUDIO_OBJECT_TYPE_AOT_AAC_LC as u32,
        ),
        (sys::AACENC_PARAM_AACENC_SAMPLERATE, RATE_HZ),
        (sys::AACENC_PARAM_AACENC_CHANNELMODE, channels as u32),
        (sys::AACENC_PARAM_AACENC_BITRATE, bps),
        (sys::AACENC_PARAM_AACENC_TRANSMUX, 0),
        (sys::AACENC_PARAM_AACENC_AFTERBURNER, 1),
    ] {
        // SAFETY: the handle is open.
        check(unsafe { sys::aacEncoder_SetParam(handle.0, parameter, value) })?;
    }
    // SAFETY: without buffers the call only applies the parameters.
    check(unsafe {
        sys::aacEncEncode(
            handle.0,
            ptr::null(),
            ptr::null(),
            ptr::null(),
            ptr::null_mut(),
        )
    })?;

    let mut stream = Stream::new(channels);
    let mut out = [0_u8; 8192];
    for frame in clip.frames_interleaved() {
        let start = thread_cpu();
        let length = encode_frame(&handle, &frame, &mut out)?;
        stream.cpu += thread_cpu() - start;
        if length > 0 {
            stream.frames.push(out[..length].to_vec());
        }
    }
    Ok(stream)
}

fn encode_frame(handle: &Handle, frame: &[i16], out: &mut [u8]) -> Result<usize, String> {
    let mut in_buffer = frame.as_ptr().cast_mut().cast::<c_void>();
    let mut in_id = sys::AACENC_BufferIdentifier_IN_AUDIO_DATA as c_int;
    let mut in_size = mem::size_of_val(frame) as c_int;
    let mut in_element = mem::size_of::<i16>() as c_int;
    let in_description = sys::AACENC_BufDesc {
        numBufs: 1,
        bufs: &mut in_buffer,
        bufferIdentifiers: &mut in_id,
        bufSizes: &mut in_size,
        bufElSizes: &mut in_element,
    };
    let mut out_buffer = out.as_mut_ptr().cast::<c_void>();
    let mut out_id = sys::AACENC_BufferIdentifier_OUT_BITSTREAM_DATA as c_int;
    let mut out_size = out.len() as c_int;
    let mut out_element = 1;
    let out_description = sys::AACENC_BufDesc {
        numBufs: 1,
        bufs: &mut out_buffer,
        bufferIdentifiers: &mut out_id,
        bufSizes: &mut out_size,
        bufElSizes: &mut out_element,
    };
    let in_args = sys::AACENC_InArgs {
        numInSamples: frame.len() as c_int,
        numAncBytes: 0,
    };
    // SAFETY: a plain structure of integers that the call fills.
    let mut out_args: sys::AACENC_OutArgs = unsafe { mem::zeroed() };
    // SAFETY: all descriptions point to live buffers of the sizes they name; the input is only read.
    check(unsafe {
        sys::aacEncEncode(
            handle.0,
            &in_description,
            &out_description,
            &in_args,
            &mut out_args,
        )
    })?;
    Ok(out_args.numOutBytes as usize)
}
