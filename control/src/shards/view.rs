//! One shard's last reports.

use std::{collections::HashMap, sync::Arc};

use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationStatus, RenditionSpec, ShardHello,
    ShardStatus,
};
use tokio::sync::{Notify, mpsc};

use super::transcode_admission::{Admitted, RenditionDelta, TranscodeRefusal};
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
    /// The process that listens on the shard's socket, if the kernel reports it.
    pub(crate) engine_pid: Option<i32>,
    /// Without its broadcasts.
    pub(crate) status: ShardStatus,
    pub(crate) broadcasts: HashMap<BroadcastId, BroadcastStatus>,
    /// `None` while it cannot be reached.
    pub(crate) commands: Option<Commands>,
    /// Slates sent over this link that no report shows yet.
    slates_sent: HashMap<BroadcastId, SlateSent>,
    /// Bytes of slates sent since the last report.
    slate_bytes: usize,
    /// Since this link is up.
    has_reported: bool,
    /// Renditions that no report shows yet.
    admitted: Admitted,
}

#[derive(Debug)]
struct SlateSent {
    name: String,
    /// That came since, without it.
    reports: u32,
    /// So many that it shall be sent again.
    again: bool,
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
            slate_bytes: 0,
            has_reported: false,
            admitted: Admitted::default(),
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
        self.has_reported = true;
        let is_made = |id: &BroadcastId, spec: &RenditionSpec| {
            let live = self.broadcasts.get(id);
            let mut renditions = live.iter().flat_map(|live| &live.renditions);
            renditions.any(|made| made.spec == *spec && !made.yields)
        };
        self.admitted.reported(is_made);
        self.slate_bytes = 0;
        for sent in self.slates_sent.values_mut() {
            sent.reports += 1;
            sent.again |=
                sent.reports >= limits::SLATE_REPORTS_MIN && sent.reports.is_power_of_two();
        }
    }

    /// Lets renditions of `id` in, if there is room for them. While the shard cannot be asked, it
    /// decides when they begin.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn admit(
        &mut self,
        id: &BroadcastId,
        delta: &RenditionDelta,
    ) -> Result<(), TranscodeRefusal> {
        if !self.is_connected() || !self.has_reported {
            return Ok(());
        }
        let live = self.broadcasts.get(id);
        self.admitted.admit(&self.status.codec, id, live, delta)
    }

    /// The broadcast is over: nothing of it is waited for.
    pub(crate) fn forget(&mut self, id: &BroadcastId) {
        self.admitted.forget(id);
    }

    /// Slates that broadcasts of the last report lack and that shall be sent now; to be asked
    /// after each report and when `wanted` has changed.
    pub(crate) fn slates_due(
        &mut self,
        wanted: impl Fn(&BroadcastId) -> Option<Arc<SlateRecord>>,
    ) -> Vec<Arc<SlateRecord>> {
        let mut before = std::mem::take(&mut self.slates_sent);
        let mut due = Vec::new();
        for (id, status) in &self.broadcasts {
            let lacks = |slate: &Arc<SlateRecord>| status.slate.as_ref() != Some(&slate.name);
            let Some(slate) = wanted(id).filter(lacks) else {
                continue;
            };
            let known = before.remove(id).filter(|sent| sent.name == slate.name);
            let has_room = self.slate_bytes < limits::SLATE_BYTES_PER_REPORT;
            let sent = match known {
                Some(known) if !known.again || !has_room => known,
                // After the next report.
                None if !has_room => continue,
                known => {
                    self.slate_bytes += slate.image.len();
                    due.push(Arc::clone(&slate));
                    SlateSent {
                        name: slate.name.clone(),
                        reports: known.map_or(0, |known| known.reports),
                        again: false,
                    }
                }
            };
            self.slates_sent.insert(id.clone(), sent);
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn view() -> (ShardView, BroadcastId) {
        let id = BroadcastId::new("app", "s1").unwrap();
        let hello = ShardHello {
            version: shardcast_link::VERSION,
            engine: "engine".into(),
            shard: 0,
            shards: 1,
            udp_port: 1,
            capacity: 100,
        };
        let (queue, _) = mpsc::channel(1);
        let broken = Arc::new(Notify::new());
        let mut view = ShardView::new(hello, None, Commands { queue, broken });
        view.report(status(&id));
        (view, id)
    }

    fn status(id: &BroadcastId) -> ShardStatus {
        ShardStatus {
            broadcasts: vec![serde_json::from_value(serde_json::json!({ "id": id })).unwrap()],
            ..ShardStatus::default()
        }
    }

    fn due(view: &mut ShardView, name: &str) -> usize {
        let slate = |id: &BroadcastId| {
            Some(Arc::new(SlateRecord {
                broadcast: id.clone(),
                name: name.to_owned(),
                content_type: String::new(),
                image: Bytes::from(vec![0; limits::SLATE_BYTES_MAX]),
            }))
        };
        view.slates_due(slate).len()
    }

    #[test]
    fn slates_that_are_set_faster_than_a_shard_reports_do_not_pile_up_in_front_of_it() {
        let (mut view, id) = view();
        let sent: usize = (0..100).map(|n| due(&mut view, &n.to_string())).sum();
        assert_eq!(
            sent,
            limits::SLATE_BYTES_PER_REPORT / limits::SLATE_BYTES_MAX
        );
        view.report(status(&id));
        assert_eq!(due(&mut view, "newest"), 1);
    }

    #[test]
    fn asking_without_a_report_does_not_send_a_slate_again() {
        let (mut view, id) = view();
        assert_eq!(due(&mut view, "one"), 1);
        assert_eq!((0..100).map(|_| due(&mut view, "one")).sum::<usize>(), 0);
        for n in 1..=limits::SLATE_REPORTS_MIN {
            view.report(status(&id));
            let again = usize::from(n == limits::SLATE_REPORTS_MIN);
            assert_eq!(due(&mut view, "one"), again);
        }
    }
}
