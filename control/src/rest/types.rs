//! The smaller objects of REST, to the JSON key.

use serde::Serialize;

use crate::store::TokenRecord;

/// `Token`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    token_id: String,
    stream_id: String,
    /// Unix seconds.
    expire_date: u64,
    #[serde(rename = "type")]
    kind: String,
    room_id: Option<String>,
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            stream_id: record.broadcast.stream().to_owned(),
            token_id: record.token,
            expire_date: record.expire_unix_s,
            kind: record.kind,
            room_id: record.room,
        }
    }
}

/// `BroadcastStatistics`; -1 is unknown.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Statistics {
    #[serde(rename = "totalRTMPWatchersCount")]
    pub(super) rtmp: i64,
    #[serde(rename = "totalHLSWatchersCount")]
    pub(super) hls: i64,
    #[serde(rename = "totalWebRTCWatchersCount")]
    pub(super) webrtc: i64,
    #[serde(rename = "totalDASHWatchersCount")]
    pub(super) dash: i64,
}
