//! How Ant Media Server tries endpoints again, in the settings of this server.

use toml::Value;

use super::values::parse;
use crate::{
    limits,
    settings::application::{ApplicationOverrides, ApplicationSettings},
};

/// `endpointHealthCheckPeriodMs` where it is not set.
const HEALTH_CHECK_PERIOD_MS: u64 = 2_000;

/// The period of its health check is how soon Ant Media Server tries again, and it never waits
/// longer. Here it is the shortest delay; one over the longest moves that along.
pub(super) fn retry_delay(app: &mut ApplicationOverrides, value: &Value) -> bool {
    let range = limits::RETRY_DELAY_MS_MIN..=limits::RETRY_DELAY_MS_MAX;
    let Some(period_ms) = parse(value).filter(|period_ms| range.contains(period_ms)) else {
        return false;
    };
    app.endpoint_retry_delay_ms_min = Some(period_ms);
    if period_ms > ApplicationSettings::default().endpoint_retry_delay_ms_max {
        app.endpoint_retry_delay_ms_max = Some(period_ms);
    }
    true
}

/// How long Ant Media Server takes at least to give a destination up that it republishes
/// `endpointRepublishLimit` times: it looks three times before each, and before the end, with
/// `endpointHealthCheckPeriodMs` between two looks. `None` when `own` says nothing of it.
pub(super) fn give_up_ms_min(
    own: &ApplicationOverrides,
    weaker: Option<&ApplicationOverrides>,
) -> Option<u64> {
    let says = |one: &ApplicationOverrides| {
        one.endpoint_retries_max.is_some() || one.endpoint_retry_delay_ms_min.is_some()
    };
    if !says(own) {
        return None;
    }
    let weaker_limit = weaker.and_then(|weaker| weaker.endpoint_retries_max);
    let limit = own.endpoint_retries_max.or(weaker_limit)?;
    let weaker_period = weaker.and_then(|weaker| weaker.endpoint_retry_delay_ms_min);
    let period_ms = own.endpoint_retry_delay_ms_min.or(weaker_period);
    let period_ms = period_ms.unwrap_or(HEALTH_CHECK_PERIOD_MS);
    // Less than 0 is without end.
    let looks = 3u64.saturating_mul(u64::try_from(limit).ok()?.saturating_add(1));
    Some(looks.saturating_mul(period_ms).min(limits::GIVE_UP_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ant_media::{tests::from, translate};

    #[test]
    fn retries_of_endpoints_are_carried_over() {
        let (translated, warnings) =
            from("endpointRepublishLimit = 3\n\"endpoint.healthCheckPeriodMs\" = \"60000\"\n");
        let application = translated.application;
        assert_eq!(application.endpoint_retries_max, Some(3));
        assert_eq!(application.endpoint_retry_delay_ms_min, Some(60_000));
        assert_eq!(application.endpoint_retry_delay_ms_max, Some(60_000));
        assert_eq!(warnings, Vec::<String>::new());
        let (translated, warnings) = from("settings.endpointHealthCheckPeriodMs = 0");
        assert_eq!(translated.application.endpoint_retry_delay_ms_min, None);
        assert!(warnings[0].contains("cannot be used"), "{warnings:?}");
    }

    #[test]
    fn a_limit_gives_up_no_earlier_than_ant_media_server() {
        for (text, wanted) in [
            (
                "endpointRepublishLimit = 3\nendpointHealthCheckPeriodMs = 2000",
                Some(24_000),
            ),
            ("endpointRepublishLimit = 3", Some(24_000)),
            ("endpointRepublishLimit = 0", Some(6_000)),
            (
                "endpointRepublishLimit = 1\nendpoint.healthCheckPeriodMs = 5000",
                Some(30_000),
            ),
            (
                "endpointRepublishLimit = 9223372036854775807",
                Some(limits::GIVE_UP_MS_MAX),
            ),
            ("endpointRepublishLimit = -1", None),
            ("endpointHealthCheckPeriodMs = 2000", None),
            ("", None),
        ] {
            let (translated, _) = from(text);
            assert_eq!(
                translated.application.endpoint_give_up_ms_min, wanted,
                "{text}"
            );
        }
        let weaker = from("endpointRepublishLimit = 1").0.application;
        let own = toml::from_str("endpointHealthCheckPeriodMs = 3000").unwrap();
        let own = translate(&own, "", Some(&weaker), &mut Vec::new()).unwrap();
        assert_eq!(own.application.endpoint_give_up_ms_min, Some(18_000));
    }
}
