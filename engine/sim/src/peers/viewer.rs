//! Viewers over WebRTC, as control brings them: the shard makes the offer, or they do.

use shardcast_link::{Command, Event as LinkEvent, ViewEndReason, ViewRefusal};

use super::{World, broadcast, session};
pub use crate::viewer_client::{Received, Viewer};

impl World {
    /// Lets `viewer` watch as session `name`; the shard makes the offer. Returns the viewer's place.
    pub fn watch(&mut self, name: &str, mut viewer: Viewer) -> usize {
        let offer = self.view(name, None).expect("the viewer was taken");
        let answer = viewer.answer(self.now, &offer);
        self.viewers.push(viewer);
        self.command(Command::ViewAnswer {
            session: session(name),
            sdp: answer,
        });
        self.viewers.len() - 1
    }

    /// The same with the viewer's offer.
    pub fn watch_by_whep(&mut self, name: &str, mut viewer: Viewer) -> usize {
        let offer = viewer.offer();
        let answer = self.view(name, Some(offer)).expect("the viewer was taken");
        viewer.accept(self.now, &answer);
        self.viewers.push(viewer);
        self.viewers.len() - 1
    }

    /// The shard's description for a viewer, or why it may not watch.
    ///
    /// # Errors
    /// When the shard refuses it.
    pub fn view(&mut self, name: &str, offer: Option<String>) -> Result<String, ViewRefusal> {
        self.command(Command::View {
            session: session(name),
            broadcast: broadcast(),
            offer,
            start_timeout_ms: 10_000,
        });
        let mut events = self.events.iter().rev();
        let told = events.find_map(|event| match event {
            LinkEvent::ViewDescribed {
                session: of, sdp, ..
            } if *of == session(name) => Some(Ok(sdp.clone())),
            LinkEvent::ViewRefused {
                session: of,
                refusal,
                ..
            } if *of == session(name) => Some(Err(*refusal)),
            _ => None,
        });
        told.expect("the shard says something to a View")
    }

    /// Why viewer `name` ended, if it has.
    pub fn view_ended(&self, name: &str) -> Option<ViewEndReason> {
        self.events.iter().find_map(|event| match event {
            LinkEvent::ViewEnded {
                session: of,
                reason,
                ..
            } if *of == session(name) => Some(*reason),
            _ => None,
        })
    }

    pub(super) fn run_viewers(&mut self) {
        let now = self.now;
        for index in 0..self.viewers.len() {
            let from = self.viewers[index].address;
            let on_tcp = self.viewers[index].is_on_tcp();
            for datagram in self.viewers[index].run(now) {
                match on_tcp {
                    true => self.framed(from, &datagram),
                    false => self.datagram(from, &datagram),
                }
            }
        }
    }
}
