//! The textual form of faults, as `--fault` takes it.

use std::{str::FromStr, time::Duration};

use super::fault_script::{
    Answer, ConnectionFaults, FaultAction, NonRtmpAnswer, ScheduledFault, TlsFault, Trigger,
};
use super::tls::Certificate;
use crate::BenchError;

/// The syntax that [`ConnectionFaults::from_str`] takes, for `--help`.
pub const FAULTS_HELP: &str = "\
Faults of one connection, separated by commas. WHEN is a time (500ms, 2s, 1m) or frames (100f):
  honest                     no fault
  reset, close, silent       reset at once; close at the first bytes; never send a byte
  garbage                    answer with bytes that are no RTMP
  garbage-after-handshake    announce messages of 16 MB
  refuse-connect[=CODE]      an error on connect, NetConnection.Connect.Rejected by default
  reject[=CODE]              an error on publish, NetStream.Publish.BadName by default
  unauthorized               NetStream.Publish.Unauthorized
  bad-key                    answer as the platform answers an unknown key
  close-on-connect           close instead of answering connect
  close-on-publish           close instead of answering publish
  no-answer                  never answer publish
  connect-late=TIME          answer connect after TIME
  answers-late=TIME          answer publish after TIME
  chunk=BYTES                chunk size of the sink, 1 to 16777215
  interleave                 interleave the chunks of each answer with another message
  slow=BYTES                 read BYTES a second
  reset-after=WHEN           reset the connection after a time or frames
  close-after=WHEN           close the connection; with TLS, after close_notify
  cut-after=WHEN             close it without close_notify
  garbage-after=WHEN         send bytes that are neither TLS nor RTMP
  stop-reading-after=WHEN    stop reading
  restart-after=WHEN/TIME    kill the sink, and start it again after TIME
  tls-expired                present a certificate that expired in 2021
  tls-wrong-name             present one for elsewhere.example
  tls-unknown-ca             present one of another CA
  tls-garbage, tls-hang-up   answer with bytes that are no TLS; close at once";

impl FromStr for ConnectionFaults {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let mut faults = Self::default();
        for word in text.split(',').map(str::trim) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let known = faults.add(name, value);
            if known.is_none() {
                let text = format!("'{word}' is no fault: see --help for the list");
                return Err(BenchError::Argument(text));
            }
        }
        Ok(faults)
    }
}

impl ConnectionFaults {
    /// Adds one fault. `None` when there is no such fault, or its value is invalid.
    fn add(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match value {
            None => self.add_bare(name),
            Some(value) => self.add_valued(name, value),
        }
    }

    fn add_bare(&mut self, name: &str) -> Option<()> {
        match name {
            "honest" => {}
            "reset" => self.non_rtmp = NonRtmpAnswer::Reset,
            "close" => self.non_rtmp = NonRtmpAnswer::ClosesAtOnce,
            "silent" => self.non_rtmp = NonRtmpAnswer::Silent,
            "garbage" => self.non_rtmp = NonRtmpAnswer::Garbage,
            "garbage-after-handshake" => self.non_rtmp = NonRtmpAnswer::GarbageAfterHandshake,
            "refuse-connect" => {
                self.on_connect = Answer::reject("NetConnection.Connect.Rejected", "refused");
            }
            "reject" => self.on_publish = Answer::reject("NetStream.Publish.BadName", "refused"),
            "unauthorized" => {
                self.on_publish = Answer::reject("NetStream.Publish.Unauthorized", "no permission");
            }
            "bad-key" => self.on_publish = Answer::BadKey,
            "close-on-connect" => self.on_connect = Answer::Close,
            "close-on-publish" => self.on_publish = Answer::Close,
            "no-answer" => self.on_publish = Answer::Never,
            "interleave" => self.interleaves = true,
            "tls-expired" => self.tls = TlsFault::Certificate(Certificate::Expired),
            "tls-wrong-name" => self.tls = TlsFault::Certificate(Certificate::WrongName),
            "tls-unknown-ca" => self.tls = TlsFault::Certificate(Certificate::UnknownCa),
            "tls-garbage" => self.tls = TlsFault::Garbage,
            "tls-hang-up" => self.tls = TlsFault::HangsUp,
            _ => return None,
        }
        Some(())
    }

