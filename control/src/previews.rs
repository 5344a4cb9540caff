//! Previews of broadcasts, in memory: of each the newest.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use shardcast_link::{
    BroadcastId, PreviewFormat,
    fragment::{PREVIEW_BYTES_MAX, PreviewHead},
};

use crate::{clock, limits};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Previews {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pictures: HashMap<BroadcastId, Picture>,
    /// Of all files.
    bytes: usize,
}

/// One preview.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) format: PreviewFormat,
    /// When it was shown, in Unix milliseconds.
    pub(crate) at_unix_ms: u64,
    pub(crate) file: Bytes,
    /// When it came, in Unix milliseconds.
    taken_unix_ms: u64,
}

impl Previews {
    /// Takes what a shard has made, in the place of what there was of the broadcast. Where there is no memory the
    /// oldest goes.
    pub(crate) fn take(&self, head: PreviewHead, file: Bytes) {
        if file.is_empty() || file.len() > PREVIEW_BYTES_MAX {
            return;
        }
        let mut kept = self.lock();
        let picture = Picture {
            format: head.format,
            at_unix_ms: head.at_unix_ms,
            file,
            taken_unix_ms: clock::unix_ms(),
        };
        kept.bytes += picture.file.len();
        let before = kept.pictures.insert(head.broadcast, picture);
        kept.bytes -= before.map_or(0, |before| before.file.len());
        while kept.bytes > limits::PREVIEWS_BYTES_MAX {
            let oldest = kept.pictures.iter().min_by_key(|(_, it)| it.at_unix_ms);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            kept.remove(&oldest);
        }
    }

    /// The newest of `id`.
    pub(crate) fn get(&self, id: &BroadcastId) -> Option<Picture> {
        self.lock().pictures.get(id).cloned()
    }

    /// The same, if it is of the show that began at `since_unix_ms`.
    pub(crate) fn since(&self, id: &BroadcastId, since_unix_ms: u64) -> Option<Picture> {
        self.get(id).filter(|it| it.taken_unix_ms >= since_unix_ms)
    }

    /// The broadcast is deleted.
    pub(crate) fn forget(&self, id: &BroadcastId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, id: &BroadcastId) {
        if let Some(picture) = self.pictures.remove(id) {
            self.bytes -= picture.file.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(previews: &Previews, stream: &str, at_unix_ms: u64, bytes: usize) {
        let head = PreviewHead {
            broadcast: id(stream),
            format: PreviewFormat::Png,
            at_unix_ms,
        };
        previews.take(head, vec![7; bytes].into());
    }

    fn id(stream: &str) -> BroadcastId {
        BroadcastId::new("app", stream).unwrap()
    }

    #[test]
    fn the_newest_of_each_is_kept_and_where_memory_ends_the_oldest_goes() {
        let previews = Previews::default();
        let many = limits::PREVIEWS_BYTES_MAX / PREVIEW_BYTES_MAX;
        for n in 0..many {
            take(&previews, &format!("s{n}"), n as u64, PREVIEW_BYTES_MAX);
        }
        let at = |stream| previews.get(&id(stream)).map(|it| it.at_unix_ms);
        assert_eq!(at("s0"), Some(0));
        take(&previews, "s0", 1_000, 10);
        assert_eq!(previews.get(&id("s0")).unwrap().file.len(), 10);
        take(&previews, "long", 1_001, PREVIEW_BYTES_MAX + 1);
        assert!(previews.get(&id("long")).is_none());
        take(&previews, "more", 1_001, PREVIEW_BYTES_MAX);
        assert_eq!(at("s1"), None, "the oldest");
        assert_eq!(at("s2"), Some(2));
        previews.forget(&id("more"));
        let kept = previews.lock();
        let bytes: usize = kept.pictures.values().map(|it| it.file.len()).sum();
        assert_eq!(kept.bytes, bytes);
    }
}
