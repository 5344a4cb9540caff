//! Reads a settings file. Keys of the engine are declared with its command line, so they are taken out
//! of the file first; both parts keep their places in it, for messages.

use serde::Deserialize;
use shardcast_link::settings::EngineSettings;
use toml::{
    Spanned,
    de::{DeTable, Deserializer, Error},
};

use super::overrides::Overrides;

/// The layer that `text` describes.
///
/// # Errors
/// When it is not TOML, or has a wrong key or value. The message has the line.
pub(super) fn read(text: &str) -> Result<Overrides, Error> {
    let document = DeTable::parse(text)?;
    let span = document.span();
    let keys = EngineSettings::keys();
    let (of_engine, rest): (Vec<_>, Vec<_>) = document
        .into_inner()
        .into_iter()
        .partition(|(key, _)| keys.iter().any(|known| known == key.get_ref()));
    let table = |entries: Vec<_>| {
        let entries: DeTable<'_> = entries.into_iter().collect();
        Deserializer::from(Spanned::new(span.clone(), entries))
    };
    let with_line = |mut error: Error| {
        error.set_input(Some(text));
        error
    };
    let engine = EngineSettings::deserialize(table(of_engine)).map_err(with_line)?;
    let overrides = Overrides::deserialize(table(rest)).map_err(with_line)?;
    Ok(Overrides {
        engine,
        ..overrides
    })
}
