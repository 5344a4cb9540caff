//! Names of Ant Media Server's settings, so that its files can be carried over.
//!
//! What has a counterpart here is mapped. A setting that would close a door and has none ends the
//! start ([`restrictions`]); the rest is accepted with a warning that says whether it is unknown, or
//! known and without effect. The prefix `settings.` of 2.x files may stay.

use std::net::IpAddr;

use serde::Deserialize;
use shardcast_link::{CidrList, settings::EngineSettings};
use toml::{Table, Value};

use super::{application::ApplicationOverrides, error::SettingsError};
use crate::{ladder::Ladder, limits};

mod hls;
mod recording;
mod restrictions;
mod retries;
mod server;
mod values;
mod without_effect;

use hls::assign_hls;
use retries::{give_up_ms_min, retry_delay};
use server::assign_server;
use values::{boolean, frame_rate, parse, word};
use without_effect::{NOT_A_SETTING, WITHOUT_EFFECT};

/// What an `[ant_media]` table means here.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// Settings of applications.
    pub application: ApplicationOverrides,
    /// Server-wide settings.
    pub server: ServerPart,
}

/// Server-wide settings (`red5.properties` there).
#[derive(Clone, Debug, Default)]
pub struct ServerPart {
    /// `http.port`.
    pub http_port: Option<u16>,
    /// `https.port`.
    pub https_port: Option<u16>,
    /// `rtmp.port`.
    pub rtmp_port: Option<u16>,
    /// `rtmpEnabled`.
    pub rtmp_enabled: Option<bool>,
    /// `server.name`.
    pub name: Option<String>,
    /// Ports and addresses of the engine.
    pub engine: EngineSettings,
    /// `replaceCandidateAddrWithServerAddr`: browsers are told the address that is the `server.name`.
    replaces_candidates: Option<bool>,
}

impl ServerPart {
    /// Advertises the `server.name` where that is wanted, in the place of what else is named; why not, for
    /// people.
    fn replace_candidates(&mut self) -> Option<&'static str> {
        if self.replaces_candidates != Some(true) {
            return None;
        }
        match self.name.as_deref().map(str::parse::<IpAddr>) {
            Some(Ok(address)) => {
                self.engine.advertise = Some(vec![address]);
                None
            }
            Some(Err(_)) => Some(
                "server.name is not an address, and names are not looked up: set advertise to the \
                 address of this server; it is ignored",
            ),
            None => Some("needs server.name to be an address; it is ignored"),
        }
    }
}

/// Translates `table`; settings without effect are added to `warnings`, with `place` in front. `weaker` is
/// the table that it is laid over.
///
/// # Errors
/// When a setting would close a door and is not built here, or has a value that cannot be used.
pub fn translate(
    table: &Table,
    place: &str,
    weaker: Option<&ApplicationOverrides>,
    warnings: &mut Vec<String>,
) -> Result<Translated, SettingsError> {
    let mut translated = Translated::default();
    let mut refused = Vec::new();
    let mut flat = Vec::new();
    flatten(table, "", &mut flat);
    for (key, value) in flat {
        let name = key.strip_prefix("settings.").unwrap_or(&key);
        let closes = restrictions::is_built(name);
        if closes && restrictions::is_unset(name, value) || assign(&mut translated, name, value) {
            continue;
        }
        match problem(name, value) {
            Problem::Ignored(why) => warnings.push(format!("{place} {key}: {why}")),
            Problem::Refused(why) => refused.push(format!("{place} {key}: {why}")),
        }
    }
    if let Some(problem) = translated.server.replace_candidates() {
        let key = "replaceCandidateAddrWithServerAddr";
        warnings.push(format!("{place} {key}: {problem}"));
    }
    translated.application.endpoint_give_up_ms_min =
        give_up_ms_min(&translated.application, weaker);
    if refused.is_empty() {
        Ok(translated)
    } else {
        Err(SettingsError::Restrictions(refused))
    }
}

/// What becomes of a setting that [`assign`] has not taken.
enum Problem {
    Ignored(String),
    Refused(String),
}

fn problem(name: &str, value: &Value) -> Problem {
    // The value of what closes a door may be a secret.
    if restrictions::is_built(name) {
        let unusable = "its value cannot be used, and without it a door would be open";
        return Problem::Refused(unusable.to_owned());
    }
    if MAPPED.contains(&name) || recording::NAMES.contains(&name) {
        return Problem::Ignored(match reason(name, value) {
            Some(reason) => format!("the value {value} cannot be used: {reason}; it is ignored"),
            None => format!("the value {value} cannot be used; it is ignored"),
        });
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Problem::Ignored("has no counterpart in Shardcast; it is ignored".to_owned());
    }
    if NOT_A_SETTING.contains(&name) {
        let why = "is not a setting of Ant Media Server either; it is ignored";
        return Problem::Ignored(why.to_owned());
    }
    match restrictions::refusal(name, value) {
        Some(why) => Problem::Refused(why),
        None => Problem::Ignored("is not known, or off; it is ignored".to_owned()),
    }
}

