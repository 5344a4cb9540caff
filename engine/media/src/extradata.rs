//! The configuration of a decoder, which libavcodec wants in memory of its own.

use ffmpeg_next as ffmpeg;

/// Gives a context that is not yet open its configuration, at most some kilobytes.
pub(crate) fn set(context: &mut ffmpeg::codec::Context, config: &[u8]) -> Result<(), &'static str> {
    let length = config.len();
    let size = i32::try_from(length).map_err(|_| "the configuration is too long")?;
    // SAFETY: libavcodec wants the configuration in memory of its own allocator, zero-padded, and
    // frees it with the context, which is ours. The block is `length` plus the padding and checked
    // for null. A configuration set before would leak, which is safe; nobody sets one twice.
    unsafe {
        let block =
            ffmpeg::ffi::av_mallocz(length + ffmpeg::ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize)
                .cast::<u8>();
        if block.is_null() {
            return Err("no memory");
        }
        block.copy_from_nonoverlapping(config.as_ptr(), length);
        let raw = context.as_mut_ptr();
        (*raw).extradata = block;
        (*raw).extradata_size = size;
    }
    Ok(())
}
