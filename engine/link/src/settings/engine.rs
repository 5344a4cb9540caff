//! The settings of an engine.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Command, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cidr::CidrList;

/// UDP port of shard 0 where nothing else is set.
pub const UDP_PORT_BASE_DEFAULT: u16 = 50_000;

/// The settings of an engine, or one layer of them. The names of fields are the keys of the settings
/// file; flags have `-` for `_`, variables are upper case behind a prefix. What is left out has the
/// default that its text names.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// Shards of the engine, each an executor on a core of its own [default: number of cores]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u16>,

    /// Cores for the shards, such as 0,2,4 [default: all that the engine may use, but codec_cores]
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,

    /// Re-encode video for destinations that want another than the publisher sends [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reencode_enabled: Option<bool>,

    /// Cores that decode and encode only, such as 4,5, dealt out among the shards [default: each shard's
    /// own core]
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codec_cores: Vec<u16>,

    /// What encodes the AAC of destinations [default: shardcast]
    #[arg(long, value_name = "ENCODER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aac_encoder: Option<AacEncoder>,

    /// UDP port of shard 0, shard n uses n more; 0 picks free ports [default: 50000]
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_port_base: Option<u16>,

    /// Take WebRTC over TCP too, on the number of the UDP port, from clients that UDP does not reach
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_candidates_enabled: Option<bool>,

    /// Address that browsers send media to; may be repeated [default: the bound address, or those of this
    /// machine]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Vec<IpAddr>>,

    /// Where destinations may be, once their names are resolved: ranges such as
    /// 203.0.113.0/24,2001:db8::/32 [default: everywhere]
    #[arg(long, value_name = "RANGES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_allow: Option<CidrList>,

    /// Where destinations may not be, whatever destination_allow permits: ranges [default: nowhere]
    #[arg(long, value_name = "RANGES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_deny: Option<CidrList>,

    /// Certificates, PEM, that rtmps destinations may be signed by beside those that this machine
    /// trusts
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmps_ca_file: Option<PathBuf>,
}

/// What encodes AAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AacEncoder {
    /// The encoder that comes with Shardcast
    Shardcast,
    /// The libavcodec of this machine
    Libavcodec,
}

impl EngineSettings {
    /// These settings, and of `weaker` what they leave out.
    #[must_use]
    pub fn or(&self, weaker: &Self) -> Self {
        // No layer below the settings file names cores, so an empty list there overrides nothing.
        let list = |own: &Vec<u16>, weaker: &Vec<u16>| match own.is_empty() {
            true => weaker.clone(),
            false => own.clone(),
        };
        Self {
            shards: self.shards.or(weaker.shards),
            cores: list(&self.cores, &weaker.cores),
            reencode_enabled: self.reencode_enabled.or(weaker.reencode_enabled),
            codec_cores: list(&self.codec_cores, &weaker.codec_cores),
            aac_encoder: self.aac_encoder.or(weaker.aac_encoder),
            udp_port_base: self.udp_port_base.or(weaker.udp_port_base),
            tcp_candidates_enabled: self
                .tcp_candidates_enabled
                .or(weaker.tcp_candidates_enabled),
            advertise: either(&self.advertise, &weaker.advertise),
            destination_allow: either(&self.destination_allow, &weaker.destination_allow),
            destination_deny: either(&self.destination_deny, &weaker.destination_deny),
            rtmps_ca_file: either(&self.rtmps_ca_file, &weaker.rtmps_ca_file),
        }
    }

    /// Whether video may be re-encoded.
    pub fn reencode_enabled(&self) -> bool {
        self.reencode_enabled.unwrap_or(true)
    }

    /// The addresses that browsers send media to; none where the engine finds them itself.
    pub fn advertise(&self) -> &[IpAddr] {
        self.advertise.as_deref().unwrap_or_default()
    }

    /// UDP port of shard 0; 0 picks free ports.
    pub fn udp_port_base(&self) -> u16 {
        self.udp_port_base.unwrap_or(UDP_PORT_BASE_DEFAULT)
    }

    /// Whether WebRTC comes over TCP too.
    pub fn tcp_candidates_enabled(&self) -> bool {
        self.tcp_candidates_enabled.unwrap_or(true)
    }

    /// The names of all settings, as keys of the settings file.
    pub fn keys() -> Vec<String> {
        let command = Self::augment_args(Command::new("engine"));
        let arguments = command.get_arguments();
        arguments
            .map(|argument| argument.get_id().to_string())
            .collect()
    }