/// Dotted keys without quotes become tables in TOML; join them again.
fn flatten<'a>(table: &'a Table, prefix: &str, out: &mut Vec<(String, &'a Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            Value::Table(inner) => flatten(inner, &key, out),
            value => out.push((key, value)),
        }
    }
}

/// Names that [`assign`] knows, beside those that close a door.
const MAPPED: &[&str] = &[
    "dataChannelWebHookURL",
    "dataChannelWebHook",
    "webRTCClientStartTimeoutMs",
    "webrtc.client.start.timeoutMs",
    "webRTCKeyframeTime",
    "endpointRepublishLimit",
    "endpoint.republishLimit",
    "endpointHealthCheckPeriodMs",
    "endpoint.healthCheckPeriodMs",
    "stunServerURI",
    "webrtc.stunServerURI",
    "webrtc.stunServerUri",
    "turnServerUsername",
    "turnServerCredential",
    "listenerHookURL",
    "webhookRetryCount",
    "webhookRetryDelay",
    "webhookContentType",
    "webhookStreamStatusUpdatePeriodMs",
    "encoderSettings",
    "encoderSettingsString",
    "webRTCFrameRate",
    "gopSize",
    "hlsMuxingEnabled",
    "dashMuxingEnabled",
    "hlsTime",
    "hlsSegmentType",
    "hlsListSize",
    "hlsPlayListSize",
    "encoderPreset",
    "encoderProfile",
    "h264Enabled",
    "vp8Enabled",
    "vp9Enabled",
    "av1Enabled",
    "http.port",
    "https.port",
    "server.name",
    "rtmp.port",
    "rtmpEnabled",
    "webRTCPortRangeMin",
    "webrtc.portRangeMin",
    "webrtc.externalIP",
    "webRTCTcpCandidatesEnabled",
    "webrtc.tcpCandidateEnabled",
    "replaceCandidateAddrWithServerAddr",
];

/// Takes the setting `name` over. Returns whether it is known and its value can be used.
fn assign(to: &mut Translated, name: &str, value: &Value) -> bool {
    let (app, server) = (&mut to.application, &mut to.server);
    match name {
        "publishTokenControlEnabled" => put(&mut app.publish_token_control_enabled, boolean(value)),
        // Its name before there was one for each direction; the newer name wins over it.
        "tokenControlEnabled" => match boolean(value) {
            Some(enabled) => {
                app.publish_token_control_enabled.get_or_insert(enabled);
                app.play_token_control_enabled.get_or_insert(enabled);
                true
            }
            None => false,
        },
        "playTokenControlEnabled" => put(&mut app.play_token_control_enabled, boolean(value)),
        "webRTCViewerLimit" => put(&mut app.webrtc_viewer_limit, parse(value)),
        "dataChannelEnabled" => put(&mut app.data_channel_enabled, boolean(value)),
        "dataChannelPlayerDistribution" => {
            put(&mut app.data_channel_player_distribution, word(value))
        }
        "acceptOnlyStreamsInDataStore" => {
            put(&mut app.accept_only_streams_in_data_store, boolean(value))
        }
        "allowedPublisherCIDR" => put(&mut app.allowed_publisher_cidr, parse(value)),
        "webhookAuthenticateURL" => put(&mut app.webhook_authenticate_url, parse(value)),
        "webRTCClientStartTimeoutMs" | "webrtc.client.start.timeoutMs" => {
            put(&mut app.webrtc_client_start_timeout_ms, parse(value))
        }
        "webRTCKeyframeTime" => put(&mut app.webrtc_keyframe_time, parse(value)),
        "ingestingStreamLimit" => put(&mut app.ingesting_stream_limit, parse(value)),
        "endpointRepublishLimit" | "endpoint.republishLimit" => {
            put(&mut app.endpoint_retries_max, parse(value))
        }
        "endpointHealthCheckPeriodMs" | "endpoint.healthCheckPeriodMs" => retry_delay(app, value),
        "remoteAllowedCIDR" => put(&mut app.remote_allowed_cidr, parse(value)),
        "ipFilterEnabled" => match boolean(value) {
            Some(false) => put(&mut app.remote_allowed_cidr, Some(CidrList::everywhere())),
            enabled => enabled.is_some(),
        },
        "stunServerURI" | "webrtc.stunServerURI" | "webrtc.stunServerUri" => {
            put(&mut app.stun_server_uri, parse(value))
        }
        "turnServerUsername" => put(&mut app.turn_server_username, parse(value)),
        "turnServerCredential" => put(&mut app.turn_server_credential, parse(value)),
        "listenerHookURL" => put(&mut app.listener_hook_url, parse(value)),
        // The second is its name in the files of 2.x.
        "dataChannelWebHookURL" | "dataChannelWebHook" => {
            put(&mut app.data_channel_webhook_url, parse(value))
        }
        "webhookRetryCount" => put(&mut app.webhook_retry_count, parse(value)),
        "webhookRetryDelay" => put(&mut app.webhook_retry_delay, parse(value)),
        "webhookContentType" => put(&mut app.webhook_content_type, parse(value)),
        "webhookStreamStatusUpdatePeriodMs" => put(
            &mut app.webhook_stream_status_update_period_ms,
            parse(value),
        ),
        _ => {
            let encodes = assign_encoding(app, name, value);
            encodes || assign_hls(app, name, value) || assign_server(server, name, value)
        }
    }
}

