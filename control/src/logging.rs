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

/// What `act` logs on this thread, one line for each event.
#[cfg(test)]
pub(crate) fn lines_of(act: impl FnOnce()) -> Vec<String> {
    let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::sync::Arc::clone(&file))
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let mut text = String::new();
    let mut written = file.as_ref();
    std::io::Seek::rewind(&mut written).unwrap();
    std::io::Read::read_to_string(&mut written, &mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}
