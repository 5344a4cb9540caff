//! Shardcast's control process: REST, signalling, placement, store, settings, and the supervisor
//! of the engine.
//!
//! Control never touches media. It sends shards the state that it wants ([`shardcast_link`]) and
//! shows what they report; when it dies, media goes on, and the next control process learns the
//! state from the shards.
#![forbid(unsafe_code)]

mod access;
mod admission;
mod api;
mod backend;
mod body;
pub mod cli;
mod clock;
mod connection_limits;
mod dash;
mod deadlines;
mod displacement;
pub mod doctor;
mod drain;
mod effects;
mod engine_command;
mod events;
mod forwarded;
mod fragments;
mod handover;
mod health;
mod hls;
pub mod huge_pages;
mod ladder;
mod lifecycle;
mod limits;
mod links;
pub mod logging;
mod machine;
mod metrics;
mod mpegts;
mod pages;
mod ports;
mod previews;
mod publishing;
mod recordings;
mod redact;
mod rest;
mod retry;
pub mod rlimit;
mod runtime_file;
mod s3;
mod server;
pub mod settings;
mod shards;
mod signalling;
mod slates;
mod source;
mod state;
mod store;
mod streams;
mod supervisor;
mod tasks;
mod tls;
mod token_expiry;
mod video_settings;
mod views;
mod wants;
mod webhooks;

pub use engine_command::EngineMissing;
pub use server::{Handle, ServeError, serve};
pub use settings::Settings;
pub use supervisor::Supervisor;
pub use tasks::{EXIT_TASK_FAILED, TaskFailed};
pub use tls::TlsError;
