//! The expected-state model: what is known of each destination from outside, and what its retry policy
//! promises from there on: when it tries again, when it gives up, by when it has to be live.

use std::time::{Duration, Instant};

use shardcast_link::{DestinationState, DestinationStatus, RetryPolicy, VideoSettings};

/// What the last failure was, as the simulation that caused it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Unreachable,
    Passing,
    Refused,
}

/// What holds around a destination at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) now: Instant,
    pub(super) now_unix_ms: u64,
    /// Since when its server is well for good and a publisher sends it pictures, if both is so.
    pub(super) fair_since: Option<Instant>,
}

/// From the look-up to media that is acknowledged: round trips, a keyframe, and a server that is
/// far away.
const ATTEMPT_MS_MAX: u64 = 8_000;
/// An attempt that began in bad times: look-up, two addresses with TLS, handshake, each to its
/// time-out.
const BAD_ATTEMPT_MS_MAX: u64 = 5_000 + 2 * 10_000 + 10_000;
/// Ten seconds without an acknowledgement, one until the kernel is asked, and some for the media
/// that makes it be asked.
const STALL_MS_MAX: u64 = 13_000;
/// Not sharper than this, in milliseconds, is "how long ago was it live" known here.
const GREY_MS: u64 = 1_500;

#[derive(Debug)]
pub(super) struct ExpectedState {
    pub(super) host: usize,
    pub(super) policy: RetryPolicy,
    pub(super) settings: VideoSettings,
    /// Since when that is wanted, of a stream that is open.
    pub(super) settings_since: Instant,
    pub(super) state: DestinationState,
    /// Failures in a row.
    failures: u32,
    /// The first of them.
    failing_since: Instant,
    next_attempt_unix_ms: Option<u64>,
    attempt_at: Instant,
    /// Only a person can help after the server's last answer.
    pub(super) refused: bool,
    opened: Option<Instant>,
    live_at: Option<Instant>,
    entered: Instant,
    /// Milliseconds from fair conditions to being on air, when the run was calm.
    pub(super) back_ms: Option<u64>,
    attempts: u64,
}

impl ExpectedState {
    pub(super) fn new(
        now: Instant,
        host: usize,
        policy: RetryPolicy,
        settings: VideoSettings,
    ) -> Self {
        Self {
            host,
            policy,
            settings,
            settings_since: now,
            state: DestinationState::Idle,
            failures: 0,
            failing_since: now,
            next_attempt_unix_ms: None,
            attempt_at: now,
            refused: false,
            opened: None,
            live_at: None,
            entered: now,
            back_ms: None,
            attempts: 0,
        }
    }

    /// The broadcast went on air: failures are forgotten.
    pub(super) fn on_air(&mut self) {
        self.failures = 0;
    }

    /// Control has changed the policy.
    pub(super) fn set_policy(&mut self, policy: RetryPolicy) {
        if self.policy != policy {
            self.policy = policy;
            if self.state == DestinationState::Failed {
                self.failures = 0;
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        use DestinationState::{Holding, Live, Publishing, Stalled};
        matches!(self.state, Publishing | Live | Stalled | Holding)
    }

    pub(super) fn is_live(&self) -> bool {
        use DestinationState::{Holding, Live};
        matches!(self.state, Live | Holding)
    }

    /// Attempts so far.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// The shard was told of bytes that are newly acknowledged.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        if self.is_live() || self.state == DestinationState::Stalled {
            self.live_at = Some(now);
        }
    }

    /// A look-up begins, and with it an attempt.
    pub(super) fn attempt(&mut self, conditions: Conditions) -> Result<(), String> {
        use DestinationState::{BackingOff, Ended, Failed, Idle};
        if !matches!(self.state, BackingOff | Ended | Failed | Idle) {
            return Err(format!("an attempt while {:?}", self.state));
        }
        if self.state == BackingOff
            && let Some(next) = self.next_attempt_unix_ms
            && conditions.now_unix_ms < next
        {
            let early_ms = next - conditions.now_unix_ms;
            return Err(format!("an attempt {early_ms} ms before it was due"));
        }
        self.attempts += 1;
        self.attempt_at = conditions.now;
        self.refused = false;
        Ok(())
    }

    /// The shard reports the destination.
    pub(super) fn reported(
        &mut self,
        conditions: Conditions,
        status: &DestinationStatus,
    ) -> Result<(), String> {
        use DestinationState::{BackingOff, Failed, Live, Publishing};
        let before = std::mem::replace(&mut self.state, status.state);
        if before == status.state {
            return Ok(());
        }
        self.entered = conditions.now;
        match status.state {
            Publishing => {
                self.opened = Some(conditions.now);
                self.settings_since = conditions.now;
            }
            Live => {
                if let Some(fair) = conditions.fair_since {
                    let since = conditions.now.saturating_duration_since(fair);
                    self.back_ms.get_or_insert(since.as_millis() as u64);
                }
            }
            BackingOff | Failed => self.failed(conditions, before, status)?,
            _ => {}
        }
        Ok(())
    }

