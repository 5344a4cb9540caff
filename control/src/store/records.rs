//! The rows of the store.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shardcast_link::{BroadcastId, DestinationId, DestinationStatus};

use super::hooks::HookRecord;
use crate::{retry::RetryOverrides, video_settings::VideoOverrides};

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) broadcasts: Vec<BroadcastRecord>,
    pub(crate) tokens: Vec<TokenRecord>,
    pub(crate) slates: Vec<SlateRecord>,
    pub(crate) shards: Vec<ShardRecord>,
    pub(crate) vods: Vec<VodRecord>,
    /// In their order.
    pub(crate) hooks: Vec<HookRecord>,
}

/// One change of one row.
#[derive(Debug)]
pub(crate) enum Mutation {
    PutBroadcast(Arc<BroadcastRecord>),
    RemoveBroadcast(BroadcastId),
    PutToken(TokenRecord),
    RemoveToken(String),
    PutSlate(Arc<SlateRecord>),
    RemoveSlate(BroadcastId),
    PutShard(ShardRecord),
    PutVod(Arc<VodRecord>),
    RemoveVod(String),
    PutHook(Arc<HookRecord>),
    RemoveHook(u64),
}

/// A broadcast as control knows it without any shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BroadcastRecord {
    pub(crate) id: BroadcastId,
    /// Published without having been created: it is removed when publishing ends.
    #[serde(default)]
    pub(crate) zombi: bool,
    pub(crate) created_unix_ms: u64,
    #[serde(default)]
    pub(crate) profile: Profile,
    /// `None` until the first is added, which clients can see.
    #[serde(default)]
    pub(crate) endpoints: Option<Vec<EndpointRecord>>,
    #[serde(default)]
    pub(crate) lifecycle: Lifecycle,
    /// The shard that has or last had it.
    #[serde(default)]
    pub(crate) shard: Option<u16>,
    /// Its last publisher was an encoder.
    #[serde(default)]
    pub(crate) by_rtmp: bool,
    /// The recording that is made while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recording: Option<RecordingRecord>,
}

/// A recording that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordingRecord {
    /// Of its first file; those that follow have a number behind it.
    pub(crate) vod_id: String,
    pub(crate) since_unix_ms: u64,
    /// What the file is to be called, without extension; `None` is named after the stream.
    #[serde(default)]
    pub(crate) file_name: Option<String>,
}

/// A recording that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VodRecord {
    pub(crate) id: String,
    pub(crate) broadcast: BroadcastId,
    /// The name that the broadcast had.
    #[serde(default)]
    pub(crate) stream_name: Option<String>,
    /// Below the folder of its application: `streams/…`.
    pub(crate) path: String,
    pub(crate) created_unix_ms: u64,
    pub(crate) started_unix_ms: u64,
    pub(crate) duration_ms: u64,
    pub(crate) bytes: u64,
    /// The name of its file in the folder where files grow, until it is at `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) growing: Option<String>,
    /// That it is to be uploaded, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<UploadRecord>,
}

/// A recording that is to be uploaded, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    /// Where to.
    pub(crate) place: PlaceRecord,
    /// Name of the object.
    pub(crate) key: String,
    /// Id of the upload in parts that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<String>,
    /// Tags of the parts that are there, from the first on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// When all of it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uploaded_unix_ms: Option<u64>,
    /// The file was removed from the disk afterwards.
    #[serde(default)]
    pub(crate) moved: bool,
}

/// A bucket in S3-compatible storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaceRecord {
    /// URL of the server.
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
}

impl VodRecord {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Where a broadcast is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Lifecycle {
    #[default]
    Created,
    /// Media has come; the publisher is there or is waited for.
    Live { since_unix_ms: u64 },
    Finished {
        since_unix_ms: u64,
        ended_unix_ms: u64,
    },
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointRecord {
    pub(crate) id: DestinationId,
    /// With the stream key.
    pub(crate) url: String,
    /// What it has instead of its application's retry policy.
    #[serde(default)]
    pub(crate) retry: Option<RetryOverrides>,
    /// What it has instead of its application's video settings; stored as `picture`.
    #[serde(default, rename = "picture")]
    pub(crate) video: VideoOverrides,
    /// How it ended when the broadcast was last live; and while it is live, that it was given up.
    #[serde(default)]
    pub(crate) last: Option<LastReport>,
}

/// A destination's last report of a broadcast that is over, or that goes on without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastReport {
    pub(crate) status: DestinationStatus,
}

/// A permission to publish or play one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    /// The secret itself.
    pub(crate) token: String,
    pub(crate) broadcast: BroadcastId,
    /// `publish` or `play`.
    pub(crate) kind: String,
    /// It is valid before this second.
    pub(crate) expire_unix_s: u64,
    #[serde(default)]
    pub(crate) room: Option<String>,
}

/// What the operator has said of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRecord {
    pub(crate) shard: u16,
    /// In place of what the shard says of itself.
    #[serde(default)]
    pub(crate) weight: Option<u32>,
    /// Nothing new is placed on it.
    #[serde(default)]
    pub(crate) draining: bool,
}

/// The image that a broadcast shows while its publisher is away.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SlateRecord {
    pub(crate) broadcast: BroadcastId,
    /// New for each upload, so that a new image differs from the one before.
    pub(crate) name: String,
    /// `image/png` or `image/jpeg`.
    pub(crate) content_type: String,
    /// The file as it came.
    pub(crate) image: Bytes,
}

