//! One layer of settings: what a TOML file, or flags and variables together, may say.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use clap::Args;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IntoDeserializer, value::Error},
};
use shardcast_link::{
    CidrList, DataFromViewers, Preset, PreviewFormat, Profile, Reencode,
    settings::{EngineSettings, LogFormat},
};

use super::{
    application::ApplicationOverrides, encoding::OpusChannels, hls, webhooks::WebhookContentType,
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

    /// Where recordings are kept [default: recordings, in the data directory]
    #[arg(long, value_name = "DIR")]
    pub recordings_dir: Option<PathBuf>,

    /// Where the shards' sockets are [default: link, in the data directory]
    #[arg(long, value_name = "DIR")]
    pub link_dir: Option<PathBuf>,

    /// Address that all ports are bound to [default: ::, IPv6 and IPv4; 0.0.0.0 without IPv6]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<IpAddr>,

    /// HTTP and WebSocket port; 0 picks a free one [default: 5080]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,

    /// HTTPS and secure WebSocket port; 0 picks a free one [default: 5443]
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,

    /// RTMP port; 0 picks a free one [default: 1935, or a free one when udp_port_base is 0]
    #[arg(long, value_name = "PORT")]
    pub rtmp_port: Option<u16>,

    /// Port for encoders by RTMPS; 0 picks a free one [default: 1936 if tls_cert is given, else none]
    #[arg(long, value_name = "PORT")]
    pub rtmps_port: Option<u16>,

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

    /// Take encoders by RTMP, and this machine to the test sink, the application sink [default: true]
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

    /// Messages over data channels are delivered [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "dataChannelEnabled")]
    pub data_channel_enabled: Option<bool>,

    /// Who is sent what viewers send over them: none, publisher or all [default: all]
    #[arg(long, value_name = "WHO", value_parser = word::<DataFromViewers>)]
    #[serde(alias = "dataChannelPlayerDistribution")]
    pub data_channel_player_distribution: Option<DataFromViewers>,

    /// Broadcasts can be watched by HLS [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "hlsMuxingEnabled")]
    pub hls_muxing_enabled: Option<bool>,

    /// Length of a segment of HLS [default: 2]
    #[arg(long, value_name = "S")]
    #[serde(alias = "hlsTime", deserialize_with = "hls::number")]
    pub hls_time: Option<u32>,

    /// Segments of a playlist of HLS [default: 15]
    #[arg(long, value_name = "N")]
    #[serde(alias = "hlsListSize", deserialize_with = "hls::number")]
    pub hls_list_size: Option<u32>,

    /// Broadcasts are packaged for HLS before anybody asks [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    pub hls_always: Option<bool>,

    /// What segments of HLS are: fmp4, or mpegts for old players [default: fmp4]
    #[arg(long, value_name = "NAME", value_parser = word::<hls::SegmentType>)]
    #[serde(alias = "hlsSegmentType")]
    pub hls_segment_type: Option<hls::SegmentType>,

    /// Broadcasts can be watched by DASH [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "dashMuxingEnabled")]
    pub dash_muxing_enabled: Option<bool>,

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

    /// STUN and TURN servers that clients are told to use: URIs, comma-separated
    #[arg(long, value_name = "URIS")]
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

    /// The receiver of the messages that clients send over data channels, by HTTP [default: none]
    #[arg(long, value_name = "URL", hide_env_values = true)]
    #[serde(alias = "dataChannelWebHookURL")]
    pub data_channel_webhook_url: Option<String>,

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

    /// Broadcasts are recorded as MP4, unless they say otherwise [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "mp4MuxingEnabled")]
    pub mp4_muxing_enabled: Option<bool>,

    /// Names of recordings say when they began [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "addDateTimeToMp4FileName")]
    pub add_date_time_to_mp4_file_name: Option<bool>,

    /// What is shown while a publisher is away is recorded too [default: true]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    pub recording_filler: Option<bool>,

    /// Minutes after which another file of a recording is begun; 0 is never [default: 0]
    #[arg(long, value_name = "N")]
    pub recording_minutes_max: Option<u64>,

    /// Program that is run with the path of each recording that is finished [default: none]
    #[arg(long, value_name = "COMMAND")]
    #[serde(alias = "muxerFinishScript")]
    pub muxer_finish_script: Option<String>,

    /// Finished recordings are uploaded to S3-compatible storage [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "s3RecordingEnabled")]
    pub s3_recording_enabled: Option<bool>,

    /// Id of the key of the bucket
    #[arg(long, value_name = "TEXT", hide_env_values = true)]
    #[serde(alias = "s3AccessKey")]
    pub s3_access_key: Option<String>,

    /// The key of the bucket
    #[arg(long, value_name = "TEXT", hide_env_values = true)]
    #[serde(alias = "s3SecretKey")]
    pub s3_secret_key: Option<String>,

    /// Region of the bucket [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    #[serde(alias = "s3RegionName")]
    pub s3_region_name: Option<String>,

    /// The bucket
    #[arg(long, value_name = "NAME")]
    #[serde(alias = "s3BucketName")]
    pub s3_bucket_name: Option<String>,

    /// The server of the bucket [default: Amazon's of the region]
    #[arg(long, value_name = "URL")]
    #[serde(alias = "s3Endpoint")]
    pub s3_endpoint: Option<String>,

    /// What names of objects begin with [default: streams]
    #[arg(long, value_name = "FOLDER")]
    #[serde(alias = "s3StreamsFolderPath")]
    pub s3_streams_folder_path: Option<String>,

    /// Files are removed once they are uploaded [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    pub s3_delete_local: Option<bool>,

    /// Previews are made of live broadcasts [default: false]
    #[arg(long, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true")]
    #[serde(alias = "generatePreview")]
    pub generate_preview: Option<bool>,

    /// Time between two previews of one broadcast, in ms; less than 5000 is 5000 [default: 5000]
    #[arg(long, value_name = "MS")]
    #[serde(alias = "createPreviewPeriod")]
    pub create_preview_period: Option<u64>,

    /// Lines of a preview, which is never larger than the video [default: 480]
    #[arg(long, value_name = "N")]
    #[serde(alias = "previewHeight")]
    pub preview_height: Option<u32>,

    /// What kind of file a preview is: png or jpg [default: png]
    #[arg(long, value_name = "NAME", value_parser = word::<PreviewFormat>)]
    #[serde(alias = "previewFormat")]
    pub preview_format: Option<PreviewFormat>,

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

/// Reads a flag's value as the file's is read.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(text.into_deserializer())
}