/// The same, of what publishers may send and how it is re-encoded and recorded.
fn assign_encoding(app: &mut ApplicationOverrides, name: &str, value: &Value) -> bool {
    match name {
        "encoderSettings" | "encoderSettingsString" => put(
            &mut app.encoder_settings,
            Ladder::deserialize(value.clone()).ok(),
        ),
        "webRTCFrameRate" => put(&mut app.webrtc_frame_rate, frame_rate(value)),
        "gopSize" => put(&mut app.gop_size, parse(value)),
        // Presets and profiles that its encoder has too.
        "encoderPreset" => put(&mut app.encoder_preset, word(value)),
        "encoderProfile" => put(&mut app.encoder_profile, word(value)),
        "h264Enabled" => put(&mut app.h264_enabled, boolean(value)),
        "vp8Enabled" => put(&mut app.vp8_enabled, boolean(value)),
        // Not a setting there, where VP9 is not taken.
        "vp9Enabled" => put(&mut app.vp9_enabled, boolean(value)),
        "av1Enabled" => put(&mut app.av1_enabled, boolean(value)),
        _ => recording::assign(app, name, value),
    }
}

/// Why [`assign`] cannot use a value, where that is not plain.
fn reason(name: &str, value: &Value) -> Option<String> {
    match name {
        "encoderSettings" | "encoderSettingsString" => {
            let error = Ladder::deserialize(value.clone()).err()?;
            Some(error.to_string().trim_end().to_owned())
        }
        "webRTCFrameRate" => {
            let range = limits::RENDITION_FRAMES_PER_SECOND;
            Some(format!(
                "it must be from {} to {}",
                range.start(),
                range.end()
            ))
        }
        "encoderPreset" => Some("there are ultrafast, superfast, veryfast and faster".to_owned()),
        "encoderProfile" => Some("there are baseline, main and high".to_owned()),
        "endpointHealthCheckPeriodMs" | "endpoint.healthCheckPeriodMs" => {
            let (least, most) = (limits::RETRY_DELAY_MS_MIN, limits::RETRY_DELAY_MS_MAX);
            Some(format!("it must be from {least} to {most}"))
        }
        _ => recording::reason(name),
    }
}

fn put<T>(target: &mut Option<T>, value: Option<T>) -> bool {
    let usable = value.is_some();
    if usable {
        *target = value;
    }
    usable
}

#[cfg(test)]
mod tests {
    use shardcast_link::{Preset, Profile};

    use super::*;
    use crate::settings::{ApplicationSettings, WebhookContentType};

    pub(super) fn from(text: &str) -> (Translated, Vec<String>) {
        let mut warnings = Vec::new();
        let table = toml::from_str(text).unwrap();
        let translated = translate(&table, "[ant_media]", None, &mut warnings);
        (translated.unwrap(), warnings)
    }

