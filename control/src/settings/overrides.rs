//! One layer of settings: what a TOML file, or flags and variables together, may say.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use clap::Args;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IntoDeserializer, value::Error},
};
use shardcast_link::{
    CidrList, Preset, Profile, Reencode,
    settings::{EngineSettings, LogFormat},
};

use super::{
    application::ApplicationOverrides, encoding::OpusChannels, webhooks::WebhookContentType,
};
use crate::ladder::Ladder;

/// Every setting, each of them optional. The names of fields are the TOML keys; flags replace `_`
/// by `-`, variables are upper case behind `SHARDCAST_` ([`crate::cli`] gives each flag its variable).
/// A file is read with [`super::file::read`], which takes the engine's keys too.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where the store, the certificate and runtime.json live [default: data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where the shards' sockets are [default: link, in the data directory]
    #[arg(long, value_name = "DIR")]
    pub link_dir: Option<PathBuf>,

    /// Address that all ports are bound to [default: 0.0.0.0]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<IpAddr>,

    /// HTTP and WebSocket port; 0 picks a free one [default: 5080]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,

    /// HTTPS and secure WebSocket port; 0 picks a free one [default: 5443]
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,

    /// Certificate chain, PEM; read again when it changes [default: self-signed]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key, PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Host name of this server in the URLs it hands out
    #[arg(long, value_name = "HOST")]
    pub server_name: Option<String>,

    /// Applications, comma-separated [default: StreamLick,LiveApp]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub applications: Option<Vec<String>>,

    /// Addresses that may use REST, metrics and /api: ranges, comma-separated [default: loopback only]
    #[arg(long, value_name = "RANGES")]
    #[serde(alias = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: Option<CidrList>,

    /// Web pages of other sites that may use REST from a browser on this machine: origins,
    /// comma-separated, or * [default: none]
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Option<Vec<String>>,

    /// Web pages that may open signalling and publish, as origins such as https://studio.example,
    /// comma-separated; pages of this server always may [default: every page]
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    pub publisher_origins: Option<Vec<String>>,

    /// Where webhooks may go, once their names are resolved: ranges, comma-separated [default:
    /// everywhere but to link-local addresses]
    #[arg(long, value_name = "RANGES")]
    pub webhook_allow: Option<CidrList>,

    /// Where webhooks may not go, whatever webhook_allow says [default: nowhere]
    #[arg(long, value_name = "RANGES")]
    pub webhook_deny: Option<CidrList>,

    /// The shardcast-engine executable [default: the one beside this executable]
    #[arg(long, value_name = "FILE")]
    pub engine_path: Option<PathBuf>,

    /// The engine's own settings, declared where the engine reads them.
    #[command(flatten)]
    #[serde(skip)]
    pub engine: EngineSettings,

    /// Take RTMP: the application sink is a destination for tests [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "rtmpEnabled")]
    pub rtmp_enabled: Option<bool>,

    /// Publishing needs a token [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "publishTokenControlEnabled")]
    pub publish_token_control_enabled: Option<bool>,

    /// Watching needs a token [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "playTokenControlEnabled")]
    pub play_token_control_enabled: Option<bool>,

    /// Viewers of one broadcast over WebRTC; -1 is no limit [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(alias = "webRTCViewerLimit")]
    pub webrtc_viewer_limit: Option<i64>,

    /// Publishing needs a broadcast that was created before [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "acceptOnlyStreamsInDataStore")]
    pub accept_only_streams_in_data_store: Option<bool>,

    /// Addresses that may publish: ranges, comma-separated [default: all]
    #[arg(long, value_name = "RANGES")]
    #[serde(alias = "allowedPublisherCIDR")]
    pub allowed_publisher_cidr: Option<CidrList>,

    /// The backend that is asked by HTTP before a client may publish [default: none]
    #[arg(long, value_name = "URL", hide_env_values = true)]
    #[serde(alias = "webhookAuthenticateURL")]
    pub webhook_authenticate_url: Option<String>,

    /// Time for the first media after an offer, in ms [default: 10000]
    #[arg(long, value_name = "MS")]
    #[serde(alias = "webRTCClientStartTimeoutMs")]
    pub webrtc_client_start_timeout_ms: Option<u64>,

    /// How often a keyframe is requested from the publisher, in ms [default: 2000]
    #[arg(long, value_name = "MS")]
    #[serde(alias = "webRTCKeyframeTime")]
    pub webrtc_keyframe_time: Option<u64>,

    /// How long destinations are held open for a lost publisher, in ms [default: 60000]
    #[arg(long, value_name = "MS")]
    pub hold_ms: Option<u64>,

    /// How long a broadcast outlives the SDK's stop, in ms; 0 ends it at once [default: 2000]
    #[arg(long, value_name = "MS")]
    pub stop_grace_ms: Option<u64>,

    /// Delay before the second retry of a destination, in ms; doubled each time [default: 500]
    #[arg(long, value_name = "MS")]
    pub endpoint_retry_delay_ms_min: Option<u64>,

    /// Longest delay between retries of a destination, in ms [default: 30000]
    #[arg(long, value_name = "MS")]
    pub endpoint_retry_delay_ms_max: Option<u64>,

    /// Failed retries in a row before a destination is given up; -1 is without end [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub endpoint_retries_max: Option<i64>,

    /// Shortest time from a destination's first failure until it is given up, in ms [default: 0]
    #[arg(long, value_name = "MS")]
    pub endpoint_give_up_ms_min: Option<u64>,

    /// Destinations of one broadcast [default: 1000]
    #[arg(long, value_name = "N")]
    pub endpoints_max: Option<usize>,

    /// Live broadcasts of an application; -1 is no limit [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(alias = "ingestingStreamLimit")]
    pub ingesting_stream_limit: Option<i64>,

    /// STUN or TURN server that browsers are told to use
    #[arg(long, value_name = "URI")]
    #[serde(alias = "stunServerURI")]
    pub stun_server_uri: Option<String>,

    /// User name for the TURN server
    #[arg(long, value_name = "NAME")]
    #[serde(alias = "turnServerUsername")]
    pub turn_server_username: Option<String>,

    /// Password for the TURN server
    #[arg(long, value_name = "TEXT", hide_env_values = true)]
    #[serde(alias = "turnServerCredential")]
    pub turn_server_credential: Option<String>,

    /// The receiver of webhooks, HTTP calls about what happens to streams [default: none]
    #[arg(long, value_name = "URL", hide_env_values = true)]
    #[serde(alias = "listenerHookURL")]
    pub listener_hook_url: Option<String>,

    /// Attempts of a webhook after the first [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(alias = "webhookRetryCount")]
    pub webhook_retry_count: Option<u32>,

    /// Pause before the second attempt of a webhook, in ms; doubles up to a minute [default: 1000]
    #[arg(long, value_name = "MS")]
    #[serde(alias = "webhookRetryDelay")]
    pub webhook_retry_delay: Option<u64>,

    /// How webhooks are written [default: application/json]
    #[arg(long, value_name = "TYPE")]
    #[serde(alias = "webhookContentType")]
    pub webhook_content_type: Option<WebhookContentType>,

    /// How often liveStreamStatus is sent for each live stream, in ms; -1 is never [default: -1]
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    #[serde(alias = "webhookStreamStatusUpdatePeriodMs")]
    pub webhook_stream_status_update_period_ms: Option<i64>,

    /// Key that webhooks are signed with [default: unsigned]
    #[arg(long, value_name = "TEXT", hide_env_values = true)]
    pub webhook_secret: Option<String>,

    /// Renditions that destinations may ask for by height: a JSON list of {height, videoBitrate,
    /// audioBitrate}, or height,videoBitrate,audioBitrate for each [default: none]
    #[arg(long, value_name = "LADDER")]
    #[serde(alias = "encoderSettings", alias = "encoderSettingsString")]
    pub encoder_settings: Option<Ladder>,

    /// Frames per second of renditions [default: 30]
    #[arg(long, value_name = "N")]
    #[serde(alias = "webRTCFrameRate")]
    pub webrtc_frame_rate: Option<u32>,

    /// Distance of keyframes of renditions, in frames; 0 is two seconds [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(alias = "gopSize")]
    pub gop_size: Option<u32>,

    /// Publishers may send H.264 [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "h264Enabled")]
    pub h264_enabled: Option<bool>,

    /// Publishers may send VP8, which is re-encoded [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "vp8Enabled")]
    pub vp8_enabled: Option<bool>,

    /// Publishers may send VP9, which is re-encoded [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "vp9Enabled")]
    pub vp9_enabled: Option<bool>,

    /// Publishers may send AV1, which is re-encoded [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "av1Enabled")]
    pub av1_enabled: Option<bool>,

    /// Channels of audio that publishers are asked for: mono or stereo [default: mono]
    #[arg(long, value_name = "CHANNELS")]
    pub opus_channels: Option<OpusChannels>,

    /// When destinations are sent a rendition: off, auto (while the publisher's video does not suit
    /// them) or always [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = word::<Reencode>)]
    pub reencode: Option<Reencode>,

    /// Preset of renditions: ultrafast, superfast, veryfast or faster [default: superfast]
    #[arg(long, value_name = "NAME", value_parser = word::<Preset>)]
    pub encoder_preset: Option<Preset>,

    /// Profile of renditions: baseline, main or high [default: high]
    #[arg(long, value_name = "NAME", value_parser = word::<Profile>)]
    pub encoder_profile: Option<Profile>,

    /// Log filter, such as info or info,shardcast_control=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// Log format [default: human on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Settings of single applications; file only.
    #[arg(skip)]
    pub application: BTreeMap<String, ApplicationOverrides>,

    /// Names of Ant Media Server, for all applications; file only.
    #[arg(skip)]
    pub ant_media: Option<toml::Table>,
}

