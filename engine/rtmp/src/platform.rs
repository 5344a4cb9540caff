//! What is special about the ingest of each platform, in one table.
//!
//! | | hosts | keyframes | chunks | a dropped connection | a wished end |
//! |---|---|---|---|---|---|
//! | YouTube | `*.rtmp.youtube.com`, `*.rtmps.youtube.com` | ≤ 4 s | 4096 | with auto-stop the event ends after about a minute | `FCUnpublish`, `deleteStream` |
//! | Facebook | `*.facebook.com`, RTMPS only | ≤ 4 s | 4096 | two to three minutes to return to the same address | the same |
//! | Twitch | `*.twitch.tv`, `*.contribute.live-video.net` | 2 s wanted | 4096 | with disconnect protection a slate for 90 s | the same: it ends the show at once |
//! | Kick (Amazon IVS) | `*.global-contribute.live-video.net`, RTMPS | 2 s wanted | 4096 | 30 s without data end it | the same |
//!
//! Sources, read in November 2026: YouTube, "Deliver live content via RTMPS" and the Data API's
//! `liveBroadcasts.contentDetails.enableAutoStop`, its Studio complains of keyframes above four
//! seconds; Meta, Live Video API reference (keyframes every two seconds, never above four; both
//! sound and picture) and Workplace help (time to reconnect); Twitch, "Broadcasting Guidelines"
//! and nginx-rtmp issue 1595 (a relay that says `deleteStream` ends the show, one that just closes
//! gets the slate); Amazon IVS user guide, "Getting Started" (30 s) and "Streaming Configuration".
//! Picture: Meta's reference has 9 Mbit/s for the largest picture and forbids a change of settings
//! while live, Twitch's guidelines end at 6 Mbit/s, a standard channel of Amazon IVS takes 8.5. That a
//! change of size is unwelcome is assumed of the three others as well.
//! None of them documents a chunk size; 4096 is what OBS Studio (`rtmp-stream.c`) sends to all four.
//! All four say that they take AAC and say nothing of Opus, and OBS sends them no field of enhanced RTMP
//! in `connect`. So they are not asked for Opus, and would not be sent it if they answered. Every other
//! server is asked; one that stumbles over the question is asked once ([`super::client`]).

use super::PublishConfig;

/// Chunk payload that OBS Studio sends to every platform, in bytes.
const CHUNK_BYTES_OF_OBS: u32 = 4_096;

/// Where a stream goes, told by the host of its address.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// For status and logs.
    pub name: &'static str,
    /// Ends of host names, in lower case.
    hosts: &'static [&'static str],
    /// Keyframes further apart than this are complained of there, in milliseconds.
    pub keyframe_interval_ms_max: Option<u32>,
    /// The size of the picture may not change while it is live.
    pub size_stable: bool,
    /// Video above this bit rate is complained of or cut off there, in bits a second.
    pub video_bps_max: Option<u32>,
    /// It is asked whether it takes Opus.
    pub opus: bool,
    /// Payload bytes in our chunks; `None` is what suits servers in general.
    chunk_bytes: Option<u32>,
}

static GENERIC: Platform = Platform {
    name: "generic",
    hosts: &[],
    keyframe_interval_ms_max: None,
    size_stable: false,
    video_bps_max: None,
    opus: true,
    chunk_bytes: None,
};

/// The first that fits counts.
static PLATFORMS: [Platform; 4] = [
    Platform {
        name: "youtube",
        hosts: &["youtube.com"],
        keyframe_interval_ms_max: Some(4_000),
        size_stable: true,
        video_bps_max: None,
        opus: false,
        chunk_bytes: Some(CHUNK_BYTES_OF_OBS),
    },
    Platform {
        name: "facebook",
        hosts: &["facebook.com"],
        keyframe_interval_ms_max: Some(4_000),
        size_stable: true,
        video_bps_max: Some(9_000_000),
        opus: false,
        chunk_bytes: Some(CHUNK_BYTES_OF_OBS),
    },
    Platform {
        name: "twitch",
        hosts: &[
            "twitch.tv",
            "contribute.live-video.net",
            "ingest.global-contribute.live-video.net",
        ],
        keyframe_interval_ms_max: None,
        size_stable: true,
        video_bps_max: Some(6_000_000),
        opus: false,
        chunk_bytes: Some(CHUNK_BYTES_OF_OBS),
    },
    Platform {
        name: "kick",
        hosts: &["global-contribute.live-video.net"],
        keyframe_interval_ms_max: None,
        size_stable: true,
        video_bps_max: Some(8_500_000),
        opus: false,
        chunk_bytes: Some(CHUNK_BYTES_OF_OBS),
    },
];

impl Platform {
    /// The platform that `host` belongs to; [`Platform::generic`] for all others.
    pub fn of(host: &str) -> &'static Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |end: &str| {
            host.strip_suffix(end)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        PLATFORMS
            .iter()
            .find(|platform| platform.hosts.iter().any(|end| is_below(end)))
            .unwrap_or(&GENERIC)
    }

    /// Everything that is not in the table.
    pub fn generic() -> &'static Self {
        &GENERIC
    }

    /// How to speak to it.
    pub fn publish_config(&self) -> PublishConfig {
        let config = PublishConfig::default();
        PublishConfig {
            chunk_bytes: self.chunk_bytes.unwrap_or(config.chunk_bytes),
            offers_opus: self.opus,
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_known_by_the_end_of_its_host() {
        for (host, name) in [
            ("a.rtmp.youtube.com", "youtube"),
            ("B.RTMPS.YouTube.com.", "youtube"),
            ("live-api-s.facebook.com", "facebook"),
            ("live.twitch.tv", "twitch"),
            ("fra05.contribute.live-video.net", "twitch"),
            ("ingest.global-contribute.live-video.net", "twitch"),
            ("fa723fc1b171.global-contribute.live-video.net", "kick"),
            ("notyoutube.com", "generic"),
            ("youtube.com.example.org", "generic"),
            ("127.0.0.1", "generic"),
            ("", "generic"),
        ] {
            assert_eq!(Platform::of(host).name, name, "{host}");
            assert_eq!(
                Platform::of(host).publish_config().offers_opus,
                name == "generic"
            );
        }
    }
}
