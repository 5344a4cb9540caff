//! Settings that each application may have for itself.

use serde::{Deserialize, Serialize};
use shardcast_link::{
    CidrList, DataFromViewers, Preset, PreviewFormat, Profile, Reencode, RetryPolicy,
};

use super::{
    encoding::{EncodingSettings, OpusChannels},
    hls::{self, HlsSettings},
    preview::PreviewSettings,
    recording::RecordingSettings,
    s3::S3Settings,
    webhooks::{WebhookContentType, WebhookSettings},
};
use crate::ladder::Ladder;

/// Settings of one application. Names that Ant Media Server has are kept.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSettings {
    /// Publishing needs a token.
    pub publish_token_control_enabled: bool,
    /// Watching needs a token.
    pub play_token_control_enabled: bool,
    /// Most viewers of one broadcast over WebRTC; `None`: no limit.
    #[serde(rename = "webRTCViewerLimit", skip_serializing_if = "Option::is_none")]
    pub webrtc_viewer_limit: Option<usize>,
    /// Messages over data channels are delivered.
    pub data_channel_enabled: bool,
    /// Who is sent what viewers send over them.
    pub data_channel_player_distribution: DataFromViewers,
    /// Publishing needs a broadcast that was created before.
    pub accept_only_streams_in_data_store: bool,
    /// Addresses that may publish; `None`: all.
    #[serde(
        rename = "allowedPublisherCIDR",
        skip_serializing_if = "Option::is_none"
    )]
    pub allowed_publisher_cidr: Option<CidrList>,
    /// An attempt to publish ends when no media has come so many milliseconds after its offer.
    #[serde(rename = "webRTCClientStartTimeoutMs")]
    pub start_timeout_ms: u64,
    /// How often a keyframe is requested from the publisher, in milliseconds.
    #[serde(rename = "webRTCKeyframeTime")]
    pub keyframe_interval_ms: u64,
    /// How long destinations are held open for a lost publisher, in milliseconds.
    #[serde(rename = "hold_ms")]
    pub hold_ms: u64,
    /// How long a broadcast outlives the SDK's `stop`, which it says before each of its own
    /// retries too; 0 ends it at once. Milliseconds.
    #[serde(rename = "stop_grace_ms")]
    pub stop_grace_ms: u64,
    /// Delay before the second retry of a destination; doubled from one to the next. Milliseconds.
    #[serde(rename = "endpoint_retry_delay_ms_min")]
    pub endpoint_retry_delay_ms_min: u64,
    /// Longest delay between two retries. Milliseconds.
    #[serde(rename = "endpoint_retry_delay_ms_max")]
    pub endpoint_retry_delay_ms_max: u64,
    /// Retries in a row that fail before a destination is given up; `None` is without end.
    #[serde(
        rename = "endpoint_retries_max",
        skip_serializing_if = "Option::is_none"
    )]
    pub endpoint_retries_max: Option<u32>,
    /// A destination is given up no earlier than so long after its first failure in a row.
    /// Milliseconds.
    #[serde(rename = "endpoint_give_up_ms_min")]
    pub endpoint_give_up_ms_min: u64,
    /// Most destinations of one broadcast.
    #[serde(rename = "endpoints_max")]
    pub endpoints_max: usize,
    /// Most live broadcasts at a time; `None`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingesting_stream_limit: Option<usize>,
    /// Addresses that may use REST.
    #[serde(rename = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: CidrList,
    /// The STUN or TURN server for browsers.
    #[serde(flatten)]
    pub ice_server: IceServer,
    /// Its webhooks.
    #[serde(flatten)]
    pub webhooks: WebhookSettings,
    /// What publishers may send and how it is re-encoded.
    #[serde(flatten)]
    pub encoding: EncodingSettings,
    /// Watching by HLS.
    #[serde(flatten)]
    pub hls: HlsSettings,
    /// How they are recorded.
    #[serde(flatten)]
    pub recording: RecordingSettings,
    /// Where recordings are uploaded to.
    #[serde(flatten)]
    pub s3: S3Settings,
    /// Previews of them.
    #[serde(flatten)]
    pub preview: PreviewSettings,
}

