//! What one media playlist is made of: the publisher's video, or a rung of the ladder.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use shardcast_link::fragment::FragmentHead;
use tokio::{sync::watch, time::timeout};

use super::{breaks::Breaks, media::Media};
use crate::limits;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Track {
    state: Mutex<State>,
    /// Counts what was taken.
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    media: Media,
    pages: HashMap<bool, (u64, Page)>,
}

/// A playlist as it is sent to all.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) text: Bytes,
    pub(crate) gzip: Bytes,
    pub(crate) etag: String,
}

impl Track {
    /// Its playlist has `list_size` segments.
    pub(super) fn new(list_size: usize) -> Self {
        let state = State {
            media: Media::new(list_size),
            pages: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            version: watch::Sender::new(0),
        }
    }

    /// Reads the media.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Media) -> T) -> T {
        read(&self.lock().media)
    }

    /// Changes the media. Who waits for it looks again.
    fn change(&self, change: impl FnOnce(&mut Media)) {
        change(&mut self.lock().media);
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes what a shard has handed over. `is_squeezed`: there is little memory.
    pub(super) fn take(
        &self,
        head: &FragmentHead,
        body: Bytes,
        breaks: &mut Breaks,
        is_squeezed: bool,
    ) {
        self.change(|media| {
            media.take(head, body, breaks);
            if is_squeezed {
                let least = limits::HLS_STREAM_BYTES_MAX / limits::HLS_SQUEEZE;
                media.bound(least, limits::HLS_SEGMENTS_BEYOND);
            }
        });
    }

    /// The shard does not make it.
    pub(super) fn leave_out(&self) {
        if !self.read(Media::is_left_out) {
            self.change(Media::leave_out);
        }
    }

    /// The playlist that everybody is sent who asks alike (`skip`), if it is made of what is there.
    pub(crate) fn made_page(&self, skip: bool) -> Option<Page> {
        let state = self.lock();
        let (of, page) = state.pages.get(&skip)?;
        (*of == *self.version.borrow()).then(|| page.clone())
    }

    /// Makes the playlist that everybody is sent who asks alike.
    pub(crate) fn page(&self, skip: bool, make: impl FnOnce(&Media) -> Page) -> Page {
        let mut state = self.lock();
        let version = *self.version.borrow();
        let page = make(&state.media);
        state.pages.insert(skip, (version, page.clone()));
        page
    }

    /// Waits until the media is as wanted; false when it was not within `patience`.
    pub(crate) async fn wait(
        &self,
        patience: Duration,
        is_wanted: impl Fn(&Media) -> bool,
    ) -> bool {
        let mut version = self.version.subscribe();
        let wanted = async {
            while !self.read(&is_wanted) {
                if version.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(patience, wanted).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
