//! What this process knows, and the locks around it: the settings, the rows, the shards, the hub of
//! publishing sessions and the open sockets. What is done with it is in the rooms above.
//!
//! Lock order: hub, then wants, then shards, then catalog or sockets. The hub's effects are carried
//! out while it is locked, so that they happen in the order in which it decided them; none of them
//! waits ([`crate::effects`]).

mod counters;
mod data_messages;
mod drain;
mod machine;
mod recordings;
mod sockets;
mod viewers;
mod whip;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

use shardcast_link::BroadcastId;
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::{
    counters::Counters,
    data_messages::DataMessages,
    drain::Drain,
    machine::{Look, Machine},
    recordings::Recordings,
    sockets::{Outgoing, Sockets},
    viewers::{ViewerRow, Viewers},
    whip::{Answer, Answered, WhipSession, WhipSessions},
};
use crate::{
    backend::Authenticator,
    clock,
    hls::Hls,
    previews::Previews,
    publishing::{Hub, LastMedia},
    s3::S3Client,
    settings::{ApplicationSettings, Settings},
    shards::Shards,
    store::{BroadcastRecord, Catalog},
};

/// One control process.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) settings: Settings,
    /// A name for logs and session ids, unique per process start.
    pub(crate) instance: String,
    /// Names this machine in placement: its host name, which a restart keeps.
    pub(crate) node: String,
    pub(crate) catalog: Catalog,
    pub(crate) shards: Shards,
    pub(crate) sockets: Sockets,
    pub(crate) whip: WhipSessions,
    /// How the media of viewers arrives.
    pub(crate) viewers: Viewers,
    /// What is packaged for HLS.
    pub(crate) hls: Hls,
    /// The newest picture of each.
    pub(crate) previews: Previews,
    /// Where encoders are taken, once they are.
    pub(crate) rtmp_addr: OnceLock<SocketAddr>,
    /// Where encoders publish by RTMPS, once that is taken.
    pub(crate) rtmps_addr: OnceLock<SocketAddr>,
    pub(crate) counters: Counters,
    /// Shards that the engine has; the configured number until a shard has reported another.
    pub(crate) shards_expected: AtomicU64,
    /// When this process began; what was live before is given its hold time from here.
    pub(crate) started_unix_ms: u64,
    /// No new sockets or sessions.
    pub(crate) stopping: AtomicBool,
    pub(crate) drain: Drain,
    /// Notified when a webhook is owed.
    pub(crate) webhook_owed: Notify,
    /// What clients have sent over data channels, on its way to a backend.
    pub(crate) data_messages: DataMessages,
    /// Held while a slate is decoded: that may take half a gigabyte.
    pub(crate) slate_decoding: Arc<Semaphore>,
    /// Asks backends before a client publishes.
    pub(crate) authenticator: Authenticator,
    /// What the last look at the machine found; none before the first.
    pub(crate) machine: Machine,
    /// Files of recordings that can be finished.
    pub(crate) recordings: Recordings,
    pub(crate) s3: S3Client,
    hub: Mutex<Hub>,
    wants: Mutex<()>,
}

impl Control {
    pub(crate) fn new(settings: Settings, catalog: Catalog) -> Self {
        let instance = format!("{:x}-{:08x}", clock::unix_ms(), rand::random::<u32>());
        let shards = Shards::default();
        shards.set_policies(catalog.shards());
        let shards_expected = AtomicU64::new(u64::from(settings.shards()));
        Self {
            hub: Mutex::new(Hub::new(instance.clone())),
            wants: Mutex::new(()),
            instance,
            catalog,
            shards,
            node: node(),
            sockets: Sockets::default(),
            whip: WhipSessions::default(),
            viewers: Viewers::default(),
            hls: Hls::default(),
            previews: Previews::default(),
            rtmp_addr: OnceLock::new(),
            rtmps_addr: OnceLock::new(),
            counters: Counters::default(),
            shards_expected,
            started_unix_ms: clock::unix_ms(),
            stopping: AtomicBool::new(false),
            drain: Drain::default(),
            webhook_owed: Notify::new(),
            data_messages: DataMessages::default(),
            slate_decoding: Arc::new(Semaphore::new(1)),
            authenticator: Authenticator::new(&settings),
            machine: Machine::default(),
            recordings: Recordings::default(),
            s3: S3Client::default(),
            settings,
        }
    }

    pub(crate) fn application(&self, name: &str) -> Option<&ApplicationSettings> {
        self.settings.application.get(name)
    }

    /// The hub, locked. For reading: what it decides is carried out by
    /// [`crate::effects::with_hub`] only.
    pub(crate) fn lock_hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held from reading what is wanted of a shard until it is queued, so that the shard is left with
    /// the later read of two.
    pub(crate) fn order_of_wants(&self) -> MutexGuard<'_, ()> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last media of `id`, if any is known.
    pub(crate) fn last_media(&self, id: &BroadcastId) -> Option<LastMedia> {
        let reported = self.shards.last_media(id);
        // Between the first media and the first report.
        let seen = || {
            self.shards.media_seen(id).map(|at| LastMedia {
                age_ms: clock::unix_ms().saturating_sub(at),
                from: None,
            })
        };
        reported.or_else(seen)
    }

    /// How long destinations of `record` are held open for a lost publisher, in milliseconds.
    pub(crate) fn hold_ms(&self, record: &BroadcastRecord) -> u64 {
        let application = self.application(record.id.application());
        let hold_ms = application.map_or(0, |application| application.hold_ms);
        record.profile.hold_ms.unwrap_or(hold_ms)
    }
}

fn node() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "node".to_owned(),
        name => name.to_owned(),
    }
}
