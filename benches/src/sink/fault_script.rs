//! The faults that a sink shows to its connections: a script with one entry for each connection,
//! of which the last one repeats.

use std::time::Duration;

use super::tls::Certificate;

/// The faults of a sink, connection by connection. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultScript {
    entries: Vec<ConnectionFaults>,
}

impl FaultScript {
    /// One entry for each connection, in the order of acceptance; the last one repeats.
    pub fn new(entries: impl IntoIterator<Item = ConnectionFaults>) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }

    /// The same faults for every connection.
    pub fn always(faults: ConnectionFaults) -> Self {
        Self::new([faults])
    }

    /// These faults for the first `count` connections, none for all later ones.
    pub fn first(count: usize, faults: &ConnectionFaults) -> Self {
        let faulty = std::iter::repeat_n(faults.clone(), count);
        Self::new(faulty.chain([ConnectionFaults::default()]))
    }

    /// The faults of connection `number`, counted from 0.
    pub(super) fn nth(&self, number: usize) -> ConnectionFaults {
        let last = self.entries.last();
        self.entries
            .get(number)
            .or(last)
            .cloned()
            .unwrap_or_default()
    }
}

impl From<ConnectionFaults> for FaultScript {
    fn from(faults: ConnectionFaults) -> Self {
        Self::always(faults)
    }
}

/// The faults of one connection. The default has none. They take effect in the order of the fields:
/// one in TLS hides those in RTMP. The textual form is that of `--fault`, for example
/// `answers-late=2s,reset-after=100f`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFaults {
    /// Fault of the TLS handshake; has no effect on a sink without TLS.
    pub tls: TlsFault,
    /// What the sink sends in place of RTMP.
    pub non_rtmp: NonRtmpAnswer,
    /// Answer to the command `connect`.
    pub on_connect: Answer,
    /// Answer to the command `publish`.
    pub on_publish: Answer,
    /// Chunk size of the sink in bytes, 1 to 16,777,215 (RTMP 5.4.1); that of the platform profile
    /// when `None`.
    pub chunk_bytes: Option<u32>,
    /// Interleaves the chunks of each answer with those of another message.
    pub interleaves: bool,
    /// Highest read rate in bytes a second once the stream was accepted; unlimited when `None`.
    pub read_bytes_per_second: Option<u64>,
    /// Fault of a stream that was accepted.
    pub scheduled: Option<ScheduledFault>,
}

/// Faults of the TLS handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsFault {
    /// Presents a valid certificate.
    #[default]
    None,
    /// Presents this certificate, which a client has to reject unless it is
    /// [`Certificate::Good`].
    Certificate(Certificate),
    /// Answers with bytes that are no TLS record.
    Garbage,
    /// Closes the connection on the client's first message.
    HangsUp,
}

/// What a sink sends in place of RTMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonRtmpAnswer {
    /// Nothing: the sink speaks RTMP.
    #[default]
    None,
    /// Resets the connection (RST) on acceptance.
    Reset,
    /// Closes the connection (FIN) on the first bytes received.
    ClosesAtOnce,
    /// Reads, and never sends a byte.
    Silent,
    /// Answers all input with bytes that are no RTMP.
    Garbage,
    /// Completes the RTMP handshake, then sends chunks that announce messages of 16 MB.
    GarbageAfterHandshake,
}

/// Answer to an RTMP command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Accepts at once.
    #[default]
    Accept,
    /// Accepts after this delay.
    AcceptAfter(Duration),
    /// Refuses with an `_error` or `onStatus`.
    Reject {
        /// The `code` property, for example `NetStream.Publish.BadName`.
        code: String,
        /// The `description` property.
        description: String,
    },
    /// Answers as the platform profile answers an unknown stream key.
    BadKey,
    /// Closes the connection without an answer.
    Close,
    /// Never answers; the connection stays open.
    Never,
}

/// A fault that happens to a stream after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// When it happens.
    pub after: Trigger,
    /// What happens.
    pub action: FaultAction,
}

/// When a scheduled fault happens, counted from the acceptance of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// After this time.
    Time(Duration),
    /// After so many video frames received.
    Frames(u64),
}

/// What a scheduled fault does to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// Resets the connection (RST).
    Reset,
    /// Closes the connection (FIN), after TLS's `close_notify` where TLS is spoken.
    Close,
    /// Closes the connection without `close_notify`, which a client takes for a truncation attack.
    CloseWithoutNotify,
    /// Sends bytes that are neither TLS nor RTMP.
    Garbage,
    /// Stops reading; the connection stays open.
    StopReading,
    /// Kills the whole sink: all its connections break, and it stops listening.
    Restart {
        /// Time until the sink listens again at the same address.
        away: Duration,
    },
}

impl ScheduledFault {
    /// A fault after this time.
    pub fn after(time: Duration, action: FaultAction) -> Self {
        Self {
            after: Trigger::Time(time),
            action,
        }
    }

    /// A fault after so many video frames received.
    pub fn after_frames(frames: u64, action: FaultAction) -> Self {
        Self {
            after: Trigger::Frames(frames),
            action,
        }
    }
}

impl ConnectionFaults {
    /// A scheduled fault alone.
    pub fn scheduled(fault: ScheduledFault) -> Self {
        Self {
            scheduled: Some(fault),
            ..Self::default()
        }
    }

    /// A non-RTMP answer alone.
    pub fn non_rtmp(answer: NonRtmpAnswer) -> Self {
        Self {
            non_rtmp: answer,
            ..Self::default()
        }
    }

    /// A fault of the TLS handshake alone.
    pub fn tls(tls: TlsFault) -> Self {
        Self {
            tls,
            ..Self::default()
        }
    }

    /// An answer to `publish` alone.
    pub fn on_publish(answer: Answer) -> Self {
        Self {
            on_publish: answer,
            ..Self::default()
        }
    }

    /// An answer to `connect` alone.
    pub fn on_connect(answer: Answer) -> Self {
        Self {
            on_connect: answer,
            ..Self::default()
        }
    }
}

impl Answer {
    /// An `_error` or `onStatus` with this code.
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
        let faults = ConnectionFaults::non_rtmp(NonRtmpAnswer::Reset);
        let script = FaultScript::first(2, &faults);
        assert_eq!(
            (script.nth(0), script.nth(1)),
            (faults.clone(), faults.clone())
        );
        assert_eq!(script.nth(2), ConnectionFaults::default());
        assert_eq!(script.nth(99), ConnectionFaults::default());
        assert_eq!(FaultScript::always(faults.clone()).nth(7), faults);
        assert_eq!(FaultScript::default().nth(0), ConnectionFaults::default());
    }
}
