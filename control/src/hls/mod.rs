//! HLS as it is kept and said: the segments that shards have handed over, playlists of them, the names of their
//! files and who watches. No I/O: [`crate::fragments`] fills it, [`crate::streams`] answers from it.
//!
//! A broadcast is packaged while somebody asks for it, or always where the application wants that; the rungs of its
//! ladder while somebody plays by the multivariant playlist. Media is kept in memory, once: each answer shares the
//! bytes that came from the shard.

mod breaks;
#[cfg(test)]
mod breaks_tests;
mod media;
pub(crate) mod names;
pub(crate) mod playlist;
#[cfg(test)]
mod playlist_tests;
mod reload;
mod sessions;
mod store;
mod track;
mod tracks;

#[cfg(test)]
pub(crate) use self::playlist_tests::head as part_head;
pub(crate) use self::{
    media::{Init, Media, Period, Segment},
    reload::{Reload, ReloadError},
    sessions::Watcher,
    store::{Asked, Hls, Stream},
    track::{Page, Track},
    tracks::{Kind, Span},
};