    #[test]
    fn the_obvious_names_are_mapped_with_or_without_the_old_prefix() {
        let (translated, warnings) = from(
            "settings.publishTokenControlEnabled = \"true\"\n\
             settings.webrtc.portRangeMin = 41000\n\
             webRTCKeyframeTime = 3000\n",
        );
        assert_eq!(
            translated.application.publish_token_control_enabled,
            Some(true)
        );
        assert_eq!(translated.application.webrtc_keyframe_time, Some(3000));
        assert_eq!(translated.server.engine.udp_port_base, Some(41_000));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn candidates_get_the_address_of_the_server_where_that_is_one() {
        let of = |switch: bool, name: &str| {
            from(&format!(
                "settings.replaceCandidateAddrWithServerAddr = {switch}\n{name}\n"
            ))
        };
        for address in ["192.0.2.1", "2001:db8::1"] {
            let (translated, warnings) = of(true, &format!("server.name = \"{address}\""));
            let advertise = translated.server.engine.advertise;
            assert_eq!(advertise, Some(vec![address.parse().unwrap()]));
            assert_eq!(warnings, Vec::<String>::new());
        }
        for (switch, name, said) in [
            (true, "server.name = \"live.example.com\"", "set advertise"),
            (true, "", "needs server.name"),
            (false, "server.name = \"192.0.2.1\"", ""),
        ] {
            let (translated, warnings) = of(switch, name);
            assert_eq!(translated.server.engine.advertise, None);
            assert!(warnings.concat().contains(said), "{warnings:?}");
        }
    }

    #[test]
    fn webhooks_are_set_by_the_names_that_they_have_there() {
        let (translated, warnings) = from(
            "listenerHookURL = \"http://h/\"\nsettings.webhookRetryCount = 0\n\
             webhookContentType = \"application/x-www-form-urlencoded\"\n\
             webhookStreamStatusUpdatePeriodMs = -1\nwebhookRetryDelay = \"soon\"\n",
        );
        let mut settings = ApplicationSettings::default();
        translated.application.apply(&mut settings);
        let webhooks = settings.webhooks;
        assert_eq!(
            (webhooks.url.as_str(), webhooks.retry_count),
            ("http://h/", 0)
        );
        assert_eq!(webhooks.content_type, WebhookContentType::Form);
        assert_eq!(webhooks.status_period_ms, None);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn the_rest_is_accepted_with_a_warning_that_says_why() {
        let (_, warnings) = from("dtlsTimeoutMs = 1\nhlsflags = \"x\"\nnonsense = 1\n");
        assert_eq!(warnings.len(), 3);
        for words in [
            "hlsflags: has no counterpart",
            "dtlsTimeoutMs: is not a setting of Ant",
            "nonsense: is not known",
        ] {
            assert!(warnings.iter().any(|w| w.contains(words)), "{words}");
        }
    }

    #[test]
    fn a_mapped_name_with_an_unusable_value_is_said_to_be_ignored() {
        let (translated, warnings) = from("webRTCKeyframeTime = \"soon\"");
        assert_eq!(translated.application.webrtc_keyframe_time, None);
        assert!(warnings[0].contains("cannot be used"), "{warnings:?}");
    }

    #[test]
    fn what_is_encoded_and_how_is_carried_over() {
        let (translated, warnings) = from(
            "settings.encoderSettingsString = \"480,900000,64000\"\ngopSize = \"60\"\n\
             webRTCFrameRate = \"25\"\nsettings.vp8Enabled = \"true\"\nav1Enabled = false\n",
        );
        let mut settings = ApplicationSettings::default();
        translated.application.apply(&mut settings);
        let encoding = settings.encoding;
        assert_eq!(encoding.ladder.rungs()[0].height, 480);
        assert_eq!((encoding.frames_per_second, encoding.gop_ms()), (25, 2_400));
        assert!(encoding.offered.vp8_enabled && !encoding.offered.av1_enabled);
        assert_eq!(warnings, Vec::<String>::new());
        let (translated, warnings) = from(
            "encoderSettings = \"480,900000,64000,481,1,1\"\nwebRTCFrameRate = 0\n\
             h265Enabled = true\nencoderPreset = \"slow\"\n",
        );
        assert_eq!(translated.application.encoder_settings, None);
        assert_eq!(translated.application.encoder_preset, None);
        let all = warnings.join("\n");
        for words in [
            "cannot be used: the height 481 is not even",
            "cannot be used: it must be from 1 to 60",
            "cannot be used: there are ultrafast, superfast, veryfast and faster",
            "h265Enabled: has no counterpart",
        ] {
            assert!(all.contains(words), "{words} is not in {all}");
        }
        assert_eq!(warnings.len(), 4, "{all}");
    }

    #[test]
    fn words_of_its_encoder_that_are_here_too_are_carried_over() {
        let (translated, warnings) =
            from("encoderPreset = \"VeryFast\"\nsettings.encoderProfile = \"main\"\n");
        let application = translated.application;
        assert_eq!(application.encoder_preset, Some(Preset::Veryfast));
        assert_eq!(application.encoder_profile, Some(Profile::Main));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn a_disabled_filter_opens_rest_to_everybody() {
        let (translated, _) = from("ipFilterEnabled = false");
        let ranges = translated.application.remote_allowed_cidr.unwrap();
        assert!(ranges.contains("203.0.113.1".parse().unwrap()));
    }
}
