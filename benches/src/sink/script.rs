//! Manners as a person writes them on the command line.

use std::{str::FromStr, time::Duration};

use super::manners::{After, Answer, Entry, Fate, Manner, TlsManner, Turn};
use super::tls::Certificate;
use crate::BenchError;

/// What [`Manner::from_str`] takes, for `--help`.
pub const FAULTS_HELP: &str = "\
Faults of one connection, joined by commas; times are like 500ms, 2s, 1m, frames like 100f:
  honest                     none
  reset, close, silent       reset at once; close at the first bytes; never say a word
  garbage                    answer with bytes that are no RTMP
  garbage-after-handshake    announce absurd messages
  refuse-connect[=CODE]      an error on connect, NetConnection.Connect.Rejected by default
  reject[=CODE]              an error on publish, NetStream.Publish.BadName by default
  unauthorized               NetStream.Publish.Unauthorized
  bad-key                    what the platform does with a key that it does not know
  close-on-connect           close instead of an answer to connect
  close-on-publish           close instead of an answer to publish
  no-answer                  never answer publish
  connect-late=TIME          answer connect so late
  answers-late=TIME          answer publish so late
  chunk=BYTES                size of our chunks, 1 to 16777215
  interleave                 cut each answer up among the chunks of another message
  slow=BYTES                 read so many bytes a second
  reset-after=WHEN           reset the stream after a time or so many frames
  close-after=WHEN           close it; with TLS, after close_notify
  cut-after=WHEN             close it without close_notify
  garbage-after=WHEN         send bytes that are neither TLS nor RTMP
  stop-reading-after=WHEN    read no more
  restart-after=WHEN/TIME    kill the server, and start it again after TIME
  tls-expired                show a certificate of 2020
  tls-wrong-name             show one for elsewhere.example
  tls-unknown-ca             show one by another CA
  tls-garbage, tls-hang-up   answer with something that is no TLS; hang up";

impl FromStr for Manner {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let mut manner = Self::default();
        for word in text.split(',').map(str::trim) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let known = manner.take_word(name, value);
            if known.is_none() {
                let words = format!("'{word}' is no fault: see --help for those there are");
                return Err(BenchError::Argument(words));
            }
        }
        Ok(manner)
    }
}

impl Manner {
    /// `None` when there is no such word, or its value makes no sense.
    fn take_word(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match value {
            None => self.take_bare(name),
            Some(value) => self.take_valued(name, value),
        }
    }

    fn take_bare(&mut self, name: &str) -> Option<()> {
        match name {
            "honest" => {}
            "reset" => self.entry = Entry::Reset,
            "close" => self.entry = Entry::ClosesAtOnce,
            "silent" => self.entry = Entry::Silent,
            "garbage" => self.entry = Entry::Garbage,
            "garbage-after-handshake" => self.entry = Entry::GarbageAfterHandshake,
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
            "tls-expired" => self.tls = TlsManner::Shows(Certificate::Expired),
            "tls-wrong-name" => self.tls = TlsManner::Shows(Certificate::WrongName),
            "tls-unknown-ca" => self.tls = TlsManner::Shows(Certificate::UnknownCa),
            "tls-garbage" => self.tls = TlsManner::Garbage,
            "tls-hang-up" => self.tls = TlsManner::HangsUp,
            _ => return None,
        }
        Some(())
    }

    fn take_valued(&mut self, name: &str, value: &str) -> Option<()> {
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
            "reset-after" => self.turn = turn(value, Fate::Reset),
            "close-after" => self.turn = turn(value, Fate::Close),
            "cut-after" => self.turn = turn(value, Fate::CloseWithoutNotify),
            "garbage-after" => self.turn = turn(value, Fate::Garbage),
            "stop-reading-after" => self.turn = turn(value, Fate::StopReading),
            "restart-after" => {
                let (when, away) = value.split_once('/')?;
                let away = time(away)?;
                self.turn = turn(when, Fate::Restart { away });
            }
            _ => return None,
        }
        // A turn that could not be read is `None`.
        (!name.ends_with("-after") || self.turn.is_some()).then_some(())
    }
}

fn turn(when: &str, fate: Fate) -> Option<Turn> {
    let after = match when.strip_suffix('f') {
        Some(frames) => After::Frames(frames.parse().ok()?),
        None => After::Time(time(when)?),
    };
    Some(Turn { after, fate })
}

/// `500ms`, `2s`, `1m`.
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

    fn manner(text: &str) -> Manner {
        text.parse().unwrap()
    }

    #[test]
    fn faults_are_read_and_joined() {
        assert_eq!(manner("honest"), Manner::default());
        let late = manner("answers-late=2s, reset-after=100f");
        assert_eq!(late.on_publish, Answer::AcceptAfter(Duration::from_secs(2)));
        assert_eq!(late.turn, Some(Turn::after_frames(100, Fate::Reset)));
        let restart = Fate::Restart {
            away: Duration::from_millis(500),
        };
        assert_eq!(
            manner("restart-after=1m/500ms").turn,
            Some(Turn::after(Duration::from_secs(60), restart))
        );
        assert_eq!(
            manner("tls-expired").tls,
            TlsManner::Shows(Certificate::Expired)
        );
        assert_eq!(manner("chunk=1").chunk_bytes, Some(1));
        assert_eq!(manner("slow=1000").read_bytes_per_second, Some(1_000));
    }

    #[test]
    fn every_fault_of_the_help_is_read() {
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
            assert!(bare.parse::<Manner>().is_ok(), "{bare}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
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
            let error = text.parse::<Manner>().unwrap_err().to_string();
            assert!(error.contains("--help"), "{text}: {error}");
        }
    }
}
