//! Lays flags and variables over the file over the defaults, and checks the result.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path, thread};

use shardcast_link::{
    CidrList,
    id::is_name,
    settings::{EngineSettings, default_bind},
};

use super::{
    ant_media::{self, ServerPart, Translated},
    application::{ApplicationOverrides, ApplicationSettings},
    checks,
    error::{SettingsError, value},
    file,
    in_force::{Settings, TlsFiles},
    overrides::Overrides,
};
use crate::limits;

/// Paths under which the server has pages of its own.
const RESERVED: [&str; 8] = [
    "rest", "api", "sdk", "js", "css", "metrics", "healthz", "readyz",
];

impl Settings {
    /// Lays flags and variables (`overrides`) over the file that they name, over the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, holds a wrong key or value (the message has the line), or
    /// when settings contradict each other.
    pub fn load(overrides: &Overrides) -> Result<Self, SettingsError> {
        load(overrides)
    }

    /// Defaults with everything in `data_dir` and on free loopback ports: for tests.
    pub fn in_folder(data_dir: &Path) -> Self {
        let overrides = Overrides {
            bind: Some(IpAddr::from([127, 0, 0, 1])),
            http_port: Some(0),
            https_port: Some(0),
            engine: EngineSettings {
                udp_port_base: Some(0),
                shards: Some(1),
                ..EngineSettings::default()
            },
            data_dir: Some(data_dir.to_owned()),
            ..Overrides::default()
        };
        resolve(&overrides, &Overrides::default()).unwrap_or_else(|error| {
            // The values above do not contradict each other.
            unreachable!("{error}")
        })
    }
}

fn load(overrides: &Overrides) -> Result<Settings, SettingsError> {
    let file = match &overrides.config {
        None => Overrides::default(),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
                path: path.clone(),
                source,
            })?;
            file::read(&text).map_err(|source| SettingsError::File {
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
    let data_dir = either(&flags.data_dir, &file.data_dir).unwrap_or("data".into());
    let link_dir = either(&flags.link_dir, &file.link_dir);
    let recordings_dir = either(&flags.recordings_dir, &file.recordings_dir);
    let engine = engine_settings(flags, file, &shared)?;
    let reencodes = engine.reencode_enabled();
    let tls = tls_files(flags, file)?;
    let has_free_ports = engine.udp_port_base() == 0;
    let (rtmp_port, rtmps_port) = encoder_ports(flags, file, ant, tls.is_some(), has_free_ports);
    let bind = flags.bind.or(file.bind).unwrap_or_else(default_bind);
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
        rtmp_port,
        rtmps_port,
        tls,
        link_dir: link_dir.unwrap_or_else(|| data_dir.join("link")),
        recordings_dir: recordings_dir.unwrap_or_else(|| data_dir.join("recordings")),
        data_dir,
        server_name: either(&flags.server_name, &file.server_name).or(ant.name.clone()),
        remote_allowed_cidr: either(&flags.remote_allowed_cidr, &file.remote_allowed_cidr)
            .or(shared.application.remote_allowed_cidr.clone())
            .unwrap_or_else(CidrList::loopback),
        allowed_origins: either(&flags.allowed_origins, &file.allowed_origins).unwrap_or_default(),
        publisher_origins: either(&flags.publisher_origins, &file.publisher_origins)
            .unwrap_or_default(),
        webhook_allow: either(&flags.webhook_allow, &file.webhook_allow),
        webhook_deny: either(&flags.webhook_deny, &file.webhook_deny),
        engine_path: either(&flags.engine_path, &file.engine_path),
        engine,
        log: either(&flags.log, &file.log).unwrap_or("info".into()),
        log_format: flags.log_format.or(file.log_format),
        application: applications(flags, file, &shared, reencodes, &mut warnings)?,
        warnings,
    })
}

/// What the flags say, or else the file.
fn either<T: Clone>(flags: &Option<T>, file: &Option<T>) -> Option<T> {
    flags.as_ref().or(file.as_ref()).cloned()
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
    let given = flags.engine.or(&file.engine).or(&shared.server.engine);
    let shards = shards(&given)?;
    let udp_port_base = given.udp_port_base();
    if udp_port_base != 0 && udp_port_base.checked_add(shards - 1).is_none() {
        return Err(value(
            "udp_port_base",
            format!("{shards} ports above it pass 65535"),
        ));
    }
    Ok(EngineSettings {
        shards: Some(shards),
        reencode_enabled: Some(given.reencode_enabled()),
        udp_port_base: Some(udp_port_base),
        ..given
    })
}

