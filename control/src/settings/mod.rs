//! What the operator can set, after all sources were laid over each other.
//!
//! Sources, strongest first: flag, `SHARDCAST_…` variable, TOML file, default. One layer is an
//! [`Overrides`]; names of Ant Media Server are taken from `[ant_media]` tables ([`ant_media`]).

pub mod ant_media;
mod application;
mod checks;
mod encoding;
mod layers;
mod overrides;
mod webhooks;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;
use shardcast_link::CidrList;

pub use crate::ladder::{Ladder, LadderError, Rung};
pub use application::{ApplicationOverrides, ApplicationSettings, IceServer};
pub use encoding::{EncodingSettings, OfferedCodecs, OpusChannels};
pub use layers::SettingsError;
pub use overrides::{LogFormat, Overrides};
pub(crate) use webhooks::url_problem;
pub use webhooks::{WebhookContentType, WebhookSettings};

/// All settings in force.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Address that all ports are bound to.
    pub bind: IpAddr,
    /// 0 picks a free port; the log line and `runtime.json` say which.
    pub http_port: u16,
    /// 0 picks a free port.
    pub https_port: u16,
    /// PEM files; without them a self-signed pair is made in the data directory.
    #[serde(flatten)]
    pub tls: Option<TlsFiles>,
    /// Where the store, the certificate and `runtime.json` live.
    pub data_dir: PathBuf,
    /// Where the shards' sockets are. A Unix socket's path may hold 107 bytes.
    pub link_dir: PathBuf,
    /// Host name of this server in the URLs it hands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Who may use the server-wide HTTP endpoints (`/api/v1`, `/metrics`, `/rest`).
    #[serde(rename = "remoteAllowedCIDR")]
    pub remote_allowed_cidr: CidrList,
    /// Web pages of other sites that may use REST from a browser on this machine, as origins such
    /// as `https://studio.example`; `*` is any.
    pub allowed_origins: Vec<String>,
    /// Web pages that may open signalling, as origins; empty is every page.
    pub publisher_origins: Vec<String>,
    /// Where webhooks may go; `None` is everywhere but to link-local addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_allow: Option<CidrList>,
    /// Where they may not go, whatever is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_deny: Option<CidrList>,
    /// The engine on this machine.
    #[serde(flatten)]
    pub engine: EngineSettings,
    /// A `tracing` filter, such as `info,shardcast_control=debug`.
    pub log: String,
    /// `None`: human on a terminal, JSON otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// By name.
    pub application: BTreeMap<String, ApplicationSettings>,
    /// What was accepted but has no effect; logged at the start.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Certificate chain and key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    #[serde(rename = "tls_cert")]
    pub cert: PathBuf,
    #[serde(rename = "tls_key")]
    pub key: PathBuf,
}

/// How the engine child is run.
#[derive(Clone, Debug, Serialize)]
pub struct EngineSettings {
    /// `None`: the `shardcast-engine` beside this executable.
    #[serde(rename = "engine_path", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Executors, each pinned to a core.
    pub shards: u16,
    /// Cores to pin to; empty leaves the choice to the engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    /// Whether destinations may have another picture than the publisher sends.
    pub reencode_enabled: bool,
    /// Cores that decode and encode only; empty: codecs run beside the executors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codec_cores: Vec<u16>,
    /// UDP port of shard 0; shard n uses n more. 0 picks free ports.
    pub udp_port_base: u16,
    /// TCP port for RTMP; 0 picks a free one, `None` takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp_port: Option<u16>,
    /// Addresses that browsers are told to send media to; empty means the addresses of this
    /// machine.
    pub advertise: Vec<IpAddr>,
    /// Where destinations may be; `None` is everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_allow: Option<CidrList>,
    /// Where they may not be, whatever is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_deny: Option<CidrList>,
    /// PEM file of authorities that `rtmps://` destinations may have beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmps_ca_file: Option<PathBuf>,
}

impl Settings {
    /// Lays flags and variables (`overrides`) over the file that they name, over the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, holds a wrong key or value (the message has the line), or
    /// when settings contradict each other.
    pub fn load(overrides: &Overrides) -> Result<Self, SettingsError> {
        layers::load(overrides)
    }

    /// Defaults with everything in `data_dir` and on free loopback ports: for tests.
    pub fn in_folder(data_dir: &Path) -> Self {
        let overrides = Overrides {
            bind: Some(IpAddr::from([127, 0, 0, 1])),
            http_port: Some(0),
            https_port: Some(0),
            udp_port_base: Some(0),
            data_dir: Some(data_dir.to_owned()),
            shards: Some(1),
            ..Overrides::default()
        };
        layers::resolve(&overrides, &Overrides::default()).unwrap_or_else(|error| {
            // The values above do not contradict each other.
            unreachable!("{error}")
        })
    }

    /// The settings in force as a settings file, secrets masked.
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        for application in shown.application.values_mut() {
            if !application.ice_server.credential.is_empty() {
                application.ice_server.credential = "***".to_owned();
            }
            if !application.webhooks.secret.is_empty() {
                application.webhooks.secret = "***".to_owned();
            }
            let hooks = &mut application.webhooks;
            for url in [&mut hooks.url, &mut hooks.authenticate_url] {
                *url = webhooks::masked(url);
            }
        }
        let names: Vec<&String> = self.application.keys().collect();
        let text = toml::Table::try_from(&shown).and_then(|mut table| {
            table.insert("applications".to_owned(), toml::Value::try_from(names)?);
            table.insert(
                "rtmp_enabled".to_owned(),
                self.engine.rtmp_port.is_some().into(),
            );
            toml::to_string(&table)
        });
        text.unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    /// Host for URLs handed out: the configured name, an advertised address, or the bound one.
    pub fn public_host(&self) -> String {
        if let Some(name) = &self.server_name {
            return name.clone();
        }
        let address = match self.engine.advertise.first() {
            Some(address) => *address,
            None if self.bind.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            None => self.bind,
        };
        match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }
}
