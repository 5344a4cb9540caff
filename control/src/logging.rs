//! Log lines on stderr: human on a terminal, JSON otherwise. [`shardcast_log`] has the thread.

use shardcast_log::{Format, Log, LogError};

use crate::settings::{LogFormat, Settings};

/// Starts logging.
///
/// # Errors
/// When the filter cannot be understood; the message says where.
pub fn start(settings: &Settings) -> Result<Log, LogError> {
    let format = settings.log_format.map(|format| match format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    });
    shardcast_log::start(&settings.log, format)
}
