//! All settings in force, and how they are printed.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::Serialize;
use shardcast_link::{
    CidrList,
    settings::{EngineSettings, LogFormat},
};

use super::{application::ApplicationSettings, webhooks};

/// All settings in force.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Address that all ports are bound to.
    pub bind: IpAddr,
    /// HTTP and WebSocket port; 0 picks a free one, and the log line and `runtime.json` say which.
    pub http_port: u16,
    /// HTTPS and secure WebSocket port; 0 picks a free one.
    pub https_port: u16,
    /// Port for encoders by RTMP; `None`: there is none. 0 picks a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp_port: Option<u16>,
    /// Port for encoders by RTMPS; `None`: there is none. 0 picks a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmps_port: Option<u16>,
    /// PEM files; without them a self-signed pair is made in the data directory.
    #[serde(flatten)]
    pub tls: Option<TlsFiles>,
    /// Where the store, the certificate and `runtime.json` live.
    pub data_dir: PathBuf,
    /// Where recordings are kept: finished ones in a folder for each application, and those that are being made.
    pub recordings_dir: PathBuf,
    /// Where the shards' sockets are. A Unix socket's path may hold 107 bytes.
    pub link_dir: PathBuf,
    /// Host name of this server in the URLs it hands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Who may use the server-wide HTTP endpoints (`/api/v1`, `/metrics`, `/rest`), as address ranges.
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
    /// Where webhooks may not go, whatever is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_deny: Option<CidrList>,
    /// The executable of the engine; `None`: the `shardcast-engine` beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_path: Option<PathBuf>,
    /// The engine on this machine. The number of shards is always given.
    #[serde(flatten)]
    pub engine: EngineSettings,
    /// A `tracing` filter, such as `info,shardcast_control=debug`.
    pub log: String,
    /// How to log; `None`: human on a terminal, JSON otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Settings of applications, by name.
    pub application: BTreeMap<String, ApplicationSettings>,
    /// Settings that were accepted and have no effect; logged at the start.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Certificate chain and key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// Certificate chain.
    #[serde(rename = "tls_cert")]
    pub cert: PathBuf,
    /// Private key.
    #[serde(rename = "tls_key")]
    pub key: PathBuf,
}

impl Settings {
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
            application.s3.mask();
            let hooks = &mut application.webhooks;
            for url in [
                &mut hooks.url,
                &mut hooks.authenticate_url,
                &mut hooks.data_url,
            ] {
                *url = webhooks::masked(url);
            }
        }
        let names: Vec<&String> = self.application.keys().collect();
        let text = toml::Table::try_from(&shown).and_then(|mut table| {
            table.insert("applications".to_owned(), toml::Value::try_from(names)?);
            table.insert("rtmp_enabled".to_owned(), self.rtmp_port.is_some().into());
            toml::to_string(&table)
        });
        text.unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    /// Shards that the engine is started with, from 1.
    pub fn shards(&self) -> u16 {
        self.engine.shards.unwrap_or(1)
    }

    /// Host for URLs handed out: the configured name, an advertised address, or the bound one.
    pub fn public_host(&self) -> String {
        if let Some(name) = &self.server_name {
            return name.clone();
        }
        let address = match self.engine.advertise().first() {
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
