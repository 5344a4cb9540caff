//! What the file of a recording is made of: a head, and fragments behind it.

use bytes::Bytes;

/// What comes before the first fragment, and the fragments.
pub(crate) fn split(bytes: &Bytes) -> Result<(Bytes, Vec<Bytes>), String> {
    let mut rest = bytes.clone();
    let mut head_bytes = 0;
    while let Some((bytes, kind)) = next_box(&rest[head_bytes..])?
        && kind != *b"moof"
    {
        head_bytes += bytes;
    }
    let head = rest.split_to(head_bytes);
    let mut fragments = Vec::new();
    while let Some((moof_bytes, _)) = next_box(&rest)? {
        match next_box(&rest[moof_bytes..])? {
            Some((mdat_bytes, kind)) if kind == *b"mdat" => {
                fragments.push(rest.split_to(moof_bytes + mdat_bytes));
            }
            _ => return Err("a fragment without media".to_owned()),
        }
    }
    Ok((head, fragments))
}

/// The length and the kind of the box that comes first.
fn next_box(bytes: &[u8]) -> Result<Option<(usize, [u8; 4])>, String> {
    let Some((head, _)) = bytes.split_first_chunk::<8>() else {
        let error = || format!("{} bytes that are no box", bytes.len());
        return bytes.is_empty().then_some(None).ok_or_else(error);
    };
    let [a, b, c, d, kind @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
    let error = || format!("a box {} of {length} bytes", kind.escape_ascii());
    let is_whole = (8..=bytes.len()).contains(&length);
    is_whole.then_some(Some((length, kind))).ok_or_else(error)
}