impl Overrides {
    /// The part of this layer that holds for each application.
    pub fn application_defaults(&self) -> ApplicationOverrides {
        ApplicationOverrides {
            publish_token_control_enabled: self.publish_token_control_enabled,
            play_token_control_enabled: self.play_token_control_enabled,
            webrtc_viewer_limit: self.webrtc_viewer_limit,
            accept_only_streams_in_data_store: self.accept_only_streams_in_data_store,
            allowed_publisher_cidr: self.allowed_publisher_cidr.clone(),
            webhook_authenticate_url: self.webhook_authenticate_url.clone(),
            webrtc_client_start_timeout_ms: self.webrtc_client_start_timeout_ms,
            webrtc_keyframe_time: self.webrtc_keyframe_time,
            hold_ms: self.hold_ms,
            stop_grace_ms: self.stop_grace_ms,
            endpoint_retry_delay_ms_min: self.endpoint_retry_delay_ms_min,
            endpoint_retry_delay_ms_max: self.endpoint_retry_delay_ms_max,
            endpoint_retries_max: self.endpoint_retries_max,
            endpoint_give_up_ms_min: self.endpoint_give_up_ms_min,
            endpoints_max: self.endpoints_max,
            ingesting_stream_limit: self.ingesting_stream_limit,
            remote_allowed_cidr: self.remote_allowed_cidr.clone(),
            stun_server_uri: self.stun_server_uri.clone(),
            turn_server_username: self.turn_server_username.clone(),
            turn_server_credential: self.turn_server_credential.clone(),
            listener_hook_url: self.listener_hook_url.clone(),
            webhook_retry_count: self.webhook_retry_count,
            webhook_retry_delay: self.webhook_retry_delay,
            webhook_content_type: self.webhook_content_type,
            webhook_stream_status_update_period_ms: self.webhook_stream_status_update_period_ms,
            webhook_secret: self.webhook_secret.clone(),
            encoder_settings: self.encoder_settings.clone(),
            webrtc_frame_rate: self.webrtc_frame_rate,
            gop_size: self.gop_size,
            h264_enabled: self.h264_enabled,
            vp8_enabled: self.vp8_enabled,
            vp9_enabled: self.vp9_enabled,
            av1_enabled: self.av1_enabled,
            opus_channels: self.opus_channels,
            reencode: self.reencode,
            encoder_preset: self.encoder_preset,
            encoder_profile: self.encoder_profile,
            ant_media: None,
        }
    }
}

/// Reads a flag's value as the file's is read.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(text.into_deserializer())
}
