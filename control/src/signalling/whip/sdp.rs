//! The texts of WHIP: session descriptions and their fragments (RFC 8866, RFC 8840).

use crate::state::Answer;

/// The answer with all candidates of the shard in its first media section, whose transport all others
/// share (RFC 8843), so that a client needs no trickling.
pub(super) fn with_candidates(answer: &Answer) -> String {
    let mut text = String::with_capacity(answer.sdp.len() + 128 * answer.candidates.len());
    let mut sections = 0;
    for line in answer.sdp.lines() {
        if line.starts_with("m=") {
            if sections == 1 {
                push_candidates(&mut text, answer);
            }
            sections += 1;
        }
        push(&mut text, line);
    }
    if sections == 1 {
        push_candidates(&mut text, answer);
    }
    text
}

fn push_candidates(text: &mut String, answer: &Answer) {
    for candidate in &answer.candidates {
        push(text, &format!("a={}", candidate.trim_start_matches("a=")));
    }
    push(text, "a=end-of-candidates");
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push_str("\r\n");
}

/// What a client says of its ICE session (RFC 8840, 9).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    pub(super) ufrag: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    /// `candidate:…` each.
    pub(super) candidates: Vec<&'a str>,
}

impl<'a> Fragment<'a> {
    /// The lines of `text` that say something of ICE; the others are not looked at.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut fragment = Self::default();
        for line in text.lines().map(str::trim) {
            if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                fragment.ufrag.get_or_insert(ufrag);
            } else if let Some(password) = line.strip_prefix("a=ice-pwd:") {
                fragment.password.get_or_insert(password);
            } else if line.starts_with("a=candidate:") {
                fragment.candidates.push(&line["a=".len()..]);
            }
        }
        fragment
    }
}

/// The first value of an attribute such as `a=ice-ufrag:`.
pub(super) fn attribute<'a>(sdp: &'a str, prefix: &str) -> Option<&'a str> {
    sdp.lines()
        .find_map(|line| line.trim().strip_prefix(prefix))
}

/// `offer` under other ICE credentials. Its candidates are those of the old ones, and are left out.
pub(super) fn restarted(offer: &str, ufrag: &str, password: &str) -> String {
    let mut text = String::with_capacity(offer.len());
    for line in offer.lines().map(str::trim_end) {
        if line.starts_with("a=ice-ufrag:") {
            push(&mut text, &format!("a=ice-ufrag:{ufrag}"));
        } else if line.starts_with("a=ice-pwd:") {
            push(&mut text, &format!("a=ice-pwd:{password}"));
        } else if !line.starts_with("a=candidate:") && line != "a=end-of-candidates" {
            push(&mut text, line);
        }
    }
    text
}

/// The shard's side of a restarted ICE session, as a fragment.
pub(super) fn fragment_of(answer: &Answer) -> String {
    let mut text = String::new();
    for prefix in ["a=ice-lite", "a=ice-ufrag:", "a=ice-pwd:"] {
        if let Some(value) = attribute(&answer.sdp, prefix) {
            push(&mut text, &format!("{prefix}{value}"));
        }
    }
    if let Some(media) = answer.sdp.lines().find(|line| line.starts_with("m=")) {
        push(&mut text, media);
    }
    if let Some(mid) = attribute(&answer.sdp, "a=mid:") {
        push(&mut text, &format!("a=mid:{mid}"));
    }
    push_candidates(&mut text, answer);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            sdp: "v=0\r\na=ice-lite\r\nm=audio 9 X\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
                  m=video 9 X\r\na=mid:1\r\n"
                .into(),
            candidates: vec!["candidate:1 1 udp 2 192.0.2.1 50000 typ host".into()],
        }
    }

    #[test]
    fn candidates_are_in_the_first_media_section() {
        let sdp = with_candidates(&answer());
        let (first, second) = sdp.split_once("m=video").unwrap();
        assert!(first.contains("\r\na=candidate:1 1 udp 2 192.0.2.1 50000 typ host\r\n"));
        assert!(first.ends_with("a=end-of-candidates\r\n"));
        assert!(!second.contains("candidate"));
        let mut single = answer();
        single.sdp.truncate(single.sdp.find("m=video").unwrap());
        assert!(with_candidates(&single).ends_with("a=end-of-candidates\r\n"));
    }

    #[test]
    fn a_fragment_is_read_whatever_else_it_has() {
        let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                    a=ice-ufrag:new\r\na=ice-pwd:secret\r\na=candidate:2 1 udp 1 192.0.2.9 9 typ host\r\n\
                    a=end-of-candidates\r\n";
        let fragment = Fragment::parse(text);
        assert_eq!(
            (fragment.ufrag, fragment.password),
            (Some("new"), Some("secret"))
        );
        assert_eq!(
            fragment.candidates,
            ["candidate:2 1 udp 1 192.0.2.9 9 typ host"]
        );
        for text in ["", "\0", "a=candidate", "a=ice-ufrag", "é\r\nm="] {
            assert_eq!(Fragment::parse(text), Fragment::default(), "{text:?}");
        }
    }

    #[test]
    fn a_restart_changes_the_credentials_of_all_sections_and_nothing_else() {
        let offer = "v=0\r\nm=audio 9\r\na=ice-ufrag:old\r\na=ice-pwd:old\r\na=candidate:1\r\n\
                     m=video 9\r\na=ice-ufrag:old\r\na=ice-pwd:old\r\na=mid:1\r\n";
        let again = restarted(offer, "new", "secret");
        assert_eq!(
            again,
            "v=0\r\nm=audio 9\r\na=ice-ufrag:new\r\na=ice-pwd:secret\r\n\
             m=video 9\r\na=ice-ufrag:new\r\na=ice-pwd:secret\r\na=mid:1\r\n"
        );
    }

    #[test]
    fn the_answer_to_a_restart_is_a_fragment() {
        assert_eq!(
            fragment_of(&answer()),
            "a=ice-lite\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 X\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
