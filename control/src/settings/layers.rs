//! Lays flags and variables over the file over the defaults, and checks the result.

use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, thread};

use shardcast_link::{CidrList, id::is_name};

use super::{
    ApplicationOverrides, ApplicationSettings, EngineSettings, Overrides, Settings, TlsFiles,
    ant_media::{self, Translated},
    checks,
};
use crate::limits;

/// Settings cannot be used. The operator's fault; the message says which and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file named by `--config` cannot be read.
    #[error("cannot read the settings file {path}: {source}")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A wrong key or value; `source` has line and column.
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        source: toml::de::Error,
    },
    /// Settings of Ant Media Server that close a door there and would not here, with what to do.
    #[error(
        "these settings close a door in Ant Media Server, and it would be open here:\n  {}",
        .0.join("\n  ")
    )]
    Restrictions(Vec<String>),
    /// Settings that contradict each other, or a value out of range.
    #[error("setting {key}: {problem}")]
    Value { key: &'static str, problem: String },
}

/// Paths under which the server has pages of its own.
const RESERVED: [&str; 8] = [
    "rest", "api", "sdk", "js", "css", "metrics", "healthz", "readyz",
];

pub(super) fn load(overrides: &Overrides) -> Result<Settings, SettingsError> {
    let file = match &overrides.config {
        None => Overrides::default(),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
                path: path.clone(),
                source,
            })?;
            toml::from_str(&text).map_err(|source| SettingsError::File {
                path: path.clone(),
                source,
            })?
        }
    };
    resolve(overrides, &file)
}

pub(super) fn resolve(flags: &Overrides, file: &Overrides) -> Result<Settings, SettingsError> {
    let mut warnings = Vec::new();
    let shared = translate(file.ant_media.as_ref(), "[ant_media]", None, &mut warnings)?;
    let ant = &shared.server;
    let data_dir = flags
        .data_dir
        .clone()
        .or(file.data_dir.clone())
        .unwrap_or("data".into());
    let link_dir = flags.link_dir.clone().or(file.link_dir.clone());
    let engine = engine_settings(flags, file, &shared)?;
    let reencodes = engine.reencode_enabled;
    let bind = flags
        .bind
        .or(file.bind)
        .unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Ok(Settings {
        bind,
        http_port: flags
            .http_port
            .or(file.http_port)
            .or(ant.http_port)
            .unwrap_or(5080),
        https_port: flags
            .https_port
            .or(file.https_port)
            .or(ant.https_port)
            .unwrap_or(5443),
        tls: tls_files(flags, file)?,
        link_dir: link_dir.unwrap_or_else(|| data_dir.join("link")),
        data_dir,
        server_name: flags
            .server_name
            .clone()
            .or(file.server_name.clone())
            .or(ant.name.clone()),
        remote_allowed_cidr: flags
            .remote_allowed_cidr
            .clone()
            .or(file.remote_allowed_cidr.clone())
            .or(shared.application.remote_allowed_cidr.clone())
            .unwrap_or_else(CidrList::loopback),
        allowed_origins: flags
            .allowed_origins
            .clone()
            .or(file.allowed_origins.clone())
            .unwrap_or_default(),
        publisher_origins: flags
            .publisher_origins
            .clone()
            .or(file.publisher_origins.clone())
            .unwrap_or_default(),
        webhook_allow: flags.webhook_allow.clone().or(file.webhook_allow.clone()),
        webhook_deny: flags.webhook_deny.clone().or(file.webhook_deny.clone()),
        engine,
        log: flags
            .log
            .clone()
            .or(file.log.clone())
            .unwrap_or("info".into()),
        log_format: flags.log_format.or(file.log_format),
        application: applications(flags, file, &shared, reencodes, &mut warnings)?,
        warnings,
    })
}

fn translate(
    table: Option<&toml::Table>,
    place: &str,
    weaker: Option<&ApplicationOverrides>,
    warnings: &mut Vec<String>,
) -> Result<Translated, SettingsError> {
    match table {
        Some(table) => ant_media::translate(table, place, weaker, warnings),
        None => Ok(Translated::default()),
    }
}

