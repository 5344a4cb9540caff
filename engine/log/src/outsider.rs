//! Untrusted text, made safe for a log line.

use std::fmt::{self, Display, Write};

use crate::limits::OUTSIDER_CHARS_MAX;

/// Shows at most 200 characters of `text`. Control characters are written as escapes, so that
/// peers cannot colour the operator's terminal or make one line look like two.
pub fn outsider(text: &str) -> impl Display {
    Outsider(text)
}

struct Outsider<'a>(&'a str);

impl Display for Outsider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(OUTSIDER_CHARS_MAX) {
            if c.is_control() {
                Display::fmt(&c.escape_unicode(), f)?;
            } else {
                f.write_char(c)?;
            }
        }
        match chars.next() {
            Some(_) => f.write_char('…'),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_and_control_characters_are_escaped() {
        let long = "é".repeat(OUTSIDER_CHARS_MAX);
        assert_eq!(outsider(&long).to_string(), long);
        let cut = outsider(&format!("{long}x")).to_string();
        assert_eq!(cut, format!("{long}…"));
        assert_eq!(outsider("a\x1b[31m\nb").to_string(), r"a\u{1b}[31m\u{a}b");
    }
}
