//! What an application's settings may be, after all layers.

use shardcast_link::CidrList;

use super::{
    application::{ApplicationSettings, IceServer},
    error::{SettingsError, value},
    webhooks::{WebhookSettings, url_problem},
};
use crate::{limits, retry};

/// Whether `settings` can be those of an application, on a server that re-encodes if `reencodes`.
pub(super) fn check(settings: &ApplicationSettings, reencodes: bool) -> Result<(), SettingsError> {
    let is_known = |uri: &str| IceServer::SCHEMES.iter().any(|it| uri.starts_with(it));
    if !settings.ice_server.uris().all(is_known) {
        let problem = "must begin with stun:, turn: or turns:";
        return Err(value("stunServerURI", problem));
    }
    if !(1_000..=300_000).contains(&settings.start_timeout_ms) {
        return Err(value(
            "webRTCClientStartTimeoutMs",
            "must be from 1000 to 300000",
        ));
    }
    if !(500..=60_000).contains(&settings.keyframe_interval_ms) {
        return Err(value("webRTCKeyframeTime", "must be from 500 to 60000"));
    }
    check_webhooks(&settings.webhooks)?;
    let publishers = settings.allowed_publisher_cidr.as_ref();
    if publishers.is_some_and(CidrList::is_empty) {
        let problem = "names no range: leave it out to let everybody publish";
        return Err(value("allowedPublisherCIDR", problem));
    }
    let contradiction = || settings.encoding.contradiction(reencodes);
    if let Some((key, problem)) = settings.encoding.problem().or_else(contradiction) {
        return Err(value(key, problem));
    }
    if let Some((key, problem)) = settings.hls.problem() {
        return Err(value(key, problem));
    }
    let kept = || settings.s3.problem();
    if let Some((key, problem)) = settings.preview.problem().or_else(kept) {
        return Err(value(key, problem));
    }
    let minutes_max = limits::RECORDING_MINUTES_MAX;
    if settings.recording.minutes_max > minutes_max {
        let problem = format!("must be at most {minutes_max}, a week");
        return Err(value("recording_minutes_max", problem));
    }
    if settings.hold_ms > limits::HOLD_MS_MAX {
        let most = limits::HOLD_MS_MAX;
        return Err(value("hold_ms", format!("must be at most {most}, a day")));
    }
    if settings.stop_grace_ms > limits::STOP_GRACE_MS_MAX {
        let most = limits::STOP_GRACE_MS_MAX;
        return Err(value("stop_grace_ms", format!("must be at most {most}")));
    }
    retry::check(&settings.retry_policy()).map_err(|error| {
        value(
            "endpoint_retry_* or endpoint_give_up_ms_min",
            error.to_string(),
        )
    })
}

fn check_webhooks(webhooks: &WebhookSettings) -> Result<(), SettingsError> {
    for (key, url) in [
        ("listenerHookURL", &webhooks.url),
        ("webhookAuthenticateURL", &webhooks.authenticate_url),
        ("dataChannelWebHookURL", &webhooks.data_url),
    ] {
        if let Some(problem) = url_problem(url) {
            return Err(value(key, problem));
        }
    }
    if webhooks.retry_count > limits::HOOK_RETRIES_MAX {
        let problem = format!("must be at most {}", limits::HOOK_RETRIES_MAX);
        return Err(value("webhookRetryCount", problem));
    }
    let shortest = limits::HOOK_STATUS_PERIOD_MIN_MS;
    if webhooks.status_period_ms.is_some_and(|ms| ms < shortest) {
        let problem = format!("must be -1, which is never, or at least {shortest}");
        return Err(value("webhookStreamStatusUpdatePeriodMs", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::settings::{Overrides, file, layers::resolve};

    fn file(text: &str) -> Overrides {
        file::read(text).unwrap()
    }

    #[test]
    fn retries_that_cannot_be_are_refused_and_less_than_none_is_without_end() {
        for (text, words) in [
            ("endpoint_retry_delay_ms_min = 99", "from 100 to 3600000"),
            (
                "endpoint_retry_delay_ms_max = 3600001",
                "from 100 to 3600000",
            ),
            ("endpoint_retry_delay_ms_min = 40000", "below the shortest"),
            ("stop_grace_ms = 60001", "at most 60000"),
            ("hold_ms = 86400001", "a day"),
            (
                "stunServerURI = \"turns:h:443,https://h/\"",
                "stun:, turn: or turns:",
            ),
        ] {
            let error = resolve(&Overrides::default(), &file(text)).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        let text = "endpoint_retries_max = 3\n[application.One]\nendpoint_retries_max = -1";
        let settings = resolve(&Overrides::default(), &file(text)).unwrap();
        assert_eq!(
            settings.application["LiveApp"].endpoint_retries_max,
            Some(3)
        );
        assert_eq!(settings.application["One"].endpoint_retries_max, None);
    }

    #[test]
    fn pictures_that_cannot_be_are_refused_with_their_key() {
        let none =
            "h264Enabled = false\nvp8Enabled = false\nvp9Enabled = false\nav1Enabled = false";
        for (text, words) in [
            (none, "setting h264Enabled: one of"),
            (
                "webRTCFrameRate = 61",
                "setting webRTCFrameRate: must be from 1 to 60",
            ),
            ("gopSize = 301", "setting gopSize: must be 0, which is 2 s"),
            (
                "reencode_enabled = false\nh264Enabled = false",
                "setting h264Enabled: must be true while reencode_enabled is false",
            ),
            (
                "reencode_enabled = false\nreencode = \"always\"",
                "setting reencode: must not be always while reencode_enabled is false",
            ),
        ] {
            let error = resolve(&Overrides::default(), &file(text)).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        let error = file::read("reencode = \"often\"").unwrap_err();
        assert!(error.to_string().contains("`always`"), "{error}");
    }
}
