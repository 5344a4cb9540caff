//! What is special about the ingest of each platform, in one table.

use super::PublishConfig;

/// Where a stream goes, told by the host of its address.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// For status and logs.
    pub name: &'static str,
    /// Ends of host names, in lower case.
    hosts: &'static [&'static str],
    /// Keyframes further apart than this are refused or cost quality there, in milliseconds.
    pub keyframe_interval_ms_max: Option<u32>,
}

static GENERIC: Platform = Platform {
    name: "generic",
    hosts: &[],
    keyframe_interval_ms_max: None,
};

static PLATFORMS: [Platform; 0] = [];

impl Platform {
    /// The platform that `host` belongs to; [`Platform::generic`] for all others.
    pub fn of(host: &str) -> &'static Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |end: &&str| {
            host.strip_suffix(end)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        PLATFORMS
            .iter()
            .find(|platform| platform.hosts.iter().any(|end| is_below(&end)))
            .unwrap_or(&GENERIC)
    }

    /// Everything that is not in the table.
    pub fn generic() -> &'static Self {
        &GENERIC
    }

    /// How to speak to it.
    pub fn publish_config(&self) -> PublishConfig {
        PublishConfig::default()
    }
}