    fn failed(
        &mut self,
        conditions: Conditions,
        before: DestinationState,
        status: &DestinationStatus,
    ) -> Result<(), String> {
        use DestinationState::{Connecting, Handshaking, Holding, Live, Stalled};
        if status.last_problem.is_none() {
            return Err("a failure without a reason".to_owned());
        }
        if status.problem_since_unix_ms.is_none() || status.problem_until_unix_ms.is_some() {
            return Err("a failure that the status does not show".to_owned());
        }
        let was_live = matches!(before, Live | Stalled | Holding);
        let open_for = self
            .opened
            .take()
            .map(|at| conditions.now.saturating_duration_since(at));
        if was_live && open_for.is_some_and(|open_for| open_for > Duration::from_secs(10)) {
            self.failures = 0;
        }
        let cause = match before {
            Connecting if self.refused => Cause::Refused,
            Connecting => Cause::Unreachable,
            Handshaking if self.refused => Cause::Refused,
            _ => Cause::Passing,
        };
        let earlier = self.failures;
        self.failures += 1;
        if earlier == 0 {
            self.failing_since = conditions.now;
        }
        let failing_for = conditions.now.saturating_duration_since(self.failing_since);
        let is_last = self.policy.retries_max.is_some_and(|max| earlier >= max)
            && failing_for >= Duration::from_millis(self.policy.give_up_ms_min);
        if is_last != (status.state == DestinationState::Failed) {
            return Err(format!(
                "{:?} after {earlier} earlier failures with {:?}",
                status.state, self.policy
            ));
        }
        if is_last {
            self.next_attempt_unix_ms = None;
            return Ok(());
        }
        let Some(next) = status.next_attempt_unix_ms else {
            return Err("it backs off and does not say until when".to_owned());
        };
        self.next_attempt_unix_ms = Some(next);
        let delay_ms = next.saturating_sub(conditions.now_unix_ms);
        self.is_promised(conditions.now, delay_ms, cause, earlier)
    }

    /// Whether a retry comes `delay_ms` after a failure with `earlier` ones before it, as promised.
    fn is_promised(
        &self,
        now: Instant,
        delay_ms: u64,
        cause: Cause,
        earlier: u32,
    ) -> Result<(), String> {
        let since_live_ms = self
            .live_at
            .map(|at| now.saturating_duration_since(at).as_millis() as u64);
        let as_promised = [0, GREY_MS].into_iter().any(|grey_ms| {
            let since_live_ms = since_live_ms.map(|ms| ms + grey_ms);
            let base_ms = promised_ms(self.policy, cause, earlier, since_live_ms);
            (base_ms.saturating_sub(1)..=base_ms + base_ms / 4 + 1).contains(&delay_ms)
        });
        if !as_promised {
            return Err(format!(
                "the retry comes {delay_ms} ms after a failure that was {cause:?} with {earlier} \
                 before it, last live {since_live_ms:?} ms ago, {:?}",
                self.policy
            ));
        }
        Ok(())
    }

    /// Whether the policy promised something by now that has not come. A destination that `starves` is
    /// connected and gets no video.
    pub(super) fn overdue(&self, conditions: Conditions, starves: bool) -> Result<(), String> {
        use DestinationState::{
            BackingOff, Connecting, Handshaking, Publishing, Resolving, Stalled,
        };
        let in_state = conditions.now.saturating_duration_since(self.entered);
        let longer_than = |ms| in_state > Duration::from_millis(ms);
        let late = match self.state {
            BackingOff => self
                .next_attempt_unix_ms
                .is_some_and(|next| conditions.now_unix_ms > next + 2),
            Resolving => longer_than(5_001),
            Connecting => longer_than(20_002),
            Handshaking => longer_than(10_001),
            _ => false,
        };
        if late {
            return Err(format!("{:?} for {} ms", self.state, in_state.as_millis()));
        }
        let Some(fair) = conditions.fair_since else {
            return Ok(());
        };
        let allowed_ms = match self.state {
            Publishing if starves => return Ok(()),
            Resolving | Connecting | Handshaking | Publishing if self.attempt_at >= fair => {
                ATTEMPT_MS_MAX
            }
            Resolving | Connecting | Handshaking | Publishing => {
                ATTEMPT_MS_MAX + BAD_ATTEMPT_MS_MAX
            }
            Stalled => STALL_MS_MAX,
            _ => return Ok(()),
        };
        let since = self.attempt_at.max(fair).max(match self.state {
            Stalled => self.entered,
            _ => fair,
        });
        let waited = conditions.now.saturating_duration_since(since);
        if waited > Duration::from_millis(allowed_ms) {
            return Err(format!(
                "its server is well and it is not on air after {} ms: {:?}",
                waited.as_millis(),
                self.state
            ));
        }
        Ok(())
    }
}

/// The delay that follows a failure, in milliseconds and without jitter, as the documentation of
/// [`RetryPolicy`] and the limits say it.
fn promised_ms(policy: RetryPolicy, cause: Cause, earlier: u32, since_live_ms: Option<u64>) -> u64 {
    let doubled = |ms: u64, times: u32| ms << times.min(16);
    let within = |ms| since_live_ms.is_some_and(|since| since < ms);
    if cause == Cause::Refused && !within(300_000) {
        return doubled(30_000, earlier).min(300_000);
    }
    if earlier == 0 {
        return 0;
    }
    let max_ms = if cause == Cause::Unreachable && within(60_000) {
        policy.delay_ms_max.min(1_000.max(policy.delay_ms_min))
    } else {
        policy.delay_ms_max
    };
    doubled(policy.delay_ms_min, earlier - 1).min(max_ms)
}
