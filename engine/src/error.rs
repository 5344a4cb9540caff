//! Why an engine does not start, or stops. All of these are the operator's to mend, except
//! [`EngineError::ShardDied`], which is a defect of ours.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use shardcast_link::settings::UnknownVariables;

use crate::tcp::trust::RootsError;

/// The process stopped as it was asked to.
pub const EXIT_STOPPED: u8 = 0;
/// The settings or the machine do not allow a start; trying again does not help.
pub const EXIT_REFUSED: u8 = 2;
/// Another engine holds the link directory or a port.
pub const EXIT_OCCUPIED: u8 = 3;
/// A shard died; start the engine anew.
pub const EXIT_SHARD_DIED: u8 = 70;
/// A second signal came before the shards had stopped.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The settings contradict each other or this machine.
    #[error("{0}")]
    Settings(String),
    /// A misspelt variable, which might be a restriction.
    #[error(transparent)]
    Variables(#[from] UnknownVariables),
    /// The kernel or a container forbids io_uring.
    #[error("io_uring cannot be used: {0}")]
    NoIoUring(String),
    /// RLIMIT_MEMLOCK is too low for io_uring.
    #[error(
        "the limit of locked memory is {limit_bytes} bytes and io_uring needs {needed_bytes}: \
         raise it (`ulimit -l unlimited`, systemd `LimitMEMLOCK=infinity`, docker \
         `--ulimit memlock=-1`)"
    )]
    LockedMemory {
        /// The limit in force.
        limit_bytes: u64,
        /// The smallest one that suffices.
        needed_bytes: u64,
    },
    /// The link directory cannot be used.
    #[error("cannot use the link directory {}: {source}", path.display())]
    LinkDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another engine runs with this link directory.
    #[error(
        "another engine{} holds the link directory {}: stop it, or give this one its own \
         --link-dir",
        holder.as_deref().map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        path.display()
    )]
    LinkDirHeld {
        /// The directory.
        path: PathBuf,
        /// The process id of the other engine, if its lock file has one.
        holder: Option<String>,
    },
    /// A UDP port is taken, most often by another engine.
    #[error("UDP {address} is in use by another process: stop it, or choose --udp-port-base")]
    UdpPortInUse {
        /// The address with the port.
        address: SocketAddr,
    },
    /// A UDP socket cannot be made.
    #[error("cannot open UDP {address}: {source}")]
    Udp {
        /// The address to be bound.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operator's file of certificates cannot be used.
    #[error("--ca-file: {0}")]
    Roots(#[from] RootsError),
    /// The log cannot be written as the settings say.
    #[error("--log: {0}")]
    Log(#[from] shardcast_log::LogError),
    /// The operating system refused something that an engine cannot do without.
    #[error("{what}: {source}")]
    System {
        /// What was asked for, as a gerund.
        what: &'static str,
        /// Why it was refused.
        source: io::Error,
    },
    /// The executor of a shard could not be made.
    #[error("shard {shard} cannot start its executor: {reason}")]
    Executor {
        /// The number of the shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// A shard ended without being asked to. The log says why.
    #[error("shard {shard} died: {reason}")]
    ShardDied {
        /// The number of the shard.
        shard: u16,
        /// Why.
        reason: String,
    },
}

impl EngineError {
    /// The exit code that tells the supervisor what to do.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::LinkDirHeld { .. } | Self::UdpPortInUse { .. } => EXIT_OCCUPIED,
            Self::ShardDied { .. } => EXIT_SHARD_DIED,
            _ => EXIT_REFUSED,
        })
    }
}
