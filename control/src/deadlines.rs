//! What becomes due without a message: time-outs, ends of holds, expired tokens, offers whose turn it
//! is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::MissedTickBehavior;

use crate::{
    clock::{self, ClockWatch},
    effects, lifecycle, limits,
    state::Control,
    tasks::Heartbeat,
    token_expiry,
};

/// Runs what becomes due, until the process ends.
pub(crate) async fn run(control: Arc<Control>, heartbeat: Arc<Heartbeat>) {
    let mut clock_watch = ClockWatch::new(Instant::now(), clock::unix_s());
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0u64.. {
        ticks.tick().await;
        heartbeat.count();
        effects::with_hub(&control, |hub, out| {
            let now = Instant::now();
            hub.wait_for_shards(now, |id| lifecycle::is_unreachable(&control, now, id));
            hub.tick(now, out);
            hub.leave_open_while(control.shards.are_silent(now), out);
        });
        if n.is_multiple_of(4) {
            lifecycle::sweep(&control, &control.lock_hub());
        }
        if n.is_multiple_of(240) {
            let unix_s = clock::unix_s();
            let steady_for = clock_watch.steady_for(Instant::now(), unix_s);
            token_expiry::sweep(&control.catalog, unix_s, steady_for);
        }
    }
}

/// Hands over offers whose turn it is, until the process ends.
pub(crate) async fn run_offer_turns(control: Arc<Control>) {
    let mut ticks = tokio::time::interval(limits::OFFER_TURN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        effects::with_hub(&control, |hub, out| hub.tick_turns(Instant::now(), out));
    }
}