impl fmt::Debug for SlateRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, name, bytes) = (&self.broadcast, &self.name, self.image.len());
        write!(f, "SlateRecord({id}, {name}, {bytes} bytes)")
    }
}

/// The part of a broadcast that clients set, under the names that the REST API has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Profile {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) meta_data: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) quality: Option<String>,
    /// What kind of room it is; there are none here.
    pub(crate) conference_mode: Option<String>,
    pub(crate) play_list_status: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) publish: bool,
    pub(crate) public_stream: bool,
    #[serde(rename = "is360")]
    pub(crate) is_360: bool,
    #[serde(rename = "virtual")]
    pub(crate) is_virtual: bool,
    pub(crate) auto_start_stop_enabled: bool,
    pub(crate) playlist_loop_enabled: bool,
    pub(crate) planned_start_date: i64,
    pub(crate) planned_end_date: i64,
    pub(crate) seek_time_in_ms: i64,
    #[serde(rename = "expireDurationMS")]
    pub(crate) expire_duration_ms: i64,
    pub(crate) play_list_item_list: Option<Vec<Value>>,
    pub(crate) encoder_settings_list: Option<Vec<Value>>,
    #[serde(rename = "listenerHookURL")]
    pub(crate) listener_hook_url: Option<String>,
    pub(crate) ip_addr: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) stream_url: Option<String>,
    pub(crate) mp4_enabled: i64,
    #[serde(rename = "webMEnabled")]
    pub(crate) webm_enabled: i64,
    #[serde(rename = "webRTCViewerLimit")]
    pub(crate) webrtc_viewer_limit: i64,
    pub(crate) hls_viewer_limit: i64,
    pub(crate) dash_viewer_limit: i64,
    pub(crate) subtracks_limit: i64,
    pub(crate) main_track_stream_id: Option<String>,
    pub(crate) sub_folder: Option<String>,
    pub(crate) latitude: Option<String>,
    pub(crate) longitude: Option<String>,
    pub(crate) altitude: Option<String>,
    pub(crate) current_play_index: i64,
    pub(crate) max_idle_time: i64,
    pub(crate) hls_parameters: Option<Value>,
    pub(crate) sub_track_stream_ids: Vec<String>,
    /// Not in Ant Media Server: how long destinations are held open for a lost publisher, in
    /// milliseconds; `None` is the application's.
    pub(crate) hold_ms: Option<u64>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: None,
            description: None,
            category: None,
            meta_data: None,
            role: None,
            quality: None,
            conference_mode: None,
            play_list_status: None,
            kind: "liveStream".to_owned(),
            publish: true,
            public_stream: true,
            is_360: false,
            is_virtual: false,
            auto_start_stop_enabled: false,
            playlist_loop_enabled: true,
            planned_start_date: 0,
            planned_end_date: 0,
            seek_time_in_ms: 0,
            expire_duration_ms: 0,
            play_list_item_list: None,
            encoder_settings_list: None,
            listener_hook_url: None,
            ip_addr: None,
            username: None,
            password: None,
            stream_url: None,
            mp4_enabled: 0,
            webm_enabled: 0,
            webrtc_viewer_limit: -1,
            hls_viewer_limit: -1,
            dash_viewer_limit: -1,
            subtracks_limit: -1,
            main_track_stream_id: None,
            sub_folder: None,
            latitude: None,
            longitude: None,
            altitude: None,
            current_play_index: 0,
            max_idle_time: 0,
            hls_parameters: None,
            sub_track_stream_ids: Vec::new(),
            hold_ms: None,
        }
    }
}

impl BroadcastRecord {
    pub(crate) fn new(id: BroadcastId, created_unix_ms: u64) -> Self {
        Self {
            id,
            zombi: false,
            created_unix_ms,
            profile: Profile::default(),
            endpoints: None,
            lifecycle: Lifecycle::Created,
            by_rtmp: false,
            shard: None,
            recording: None,
        }
    }

    pub(crate) fn endpoints(&self) -> &[EndpointRecord] {
        self.endpoints.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Live { .. })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_from_before_there_were_renditions_is_read() {
        let id = BroadcastId::new("app", "s1").unwrap();
        let row = json!({
            "id": id, "created_unix_ms": 7,
            "profile": {"name": "old", "encoderSettingsList": [{"height": 7}]},
            "endpoints": [{
                "id": "d1", "url": "rtmp://h/a/k", "retry": {"retries_max": 3},
                "last": {"status": {"id": "d1", "state": "ended", "since_unix_ms": 1}}
            }],
            "lifecycle": {"state": "created"}, "shard": 0
        });
        let record: BroadcastRecord = serde_json::from_value(row).unwrap();
        assert_eq!((&record.id, record.endpoints().len()), (&id, 1));
        assert_eq!(record.endpoints()[0].video, VideoOverrides::default());
        let row = json!({"id": "d1", "url": "rtmp://h/a/k", "picture": {"reencode": "always",
            "rendition": null, "contract": {"sizeStable": true}}});
        let endpoint: EndpointRecord = serde_json::from_value(row).unwrap();
        let passthrough = endpoint.video.passthrough.unwrap();
        assert_eq!(passthrough.size_stable, Some(true));
        // What is no ladder was stored by a version that did not look at it.
        assert!(record.profile.encoder_settings_list.is_some());
    }
}