    /// The flags that give an engine these settings. Each with `=` and not as two arguments: a range
    /// cannot be mistaken for a flag.
    pub fn to_flags(&self) -> Vec<OsString> {
        // A path need not be a text.
        let named = Self {
            rtmps_ca_file: None,
            ..self.clone()
        };
        let mut flags = Vec::new();
        if let Ok(Value::Object(settings)) = serde_json::to_value(named) {
            for (key, value) in settings {
                // An empty text is a value: a list of ranges without a range permits no address. An
                // empty array is what the engine has without the flag.
                let is_left_out = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                if !is_left_out {
                    let (key, value) = (key.replace('_', "-"), flag_value(&value));
                    flags.push(format!("--{key}={value}").into());
                }
            }
        }
        if let Some(path) = &self.rtmps_ca_file {
            let mut flag = OsString::from("--ca-file=");
            flag.push(path);
            flags.push(flag);
        }
        flags
    }
}

fn either<T: Clone>(own: &Option<T>, weaker: &Option<T>) -> Option<T> {
    own.as_ref().or(weaker.as_ref()).cloned()
}

fn flag_value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(flag_value).collect();
            values.join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::EngineFlags;

    fn full() -> EngineSettings {
        EngineSettings {
            shards: Some(3),
            cores: vec![0, 2, 4],
            reencode_enabled: Some(false),
            codec_cores: vec![1],
            aac_encoder: Some(AacEncoder::Libavcodec),
            udp_port_base: Some(0),
            tcp_candidates_enabled: Some(false),
            advertise: Some(vec![
                "192.0.2.1".parse().unwrap(),
                "2001:db8::1".parse().unwrap(),
            ]),
            destination_allow: Some("::/0".parse().unwrap()),
            destination_deny: Some("10.0.0.0/8,::1".parse().unwrap()),
            rtmps_ca_file: Some("/etc/own ca.pem".into()),
        }
    }

    #[test]
    fn an_engine_reads_from_its_flags_what_control_has_written_into_them() {
        for settings in [full(), EngineSettings::default()] {
            let start = ["shardcast-engine", "--link-dir=x"].map(OsString::from);
            let arguments = start.into_iter().chain(settings.to_flags());
            let flags = EngineFlags::parse_from_arguments(arguments).unwrap();
            assert_eq!(flags.engine, settings);
        }
    }

    #[test]
    fn an_empty_list_of_ranges_reaches_the_engine_as_one_that_permits_no_address() {
        let nobody = EngineSettings {
            destination_allow: Some("".parse().unwrap()),
            destination_deny: Some("".parse().unwrap()),
            ..EngineSettings::default()
        };
        let start = ["shardcast-engine", "--link-dir=x"].map(OsString::from);
        let arguments = start.into_iter().chain(nobody.to_flags());
        let flags = EngineFlags::parse_from_arguments(arguments).unwrap();
        assert_eq!(flags.engine, nobody);
        let allow = flags.engine.destination_allow.unwrap();
        assert!(!allow.contains("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn an_empty_list_wins_over_a_weaker_one() {
        let own = EngineSettings {
            advertise: Some(Vec::new()),
            destination_allow: Some("".parse().unwrap()),
            ..EngineSettings::default()
        };
        let laid = own.or(&full());
        assert_eq!(laid.advertise, own.advertise);
        assert_eq!(laid.destination_allow, own.destination_allow);
        assert!(
            laid.to_flags()
                .iter()
                .all(|flag| { !flag.to_string_lossy().starts_with("--advertise") })
        );
    }

    #[test]
    fn a_layer_wins_where_it_says_something() {
        let (full, empty) = (full(), EngineSettings::default());
        assert_eq!(full.or(&empty), full);
        assert_eq!(empty.or(&full), full);
        let own = EngineSettings {
            shards: Some(1),
            cores: vec![7],
            ..EngineSettings::default()
        };
        let wanted = EngineSettings {
            shards: Some(1),
            cores: vec![7],
            ..full.clone()
        };
        assert_eq!(own.or(&full), wanted);
    }

    #[test]
    fn every_setting_has_a_key() {
        let Value::Object(keys) = serde_json::to_value(full()).unwrap() else {
            panic!("settings are an object");
        };
        let mut known = EngineSettings::keys();
        known.sort();
        assert_eq!(keys.keys().cloned().collect::<Vec<_>>(), known);
        assert!(EngineFlags::try_parse_from(["engine", "--link-dir=x"]).is_ok());
    }
}
