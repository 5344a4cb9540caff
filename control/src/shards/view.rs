//! One shard's last reports.

use std::{collections::HashMap, sync::Arc};

use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationStatus, ShardHello, ShardStatus,
};
use tokio::sync::{Notify, mpsc};

use crate::{limits, store::SlateRecord};

/// The way to a shard over one link.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    pub(crate) queue: mpsc::Sender<Command>,
    /// Told when the queue overflows: the link ends, and the next one brings the shard up to date.
    pub(crate) broken: Arc<Notify>,
}

/// A shard that has been reached at least once.
#[derive(Debug)]
pub(crate) struct ShardView {
    pub(crate) hello: ShardHello,
    /// Process that listens on the shard's socket, when the kernel tells.
    pub(crate) engine_pid: Option<i32>,
    /// Without its broadcasts.
    pub(crate) status: ShardStatus,
    pub(crate) broadcasts: HashMap<BroadcastId, BroadcastStatus>,
    /// `None` while it cannot be reached.
    pub(crate) commands: Option<Commands>,
    /// Slates sent over this link that no report shows yet.
    slates_sent: HashMap<BroadcastId, SlateSent>,
}

#[derive(Debug)]
struct SlateSent {
    name: String,
    /// That came since, without it.
    reports: u32,
}

impl ShardView {
    pub(crate) fn new(hello: ShardHello, engine_pid: Option<i32>, commands: Commands) -> Self {
        Self {
            hello,
            engine_pid,
            status: ShardStatus::default(),
            broadcasts: HashMap::new(),
            commands: Some(commands),
            slates_sent: HashMap::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.commands.is_some()
    }

    /// What it had is unknown from now on.
    pub(crate) fn disconnect(&mut self) {
        self.commands = None;
        self.broadcasts.clear();
        self.slates_sent.clear();
    }

    pub(crate) fn report(&mut self, mut status: ShardStatus) {
        let broadcasts = std::mem::take(&mut status.broadcasts).into_iter();
        self.broadcasts = broadcasts
            .map(|status| (status.id.clone(), status))
            .collect();
        self.status = status;
    }

    /// Slates that broadcasts of the last report lack and that shall be sent now; to be asked once
    /// after each report and when `wanted` has changed.
    pub(crate) fn slates_due(
        &mut self,
        wanted: impl Fn(&BroadcastId) -> Option<Arc<SlateRecord>>,
    ) -> Vec<Arc<SlateRecord>> {
        let mut before = std::mem::take(&mut self.slates_sent);
        let (mut due, mut bytes) = (Vec::new(), 0);
        for (id, status) in &self.broadcasts {
            let lacks = |slate: &Arc<SlateRecord>| status.slate.as_ref() != Some(&slate.name);
            let Some(slate) = wanted(id).filter(lacks) else {
                continue;
            };
            let sent = before.remove(id).filter(|sent| sent.name == slate.name);
            let mut reports = sent.map_or(0, |sent| sent.reports + 1);
            let again = reports >= limits::SLATE_REPORTS_MIN && reports.is_power_of_two();
            if reports == 0 || again {
                if bytes >= limits::SLATE_BYTES_PER_REPORT {
                    if reports == 0 {
                        continue;
                    }
                    reports -= 1;
                } else {
                    bytes += slate.image.len();
                    due.push(Arc::clone(&slate));
                }
            }
            let name = slate.name.clone();
            self.slates_sent
                .insert(id.clone(), SlateSent { name, reports });
        }
        due
    }

    /// A destination changed between two reports.
    pub(crate) fn destination(&mut self, id: &BroadcastId, status: DestinationStatus) {
        let Some(broadcast) = self.broadcasts.get_mut(id) else {
            return;
        };
        match broadcast
            .destinations
            .iter_mut()
            .find(|known| known.id == status.id)
        {
            Some(known) => *known = status,
            None => broadcast.destinations.push(status),
        }
    }
}
