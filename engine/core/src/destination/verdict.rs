//! The verdict on a destination: its last problem, since when it exists, and until when it did.

use std::time::{Duration, Instant};

use shardcast_link::Problem;

use crate::limits::{KEYFRAMES_WELL_MS, SLOW_WELL_MS};

/// What a problem is about, which decides on when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// There is no connection. Over once media is acknowledged again.
    Connection,
    /// It takes data too slowly. Over when it has kept up for a while.
    Pace,
    /// The publisher's keyframes are too far apart. Over when none was for a while.
    Keyframes,
}

/// One problem, from when it began to when it was over. The same kind of failure before that is the same
/// problem, with the newest message.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    about: About,
    pub(super) problem: Problem,
    pub(super) since: Instant,
    /// When it was last seen.
    seen: Instant,
    over: Option<Instant>,
}

impl Verdict {
    pub(super) fn new(now: Instant, about: About, problem: Problem) -> Self {
        Self {
            about,
            problem,
            since: now,
            seen: now,
            over: None,
        }
    }

    /// Takes over what is wrong now. True when that was not known yet.
    pub(super) fn note(
        verdict: &mut Option<Self>,
        now: Instant,
        about: About,
        problem: Problem,
    ) -> bool {
        match verdict {
            Some(known) if known.is_present(now, about) => {
                known.problem = problem;
                known.seen = now;
                false
            }
            _ => {
                *verdict = Some(Self::new(now, about, problem));
                true
            }
        }
    }

    /// A sign of a problem that is there already.
    pub(super) fn persists(&mut self, now: Instant, about: About) {
        if self.is_present(now, about) {
            self.seen = now;
        }
    }

    /// Media is acknowledged.
    pub(super) fn connected(&mut self, now: Instant) {
        if self.about == About::Connection {
            self.over.get_or_insert(now);
        }
    }

    /// Nothing is tried any more.
    pub(super) fn end(&mut self, now: Instant) {
        let end = match self.about {
            About::Connection => now,
            About::Pace | About::Keyframes => self.seen,
        };
        self.over.get_or_insert(end);
    }

    /// When it was over; `None` while it is there.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let well_ms = match self.about {
            About::Connection => return self.over,
            About::Pace => SLOW_WELL_MS,
            About::Keyframes => KEYFRAMES_WELL_MS,
        };
        let well = now.saturating_duration_since(self.seen) >= Duration::from_millis(well_ms);
        self.over.or(well.then_some(self.seen))
    }

    fn is_present(&self, now: Instant, about: About) -> bool {
        self.about == about && self.until(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::failure::problem;

    #[test]
    fn what_is_wrong_again_before_it_was_over_is_one_problem_in_the_newest_words() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (about, well_ms) in [
            (About::Pace, SLOW_WELL_MS),
            (About::Keyframes, KEYFRAMES_WELL_MS),
        ] {
            let mut verdict = None;
            let mut note =
                |ms, words: &str| Verdict::note(&mut verdict, at(ms), about, problem(words.into()));
            assert!(note(1_000, "one"));
            assert!(!note(well_ms, "two"));
            let known = verdict.clone().unwrap();
            assert_eq!(
                (known.since, known.problem.message.as_str()),
                (at(1_000), "two")
            );
            assert_eq!(known.until(at(2 * well_ms - 1)), None);
            assert_eq!(known.until(at(2 * well_ms)), Some(at(well_ms)));
            // It stays over when it is over, and what is wrong then is another problem.
            let again = 3 * well_ms;
            assert!(Verdict::note(
                &mut verdict,
                at(again),
                about,
                problem("three".into())
            ));
            assert_eq!(verdict.unwrap().since, at(again));
        }
    }

    #[test]
    fn signs_of_another_problem_do_not_lengthen_one() {
        let start = Instant::now();
        let late = start + Duration::from_millis(KEYFRAMES_WELL_MS);
        let mut verdict = Verdict::new(start, About::Keyframes, problem("far apart".into()));
        verdict.persists(late, About::Pace);
        assert_eq!(verdict.until(late), Some(start));
        verdict.connected(late);
        assert_eq!(verdict.until(late), Some(start));
    }
}
