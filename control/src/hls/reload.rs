//! The directives of a player that waits for a playlist to come (RFC 8216bis, 6.2.5).

use std::collections::HashMap;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reload {
    /// The playlist shall have this segment (`_HLS_msn`); it is waited for.
    pub(crate) number: Option<u64>,
    /// It shall have this part of it (`_HLS_part`).
    pub(crate) part: Option<u64>,
    /// It may leave out what the player has already (`_HLS_skip`).
    pub(crate) skip: bool,
}

/// The player's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error("{0} must be a whole number")]
    NotANumber(&'static str),
    #[error("_HLS_part needs _HLS_msn beside it")]
    PartAlone,
}

impl Reload {
    /// Reads the parameters of a request.
    pub(crate) fn read(parameters: &HashMap<String, String>) -> Result<Self, ReloadError> {
        let number = |key: &'static str| {
            let value = parameters.get(key).map(|value| value.parse());
            value.transpose().map_err(|_| ReloadError::NotANumber(key))
        };
        let reload = Self {
            number: number("_HLS_msn")?,
            part: number("_HLS_part")?,
            skip: parameters
                .get("_HLS_skip")
                .is_some_and(|word| word == "YES" || word == "v2"),
        };
        if reload.part.is_some() && reload.number.is_none() {
            return Err(ReloadError::PartAlone);
        }
        Ok(reload)
    }

    /// Whether it waits.
    pub(crate) fn is_blocking(&self) -> bool {
        self.number.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Reload, ReloadError> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Reload::read(&pairs.collect())
    }

    #[test]
    fn directives_are_read_and_what_cannot_be_is_refused() {
        let all = [
            ("_HLS_msn", "7"),
            ("_HLS_part", "2"),
            ("_HLS_skip", "YES"),
            ("token", "x"),
        ];
        let reload = Reload {
            number: Some(7),
            part: Some(2),
            skip: true,
        };
        assert_eq!(read(&all), Ok(reload));
        assert_eq!(read(&[("_HLS_skip", "no")]), Ok(Reload::default()));
        for pairs in [
            [("_HLS_msn", "-1"), ("_HLS_part", "2")],
            [("_HLS_msn", "99999999999999999999"), ("x", "")],
            [("_HLS_part", "2"), ("x", "")],
            [("_HLS_msn", "7"), ("_HLS_part", "two")],
        ] {
            assert!(read(&pairs).is_err(), "{pairs:?}");
        }
    }
}
