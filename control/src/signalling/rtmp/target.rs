//! What a client publishes or plays, by the names that it gives in `connect` and `publish` or `play`.
//!
//! Encoders cut an address in two at different places, and put its query behind either part. So both parts
//! are joined again: the first segment is the application, the second the stream.

use shardcast_link::BroadcastId;
use url::form_urlencoded;

use crate::{
    limits,
    publishing::message::{Play, Publish},
};

/// The application of the test sink.
pub(super) const SINK: &str = "sink";

/// The address cannot be used. The words are for who has set the client up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("the address has no stream name: write rtmp://HOST/APPLICATION/STREAM")]
    NoStream,
    #[error(
        "the address has more than an application and a stream name: write rtmp://HOST/APPLICATION/STREAM"
    )]
    TooDeep,
    #[error("the stream name cannot be used: {0}")]
    Name(String),
    #[error("{0} in the address is too long")]
    TooLong(&'static str),
}

/// What is wanted.
#[derive(Debug)]
pub(super) enum Target {
    Sink,
    Publish(Box<Publish>),
    Play(Play),
}

impl Target {
    /// Reads `app` of `connect` and the name of `publish`, or of `play` if the client `plays`.
    pub(super) fn read(application: &str, name: &str, plays: bool) -> Result<Self, TargetError> {
        let (application, of_application) =
            application.split_once('?').unwrap_or((application, ""));
        let (name, of_name) = name.split_once('?').unwrap_or((name, ""));
        let segments = application.split('/').chain(name.split('/'));
        let mut segments = segments.filter(|segment| !segment.is_empty());
        let application = segments.next().unwrap_or_default();
        if application == SINK && !plays {
            return Ok(Self::Sink);
        }
        let stream = segments.next().ok_or(TargetError::NoStream)?;
        if segments.next().is_some() {
            return Err(TargetError::TooDeep);
        }
        let broadcast = BroadcastId::new(application, stream)
            .map_err(|error| TargetError::Name(error.to_string()))?;
        let parameter = |key: &'static str, bytes_max: usize| {
            let queries = [of_name, of_application].into_iter();
            let mut pairs = queries.flat_map(|query| form_urlencoded::parse(query.as_bytes()));
            let value = pairs.find(|(name, _)| name == key);
            let value = value.map_or_else(String::new, |(_, value)| value.into_owned());
            if value.len() > bytes_max {
                return Err(TargetError::TooLong(key));
            }
            Ok(value)
        };
        let short = limits::CREDENTIAL_BYTES_MAX;
        if plays {
            return Ok(Self::Play(Play {
                broadcast,
                token: parameter("token", short)?,
                subscriber_id: parameter("subscriberId", short)?,
            }));
        }
        Ok(Self::Publish(Box::new(Publish {
            broadcast,
            token: parameter("token", short)?,
            subscriber_id: parameter("subscriberId", short)?,
            subscriber_code: parameter("subscriberCode", short)?,
            name: parameter("streamName", short)?,
            meta_data: parameter("metaData", limits::TEXT_BYTES_MAX)?,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(application: &str, name: &str) -> Option<(String, String)> {
        let played = match Target::read(application, name, true) {
            Ok(Target::Play(play)) => Some((play.broadcast.to_string(), play.token)),
            _ => None,
        };
        let published = match Target::read(application, name, false) {
            Ok(Target::Publish(publish)) => Some((publish.broadcast.to_string(), publish.token)),
            _ => None,
        };
        assert_eq!(played, published);
        published
    }

    #[test]
    fn an_address_may_be_cut_anywhere_and_have_its_query_on_either_side() {
        for (application, name, token) in [
            ("LiveApp", "one", ""),
            ("LiveApp/", "one", ""),
            ("LiveApp/one", "", ""),
            ("LiveApp", "/one", ""),
            ("LiveApp", "one?token=t%2B1", "t+1"),
            ("LiveApp?token=t%2B1", "one", "t+1"),
            ("LiveApp/one?token=t%2B1", "", "t+1"),
            ("LiveApp", "one?streamName=x&token=t%2B1", "t+1"),
        ] {
            let read = read(application, name);
            let read = read.unwrap_or_else(|| panic!("{application} {name}"));
            assert_eq!(read, ("LiveApp/one".to_owned(), token.to_owned()));
        }
    }

    #[test]
    fn what_names_no_stream_is_refused_in_words() {
        for (application, name, words) in [
            ("LiveApp", "", "no stream name"),
            ("", "", "no stream name"),
            ("LiveApp", "one/two", "more than"),
            ("LiveApp", "o ne", "cannot be used"),
            (
                "LiveApp",
                &format!("one?token={}", "x".repeat(20_000)),
                "token",
            ),
        ] {
            for plays in [false, true] {
                let error = Target::read(application, name, plays).unwrap_err();
                assert!(error.to_string().contains(words), "{error}");
            }
        }
        let read = |plays| Target::read("sink", "any", plays);
        assert!(matches!(read(false), Ok(Target::Sink)));
        assert!(
            matches!(read(true), Ok(Target::Play(_))),
            "an application like others"
        );
    }
}