fn tls_files(flags: &Overrides, file: &Overrides) -> Result<Option<TlsFiles>, SettingsError> {
    let cert = flags.tls_cert.clone().or(file.tls_cert.clone());
    let key = flags.tls_key.clone().or(file.tls_key.clone());
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(value("tls_cert", "needs tls_key beside it")),
        (None, Some(_)) => Err(value("tls_key", "needs tls_cert beside it")),
    }
}

fn engine_settings(
    flags: &Overrides,
    file: &Overrides,
    shared: &Translated,
) -> Result<EngineSettings, SettingsError> {
    let all_cores = thread::available_parallelism().map_or(1, |n| n.get());
    let cores = flags
        .cores
        .clone()
        .or(file.cores.clone())
        .unwrap_or_default();
    let codec_cores = flags
        .codec_cores
        .clone()
        .or(file.codec_cores.clone())
        .unwrap_or_default();
    let shards = match flags.shards.or(file.shards) {
        Some(shards) => usize::from(shards),
        // The engine's executors are where codecs are not, unless these have all cores.
        None if cores.is_empty() && codec_cores.len() < all_cores => all_cores - codec_cores.len(),
        None if cores.is_empty() => all_cores,
        None => cores.len(),
    };
    let shards = u16::try_from(shards).unwrap_or(u16::MAX);
    if shards == 0 || shards > limits::SHARDS_MAX {
        return Err(value(
            "shards",
            format!("must be from 1 to {}", limits::SHARDS_MAX),
        ));
    }
    if !cores.is_empty() && cores.len() < usize::from(shards) {
        return Err(value(
            "cores",
            format!("names {} cores for {shards} shards", cores.len()),
        ));
    }
    let udp_port_base = flags
        .udp_port_base
        .or(file.udp_port_base)
        .or(shared.server.udp_port_base);
    let udp_port_base = udp_port_base.unwrap_or(50_000);
    if udp_port_base != 0 && udp_port_base.checked_add(shards - 1).is_none() {
        return Err(value(
            "udp_port_base",
            format!("{shards} ports above it pass 65535"),
        ));
    }
    // Whoever wants free ports wants them all, so that instances run side by side.
    let rtmp_port_default = if udp_port_base == 0 { 0 } else { 1935 };
    let rtmp_port = flags
        .rtmp_port
        .or(file.rtmp_port)
        .or(shared.server.rtmp_port);
    let rtmp_enabled = flags
        .rtmp_enabled
        .or(file.rtmp_enabled)
        .or(shared.server.rtmp_enabled);
    let advertise = flags.advertise.clone().or(file.advertise.clone());
    Ok(EngineSettings {
        path: flags.engine_path.clone().or(file.engine_path.clone()),
        shards,
        cores,
        reencode_enabled: flags
            .reencode_enabled
            .or(file.reencode_enabled)
            .unwrap_or(true),
        codec_cores,
        udp_port_base,
        rtmp_port: rtmp_enabled
            .unwrap_or(true)
            .then_some(rtmp_port.unwrap_or(rtmp_port_default)),
        advertise: advertise
            .or(shared.server.advertise.clone())
            .unwrap_or_default(),
        destination_allow: flags
            .destination_allow
            .clone()
            .or(file.destination_allow.clone()),
        destination_deny: flags
            .destination_deny
            .clone()
            .or(file.destination_deny.clone()),
        rtmps_ca_file: flags.rtmps_ca_file.clone().or(file.rtmps_ca_file.clone()),
    })
}

