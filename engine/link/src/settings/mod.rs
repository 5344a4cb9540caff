//! What the operator can set of an engine, declared once.
//!
//! [`EngineSettings`] is part of the engine's command line ([`EngineFlags`]) and of control's settings
//! file, variables and flags. Control starts the engine with [`EngineSettings::to_flags`].

mod bind;
mod engine;
mod flags;
mod variables;

pub use bind::default_bind;
pub use engine::{AacEncoder, EngineSettings, UDP_PORT_BASE_DEFAULT};
pub use flags::{EngineFlags, LogFormat, ProbeKind};
pub use variables::{UnknownVariables, check_variables, named_variables, with_variables};
