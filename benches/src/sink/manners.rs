//! How a sink behaves towards each connection: a script with one entry for each, of which the last
//! repeats.

use std::time::Duration;

use super::tls::Certificate;

/// The whole script. The default is honest to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    script: Vec<Manner>,
}

impl Manners {
    /// The same towards every connection.
    pub fn always(manner: Manner) -> Self {
        Self::script([manner])
    }

    /// Towards the first `count` connections; honest to all later ones.
    pub fn first(count: usize, manner: &Manner) -> Self {
        let bad = std::iter::repeat_n(manner.clone(), count);
        Self::script(bad.chain([Manner::default()]))
    }

    /// One entry for each connection; the last repeats.
    pub fn script(script: impl IntoIterator<Item = Manner>) -> Self {
        Self {
            script: script.into_iter().collect(),
        }
    }

    /// Towards the connection of this number, counted from 0.
    pub(super) fn nth(&self, number: usize) -> Manner {
        let last = self.script.last();
        self.script
            .get(number)
            .or(last)
            .cloned()
            .unwrap_or_default()
    }
}

impl From<Manner> for Manners {
    fn from(manner: Manner) -> Self {
        Self::always(manner)
    }
}

/// How one connection is treated. The default is honest; what is set is done in the order of the
/// fields. As text it is what `--fault` takes, such as `answers-late=2s,reset-after=100f`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    pub tls: TlsManner,
    pub entry: Entry,
    /// What `connect` is answered.
    pub on_connect: Answer,
    /// What `publish` is answered.
    pub on_publish: Answer,
    /// Our chunk size; that of the platform when `None`.
    pub chunk_bytes: Option<u32>,
    /// Every answer is cut up among the chunks of another message.
    pub interleaves: bool,
    /// Reads no faster once the stream was accepted.
    pub read_bytes_per_second: Option<u64>,
    /// What happens while the stream runs.
    pub turn: Option<Turn>,
}

/// How TLS goes, where the sink speaks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsManner {
    /// With a certificate that a client with the right CA believes.
    #[default]
    Good,
    /// A certificate that is not to be believed.
    Shows(Certificate),
    /// Answers with something that is no TLS.
    Garbage,
    /// Hangs up on the client's first message.
    HangsUp,
}

/// What comes in the place of RTMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    #[default]
    Honest,
    /// Resets the connection as soon as it is there.
    Reset,
    /// Closes as soon as something was sent to it.
    ClosesAtOnce,
    /// Never says a word.
    Silent,
    /// Answers whatever comes with bytes that are no RTMP.
    Garbage,
    /// Shakes hands, then sends chunks with absurd lengths.
    GarbageAfterHandshake,
}

/// What a command is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    #[default]
    Accept,
    /// Yes, but so much later.
    AcceptAfter(Duration),
    /// An error with this code.
    Reject { code: String, description: String },
    /// As the platform does with a key that it does not know.
    BadKey,
    /// Closes without a word.
    Close,
    /// Nothing at all.
    Never,
}

/// When a stream that was accepted meets its fate, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub after: After,
    pub fate: Fate,
}

/// Counted from the acceptance of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Time(Duration),
    /// Pictures received.
    Frames(u64),
}

/// What becomes of a running stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The connection is reset (RST).
    Reset,
    /// The connection is closed (FIN), after TLS's `close_notify` where TLS is spoken.
    Close,
    /// The same without `close_notify`: to the client it looks as if somebody cut the line.
    CloseWithoutNotify,
    /// Bytes come that are neither TLS nor RTMP.
    Garbage,
    /// Nothing is read any more.
    StopReading,
    /// The whole server is killed: all its connections break, nobody listens for so long, and
    /// then it is back.
    Restart { away: Duration },
}

impl Turn {
    pub fn after(time: Duration, fate: Fate) -> Self {
        Self {
            after: After::Time(time),
            fate,
        }
    }

    pub fn after_frames(frames: u64, fate: Fate) -> Self {
        Self {
            after: After::Frames(frames),
            fate,
        }
    }
}

impl Manner {
    /// Honest until this happens.
    pub fn turning(turn: Turn) -> Self {
        Self {
            turn: Some(turn),
            ..Self::default()
        }
    }

    pub fn entry(entry: Entry) -> Self {
        Self {
            entry,
            ..Self::default()
        }
    }

    pub fn tls(tls: TlsManner) -> Self {
        Self {
            tls,
            ..Self::default()
        }
    }

    pub fn on_publish(answer: Answer) -> Self {
        Self {
            on_publish: answer,
            ..Self::default()
        }
    }

    pub fn on_connect(answer: Answer) -> Self {
        Self {
            on_connect: answer,
            ..Self::default()
        }
    }
}

impl Answer {
    /// An `onStatus` or `_error` with this code.
    pub fn reject(code: &str, description: &str) -> Self {
        Self::Reject {
            code: code.to_owned(),
            description: description.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_of_a_script_repeats() {
        let bad = Manner::entry(Entry::Reset);
        let manners = Manners::first(2, &bad);
        assert_eq!((manners.nth(0), manners.nth(1)), (bad.clone(), bad.clone()));
        assert_eq!(manners.nth(2), Manner::default());
        assert_eq!(manners.nth(99), Manner::default());
        assert_eq!(Manners::always(bad.clone()).nth(7), bad);
        assert_eq!(Manners::default().nth(0), Manner::default());
    }
}
