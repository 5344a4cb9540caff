//! Access controls of Ant Media Server. One that is not built here ends the start: the operator relies
//! on it, and a warning would not replace it.

use toml::Value;

use super::values::{boolean, parse};

/// Settings that close a door there and are not built here, with what to do instead.
const NOT_BUILT: &[(&[&str], &str)] = &[
    (
        &[
            "publishJwtControlEnabled",
            "hashControlPublishEnabled",
            "enableTimeTokenForPublish",
            "timeTokenSubscriberOnly",
            "webhookPublishAuthEnabled",
        ],
        "publishers can be asked for one-time tokens (publishTokenControlEnabled), admitted by your \
         backend (webhookAuthenticateURL) or by their address (allowedPublisherCIDR)",
    ),
    (
        &[
            "playJwtControlEnabled",
            "hashControlPlayEnabled",
            "enableTimeTokenForPlay",
            "webhookPlayAuthUrl",
            "webhookPlayAuthURL",
            "webhookPlayAuthEnabled",
            "hlsEncryptionKeyInfoFile",
        ],
        "viewers can be asked for one-time tokens (playTokenControlEnabled), and HLS is not encrypted",
    ),
    (
        &[
            "jwtControlEnabled",
            "jwtBlacklistEnabled",
            "server.jwtServerControlEnabled",
            "server.allowed_dashboard_CIDR",
        ],
        "REST is limited by address (remoteAllowedCIDR)",
    ),
    (
        &["acceptOnlyRoomsInDataStore"],
        "there are no rooms; acceptOnlyStreamsInDataStore refuses streams that were not created",
    ),
];

/// Settings that close a door there and here. A value that cannot be used ends the start.
const BUILT: &[&str] = &[
    "publishTokenControlEnabled",
    "tokenControlEnabled",
    "playTokenControlEnabled",
    "webRTCViewerLimit",
    "dataChannelEnabled",
    "dataChannelPlayerDistribution",
    "acceptOnlyStreamsInDataStore",
    "allowedPublisherCIDR",
    "webhookAuthenticateURL",
    "ingestingStreamLimit",
    "remoteAllowedCIDR",
    "ipFilterEnabled",
];

/// Parts of names, in lower case, that say that a setting restricts something.
const WORDS: &[&str] = &[
    "accept",
    "allow",
    "auth",
    "ban",
    "blacklist",
    "block",
    "cidr",
    "control",
    "deny",
    "filter",
    "forbid",
    "jwt",
    "limit",
    "password",
    "permission",
    "restrict",
    "secret",
    "secure",
    "token",
    "whitelist",
];

/// Why `name` with `value`, which is neither mapped nor known to be without effect, ends the start;
/// `None` when it leaves the door as open as Ant Media Server would.
pub(super) fn refusal(name: &str, value: &Value) -> Option<String> {
    if let Some((_, remedy)) = NOT_BUILT.iter().find(|(names, _)| names.contains(&name)) {
        let open = leaves_open(name, value);
        return (!open).then(|| format!("Shardcast has no such control. Instead: {remedy}"));
    }
    let lower = name.to_ascii_lowercase();
    if !WORDS.iter().any(|word| lower.contains(word)) || leaves_open(name, value) {
        return None;
    }
    Some(
        "is not known, and its name says that it restricts something. Take the line out if you can \
         do without it"
            .to_owned(),
    )
}

/// Whether an unusable value of `name`, which is mapped, ends the start.
pub(super) fn is_built(name: &str) -> bool {
    BUILT.contains(&name)
}

/// Whether `value` is empty, which leaves a setting of [`BUILT`] at its default, as there. Two have
/// another meaning: an empty `ipFilterEnabled` is none, and an empty `remoteAllowedCIDR` is nobody.
pub(super) fn is_unset(name: &str, value: &Value) -> bool {
    !matches!(name, "ipFilterEnabled" | "remoteAllowedCIDR") && is_empty(value)
}

