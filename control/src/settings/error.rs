//! Why settings cannot be used.

use std::path::PathBuf;

/// Settings cannot be used. The operator's fault; the message says which and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file named by `--config` cannot be read.
    #[error("cannot read the settings file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A wrong key or value.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: toml::de::Error,
    },
    /// Settings of Ant Media Server that restrict access there and would not here, with what to do.
    #[error(
        "these settings close a door in Ant Media Server, and it would be open here:\n  {}",
        .0.join("\n  ")
    )]
    Restrictions(Vec<String>),
    /// Settings that contradict each other, or a value out of range.
    #[error("setting {key}: {problem}")]
    Value {
        /// The setting, as a key of the file.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

pub(super) fn value(key: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError::Value {
        key,
        problem: problem.into(),
    }
}
