//! Streams side by side: one task for each that has something to be delivered, which does it in order.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
};

use shardcast_link::BroadcastId;
use tokio::{
    sync::Notify,
    task::{Id, JoinSet},
    time::sleep,
};

use crate::{
    backend::{HookClient, ReceiverRules},
    limits,
    state::Control,
};

/// Begins a `round` of each of the `streams` that has none under way, whenever it is `notified` and whenever one
/// has ended. Never returns.
pub(super) async fn run<R>(
    notified: &Notify,
    streams: impl Fn() -> Vec<BroadcastId>,
    round: impl Fn(BroadcastId) -> R,
) where
    R: Future<Output = ()> + Send + 'static,
{
    let mut rounds: JoinSet<()> = JoinSet::new();
    let mut under_way: HashMap<Id, BroadcastId> = HashMap::new();
    loop {
        let busy: HashSet<&BroadcastId> = under_way.values().collect();
        let mut idle = streams();
        idle.retain(|stream| !busy.contains(stream));
        for stream in idle {
            under_way.insert(rounds.spawn(round(stream.clone())).id(), stream);
        }
        tokio::select! {
            () = notified.notified() => {}
            Some(ended) = rounds.join_next_with_id() => {
                let task = match ended {
                    Ok((task, ())) => task,
                    Err(error) => {
                        tracing::error!(%error, "a delivery of webhooks failed");
                        error.id()
                    }
                };
                under_way.remove(&task);
            }
        }
    }
}

/// A client within the operator's rules. Waits until there can be one.
pub(super) async fn client(control: &Control) -> HookClient {
    loop {
        let rules = ReceiverRules::new(&control.settings);
        // It reads the certificates of this machine.
        match tokio::task::spawn_blocking(|| HookClient::new(rules)).await {
            Ok(Ok(client)) => return client,
            Ok(Err(error)) => tracing::error!(%error, "webhooks cannot be delivered"),
            // The runtime ends.
            Err(_) => {}
        }
        sleep(limits::HOOK_RETRY_MAX).await;
    }
}