/// What switches a control off: nothing, a `false`, a limit of -1, a range that holds everybody.
fn leaves_open(name: &str, value: &Value) -> bool {
    let is_limit = name.to_ascii_lowercase().contains("limit");
    is_empty(value)
        || (boolean(value) == Some(false) && !is_limit)
        || (is_limit && parse::<i64>(value) == Some(-1))
        || value.as_str().is_some_and(holds_everybody)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(text.trim(), "" | "null"),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn holds_everybody(ranges: &str) -> bool {
    ranges.split(',').any(|range| range.trim() == "0.0.0.0/0")
}

#[cfg(test)]
mod tests {
    use crate::settings::{Settings, layers};

    fn start(text: &str) -> Result<Settings, String> {
        let file = toml::from_str(text).unwrap();
        layers::resolve(&Default::default(), &file).map_err(|error| error.to_string())
    }

    /// Names, and the values of each that close the door and that leave it open.
    const SETTINGS: &[(&[&str], &[&str], &[&str])] = &[
        (
            &[
                "publishJwtControlEnabled",
                "playJwtControlEnabled",
                "hashControlPublishEnabled",
                "hashControlPlayEnabled",
                "enableTimeTokenForPublish",
                "enableTimeTokenForPlay",
                "timeTokenSubscriberOnly",
                "jwtControlEnabled",
                "jwtBlacklistEnabled",
                "server.jwtServerControlEnabled",
                "acceptOnlyRoomsInDataStore",
                "webhookPublishAuthEnabled",
                "webhookPlayAuthEnabled",
                // Not known to anybody, but plain.
                "captchaControlEnabled",
                "publisherWhitelist",
            ],
            &["true", "\"TRUE\"", "\"yes\"", "\"ja\"", "1"],
            &["false", "\"False\"", "\"off\"", "\"\"", "0"],
        ),
        (
            &[
                "webhookPlayAuthUrl",
                "hlsEncryptionKeyInfoFile",
                "allowedPlayers",
            ],
            &["\"https://h/\"", "\"198.51.100.0/24\"", "[\"a\"]"],
            &["\"\"", "\"null\"", "[]"],
        ),
        (
            &["server.allowed_dashboard_CIDR", "playerCidr"],
            &["\"127.0.0.1/8\""],
            &["\"0.0.0.0/0\""],
        ),
        (
            &["publisherLimit"],
            &["0", "7", "\"many\""],
            &["-1", "\"-1\"", "\"\""],
        ),
    ];

    #[test]
    fn a_control_that_is_not_built_ends_the_start_unless_it_is_off() {
        for (names, closing, open) in SETTINGS {
            for name in *names {
                for place in ["[ant_media]\n", "[application.One.ant_media]\n"] {
                    for prefix in ["", "settings."] {
                        for value in *closing {
                            let text = format!("{place}{prefix}{name} = {value}");
                            let error = start(&text).expect_err(&text);
                            assert!(error.contains(name), "{text}: {error}");
                            assert!(error.contains(place.trim()), "{text}: {error}");
                        }
                        for value in *open {
                            let text = format!("{place}{prefix}{name} = {value}");
                            let settings = start(&text).expect(&text);
                            assert_eq!(settings.warnings.len(), 1, "{text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_control_that_is_built_and_has_an_unusable_value_ends_the_start() {
        for line in [
            "publishTokenControlEnabled = \"perhaps\"",
            "tokenControlEnabled = 7",
            "acceptOnlyStreamsInDataStore = \"x\"",
            "ingestingStreamLimit = \"ten\"",
            "playTokenControlEnabled = \"perhaps\"",
            "webRTCViewerLimit = \"ten\"",
            "dataChannelEnabled = \"perhaps\"",
            "dataChannelPlayerDistribution = \"some\"",
            "remoteAllowedCIDR = \"10.0.0.0/99\"",
            "ipFilterEnabled = \"\"",
            "allowedPublisherCIDR = \"hush\"",
            "webhookAuthenticateURL = \"hush\"",
        ] {
            let text = format!("[ant_media]\n{line}");
            let error = start(&text).expect_err(&text);
            let name = line.split(' ').next().unwrap();
            assert!(
                error.contains(name) && !error.contains("hush"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn all_of_them_are_named_at_once_with_what_to_do() {
        let text = "[ant_media]\njwtControlEnabled = true\nhashControlPublishEnabled = true";
        let error = start(text).unwrap_err();
        for words in [
            "jwtControlEnabled",
            "remoteAllowedCIDR",
            "hashControlPublishEnabled",
            "webhookAuthenticateURL",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn truth_is_told_in_all_words_of_ant_media_servers_files() {
        for (word, wanted) in [
            ("TRUE", true),
            ("on", true),
            ("1", true),
            ("", false),
            ("No", false),
        ] {
            let text = format!("[ant_media]\npublishTokenControlEnabled = \"{word}\"");
            let application = &start(&text).unwrap().application["LiveApp"];
            assert_eq!(application.publish_token_control_enabled, wanted, "{word}");
        }
    }

    #[test]
    fn the_old_name_of_the_token_control_closes_the_door_and_the_newer_wins() {
        let old = "[ant_media]\nsettings.tokenControlEnabled = true";
        assert!(start(old).unwrap().application["LiveApp"].publish_token_control_enabled);
        let both = "[ant_media]\ntokenControlEnabled = true\npublishTokenControlEnabled = false";
        assert!(!start(both).unwrap().application["LiveApp"].publish_token_control_enabled);
    }

    #[test]
    fn who_may_publish_is_carried_over_and_nothing_is_everybody() {
        let ranges = "[ant_media]\nallowedPublisherCIDR = \"10.0.0.0/8, 192.0.2.1\"";
        let settings = start(ranges).unwrap();
        let allowed = settings.application["LiveApp"]
            .allowed_publisher_cidr
            .clone();
        assert!(allowed.unwrap().contains([192, 0, 2, 1].into()));
        let none = "[ant_media]\nallowedPublisherCIDR = \"\"\nwebhookAuthenticateURL = \"\"";
        let settings = start(none).unwrap();
        assert_eq!(settings.application["LiveApp"].allowed_publisher_cidr, None);
        assert_eq!(settings.warnings, Vec::<String>::new());
        let error = start("allowedPublisherCIDR = []").unwrap_err();
        assert!(error.contains("names no range"), "{error}");
    }

    #[test]
    fn the_settings_that_a_stock_installation_writes_do_not_end_the_start() {
        let stock = "[ant_media]\nremoteAllowedCIDR = \"127.0.0.1\"\nacceptOnlyStreamsInDataStore = false\n\
            publishTokenControlEnabled = false\nplayTokenControlEnabled = false\ntokenHashSecret = \"\"\n\
            hashControlPublishEnabled = false\njwtSecretKey = \"q\"\njwtStreamSecretKey = \"\"\n\
            timeTokenPeriod = 60\nallowedPublisherCIDR = \"\"\nwebRTCViewerLimit = -1\n\
            ingestingStreamLimit = -1\nmaxResolutionAccept = 0\ns3CacheControl = \"no-store\"\n\
            subscriberAuthenticationKey = \"x\"\nclusterCommunicationKey = \"y\"\nipFilterEnabled = true\n\
            secureAnalyticEndpoint = false\nserver.cpu_limit = 75\nserver.memory_limit_percentage = 75\n\
            db.password = \"z\"\ns3Permission = \"public-read\"\ns3RecordingEnabled = false\n\
            s3AccessKey = \"\"\ns3SecretKey = \"\"\ns3RegionName = \"\"\ns3BucketName = \"\"\ns3Endpoint = \"\"\n";
        start(stock).unwrap();
    }
}
