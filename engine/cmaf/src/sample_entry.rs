//! Sample entries (8.5.2): what a decoder has to be told before the first sample.

use bytes::{BufMut, BytesMut};

use crate::{
    boxes::{boxed, full_box, patch_u32},
    track::{Codec, Track},
};

/// Descriptor tags of MPEG-4 systems (14496-1, table 1).
const ES_DESCRIPTOR: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC_INFO: u8 = 5;
const SL_CONFIG: u8 = 6;
/// `objectTypeIndication` of MPEG-4 audio (14496-1, table 5).
const OBJECT_TYPE_AAC: u8 = 0x40;
/// `streamType` 5, audio, in the upper six bits, and a bit that is reserved.
const STREAM_TYPE_AUDIO: u8 = 0x15;

/// `stsd` with the one entry of this track.
pub(crate) fn put_stsd(out: &mut BytesMut, track: &Track) {
    full_box(out, b"stsd", 0, 0, |out| {
        out.put_u32(1);
        put_entry(out, track);
    });
}

fn put_entry(out: &mut BytesMut, track: &Track) {
    match &track.codec {
        Codec::Avc {
            record,
            width,
            height,
            in_band,
        } => {
            let kind = if *in_band { b"avc3" } else { b"avc1" };
            boxed(out, kind, |out| {
                put_entry_head(out);
                out.put_bytes(0, 16);
                out.put_u16(*width);
                out.put_u16(*height);
                // 72 dpi, in 16.16.
                out.put_u32(0x0048_0000);
                out.put_u32(0x0048_0000);
                out.put_u32(0);
                // Frames in a sample, the name of the encoder, the depth, and -1.
                out.put_u16(1);
                out.put_bytes(0, 32);
                out.put_u16(0x0018);
                out.put_u16(0xFFFF);
                boxed(out, b"avcC", |out| out.put_slice(record));
            });
        }
        Codec::Aac {
            config,
            sample_rate,
            channels,
        } => boxed(out, b"mp4a", |out| {
            put_entry_head(out);
            out.put_bytes(0, 8);
            out.put_u16(*channels);
            // Bits of a sample, which AAC does not have.
            out.put_u16(16);
            out.put_u32(0);
            // In 16.16; what does not fit is read from the configuration.
            out.put_u32(u16::try_from(*sample_rate).map_or(0, |rate| u32::from(rate) << 16));
            full_box(out, b"esds", 0, 0, |out| put_es_descriptor(out, config));
        }),
    }
}

/// What all sample entries begin with: six reserved bytes, and the number of the data reference.
fn put_entry_head(out: &mut BytesMut) {
    out.put_bytes(0, 6);
    out.put_u16(1);
}

fn put_es_descriptor(out: &mut BytesMut, config: &[u8]) {
    descriptor(out, ES_DESCRIPTOR, |out| {
        // ES_ID, which is 0 in files (14496-14, 3.1.2), and flags.
        out.put_u16(0);
        out.put_u8(0);
        descriptor(out, DECODER_CONFIG, |out| {
            out.put_u8(OBJECT_TYPE_AAC);
            out.put_u8(STREAM_TYPE_AUDIO);
            // Buffer size, largest and average bit rate: 0 where they are not known.
            out.put_bytes(0, 3);
            out.put_u32(0);
            out.put_u32(0);
            descriptor(out, DECODER_SPECIFIC_INFO, |out| out.put_slice(config));
        });
        // "Reserved for use in MP4 files".
        descriptor(out, SL_CONFIG, |out| out.put_u8(2));
    });
}

/// A descriptor behind its length in four bytes of seven bits (14496-1, 8.3.3).
fn descriptor(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_u32(0);
    body(out);
    let len = u32::try_from(out.len() - at - 4).unwrap_or(0);
    let sevens = (len & 0x7F)
        | (len << 1 & 0x7F00)
        | (len << 2 & 0x7F_0000)
        | (len << 3 & 0x7F00_0000)
        | 0x8080_8000;
    patch_u32(out, at, sevens);
}
