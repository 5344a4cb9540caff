//! fdk-aac's decoder, without its limiter.

use fdk_aac_sys as sys;

use super::Pcm;
use crate::encoders::Stream;

/// 2 channels of 2048 samples, the longest that the configuration allows.
const PCM_MAX: usize = 4096;

struct Handle(sys::HANDLE_AACDECODER);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `aacDecoder_Open` and is closed once.
        unsafe { sys::aacDecoder_Close(self.0) };
    }
}

/// The samples, without the decoder's own delay.
pub fn decode(stream: &Stream) -> Result<Pcm, String> {
    // SAFETY: plain call.
    let handle = Handle(unsafe { sys::aacDecoder_Open(sys::TRANSPORT_TYPE_TT_MP4_RAW, 1) });
    let mut config = stream.config;
    let mut config_pointer = config.as_mut_ptr();
    let config_length = config.len() as u32;
    // SAFETY: the handle is open, the pointers live through the calls.
    unsafe {
        check(sys::aacDecoder_ConfigRaw(
            handle.0,
            &mut config_pointer,
            &config_length,
        ))?;
        check(sys::aacDecoder_SetParam(
            handle.0,
            sys::AACDEC_PARAM_AAC_PCM_LIMITER_ENABLE,
            0,
        ))?;
    }
    let mut pcm: Pcm = Vec::new();
    let mut samples = [0_i16; PCM_MAX];
    let mut delay = 0;
    for frame in &stream.frames {
        decode_frame(&handle, frame, &mut samples)?;
        // SAFETY: the decoder keeps the information until it is closed; we read it at once.
        let (channels, length, output_delay) = unsafe {
            let info = &*sys::aacDecoder_GetStreamInfo(handle.0);
            (
                info.numChannels as usize,
                info.frameSize as usize,
                info.outputDelay as usize,
            )
        };
        delay = output_delay;
        pcm.resize(channels, Vec::new());
        for (i, &sample) in samples[..channels * length].iter().enumerate() {
            pcm[i % channels].push(f32::from(sample) / 32_768.0);
        }
    }
    pcm.iter_mut()
        .for_each(|channel| drop(channel.drain(..delay.min(channel.len()))));
    Ok(pcm)
}

fn decode_frame(handle: &Handle, frame: &[u8], samples: &mut [i16]) -> Result<(), String> {
    let mut pointer = frame.as_ptr().cast_mut();
    let length = frame.len() as u32;
    let mut left = length;
    // SAFETY: the decoder copies the frame, which it only reads, and writes at most the samples it is
    // given room for.
    unsafe {
        check(sys::aacDecoder_Fill(
            handle.0,
            &mut pointer,
            &length,
            &mut left,
        ))?;
        if left != 0 {
            return Err(format!("fdk-aac: {left} bytes of a frame not taken"));
        }
        check(sys::aacDecoder_DecodeFrame(
            handle.0,
            samples.as_mut_ptr(),
            samples.len() as i32,
            0,
        ))
    }
}

fn check(code: sys::AAC_DECODER_ERROR) -> Result<(), String> {
    if code == sys::AAC_DECODER_ERROR_AAC_DEC_OK {
        Ok(())
    } else {
        Err(format!("fdk-aac: decoder error {code:#x}"))
    }
}
