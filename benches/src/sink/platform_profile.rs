//! The answers of each platform's ingest, as far as they are published.
//!
//! | | chunks | window | unknown key | key in use | acknowledgements |
//! |---|---|---|---|---|---|
//! | generic | 60,000 | 2,500,000 | `NetStream.Publish.BadName` | taken | as specified |
//! | nginx-rtmp | 4096 | 5,000,000 | closes | `BadName`, "Already publishing" | as specified |
//! | YouTube | | | closes | | the growth, not the sum |
//! | Twitch | | | closes | | |
//! | Facebook, Kick | | | closes | | |
//!
//! Sources: nginx-rtmp-module, `ngx_rtmp_cmd_module.c` and `ngx_rtmp_core_module.c` (defaults), its
//! issue 96 on a key in use; SRS issue 4037 with a capture of Twitch, which sends no error at all
//! but closes; HPRTMP pull request 28 on the acknowledgements of YouTube, each of which repeats the
//! same number. Fields without a known publication are empty, and the generic value is used.
//! That YouTube, Facebook and Kick close as Twitch does, and nginx-rtmp where `on_publish` refuses,
//! is an assumption: it is the refusal with the least information for a client.

use clap::ValueEnum;
use shardcast_core::rtmp::ServerConfig;

use super::fault_script::Answer;

/// The platform whose ingest the sink resembles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlatformProfile {
    /// A server that follows the specification
    #[default]
    Generic,
    /// The RTMP module of nginx
    Nginx,
    /// YouTube Live
    Youtube,
    /// Facebook Live
    Facebook,
    /// Twitch
    Twitch,
    /// Amazon IVS, which Kick uses
    Kick,
}

impl PlatformProfile {
    pub(super) fn server_config(self) -> ServerConfig {
        let config = ServerConfig {
            asks_on_connect: true,
            ..ServerConfig::default()
        };
        match self {
            Self::Nginx => ServerConfig {
                chunk_bytes: 4_096,
                window_ack_bytes: 5_000_000,
                version: "FMS/3,0,1,123",
                ..config
            },
            Self::Generic | Self::Youtube | Self::Facebook | Self::Twitch | Self::Kick => config,
        }
    }

    /// Answer to `publish` with an unknown stream key.
    pub(super) fn bad_key(self) -> Answer {
        match self {
            Self::Generic => Answer::reject("NetStream.Publish.BadName", "unknown stream key"),
            _ => Answer::Close,
        }
    }

    /// Answer to `publish` with a stream key that another connection is publishing with.
    pub(super) fn key_in_use(self) -> Answer {
        match self {
            Self::Nginx => Answer::reject("NetStream.Publish.BadName", "Already publishing"),
            _ => Answer::Accept,
        }
    }

    /// Whether acknowledgements hold the bytes since the last one instead of the sum (RTMP 5.4.3).
    pub(super) fn acknowledges_growth(self) -> bool {
        self == Self::Youtube
    }
}
