//! Which rendition goes to whom: what each consumer may be passed on unchanged
//! ([`constraints`]), what it is sent instead ([`video_selector`]), which renditions that takes
//! ([`selection`]) within the shard's [`transcode_budget`](crate::transcode_budget), and the one transcoder that makes them
//! ([`transcoder`]).

pub(super) mod constraints;
mod rendition;
mod rings;
mod selection;
mod transcoder;
mod video_selector;

pub(crate) use self::{
    constraints::SourceFacts,
    rendition::Rendition,
    rings::Rings,
    selection::Beneficiary,
    transcoder::Renditions,
    video_selector::{VideoSelector, VideoSource},
};