/// The ports for encoders, by RTMP and by RTMPS. With free ports for media these are free ones too, so that
/// instances run side by side. Encoders are not let in by a certificate that nobody knows, unless that is asked for.
fn encoder_ports(
    flags: &Overrides,
    file: &Overrides,
    ant: &ServerPart,
    has_tls: bool,
    has_free_ports: bool,
) -> (Option<u16>, Option<u16>) {
    let enabled = flags
        .rtmp_enabled
        .or(file.rtmp_enabled)
        .or(ant.rtmp_enabled);
    if enabled == Some(false) {
        return (None, None);
    }
    let default = |port| if has_free_ports { 0 } else { port };
    let rtmp = flags.rtmp_port.or(file.rtmp_port).or(ant.rtmp_port);
    let rtmps = flags.rtmps_port.or(file.rtmps_port);
    (
        Some(rtmp.unwrap_or(default(1935))),
        rtmps.or(has_tls.then_some(default(1936))),
    )
}

/// How many shards the engine is started with.
fn shards(given: &EngineSettings) -> Result<u16, SettingsError> {
    let all_cores = thread::available_parallelism().map_or(1, |n| n.get());
    let (cores, codec_cores) = (given.cores.len(), given.codec_cores.len());
    let shards = match given.shards {
        Some(shards) => usize::from(shards),
        // The engine's executors are where codecs are not, unless these have all cores.
        None if cores == 0 && codec_cores < all_cores => all_cores - codec_cores,
        None if cores == 0 => all_cores,
        None => cores,
    };
    let shards = u16::try_from(shards).unwrap_or(u16::MAX);
    if shards == 0 || shards > limits::SHARDS_MAX {
        return Err(value(
            "shards",
            format!("must be from 1 to {}", limits::SHARDS_MAX),
        ));
    }
    if cores > 0 && cores < usize::from(shards) {
        return Err(value(
            "cores",
            format!("names {cores} cores for {shards} shards"),
        ));
    }
    Ok(shards)
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

/// The defaults under `layers`, weakest first; those from names of Ant Media Server have the place
/// where they are. A `gopSize` of theirs that cannot be used is warned of and left out.
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
        // A warning that all applications share is given once.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::OpusChannels;

    fn file(text: &str) -> Overrides {
        file::read(text).unwrap()
    }

    #[test]
    fn executors_keep_off_the_cores_of_codecs_unless_those_are_all() {
        let all = thread::available_parallelism().map_or(1, |n| n.get());
        let shards = |codec_cores: usize| {
            let cores = (0..codec_cores).map(|core| core.to_string());
            let line = format!("codec_cores = [{}]", cores.collect::<Vec<_>>().join(","));
            let settings = resolve(&Overrides::default(), &file(&line)).unwrap();
            usize::from(settings.shards())
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
        assert_eq!(settings.engine.udp_port_base(), 50_000);
    }

    #[test]
    fn an_empty_list_in_the_file_wins_over_the_address_of_ant_media_server() {
        let ant_media = "[ant_media]\n\"webrtc.externalIP\" = \"192.0.2.1\"";
        for (line, wanted) in [("", 1), ("advertise = []\n", 0)] {
            let settings = format!("{line}{ant_media}");
            let settings = resolve(&Overrides::default(), &file(&settings)).unwrap();
            assert_eq!(settings.engine.advertise().len(), wanted, "{line}");
        }
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_line() {
        let error = file::read("http_port = 1\nhtp_port = 2").unwrap_err();
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
            let error = file::read(text).unwrap_err().to_string();
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
        let error = file::read(text).unwrap_err().to_string();
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
            rtmps_ca_file = \"ca.pem\"\naac_encoder = \"libavcodec\"\nstop_grace_ms = 0\nendpoint_retries_max = 4\n\
            endpoint_retry_delay_ms_min = 100\nendpoint_retry_delay_ms_max = 200\n\
            tls_key = \"k\"\nadvertise = [\"192.0.2.1\"]\nrtmp_enabled = false\n\
            tcp_candidates_enabled = false\n\
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
