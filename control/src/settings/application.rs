//! Settings that each application may have for itself.

use serde::{Deserialize, Serialize};
use shardcast_link::{CidrList, Preset, Profile, Reencode, RetryPolicy};

use super::{
    encoding::{EncodingSettings, OpusChannels},
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
}

/// The STUN or TURN server that browsers receive by `getIceServerConfig`.
#[derive(Clone, Debug, Serialize)]
pub struct IceServer {
    /// `stun:…` or `turn:…`.
    #[serde(rename = "stunServerURI")]
    pub uri: String,
    /// User name for a TURN server.
    #[serde(rename = "turnServerUsername")]
    pub username: String,
    /// Shown to the browsers of this server only.
    #[serde(rename = "turnServerCredential")]
    pub credential: String,
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
    /// The STUN or TURN server that browsers are told to use.
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
    /// Names of Ant Media Server; the names above win over it.
    pub ant_media: Option<toml::Table>,
}

impl ApplicationOverrides {
    /// Lays this layer over `settings`.
    pub fn apply(&self, settings: &mut ApplicationSettings) {
        set(
            &mut settings.publish_token_control_enabled,
            &self.publish_token_control_enabled,
        );
        set(
            &mut settings.play_token_control_enabled,
            &self.play_token_control_enabled,
        );
        if let Some(limit) = self.webrtc_viewer_limit {
            settings.webrtc_viewer_limit = usize::try_from(limit).ok();
        }
        set(
            &mut settings.accept_only_streams_in_data_store,
            &self.accept_only_streams_in_data_store,
        );
        if let Some(ranges) = &self.allowed_publisher_cidr {
            settings.allowed_publisher_cidr = Some(ranges.clone());
        }
        set(
            &mut settings.start_timeout_ms,
            &self.webrtc_client_start_timeout_ms,
        );
        set(
            &mut settings.keyframe_interval_ms,
            &self.webrtc_keyframe_time,
        );
        set(&mut settings.hold_ms, &self.hold_ms);
        set(&mut settings.stop_grace_ms, &self.stop_grace_ms);
        set(
            &mut settings.endpoint_retry_delay_ms_min,
            &self.endpoint_retry_delay_ms_min,
        );
        set(
            &mut settings.endpoint_retry_delay_ms_max,
            &self.endpoint_retry_delay_ms_max,
        );
        if let Some(count) = self.endpoint_retries_max {
            // What is negative is without end there too.
            settings.endpoint_retries_max = u32::try_from(count).ok();
            // The time goes with the limit: that of a weaker layer says nothing about this one.
            settings.endpoint_give_up_ms_min = 0;
        }
        set(
            &mut settings.endpoint_give_up_ms_min,
            &self.endpoint_give_up_ms_min,
        );
        set(&mut settings.endpoints_max, &self.endpoints_max);
        if let Some(limit) = self.ingesting_stream_limit {
            settings.ingesting_stream_limit = usize::try_from(limit).ok();
        }
        set(&mut settings.remote_allowed_cidr, &self.remote_allowed_cidr);
        set(&mut settings.ice_server.uri, &self.stun_server_uri);
        set(
            &mut settings.ice_server.username,
            &self.turn_server_username,
        );
        set(
            &mut settings.ice_server.credential,
            &self.turn_server_credential,
        );
        self.apply_webhooks(&mut settings.webhooks);
        self.apply_encoding(&mut settings.encoding);
    }
}

impl ApplicationOverrides {
    fn apply_webhooks(&self, webhooks: &mut WebhookSettings) {
        set(&mut webhooks.url, &self.listener_hook_url);
        set(
            &mut webhooks.authenticate_url,
            &self.webhook_authenticate_url,
        );
        set(&mut webhooks.retry_count, &self.webhook_retry_count);
        set(&mut webhooks.retry_delay_ms, &self.webhook_retry_delay);
        set(&mut webhooks.content_type, &self.webhook_content_type);
        if let Some(period) = self.webhook_stream_status_update_period_ms {
            webhooks.status_period_ms = u64::try_from(period).ok().filter(|period| *period > 0);
        }
        set(&mut webhooks.secret, &self.webhook_secret);
    }

    fn apply_encoding(&self, encoding: &mut EncodingSettings) {
        set(&mut encoding.ladder, &self.encoder_settings);
        set(&mut encoding.frames_per_second, &self.webrtc_frame_rate);
        set(&mut encoding.gop_frames, &self.gop_size);
        let offered = &mut encoding.offered;
        set(&mut offered.h264_enabled, &self.h264_enabled);
        set(&mut offered.vp8_enabled, &self.vp8_enabled);
        set(&mut offered.vp9_enabled, &self.vp9_enabled);
        set(&mut offered.av1_enabled, &self.av1_enabled);
        set(&mut encoding.opus_channels, &self.opus_channels);
        set(&mut encoding.reencode, &self.reencode);
        set(&mut encoding.preset, &self.encoder_preset);
        set(&mut encoding.profile, &self.encoder_profile);
    }
}

fn set<T: Clone>(target: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        target.clone_from(value);
    }
}
