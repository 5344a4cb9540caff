//! Shardcast's control process: REST, signalling, placement, store, settings, and the supervisor
//! of the engine.
//!
//! Control never touches media. It tells shards what it wants of them ([`shardcast_link`]) and
//! shows what they report; when it dies, media goes on, and the next control process learns the
//! state from the shards.
#![forbid(unsafe_code)]

mod api;
pub mod cli;
mod clock;
mod codec_room;
mod commands;
mod control;
pub mod descriptors;
mod drain;
mod forwarded;
mod handover;
mod health;
mod ladder;
mod lifecycle;
mod limits;
pub mod logging;
mod metrics;
mod pages;
mod picture;
pub mod placement;
mod places;
mod redact;
mod rest;
mod retry;
mod runtime_file;
mod server;
pub mod settings;
mod shards;
mod signalling;
mod slates;
mod source;
mod store;
mod supervisor;
mod tasks;
mod tls;
mod token_expiry;
mod webhooks;

pub use server::{Handle, ServeError, serve};
pub use settings::Settings;
pub use supervisor::{Supervisor, SupervisorError};
pub use tasks::{EXIT_TASK_FAILED, TaskFailed};
pub use tls::TlsError;
