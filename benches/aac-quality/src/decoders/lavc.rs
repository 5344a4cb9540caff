//! libavcodec's decoder. Whatever it logs as a warning or worse counts as a complaint.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::{Sample, sample::Type};

use super::Pcm;
use crate::encoders::Stream;

thread_local! {
    /// Warnings of libavcodec on this thread: the audio codecs call it on the thread they run on.
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

type Arguments = *mut ffi::__va_list_tag;

unsafe extern "C" fn collect(
    context: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: Arguments,
) {
    if level > ffi::AV_LOG_WARNING {
        return;
    }
    let mut line = [0 as c_char; 512];
    let mut prefix = 1;
    // SAFETY: libavutil hands over what its own formatter takes; the line is as long as it says and
    // ends with a zero.
    let text = unsafe {
        ffi::av_log_format_line(
            context,
            level,
            format,
            arguments,
            line.as_mut_ptr(),
            line.len() as c_int,
            &mut prefix,
        );
        CStr::from_ptr(line.as_ptr())
            .to_string_lossy()
            .trim()
            .to_owned()
    };
    LOG.with(|log| log.borrow_mut().push(text));
}

/// Collects the complaints of libavcodec instead of printing them.
pub fn watch_log() {
    // SAFETY: the function stays for the life of the process.
    unsafe { ffi::av_log_set_callback(Some(collect)) };
}

pub fn decode(stream: &Stream) -> Result<Pcm, String> {
    LOG.with(|log| log.borrow_mut().clear());
    let pcm = run(stream).map_err(|e| format!("libavcodec: {e}"));
    let log = LOG.with(|log| log.take());
    if log.is_empty() {
        pcm
    } else {
        Err(format!("libavcodec: {}", log.join("; ")))
    }
}

fn run(stream: &Stream) -> Result<Pcm, ffmpeg::Error> {
    let codec =
        ffmpeg::decoder::find(ffmpeg::codec::Id::AAC).ok_or(ffmpeg::Error::DecoderNotFound)?;
    let mut context = ffmpeg::codec::Context::new_with_codec(codec);
    let length = stream.config.len();
    // SAFETY: the context is ours and not open; it frees the extradata, which has the padding asked
    // for.
    unsafe {
        let size = length + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        let extradata = ffi::av_mallocz(size).cast::<u8>();
        ptr::copy_nonoverlapping(stream.config.as_ptr(), extradata, length);
        let raw = context.as_mut_ptr();
        (*raw).extradata = extradata;
        (*raw).extradata_size = length as c_int;
        (*raw).err_recognition =
            (ffi::AV_EF_EXPLODE | ffi::AV_EF_BITSTREAM | ffi::AV_EF_COMPLIANT) as c_int;
    }
    let mut decoder = context.decoder().open_as(codec)?;
    let mut frame = ffmpeg::frame::Audio::empty();
    let mut pcm: Pcm = Vec::new();
    for coded in &stream.frames {
        decoder.send_packet(&ffmpeg::Packet::copy(coded))?;
        decoder.receive_frame(&mut frame)?;
        if frame.format() != Sample::F32(Type::Planar) {
            return Err(ffmpeg::Error::InvalidData);
        }
        pcm.resize(frame.planes(), Vec::new());
        for (channel, samples) in pcm.iter_mut().enumerate() {
            samples.extend_from_slice(frame.plane::<f32>(channel));
        }
    }
    Ok(pcm)
}
