//! What of an address must not be repeated, in whichever form a server says it again.

use std::{cmp::Reverse, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use crate::url::RtmpUrl;

/// Shortest part of an address that is blotted out, in bytes.
const SECRET_BYTES_MIN: usize = 4;
/// Parts of an address that are looked for in base64 too, the longest ones: an address may hold
/// hundreds of values, and each takes three searches.
const ENCODED_MAX: usize = 16;

/// What of an address opens the door: the password, the stream key, whatever of the application may
/// be one (some platforms put a key or token there), and the values of the queries of both.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(url: &RtmpUrl) -> Self {
        let (application, stream_key) = (url.application(), url.stream_key());
        let public = url.public_application().map_or(0, str::len);
        let behind = application.get(public..).unwrap_or_default();
        let behind = behind.strip_prefix('/').unwrap_or(behind);
        // A value may hold the slash at which the address is cut.
        let whole = format!("{behind}/{stream_key}");
        let mut secrets: Vec<&str> = Vec::new();
        secrets.extend(url.credentials().map(|(_, password)| password));
        for part in [behind, stream_key, &whole] {
            let (path, query) = part.split_once('?').unwrap_or((part, ""));
            secrets.extend([part, path]);
            // A word without a name is a value too.
            let value = |pair| str::split_once(pair, '=').map_or(pair, |(_, value)| value);
            secrets.extend(query.split('&').map(value));
        }
        Self::new(secrets)
    }

    fn new(mut secrets: Vec<&str>) -> Self {
        // Blotting out a word of a letter or two would only spoil the text.
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.dedup();
        let encoded = secrets.iter().take(ENCODED_MAX);
        let encoded = encoded.flat_map(|secret| in_base64(secret.as_bytes()));
        let encoded: Vec<String> = encoded.collect();
        let all = secrets
            .into_iter()
            .chain(encoded.iter().map(String::as_str));
        Self(all.map(folded).collect())
    }

    /// `text` with `***` wherever it says a secret: as it is, in other capitals, or in base64 of
    /// either alphabet (RFC 4648 §4 and §5), by itself or with more around it.
    pub(super) fn blot(&self, text: &str) -> String {
        let searched = folded(text);
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &self.0 {
            let all = searched.match_indices(secret.as_str());
            found.extend(all.map(|(at, secret)| at..at + secret.len()));
        }
        found.sort_by_key(|range| (range.start, Reverse(range.end)));
        let (mut blotted, mut at) = (String::new(), 0);
        for range in found {
            if range.start >= at {
                blotted.push_str(text.get(at..range.start).unwrap_or_default());
                blotted.push_str("***");
            }
            // One may be a part of another, or begin in it.
            at = at.max(range.end);
        }
        blotted.push_str(text.get(at..).unwrap_or_default());
        blotted
    }
}

/// Without capitals, and with one alphabet of base64 for both; as long as `text`.
fn folded(text: &str) -> String {
    let fold = |c: char| match c {
        '-' => '+',
        '_' => '/',
        c => c.to_ascii_lowercase(),
    };
    text.chars().map(fold).collect()
}

/// `secret` as it looks in base64 behind 0, 1 or 2 bytes of something else: the characters that it
/// alone decides.
fn in_base64(secret: &[u8]) -> impl Iterator<Item = String> {
    [(0, 0), (1, 2), (2, 3)]
        .into_iter()
        .filter_map(|(before, undecided)| {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(secret);
            let decided = bytes.len() * 8 / 6;
            let text = STANDARD_NO_PAD.encode(&bytes);
            text.get(undecided..decided).map(str::to_owned)
        })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const KEY: &str = "abCD-ef_gh12";

    fn blotted(text: &str) -> String {
        Secrets::new(vec![KEY, "live/stream"]).blot(text)
    }

    #[test]
    fn a_key_is_blotted_out_in_every_spelling() {
        for said in [KEY.to_owned(), KEY.to_uppercase(), KEY.to_lowercase()] {
            assert_eq!(blotted(&format!("no {said} here")), "no *** here");
        }
        assert_eq!(blotted("nothing of it"), "nothing of it");
        assert_eq!(blotted(&format!("ä{KEY}ö{KEY}")), "ä***ö***");
    }

    #[test]
    fn a_key_is_blotted_out_in_base64_wherever_it_stands() {
        for before in ["", "x", "xy", "xyz", "live/"] {
            for behind in ["", "!", "?a=b"] {
                let whole = format!("{before}{KEY}{behind}");
                for said in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                    let shown = blotted(&format!("bad ({said})"));
                    assert!(
                        shown.starts_with("bad (") && shown.contains("***"),
                        "{shown}"
                    );
                    // What is left decodes to nothing of the key.
                    let left = shown.len() - "bad (***)".len();
                    let around = (before.len() + behind.len()) * 4 / 3 + 8;
                    assert!(left <= around, "{whole}: {shown}");
                }
            }
        }
    }

    #[test]
    fn secrets_that_overlap_are_blotted_out_as_one() {
        let secrets = Secrets::new(vec!["abcdef", "cdefgh", "cdef"]);
        assert_eq!(secrets.blot("1abcdefgh2cdef3"), "1***2***3");
    }
}
