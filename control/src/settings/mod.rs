//! What the operator can set, after all sources were laid over each other.
//!
//! Sources, strongest first: flag, `SHARDCAST_…` variable, TOML file, default. One layer is an
//! [`Overrides`]; names of Ant Media Server are taken from `[ant_media]` tables ([`ant_media`]).

pub mod ant_media;
mod application;
mod checks;
mod encoding;
mod error;
mod file;
mod hls;
mod in_force;
mod layers;
mod overlay;
mod overrides;
mod preview;
mod recording;
mod s3;
mod shared_layer;
mod webhooks;

pub use self::{
    application::{ApplicationOverrides, ApplicationSettings, IceServer},
    encoding::{EncodingSettings, OfferedCodecs, OpusChannels},
    error::SettingsError,
    hls::{HlsSettings, SegmentType},
    in_force::{Settings, TlsFiles},
    overrides::Overrides,
    preview::PreviewSettings,
    recording::RecordingSettings,
    s3::S3Settings,
    webhooks::{WebhookContentType, WebhookSettings},
};
pub use shardcast_link::settings::{EngineSettings, LogFormat};

pub use crate::ladder::{Ladder, LadderError, Rung};
pub(crate) use webhooks::url_problem;
