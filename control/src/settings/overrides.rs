//! One layer of settings: what a TOML file, or flags and variables together, may say.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IntoDeserializer, value::Error},
};
use shardcast_link::{CidrList, Preset, Profile, Reencode};

use super::{
    application::ApplicationOverrides, encoding::OpusChannels, webhooks::WebhookContentType,
};
use crate::ladder::Ladder;

/// Every setting, each of them optional. The names of fields are the TOML keys; flags replace `_`
/// by `-`, variables are upper case behind `SHARDCAST_`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// TOML file with settings.
    #[arg(long, env = "SHARDCAST_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where the store, the certificate and runtime.json live [default: data]
    #[arg(long, env = "SHARDCAST_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where the shards' sockets are [default: link, in the data directory]
    #[arg(long, env = "SHARDCAST_LINK_DIR", value_name = "DIR")]
    pub link_dir: Option<PathBuf>,

    /// Address that all ports are bound to [default: 0.0.0.0]
    #[arg(long, env = "SHARDCAST_BIND", value_name = "ADDR")]
    pub bind: Option<IpAddr>,

    /// HTTP and WebSocket port; 0 picks a free one [default: 5080]
    #[arg(long, env = "SHARDCAST_HTTP_PORT", value_name = "PORT")]
    pub http_port: Option<u16>,

    /// HTTPS and secure WebSocket port; 0 picks a free one [default: 5443]
    #[arg(long, env = "SHARDCAST_HTTPS_PORT", value_name = "PORT")]
    pub https_port: Option<u16>,

    /// Certificate chain, PEM; read again when it changes [default: self-signed]
    #[arg(long, env = "SHARDCAST_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key, PEM; read again when it changes
    #[arg(long, env = "SHARDCAST_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Host name of this server in the URLs it hands out
    #[arg(long, env = "SHARDCAST_SERVER_NAME", value_name = "HOST")]
    pub server_name: Option<String>,

    /// Applications, comma-separated [default: StreamLick,LiveApp]
    #[arg(
        long,
        env = "SHARDCAST_APPLICATIONS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub applications: Option<Vec<String>>,

    /// Who may use REST, metrics and /api: ranges, comma-separated [default: loopback only]
    #[arg(long, env = "SHARDCAST_REMOTE_ALLOWED_CIDR", value_name = "RANGES")]
    #[serde(alias = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: Option<CidrList>,

    /// Web pages of other sites that may use REST from a browser on this machine: origins,
    /// comma-separated, or * [default: none]
    #[arg(
        long,
        env = "SHARDCAST_ALLOWED_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Option<Vec<String>>,

    /// Web pages that may open signalling and publish, as origins such as https://studio.example,
    /// comma-separated; pages of this server always may [default: every page]
    #[arg(
        long,
        env = "SHARDCAST_PUBLISHER_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub publisher_origins: Option<Vec<String>>,

    /// Where webhooks may go, once their names are resolved: ranges, comma-separated [default:
    /// everywhere but to link-local addresses]
    #[arg(long, env = "SHARDCAST_WEBHOOK_ALLOW", value_name = "RANGES")]
    pub webhook_allow: Option<CidrList>,

    /// Where webhooks may not go, whatever webhook_allow says [default: nowhere]
    #[arg(long, env = "SHARDCAST_WEBHOOK_DENY", value_name = "RANGES")]
    pub webhook_deny: Option<CidrList>,

    /// The shardcast-engine executable [default: the one beside this executable]
    #[arg(long, env = "SHARDCAST_ENGINE_PATH", value_name = "FILE")]
    pub engine_path: Option<PathBuf>,

    /// Executors of the engine, one per core [default: number of cores]
    #[arg(long, env = "SHARDCAST_SHARDS", value_name = "N")]
    pub shards: Option<u16>,

    /// Cores for the executors, comma-separated [default: the first ones but codec_cores]
    #[arg(
        long,
        env = "SHARDCAST_CORES",
        value_name = "CORES",
        value_delimiter = ','
    )]
    pub cores: Option<Vec<u16>>,

    /// Make pictures anew for destinations that want others than the publisher sends [default: true]
    #[arg(long, env = "SHARDCAST_REENCODE_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    pub reencode_enabled: Option<bool>,

    /// Cores that decode and encode only, comma-separated [default: those of the executors]
    #[arg(
        long,
        env = "SHARDCAST_CODEC_CORES",
        value_name = "CORES",
        value_delimiter = ','
    )]
    pub codec_cores: Option<Vec<u16>>,

    /// UDP port of shard 0, shard n uses n more; 0 picks free ports [default: 50000]
    #[arg(long, env = "SHARDCAST_UDP_PORT_BASE", value_name = "PORT")]
    pub udp_port_base: Option<u16>,

    /// Take RTMP: the application sink is a destination for tests [default: true]
    #[arg(long, env = "SHARDCAST_RTMP_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "rtmpEnabled")]
    pub rtmp_enabled: Option<bool>,

    /// RTMP port; 0 picks a free one [default: 1935, or a free one when udp_port_base is 0]
    #[arg(long, env = "SHARDCAST_RTMP_PORT", value_name = "PORT")]
    pub rtmp_port: Option<u16>,

    /// Address browsers are told to send media to; may be repeated [default: those of this machine]
    #[arg(
        long,
        env = "SHARDCAST_ADVERTISE",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub advertise: Option<Vec<IpAddr>>,

    /// Where destinations may be, once their names are resolved: ranges, comma-separated
    /// [default: everywhere]
    #[arg(long, env = "SHARDCAST_DESTINATION_ALLOW", value_name = "RANGES")]
    pub destination_allow: Option<CidrList>,

    /// Where destinations may not be, whatever destination_allow says [default: nowhere]
    #[arg(long, env = "SHARDCAST_DESTINATION_DENY", value_name = "RANGES")]
    pub destination_deny: Option<CidrList>,

    /// Certificates, PEM, that rtmps destinations may be signed by beside those that this machine
    /// trusts
    #[arg(long, env = "SHARDCAST_RTMPS_CA_FILE", value_name = "FILE")]
    pub rtmps_ca_file: Option<PathBuf>,

    /// Publishing needs a token [default: false]
    #[arg(long, env = "SHARDCAST_PUBLISH_TOKEN_CONTROL_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "publishTokenControlEnabled")]
    pub publish_token_control_enabled: Option<bool>,

    /// Publishing needs a broadcast that was created before [default: false]
    #[arg(long, env = "SHARDCAST_ACCEPT_ONLY_STREAMS_IN_DATA_STORE", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "acceptOnlyStreamsInDataStore")]
    pub accept_only_streams_in_data_store: Option<bool>,

    /// Who may publish: ranges, comma-separated [default: everybody]
    #[arg(long, env = "SHARDCAST_ALLOWED_PUBLISHER_CIDR", value_name = "RANGES")]
    #[serde(alias = "allowedPublisherCIDR")]
    pub allowed_publisher_cidr: Option<CidrList>,

    /// Who is asked by HTTP before anybody publishes [default: nobody]
    #[arg(
        long,
        env = "SHARDCAST_WEBHOOK_AUTHENTICATE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    #[serde(alias = "webhookAuthenticateURL")]
    pub webhook_authenticate_url: Option<String>,

    /// Time for the first media after an offer, in ms [default: 10000]
    #[arg(
        long,
        env = "SHARDCAST_WEBRTC_CLIENT_START_TIMEOUT_MS",
        value_name = "MS"
    )]
    #[serde(alias = "webRTCClientStartTimeoutMs")]
    pub webrtc_client_start_timeout_ms: Option<u64>,

    /// How often a keyframe is asked of the publisher, in ms [default: 2000]
    #[arg(long, env = "SHARDCAST_WEBRTC_KEYFRAME_TIME", value_name = "MS")]
    #[serde(alias = "webRTCKeyframeTime")]
    pub webrtc_keyframe_time: Option<u64>,

    /// How long destinations are held open for a lost publisher, in ms [default: 60000]
    #[arg(long, env = "SHARDCAST_HOLD_MS", value_name = "MS")]
    pub hold_ms: Option<u64>,

    /// How long a broadcast outlives the SDK's stop, in ms; 0 ends it at once [default: 2000]
    #[arg(long, env = "SHARDCAST_STOP_GRACE_MS", value_name = "MS")]
    pub stop_grace_ms: Option<u64>,

    /// Delay before the second retry of a destination, in ms; doubled each time [default: 500]
    #[arg(long, env = "SHARDCAST_ENDPOINT_RETRY_DELAY_MS_MIN", value_name = "MS")]
    pub endpoint_retry_delay_ms_min: Option<u64>,

    /// Longest delay between retries of a destination, in ms [default: 30000]
    #[arg(long, env = "SHARDCAST_ENDPOINT_RETRY_DELAY_MS_MAX", value_name = "MS")]
    pub endpoint_retry_delay_ms_max: Option<u64>,

    /// Failed retries in a row before a destination is given up; -1 is without end [default: -1]
    #[arg(
        long,
        env = "SHARDCAST_ENDPOINT_RETRIES_MAX",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub endpoint_retries_max: Option<i64>,

    /// A destination is given up no earlier than so long after its first failure, in ms [default: 0]
    #[arg(long, env = "SHARDCAST_ENDPOINT_GIVE_UP_MS_MIN", value_name = "MS")]
    pub endpoint_give_up_ms_min: Option<u64>,

    /// Destinations of one broadcast [default: 1000]
    #[arg(long, env = "SHARDCAST_ENDPOINTS_MAX", value_name = "N")]
    pub endpoints_max: Option<usize>,

    /// Live broadcasts of an application; -1 is no limit [default: -1]
    #[arg(
        long,
        env = "SHARDCAST_INGESTING_STREAM_LIMIT",
        value_name = "N",
        allow_negative_numbers = true
    )]
    #[serde(alias = "ingestingStreamLimit")]
    pub ingesting_stream_limit: Option<i64>,

    /// STUN or TURN server that browsers are told to use
    #[arg(long, env = "SHARDCAST_STUN_SERVER_URI", value_name = "URI")]
    #[serde(alias = "stunServerURI")]
    pub stun_server_uri: Option<String>,

    /// User name for the TURN server
    #[arg(long, env = "SHARDCAST_TURN_SERVER_USERNAME", value_name = "NAME")]
    #[serde(alias = "turnServerUsername")]
    pub turn_server_username: Option<String>,

    /// Password for the TURN server
    #[arg(
        long,
        env = "SHARDCAST_TURN_SERVER_CREDENTIAL",
        value_name = "TEXT",
        hide_env_values = true
    )]
    #[serde(alias = "turnServerCredential")]
    pub turn_server_credential: Option<String>,

    /// Where it is told by HTTP what happens to streams [default: nowhere]
    #[arg(
        long,
        env = "SHARDCAST_LISTENER_HOOK_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    #[serde(alias = "listenerHookURL")]
    pub listener_hook_url: Option<String>,

    /// Attempts of a webhook after the first [default: 10]
    #[arg(long, env = "SHARDCAST_WEBHOOK_RETRY_COUNT", value_name = "N")]
    #[serde(alias = "webhookRetryCount")]
    pub webhook_retry_count: Option<u32>,

    /// Pause before the second attempt of a webhook, in ms; doubles up to a minute [default: 1000]
    #[arg(long, env = "SHARDCAST_WEBHOOK_RETRY_DELAY", value_name = "MS")]
    #[serde(alias = "webhookRetryDelay")]
    pub webhook_retry_delay: Option<u64>,

    /// How webhooks are written [default: application/json]
    #[arg(long, env = "SHARDCAST_WEBHOOK_CONTENT_TYPE", value_name = "TYPE")]
    #[serde(alias = "webhookContentType")]
    pub webhook_content_type: Option<WebhookContentType>,

    /// How often liveStreamStatus is told of each live stream, in ms; -1 is never [default: -1]
    #[arg(
        long,
        env = "SHARDCAST_WEBHOOK_STREAM_STATUS_UPDATE_PERIOD_MS",
        value_name = "MS",
        allow_negative_numbers = true
    )]
    #[serde(alias = "webhookStreamStatusUpdatePeriodMs")]
    pub webhook_stream_status_update_period_ms: Option<i64>,

    /// Key that webhooks are signed with [default: they are not]
    #[arg(
        long,
        env = "SHARDCAST_WEBHOOK_SECRET",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub webhook_secret: Option<String>,

    /// Renditions that destinations may ask for by height: a JSON list of {height, videoBitrate,
    /// audioBitrate}, or height,videoBitrate,audioBitrate for each [default: none]
    #[arg(long, env = "SHARDCAST_ENCODER_SETTINGS", value_name = "LADDER")]
    #[serde(alias = "encoderSettings", alias = "encoderSettingsString")]
    pub encoder_settings: Option<Ladder>,

    /// Frames per second of renditions [default: 30]
    #[arg(long, env = "SHARDCAST_WEBRTC_FRAME_RATE", value_name = "N")]
    #[serde(alias = "webRTCFrameRate")]
    pub webrtc_frame_rate: Option<u32>,

    /// Distance of keyframes of renditions, in frames; 0 is two seconds [default: 0]
    #[arg(long, env = "SHARDCAST_GOP_SIZE", value_name = "N")]
    #[serde(alias = "gopSize")]
    pub gop_size: Option<u32>,

    /// Publishers may send H.264 [default: true]
    #[arg(long, env = "SHARDCAST_H264_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "h264Enabled")]
    pub h264_enabled: Option<bool>,

    /// Publishers may send VP8, which is re-encoded [default: true]
    #[arg(long, env = "SHARDCAST_VP8_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "vp8Enabled")]
    pub vp8_enabled: Option<bool>,

    /// Publishers may send VP9, which is re-encoded [default: true]
    #[arg(long, env = "SHARDCAST_VP9_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "vp9Enabled")]
    pub vp9_enabled: Option<bool>,

    /// Publishers may send AV1, which is re-encoded [default: true]
    #[arg(long, env = "SHARDCAST_AV1_ENABLED", value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "av1Enabled")]
    pub av1_enabled: Option<bool>,

    /// Channels of sound that publishers are asked for: mono or stereo [default: mono]
    #[arg(long, env = "SHARDCAST_OPUS_CHANNELS", value_name = "CHANNELS")]
    pub opus_channels: Option<OpusChannels>,

    /// When destinations are sent a rendition: off, auto (while the publisher's picture does not
    /// suit them) or always [default: auto]
    #[arg(long, env = "SHARDCAST_REENCODE", value_name = "WHEN", value_parser = word::<Reencode>)]
    pub reencode: Option<Reencode>,

    /// Preset of renditions: ultrafast, superfast, veryfast or faster [default: superfast]
    #[arg(long, env = "SHARDCAST_ENCODER_PRESET", value_name = "NAME", value_parser = word::<Preset>)]
    pub encoder_preset: Option<Preset>,

    /// Profile of renditions: baseline, main or high [default: high]
    #[arg(long, env = "SHARDCAST_ENCODER_PROFILE", value_name = "NAME", value_parser = word::<Profile>)]
    pub encoder_profile: Option<Profile>,

    /// Log filter, such as info or info,shardcast_control=debug [default: info]
    #[arg(long, env = "SHARDCAST_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Log format [default: human on a terminal, json otherwise]
    #[arg(long, env = "SHARDCAST_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Settings of single applications; file only.
    #[arg(skip)]
    pub application: BTreeMap<String, ApplicationOverrides>,

    /// Names of Ant Media Server, for all applications; file only.
    #[arg(skip)]
    pub ant_media: Option<toml::Table>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

impl LogFormat {
    /// The word that the engine's `--log-format` takes too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl Overrides {
    /// The part of this layer that holds for each application.
    pub fn application_defaults(&self) -> ApplicationOverrides {
        ApplicationOverrides {
            publish_token_control_enabled: self.publish_token_control_enabled,
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

/// A flag's value, in the words that the file has for it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(text.into_deserializer())
}
