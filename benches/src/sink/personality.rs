//! What the ingest of each platform is known to answer, as far as anybody has published it.
//!
//! | | chunks | window | a key it does not know | a key in use | acknowledgements |
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
//! same number. What is not published anywhere that we know is left empty and taken as generic.
//! That YouTube, Facebook and Kick close as Twitch does, and nginx-rtmp where `on_publish` refuses,
//! is an assumption: it is the refusal that tells a client the least.

use clap::ValueEnum;
use shardcast_core::rtmp::ServerConfig;

use super::manners::Answer;

/// Whose ingest the sink resembles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Personality {
    /// A server that follows the specification
    #[default]
    Generic,
    /// The RTMP module of nginx
    Nginx,
    Youtube,
    Facebook,
    Twitch,
    /// Amazon IVS, which Kick uses
    Kick,
}

impl Personality {
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

    /// What a key that is not known is answered.
    pub(super) fn bad_key(self) -> Answer {
        match self {
            Self::Generic => Answer::reject("NetStream.Publish.BadName", "unknown stream key"),
            _ => Answer::Close,
        }
    }

    /// What a key is answered that another connection publishes under.
    pub(super) fn key_in_use(self) -> Answer {
        match self {
            Self::Nginx => Answer::reject("NetStream.Publish.BadName", "Already publishing"),
            _ => Answer::Accept,
        }
    }

    /// Whether acknowledgements tell how many bytes came since the last one.
    pub(super) fn acknowledges_growth(self) -> bool {
        self == Self::Youtube
    }
}
