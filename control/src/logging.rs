//! Log lines on stderr: human on a terminal, JSON otherwise.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{LogFormat, Settings};

/// Starts logging.
///
/// # Errors
/// When the filter cannot be understood; the message says where.
pub fn start(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| format!("setting log: '{}': {error}", settings.log))?;
    let terminal = io::stderr().is_terminal();
    let format = settings.log_format.unwrap_or(match terminal {
        true => LogFormat::Human,
        false => LogFormat::Json,
    });
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let result = match format {
        LogFormat::Human => builder.with_ansi(terminal).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| error.to_string())
}