/// The STUN and TURN servers that clients are told of.
#[derive(Clone, Debug, Serialize)]
pub struct IceServer {
    /// URIs with one of [`IceServer::SCHEMES`], comma-separated.
    #[serde(rename = "stunServerURI")]
    pub uri: String,
    /// User name for the TURN servers.
    #[serde(rename = "turnServerUsername")]
    pub username: String,
    /// Shown to the browsers of this server only.
    #[serde(rename = "turnServerCredential")]
    pub credential: String,
}

impl IceServer {
    /// RFC 7064 and RFC 7065; those that end with `s` are spoken over TLS.
    pub const SCHEMES: [&str; 4] = ["stun:", "stuns:", "turn:", "turns:"];

    /// Each URI, in their order.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        let uris = self.uri.split(',').map(str::trim);
        uris.filter(|uri| !uri.is_empty())
    }

    /// Whether `uri` is one of a server that asks for the name and the password.
    pub fn is_turn(uri: &str) -> bool {
        uri.starts_with("turn:") || uri.starts_with("turns:")
    }

    /// The one for clients that take one: Ant Media's SDK knows `turn:` and `stun:` alone. Empty if there is none.
    pub fn first(&self) -> &str {
        let of = |scheme: &str| self.uris().find(|uri| uri.starts_with(scheme));
        let known = of("turn:").or_else(|| of("stun:"));
        known.or_else(|| self.uris().next()).unwrap_or_default()
    }
}

impl ApplicationSettings {
    /// The retry policy of destinations without one of their own.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            delay_ms_min: self.endpoint_retry_delay_ms_min,
            delay_ms_max: self.endpoint_retry_delay_ms_max,
            retries_max: self.endpoint_retries_max,
            give_up_ms_min: self.endpoint_give_up_ms_min,
        }
    }
}

impl Default for ApplicationSettings {
    fn default() -> Self {
        let retry = RetryPolicy::default();
        Self {
            publish_token_control_enabled: false,
            play_token_control_enabled: false,
            webrtc_viewer_limit: None,
            data_channel_enabled: true,
            data_channel_player_distribution: DataFromViewers::All,
            accept_only_streams_in_data_store: false,
            allowed_publisher_cidr: None,
            start_timeout_ms: 10_000,
            keyframe_interval_ms: 2_000,
            hold_ms: 60_000,
            stop_grace_ms: 2_000,
            endpoint_retry_delay_ms_min: retry.delay_ms_min,
            endpoint_retry_delay_ms_max: retry.delay_ms_max,
            endpoint_retries_max: retry.retries_max,
            endpoint_give_up_ms_min: retry.give_up_ms_min,
            // No licence gate as elsewhere; a bound all the same, far above what a studio uses.
            endpoints_max: 1_000,
            ingesting_stream_limit: None,
            remote_allowed_cidr: CidrList::loopback(),
            ice_server: IceServer {
                uri: "stun:stun1.l.google.com:19302".to_owned(),
                username: String::new(),
                credential: String::new(),
            },
            webhooks: WebhookSettings::default(),
            encoding: EncodingSettings::default(),
            hls: HlsSettings::default(),
            recording: RecordingSettings::default(),
            s3: S3Settings::default(),
            preview: PreviewSettings::default(),
        }
    }
}

