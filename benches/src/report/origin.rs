//! Where a result comes from: machine, command, versions and time.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::machine::Machine;

/// What is needed to measure the same again.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The command with its arguments, as a shell takes it.
    pub command: String,
    /// Begin of the measurement, in UTC (RFC 3339).
    pub started: String,
    /// Version of this tool.
    pub bench_version: String,
    /// Names and versions of the measured servers.
    pub servers: Vec<(String, String)>,
    /// The machine.
    pub machine: Machine,
}

impl Origin {
    /// This process, now, with the arguments that it was started with.
    pub fn here() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        Self {
            command: shell(&arguments),
            started: utc(SystemTime::now()),
            bench_version: env!("CARGO_PKG_VERSION").to_owned(),
            servers: Vec::new(),
            machine: Machine::read(),
        }
    }
}

/// Arguments as a shell takes them; of the program, the name alone.
fn shell(arguments: &[String]) -> String {
    let mut words = Vec::new();
    for (n, argument) in arguments.iter().enumerate() {
        let name = argument.rsplit('/').next().unwrap_or_default();
        let word = if n == 0 { name } else { argument };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
        words.push(if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        });
    }
    words.join(" ")
}

/// A time as RFC 3339 in UTC, to the second.
pub fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // The civil date of a day, by the algorithm of Howard Hinnant: years begin in March, so that the
    // leap day is the last day of a year; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = shifted_month % 12 + 3;
    let month = if month > 12 { month - 12 } else { month };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_dates_of_the_calendar() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(1_740_787_200), "2025-03-01T00:00:00Z");
    }

    #[test]
    fn a_command_can_be_given_to_a_shell_again() {
        let words = ["/opt/bin/shardcast-bench", "capacity", "it's $1", ""].map(str::to_owned);
        assert_eq!(shell(&words), r"shardcast-bench capacity 'it'\''s $1' ''");
    }
}
