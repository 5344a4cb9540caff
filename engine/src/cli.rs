//! The command line of `shardcast-engine` and the settings that it makes. It is declared beside the
//! link's messages ([`shardcast_link::settings`]), because control writes it.

use std::{env, net::IpAddr, path::PathBuf};

use shardcast_core::AddressRules;
use shardcast_link::settings::{
    AacEncoder, EngineFlags, EngineSettings, LogFormat, ProbeKind, UnknownVariables,
    check_variables, default_bind, named_variables,
};
use shardcast_media::AacCoder;

/// What stands before the variables of an engine.
const VARIABLE_PREFIX: &str = "SHARDCAST_ENGINE_";
/// Control's own: where the engine is.
const VARIABLE_OF_CONTROL: &str = "SHARDCAST_ENGINE_PATH";

/// The command line.
#[derive(Clone, Debug)]
pub struct Cli(EngineFlags);

/// What the engine is asked to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of the link sockets.
    pub link_dir: PathBuf,
    /// Address to receive media on.
    pub bind: IpAddr,
    /// What control can set too.
    pub engine: EngineSettings,
    /// No codec threads: to be measured against.
    pub codecs_inline: bool,
}

impl Settings {
    /// Cores of the shards; empty: all that this process may use.
    pub fn cores(&self) -> Vec<usize> {
        self.engine.cores.iter().copied().map(usize::from).collect()
    }

    /// Cores that decode and encode only; empty: codec threads run beside their shard.
    pub fn codec_cores(&self) -> Vec<usize> {
        let cores = self.engine.codec_cores.iter();
        cores.copied().map(usize::from).collect()
    }

    /// Who encodes audio.
    pub fn aac_coder(&self) -> AacCoder {
        match self.engine.aac_encoder {
            None | Some(AacEncoder::Shardcast) => AacCoder::Shardcast,
            Some(AacEncoder::Libavcodec) => AacCoder::Libavcodec,
        }
    }

    /// Where destinations may be.
    pub fn address_rules(&self) -> AddressRules {
        AddressRules {
            allow: self.engine.destination_allow.clone(),
            deny: self.engine.destination_deny.clone(),
        }
    }
}

impl Cli {
    /// Reads the command line and the environment. Ends the process when they are wrong, or ask for
    /// help or the version.
    pub fn read() -> Self {
        match EngineFlags::parse_from_arguments(env::args_os()) {
            Ok(flags) => Self(flags),
            Err(error) => error.exit(),
        }
    }

    /// Whether all variables of the environment that begin like those of an engine are some.
    ///
    /// # Errors
    /// Names those that are none.
    pub fn check_environment(&self) -> Result<(), UnknownVariables> {
        let mut known = named_variables(&EngineFlags::command_with_variables());
        known.push(VARIABLE_OF_CONTROL.to_owned());
        let present = env::vars_os().filter_map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            Some((name.into_string().ok()?, value))
        });
        check_variables(present, VARIABLE_PREFIX, &known)
    }

    /// The filter of the log.
    pub fn log(&self) -> &str {
        &self.0.log
    }

    /// How to log; `None`: human on a terminal, JSON otherwise.
    pub fn log_format(&self) -> Option<shardcast_log::Format> {
        self.0.log_format.map(|format| match format {
            LogFormat::Human => shardcast_log::Format::Human,
            LogFormat::Json => shardcast_log::Format::Json,
        })
    }

    /// Whether the machine is to be probed only, and how far.
    pub fn probe(&self) -> Option<ProbeKind> {
        self.0.probe
    }

    /// The settings without those of the log.
    pub fn settings(self) -> Settings {
        Settings {
            link_dir: self.0.link_dir,
            bind: self.0.bind.unwrap_or_else(default_bind),
            engine: self.0.engine,
            codecs_inline: self.0.codecs_inline,
        }
    }
}
