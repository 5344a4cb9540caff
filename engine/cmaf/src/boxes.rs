//! Writing of boxes (4.2): the size is filled in when the body is known.

use bytes::{BufMut, BytesMut};

/// A box with this body.
pub(crate) fn boxed(out: &mut BytesMut, kind: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    body(out);
    let size = u32::try_from(out.len() - at);
    debug_assert!(size.is_ok(), "a box of more than 4 GiB");
    patch_u32(out, at, size.unwrap_or(u32::MAX));
}

/// A box with version and flags before its body.
pub(crate) fn full_box(
    out: &mut BytesMut,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut BytesMut),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        body(out);
    });
}

/// Writes a number over four bytes that are there.
pub(crate) fn patch_u32(out: &mut BytesMut, at: usize, number: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// The matrix that turns nothing (6.2.2).
pub(crate) fn put_unity_matrix(out: &mut BytesMut) {
    for number in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.put_u32(number);
    }
}
