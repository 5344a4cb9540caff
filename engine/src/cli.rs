//! Flags and environment of `shardcast-engine`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use shardcast_core::AddressRules;
use shardcast_link::CidrList;

/// The media engine of Shardcast: one shard per core, commanded over Unix sockets.
#[derive(Clone, Debug, Parser)]
#[command(name = "shardcast-engine", version)]
pub struct Cli {
    /// Directory of the link sockets (`shard-<n>.sock`); made when missing, owned by one engine
    #[arg(long, value_name = "DIR", env = "SHARDCAST_ENGINE_LINK_DIR")]
    pub link_dir: PathBuf,

    /// How many shards to run; default: one per core
    #[arg(long, value_name = "N", env = "SHARDCAST_ENGINE_SHARDS",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub shards: Option<u16>,

    /// Cores to run on, such as 0,2,4; default: all that this process may use, but --codec-cores
    #[arg(
        long,
        value_name = "CORES",
        env = "SHARDCAST_ENGINE_CORES",
        value_delimiter = ','
    )]
    pub cores: Vec<usize>,

    /// Address to receive media on; `::` takes IPv4 and IPv6
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SHARDCAST_ENGINE_BIND",
        default_value = "0.0.0.0"
    )]
    pub bind: IpAddr,

    /// UDP port of the first shard, the others follow; 0 picks free ports
    #[arg(
        long,
        value_name = "PORT",
        env = "SHARDCAST_ENGINE_UDP_PORT_BASE",
        default_value_t = 50_000
    )]
    pub udp_port_base: u16,

    /// TCP port on loopback for the RTMP test sink; 0 picks a free one; without it there is none
    #[arg(long, value_name = "PORT", env = "SHARDCAST_ENGINE_RTMP_PORT")]
    pub rtmp_port: Option<u16>,

    /// Address that clients are told to send media to (several allowed); default: the bound
    /// address, or those of this machine
    #[arg(
        long,
        value_name = "IP",
        env = "SHARDCAST_ENGINE_ADVERTISE",
        value_delimiter = ','
    )]
    pub advertise: Vec<IpAddr>,

    /// PEM file of certificates to believe beside those of the system, for rtmps:// destinations
    #[arg(long, value_name = "FILE", env = "SHARDCAST_ENGINE_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Ranges that destinations may be in, such as 203.0.113.0/24; default: everywhere
    #[arg(
        long,
        value_name = "CIDR,…",
        env = "SHARDCAST_ENGINE_DESTINATION_ALLOW"
    )]
    pub destination_allow: Option<CidrList>,

    /// Ranges that destinations may not be in; they win over those that are allowed
    #[arg(long, value_name = "CIDR,…", env = "SHARDCAST_ENGINE_DESTINATION_DENY")]
    pub destination_deny: Option<CidrList>,

    /// Make pictures anew for destinations that want others than the publisher sends
    #[arg(long, value_name = "BOOL", env = "SHARDCAST_ENGINE_REENCODE_ENABLED",
          action = clap::ArgAction::Set, default_value_t = true,
          num_args = 0..=1, default_missing_value = "true")]
    pub reencode_enabled: bool,

    /// Cores that decode and encode only, such as 4,5, dealt out among the shards; default: each
    /// shard's own core
    #[arg(
        long,
        value_name = "CORES",
        env = "SHARDCAST_ENGINE_CODEC_CORES",
        value_delimiter = ','
    )]
    pub codec_cores: Vec<usize>,

    /// Decode and encode on the threads that move packets, which are late then: for measurements
    #[arg(
        long,
        env = "SHARDCAST_ENGINE_CODECS_INLINE",
        conflicts_with = "codec_cores"
    )]
    pub codecs_inline: bool,

    /// What to log, such as `info` or `shardcast_core=debug,info`
    #[arg(
        long,
        value_name = "FILTER",
        env = "SHARDCAST_ENGINE_LOG",
        default_value = "info"
    )]
    pub log: String,

    /// How to log; default: human on a terminal, JSON otherwise
    #[arg(long, value_name = "FORMAT", env = "SHARDCAST_ENGINE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line for each event
    Human,
    /// One JSON object for each event
    Json,
}

impl From<LogFormat> for shardcast_log::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Human => Self::Human,
            LogFormat::Json => Self::Json,
        }
    }
}

/// What the engine is asked to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub link_dir: PathBuf,
    /// `None`: one per core.
    pub shards: Option<u16>,
    /// Empty: all that this process may use.
    pub cores: Vec<usize>,
    pub bind: IpAddr,
    /// 0: free ports.
    pub udp_port_base: u16,
    /// `None`: no RTMP port; 0: a free one.
    pub rtmp_port: Option<u16>,
    /// Empty: the local addresses.
    pub advertise: Vec<IpAddr>,
    /// Certificates to believe beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where destinations may be.
    pub address_rules: AddressRules,
    pub reencode_enabled: bool,
    /// Empty: codec threads run beside their shard.
    pub codec_cores: Vec<usize>,
    /// No codec threads: to be measured against.
    pub codecs_inline: bool,
}

impl Cli {
    /// The settings without those of the log.
    pub fn settings(self) -> Settings {
        Settings {
            link_dir: self.link_dir,
            shards: self.shards,
            cores: self.cores,
            bind: self.bind,
            udp_port_base: self.udp_port_base,
            rtmp_port: self.rtmp_port,
            advertise: self.advertise,
            ca_file: self.ca_file,
            address_rules: AddressRules {
                allow: self.destination_allow,
                deny: self.destination_deny,
            },
            reencode_enabled: self.reencode_enabled,
            codec_cores: self.codec_cores,
            codecs_inline: self.codecs_inline,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let cli = Cli::parse_from([
            "shardcast-engine",
            "--link-dir=x",
            "--cores=0,1",
            "--codec-cores=2,5",
            "--advertise=192.0.2.1,2001:db8::1",
        ]);
        assert_eq!((cli.cores, cli.codec_cores), (vec![0, 1], vec![2, 5]));
        assert_eq!(cli.advertise.len(), 2);
    }

    #[test]
    fn pictures_are_made_anew_unless_that_is_switched_off() {
        let enabled = |flags: &[&str]| {
            let flags = ["shardcast-engine", "--link-dir=x"].iter().chain(flags);
            Cli::parse_from(flags).settings().reencode_enabled
        };
        assert!(enabled(&[]) && enabled(&["--reencode-enabled"]));
        assert!(!enabled(&["--reencode-enabled=false"]));
    }

    #[test]
    fn no_shards_is_refused() {
        assert!(Cli::try_parse_from(["shardcast-engine", "--link-dir=x", "--shards=0"]).is_err());
    }
}
