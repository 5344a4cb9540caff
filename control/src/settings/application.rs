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
    /// Publishing needs a broadcast that was created before.
    pub accept_only_streams_in_data_store: bool,
    /// Who may publish; `None` is everybody.
    #[serde(
        rename = "allowedPublisherCIDR",
        skip_serializing_if = "Option::is_none"
    )]
    pub allowed_publisher_cidr: Option<CidrList>,
    /// Without media for so long after the offer, a publish attempt ends. Milliseconds.
    #[serde(rename = "webRTCClientStartTimeoutMs")]
    pub start_timeout_ms: u64,
    /// How often a keyframe is asked of the publisher. Milliseconds.
    #[serde(rename = "webRTCKeyframeTime")]
    pub keyframe_interval_ms: u64,
    /// How long destinations are held open for a lost publisher. Milliseconds.
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
    /// Destinations of one broadcast.
    #[serde(rename = "endpoints_max")]
    pub endpoints_max: usize,
    /// Live broadcasts at a time; `None` is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingesting_stream_limit: Option<usize>,
    /// Who may use REST.
    #[serde(rename = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: CidrList,
    #[serde(flatten)]
    pub ice_server: IceServer,
    #[serde(flatten)]
    pub webhooks: WebhookSettings,
    #[serde(flatten)]
    pub encoding: EncodingSettings,
}

/// The STUN or TURN server that browsers are told to use (`getIceServerConfig`).
#[derive(Clone, Debug, Serialize)]
pub struct IceServer {
    /// `stun:…` or `turn:…`.
    #[serde(rename = "stunServerURI")]
    pub uri: String,
    #[serde(rename = "turnServerUsername")]
    pub username: String,
    /// Secret towards anybody but the browsers of this server.
    #[serde(rename = "turnServerCredential")]
    pub credential: String,
}

impl ApplicationSettings {
    /// How destinations that say nothing of it themselves are tried again.
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
    #[serde(alias = "publishTokenControlEnabled")]
    pub publish_token_control_enabled: Option<bool>,
    #[serde(alias = "acceptOnlyStreamsInDataStore")]
    pub accept_only_streams_in_data_store: Option<bool>,
    #[serde(alias = "allowedPublisherCIDR")]
    pub allowed_publisher_cidr: Option<CidrList>,
    #[serde(alias = "webhookAuthenticateURL")]
    pub webhook_authenticate_url: Option<String>,
    #[serde(alias = "webRTCClientStartTimeoutMs")]
    pub webrtc_client_start_timeout_ms: Option<u64>,
    #[serde(alias = "webRTCKeyframeTime")]
    pub webrtc_keyframe_time: Option<u64>,
    pub hold_ms: Option<u64>,
    pub stop_grace_ms: Option<u64>,
    pub endpoint_retry_delay_ms_min: Option<u64>,
    pub endpoint_retry_delay_ms_max: Option<u64>,
    /// -1 is without end.
    pub endpoint_retries_max: Option<i64>,
    pub endpoint_give_up_ms_min: Option<u64>,
    pub endpoints_max: Option<usize>,
    /// -1 is no limit.
    #[serde(alias = "ingestingStreamLimit")]
    pub ingesting_stream_limit: Option<i64>,
    #[serde(alias = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: Option<CidrList>,
    #[serde(alias = "stunServerURI")]
    pub stun_server_uri: Option<String>,
    #[serde(alias = "turnServerUsername")]
    pub turn_server_username: Option<String>,
    #[serde(alias = "turnServerCredential")]
    pub turn_server_credential: Option<String>,
    #[serde(alias = "listenerHookURL")]
    pub listener_hook_url: Option<String>,
    #[serde(alias = "webhookRetryCount")]
    pub webhook_retry_count: Option<u32>,
    #[serde(alias = "webhookRetryDelay")]
    pub webhook_retry_delay: Option<u64>,
    #[serde(alias = "webhookContentType")]
    pub webhook_content_type: Option<WebhookContentType>,
    /// -1 is never.
    #[serde(alias = "webhookStreamStatusUpdatePeriodMs")]
    pub webhook_stream_status_update_period_ms: Option<i64>,
    pub webhook_secret: Option<String>,
    #[serde(alias = "encoderSettings", alias = "encoderSettingsString")]
    pub encoder_settings: Option<Ladder>,
    #[serde(alias = "webRTCFrameRate")]
    pub webrtc_frame_rate: Option<u32>,
    #[serde(alias = "gopSize")]
    pub gop_size: Option<u32>,
    #[serde(alias = "h264Enabled")]
    pub h264_enabled: Option<bool>,
    #[serde(alias = "vp8Enabled")]
    pub vp8_enabled: Option<bool>,
    #[serde(alias = "vp9Enabled")]
    pub vp9_enabled: Option<bool>,
    #[serde(alias = "av1Enabled")]
    pub av1_enabled: Option<bool>,
    pub opus_channels: Option<OpusChannels>,
    pub reencode: Option<Reencode>,
    pub encoder_preset: Option<Preset>,
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
