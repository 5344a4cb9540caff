//! One shard's last reports.

use std::{collections::HashMap, sync::Arc};

use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationStatus, ShardHello, ShardStatus,
};
use tokio::sync::{Notify, mpsc};

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
}

impl ShardView {
    pub(crate) fn new(hello: ShardHello, engine_pid: Option<i32>, commands: Commands) -> Self {
        Self {
            hello,
            engine_pid,
            status: ShardStatus::default(),
            broadcasts: HashMap::new(),
            commands: Some(commands),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.commands.is_some()
    }

    /// What it had is unknown from now on.
    pub(crate) fn disconnect(&mut self) {
        self.commands = None;
        self.broadcasts.clear();
    }

    pub(crate) fn report(&mut self, mut status: ShardStatus) {
        let broadcasts = std::mem::take(&mut status.broadcasts).into_iter();
        self.broadcasts = broadcasts
            .map(|status| (status.id.clone(), status))
            .collect();
        self.status = status;
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
