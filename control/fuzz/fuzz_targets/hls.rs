//! The rooms of control that need none of the others.

#[path = "../../src/hls/breaks.rs"]
pub(crate) mod breaks;
#[path = "../../src/hls/media.rs"]
pub(crate) mod media;
#[path = "../../src/hls/names.rs"]
pub(crate) mod names;
#[path = "../../src/hls/playlist.rs"]
pub(crate) mod playlist;
#[path = "../../src/hls/reload.rs"]
pub(crate) mod reload;

#[path = "../../src/hls/tracks.rs"]
pub(crate) mod tracks;

use self::names::Name;

/// A name as it is written in playlists.
pub(crate) fn written(name: Name<'_>) -> String {
    match name {
        Name::Media { stream } => names::media(stream),
        Name::Multivariant { stream, up: "" } => format!("{stream}_adaptive.m3u8"),
        Name::Multivariant { stream, .. } => format!("ll-hls/{stream}/{stream}__master.m3u8"),
        Name::Segment { stream, number } => names::segment(stream, number),
        Name::Part {
            stream,
            number,
            part,
        } => names::part(stream, number, part),
        Name::Transport { stream, number } => names::transport(stream, number),
        Name::Init { stream, tag } => names::init(stream, tag),
    }
}
