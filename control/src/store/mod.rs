//! What outlives the process: broadcasts with their destinations and slates, tokens, recordings, and calls
//! of webhooks that are owed.
//!
//! [`storage`] is the seam to the disk: `redb` in the data directory here, something shared where
//! many machines work together. [`Catalog`] keeps everything in memory and writes through it.

mod broadcasts;
mod catalog;
mod hooks;
mod records;
mod redb_store;
mod rows;
mod storage;
mod transaction;

pub(crate) use catalog::{Catalog, Durable};
pub(crate) use hooks::{Action, HookRecord};
pub(crate) use records::{
    BroadcastRecord, EndpointRecord, LastReport, Lifecycle, PlaceRecord, Profile, RecordingRecord,
    ShardRecord, SlateRecord, TokenRecord, UploadRecord, VodRecord,
};
pub(crate) use redb_store::RedbStore;
pub(crate) use storage::StoreError;
pub(crate) use transaction::Transaction;
