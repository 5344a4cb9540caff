//! How the engine's executable is found and called.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::settings::Settings;

/// The engine cannot be run. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineMissing {
    /// Not installed, or somewhere else.
    #[error("there is no engine at {0}: build it, or say where it is with --engine-path")]
    NoEngine(PathBuf),
    /// The operating system does not report where this executable is.
    #[error("cannot find this executable: {0}; say where the engine is with --engine-path")]
    NoSelf(io::Error),
}

/// Where the engine is.
///
/// # Errors
/// When it is not there.
pub(crate) fn path(settings: &Settings) -> Result<PathBuf, EngineMissing> {
    let path = match &settings.engine_path {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(EngineMissing::NoSelf)?
            .with_file_name("shardcast-engine"),
    };
    match path.is_file() {
        true => Ok(path),
        false => Err(EngineMissing::NoEngine(path)),
    }
}

/// The engine at `path` with `settings`.
pub(crate) fn command(settings: &Settings, path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .arg("--link-dir")
        .arg(&settings.link_dir)
        .args(["--bind", &settings.bind.to_string()])
        .args(["--log", &settings.log])
        .args(settings.engine.to_flags());
    if let Some(format) = settings.log_format {
        command.args(["--log-format", format.as_str()]);
    }
    command
}