    fn add_valued(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "refuse-connect" => self.on_connect = Answer::reject(value, "refused"),
            "reject" => self.on_publish = Answer::reject(value, "refused"),
            "connect-late" => self.on_connect = Answer::AcceptAfter(time(value)?),
            "answers-late" => self.on_publish = Answer::AcceptAfter(time(value)?),
            "chunk" => {
                let bytes = value.parse().ok()?;
                self.chunk_bytes = (1..=0xFF_FFFF).contains(&bytes).then_some(bytes);
                self.chunk_bytes?;
            }
            "slow" => {
                let bytes: u64 = value.parse().ok()?;
                self.read_bytes_per_second = (bytes > 0).then_some(bytes);
                self.read_bytes_per_second?;
            }
            "reset-after" => self.scheduled = scheduled(value, FaultAction::Reset),
            "close-after" => self.scheduled = scheduled(value, FaultAction::Close),
            "cut-after" => self.scheduled = scheduled(value, FaultAction::CloseWithoutNotify),
            "garbage-after" => self.scheduled = scheduled(value, FaultAction::Garbage),
            "stop-reading-after" => self.scheduled = scheduled(value, FaultAction::StopReading),
            "restart-after" => {
                let (when, away) = value.split_once('/')?;
                let away = time(away)?;
                self.scheduled = scheduled(when, FaultAction::Restart { away });
            }
            _ => return None,
        }
        // `scheduled` is `None` when the value could not be parsed.
        (!name.ends_with("-after") || self.scheduled.is_some()).then_some(())
    }
}

fn scheduled(when: &str, action: FaultAction) -> Option<ScheduledFault> {
    let after = match when.strip_suffix('f') {
        Some(frames) => Trigger::Frames(frames.parse().ok()?),
        None => Trigger::Time(time(when)?),
    };
    Some(ScheduledFault { after, action })
}

/// Parses a time like `500ms`, `2s` or `1m`.
fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> ConnectionFaults {
        text.parse().unwrap()
    }

    #[test]
    fn faults_are_parsed_and_joined() {
        assert_eq!(faults("honest"), ConnectionFaults::default());
        let late = faults("answers-late=2s, reset-after=100f");
        assert_eq!(late.on_publish, Answer::AcceptAfter(Duration::from_secs(2)));
        assert_eq!(
            late.scheduled,
            Some(ScheduledFault::after_frames(100, FaultAction::Reset))
        );
        let restart = FaultAction::Restart {
            away: Duration::from_millis(500),
        };
        assert_eq!(
            faults("restart-after=1m/500ms").scheduled,
            Some(ScheduledFault::after(Duration::from_secs(60), restart))
        );
        assert_eq!(
            faults("tls-expired").tls,
            TlsFault::Certificate(Certificate::Expired)
        );
        assert_eq!(faults("chunk=1").chunk_bytes, Some(1));
        assert_eq!(faults("slow=1000").read_bytes_per_second, Some(1_000));
    }

    #[test]
    fn every_fault_of_the_help_is_parsed() {
        let lines = FAULTS_HELP.lines().skip(1);
        let words = lines.flat_map(|line| {
            let names = line.get(..28).unwrap_or(line);
            names.split(',').map(str::trim).collect::<Vec<_>>()
        });
        for word in words.filter(|word| !word.is_empty()) {
            let example = word
                .replace("WHEN", "3s")
                .replace("TIME", "2s")
                .replace("BYTES", "128");
            let bare = example.split('[').next().unwrap();
            assert!(bare.parse::<ConnectionFaults>().is_ok(), "{bare}");
        }
    }

    #[test]
    fn an_invalid_fault_is_refused_with_a_message() {
        for text in [
            "",
            "dance",
            "reset-after=",
            "reset-after=5",
            "chunk=0",
            "slow=0",
            "slow",
            "honest=1",
            "restart-after=5s",
            "answers-late=x",
            "chunk=16777216",
        ] {
            let error = text.parse::<ConnectionFaults>().unwrap_err().to_string();
            assert!(error.contains("--help"), "{text}: {error}");
        }
    }
}