/// One layer of an application's settings: an `[application.NAME]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationOverrides {
    /// Publishing needs a token.
    #[serde(alias = "publishTokenControlEnabled")]
    pub publish_token_control_enabled: Option<bool>,
    /// Watching needs a token.
    #[serde(alias = "playTokenControlEnabled")]
    pub play_token_control_enabled: Option<bool>,
    /// Most viewers of one broadcast over WebRTC; -1 is no limit.
    #[serde(alias = "webRTCViewerLimit")]
    pub webrtc_viewer_limit: Option<i64>,
    /// Messages over data channels are delivered.
    #[serde(alias = "dataChannelEnabled")]
    pub data_channel_enabled: Option<bool>,
    /// Who is sent what viewers send over them.
    #[serde(alias = "dataChannelPlayerDistribution")]
    pub data_channel_player_distribution: Option<DataFromViewers>,
    /// Broadcasts can be watched by HLS.
    #[serde(alias = "hlsMuxingEnabled")]
    pub hls_muxing_enabled: Option<bool>,
    /// Length of a segment of HLS, in seconds.
    #[serde(alias = "hlsTime", deserialize_with = "hls::number")]
    pub hls_time: Option<u32>,
    /// Segments of a playlist of HLS.
    #[serde(alias = "hlsListSize", deserialize_with = "hls::number")]
    pub hls_list_size: Option<u32>,
    /// Broadcasts are packaged for HLS before anybody asks.
    pub hls_always: Option<bool>,
    /// What segments of HLS are.
    #[serde(alias = "hlsSegmentType")]
    pub hls_segment_type: Option<hls::SegmentType>,
    /// Broadcasts can be watched by DASH.
    #[serde(alias = "dashMuxingEnabled")]
    pub dash_muxing_enabled: Option<bool>,
    /// Publishing needs a broadcast that was created before.
    #[serde(alias = "acceptOnlyStreamsInDataStore")]
    pub accept_only_streams_in_data_store: Option<bool>,
    /// Addresses that may publish.
    #[serde(alias = "allowedPublisherCIDR")]
    pub allowed_publisher_cidr: Option<CidrList>,
    /// The backend that is asked before a client may publish.
    #[serde(alias = "webhookAuthenticateURL")]
    pub webhook_authenticate_url: Option<String>,
    /// Time for the first media after an offer, in milliseconds.
    #[serde(alias = "webRTCClientStartTimeoutMs")]
    pub webrtc_client_start_timeout_ms: Option<u64>,
    /// How often a keyframe is requested from the publisher, in milliseconds.
    #[serde(alias = "webRTCKeyframeTime")]
    pub webrtc_keyframe_time: Option<u64>,
    /// How long destinations are held open for a lost publisher, in milliseconds.
    pub hold_ms: Option<u64>,
    /// How long a broadcast outlives the SDK's `stop`, in milliseconds.
    pub stop_grace_ms: Option<u64>,
    /// Delay before the second retry of a destination, in milliseconds.
    pub endpoint_retry_delay_ms_min: Option<u64>,
    /// Longest delay between two retries, in milliseconds.
    pub endpoint_retry_delay_ms_max: Option<u64>,
    /// Failed retries in a row before a destination is given up; -1 is without end.
    pub endpoint_retries_max: Option<i64>,
    /// A destination is not given up earlier than so many milliseconds after its first failure.
    pub endpoint_give_up_ms_min: Option<u64>,
    /// Most destinations of one broadcast.
    pub endpoints_max: Option<usize>,
    /// Most live broadcasts at a time; -1 is no limit.
    #[serde(alias = "ingestingStreamLimit")]
    pub ingesting_stream_limit: Option<i64>,
    /// Addresses that may use REST.
    #[serde(alias = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: Option<CidrList>,
    /// The STUN and TURN servers that clients are told of, comma-separated.
    #[serde(alias = "stunServerURI")]
    pub stun_server_uri: Option<String>,
    /// User name for the TURN server.
    #[serde(alias = "turnServerUsername")]
    pub turn_server_username: Option<String>,
    /// Password for the TURN server.
    #[serde(alias = "turnServerCredential")]
    pub turn_server_credential: Option<String>,
    /// The receiver of webhooks for streams without one of their own.
    #[serde(alias = "listenerHookURL")]
    pub listener_hook_url: Option<String>,
    /// The receiver of messages over data channels.
    #[serde(alias = "dataChannelWebHookURL")]
    pub data_channel_webhook_url: Option<String>,
    /// Attempts of a webhook after the first.
    #[serde(alias = "webhookRetryCount")]
    pub webhook_retry_count: Option<u32>,
    /// Pause before the second attempt of a webhook, in milliseconds.
    #[serde(alias = "webhookRetryDelay")]
    pub webhook_retry_delay: Option<u64>,
    /// How webhooks are written.
    #[serde(alias = "webhookContentType")]
    pub webhook_content_type: Option<WebhookContentType>,
    /// How often `liveStreamStatus` is sent for each live stream, in milliseconds; -1 is never.
    #[serde(alias = "webhookStreamStatusUpdatePeriodMs")]
    pub webhook_stream_status_update_period_ms: Option<i64>,
    /// The key that webhooks are signed with.
    pub webhook_secret: Option<String>,
    /// Renditions that destinations may ask for by height.
    #[serde(alias = "encoderSettings", alias = "encoderSettingsString")]
    pub encoder_settings: Option<Ladder>,
    /// Frames per second of renditions.
    #[serde(alias = "webRTCFrameRate")]
    pub webrtc_frame_rate: Option<u32>,
    /// Distance of keyframes of renditions, in frames; 0 is two seconds.
    #[serde(alias = "gopSize")]
    pub gop_size: Option<u32>,
    /// Publishers may send H.264.
    #[serde(alias = "h264Enabled")]
    pub h264_enabled: Option<bool>,
    /// Publishers may send VP8.
    #[serde(alias = "vp8Enabled")]
    pub vp8_enabled: Option<bool>,
    /// Publishers may send VP9.
    #[serde(alias = "vp9Enabled")]
    pub vp9_enabled: Option<bool>,
    /// Publishers may send AV1.
    #[serde(alias = "av1Enabled")]
    pub av1_enabled: Option<bool>,
    /// Channels of audio that publishers are asked for.
    pub opus_channels: Option<OpusChannels>,
    /// When destinations are sent a rendition.
    pub reencode: Option<Reencode>,
    /// Preset of renditions.
    pub encoder_preset: Option<Preset>,
    /// Profile of renditions.
    pub encoder_profile: Option<Profile>,
    /// Broadcasts are recorded as MP4.
    #[serde(alias = "mp4MuxingEnabled")]
    pub mp4_muxing_enabled: Option<bool>,
    /// Names of recordings say when they began.
    #[serde(alias = "addDateTimeToMp4FileName")]
    pub add_date_time_to_mp4_file_name: Option<bool>,
    /// What is shown while a publisher is away is recorded too.
    pub recording_filler: Option<bool>,
    /// Minutes after which another file is begun; 0 is never.
    pub recording_minutes_max: Option<u64>,
    /// A program that is run for each recording that is finished.
    #[serde(alias = "muxerFinishScript")]
    pub muxer_finish_script: Option<String>,
    /// Finished recordings are uploaded to S3-compatible storage.
    #[serde(alias = "s3RecordingEnabled")]
    pub s3_recording_enabled: Option<bool>,
    /// Id of the key of the bucket.
    #[serde(alias = "s3AccessKey")]
    pub s3_access_key: Option<String>,
    /// The key of the bucket.
    #[serde(alias = "s3SecretKey")]
    pub s3_secret_key: Option<String>,
    /// Region of the bucket.
    #[serde(alias = "s3RegionName")]
    pub s3_region_name: Option<String>,
    /// The bucket.
    #[serde(alias = "s3BucketName")]
    pub s3_bucket_name: Option<String>,
    /// The server of the bucket; empty is Amazon's.
    #[serde(alias = "s3Endpoint")]
    pub s3_endpoint: Option<String>,
    /// What names of objects begin with.
    #[serde(alias = "s3StreamsFolderPath")]
    pub s3_streams_folder_path: Option<String>,
    /// Files are removed once they are uploaded.
    pub s3_delete_local: Option<bool>,
    /// Previews are made of live broadcasts.
    #[serde(alias = "generatePreview")]
    pub generate_preview: Option<bool>,
    /// Time between two previews of one broadcast, in milliseconds.
    #[serde(alias = "createPreviewPeriod")]
    pub create_preview_period: Option<u64>,
    /// Lines of a preview, at most.
    #[serde(alias = "previewHeight")]
    pub preview_height: Option<u32>,
    /// What kind of file a preview is.
    #[serde(alias = "previewFormat")]
    pub preview_format: Option<PreviewFormat>,
    /// Names of Ant Media Server; the names above win over it.
    pub ant_media: Option<toml::Table>,
}