/// For each application, weakest first: defaults, `[ant_media]`, the file's top level, the flags,
/// `[application.NAME.ant_media]`, `[application.NAME]`.
fn applications(
    flags: &Overrides,
    file: &Overrides,
    shared: &Translated,
    reencodes: bool,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, ApplicationSettings>, SettingsError> {
    let mut names = flags
        .applications
        .clone()
        .or(file.applications.clone())
        .unwrap_or_else(|| vec!["StreamLick".to_owned(), "LiveApp".to_owned()]);
    names.extend(file.application.keys().cloned());
    let mut applications = BTreeMap::new();
    for name in names {
        if !is_name(&name) || RESERVED.contains(&name.as_str()) {
            let problem = format!("'{name}' cannot name an application");
            return Err(value("applications", problem));
        }
        let own = file.application.get(&name);
        let place = format!("[application.{name}.ant_media]");
        let table = own.and_then(|own| own.ant_media.as_ref());
        let own_ant = translate(table, &place, Some(&shared.application), warnings)?.application;
        let (file, flags) = (file.application_defaults(), flags.application_defaults());
        let mut layers = vec![
            (Some("[ant_media]"), &shared.application),
            (None, &file),
            (None, &flags),
            (Some(place.as_str()), &own_ant),
        ];
        layers.extend(own.map(|own| (None, own)));
        let settings = laid_over(&layers, warnings);
        checks::check(&settings, reencodes)?;
        applications.insert(name, settings);
    }
    Ok(applications)
}

/// The defaults under `layers`, weakest first; those in words of Ant Media Server have the place
/// where they are. A `gopSize` of theirs that cannot be is said in `warnings` and left out.
fn laid_over(
    layers: &[(Option<&str>, &ApplicationOverrides)],
    warnings: &mut Vec<String>,
) -> ApplicationSettings {
    let mut settings = ApplicationSettings::default();
    let mut gop_place = None;
    for (place, layer) in layers {
        layer.apply(&mut settings);
        if layer.gop_size.is_some() {
            gop_place = *place;
        }
    }
    // Whether it can be depends on the frame rate too, which any layer may have set.
    if let (Some(place), Some((key @ "gopSize", problem))) =
        (gop_place, settings.encoding.problem())
    {
        settings.encoding.gop_frames = 0;
        let warning = format!("{place} {key}: it {problem}; it is ignored");
        // What all applications share is said once.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    settings
}

pub(super) fn value(key: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError::Value {
        key,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::OpusChannels;

    fn file(text: &str) -> Overrides {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn executors_keep_off_the_cores_of_codecs_unless_those_are_all() {
        let all = thread::available_parallelism().map_or(1, |n| n.get());
        let shards = |codec_cores: usize| {
            let cores = (0..codec_cores).map(|core| core.to_string());
            let line = format!("codec_cores = [{}]", cores.collect::<Vec<_>>().join(","));
            let settings = resolve(&Overrides::default(), &file(&line)).unwrap();
            usize::from(settings.engine.shards)
        };
        assert_eq!((shards(0), shards(all)), (all, all));
        assert_eq!(shards(all - 1), 1);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = Overrides {
            http_port: Some(1),
            ..Overrides::default()
        };
        let settings = resolve(&flags, &file("http_port = 2\nhttps_port = 3")).unwrap();
        assert_eq!((settings.http_port, settings.https_port), (1, 3));
        assert_eq!(settings.engine.udp_port_base, 50_000);
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_line() {
        let error = toml::from_str::<Overrides>("http_port = 1\nhtp_port = 2").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 2") && text.contains("htp_port"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        for text in [
            "\nhttp_port = 99999",
            "\nbind = \"x\"",
            "\nremoteAllowedCIDR = \"1/99\"",
        ] {
            let error = toml::from_str::<Overrides>(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn an_application_has_its_own_token_control() {
        let text = "[application.StreamLick]\npublishTokenControlEnabled = true";
        let settings = resolve(&Overrides::default(), &file(text)).unwrap();
        assert!(settings.application["StreamLick"].publish_token_control_enabled);
        assert!(!settings.application["LiveApp"].publish_token_control_enabled);
    }

    #[test]
    fn a_certificate_without_a_key_is_refused() {
        let error = resolve(&Overrides::default(), &file("tls_cert = \"a.pem\"")).unwrap_err();
        assert!(error.to_string().contains("tls_key"), "{error}");
    }

    #[test]
    fn a_ladder_may_be_a_text_or_a_list_and_a_bad_one_is_told_with_its_line() {
        let triples = "encoder_settings = \"720,2000000,96000\"";
        let list = "[[application.One.encoderSettings]]\nheight = 720\nvideoBitrate = 2000000\n\
            audioBitrate = 96000";
        for (text, name) in [(triples, "LiveApp"), (list, "One")] {
            let settings = resolve(&Overrides::default(), &file(text)).unwrap();
            let ladder = &settings.application[name].encoding.ladder;
            assert_eq!(ladder.rungs()[0].video_bitrate, 2_000_000, "{text}");
        }
        let text = "\nencoderSettingsString = \"721,2000000,96000\"";
        let error = toml::from_str::<Overrides>(text).unwrap_err().to_string();
        for words in ["line 2", "encoderSettingsString", "721 is not even"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_keyframe_distance_of_ant_media_server_that_cannot_be_does_not_stop_the_start() {
        // It could be at 30 frames a second.
        let shared = "webRTCFrameRate = 60\n[ant_media]\ngopSize = 20";
        let own = "webRTCFrameRate = 60\n[application.One.ant_media]\ngopSize = 20";
        for (text, place) in [
            (shared, "[ant_media]"),
            (own, "[application.One.ant_media]"),
        ] {
            let settings = resolve(&Overrides::default(), &file(text)).unwrap();
            let gops = settings.application.values();
            assert!(gops.map(|one| one.encoding.gop_frames).all(|gop| gop == 0));
            assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
            let words = format!("{place} gopSize: it must be 0");
            assert!(
                settings.warnings[0].starts_with(&words),
                "{:?}",
                settings.warnings
            );
        }
        let fits = "webRTCFrameRate = 10\n[ant_media]\ngopSize = 8";
        let settings = resolve(&Overrides::default(), &file(fits)).unwrap();
        assert_eq!(settings.application["LiveApp"].encoding.gop_ms(), 800);
        assert_eq!(settings.warnings, Vec::<String>::new());
        let over = "gopSize = 301\n[ant_media]\ngopSize = 60";
        assert!(resolve(&Overrides::default(), &file(over)).is_err());
    }

    #[test]
    fn an_application_cannot_take_the_name_of_a_page() {
        let error = resolve(&Overrides::default(), &file("applications = [\"rest\"]")).unwrap_err();
        assert!(error.to_string().contains("'rest'"), "{error}");
    }

    #[test]
    fn what_is_printed_is_a_settings_file_that_means_the_same() {
        let text = "applications = [\"One\"]\nshards = 2\ncores = [0, 1]\ntls_cert = \"c\"\n\
            webhook_allow = \"::/0\"\nwebhook_deny = [\"fd00::/8\"]\n\
            destination_allow = \"::/0\"\ndestination_deny = [\"10.0.0.0/8\", \"::1\"]\n\
            rtmps_ca_file = \"ca.pem\"\nstop_grace_ms = 0\nendpoint_retries_max = 4\n\
            endpoint_retry_delay_ms_min = 100\nendpoint_retry_delay_ms_max = 200\n\
            tls_key = \"k\"\nadvertise = [\"192.0.2.1\"]\nrtmp_enabled = false\n\
            encoder_preset = \"faster\"\nencoder_profile = \"main\"\nopus_channels = \"stereo\"\nreencode = \"always\"\n\
            av1Enabled = false\nwebRTCFrameRate = 25\ngopSize = 50\n\
            encoderSettings = \"720,2000000,96000,360,500000,64000\"\n\
            [application.One]\nhold_ms = 5\ningestingStreamLimit = 3\n";
        let printed = resolve(&Overrides::default(), &file(text))
            .unwrap()
            .to_toml();
        let again = resolve(&Overrides::default(), &file(&printed)).unwrap();
        assert_eq!(again.to_toml(), printed);
        assert_eq!(again.application["One"].hold_ms, 5);
        assert_eq!(again.application["One"].endpoint_retries_max, Some(4));
        let encoding = &again.application["One"].encoding;
        assert_eq!(
            (encoding.ladder.rungs().len(), encoding.gop_ms()),
            (2, 2_000)
        );
        assert_eq!(encoding.offered.in_order().len(), 3);
        assert_eq!(encoding.opus_channels, OpusChannels::Stereo);
        let deny = again.webhook_deny.map(|list| list.to_string());
        assert_eq!(deny.as_deref(), Some("fd00::/8"));
        let deny = again.engine.destination_deny.map(|list| list.to_string());
        assert_eq!(deny.as_deref(), Some("10.0.0.0/8,::1/128"));
        assert_eq!(again.application.len(), 1);
    }

    #[test]
    fn what_is_printed_can_be_understood_and_hides_passwords() {
        let text = "turnServerCredential = \"hush\"\nstunServerURI = \"turn:t.example\"\n\
            webhook_secret = \"hush\"";
        let printed = resolve(&Overrides::default(), &file(text))
            .unwrap()
            .to_toml();
        assert!(printed.contains("http_port = 5080"), "{printed}");
        assert!(
            printed.contains("turn:t.example") && !printed.contains("hush"),
            "{printed}"
        );
    }
}
