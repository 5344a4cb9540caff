//! The rows of the catalog in memory, and what the store shall do to have one as it is now.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use shardcast_link::BroadcastId;

use super::{
    broadcasts::Broadcasts,
    hooks::HookQueue,
    records::{Mutation, ShardRecord, SlateRecord, TokenRecord, VodRecord},
};

/// All rows of the catalog.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) broadcasts: Broadcasts,
    pub(super) tokens: HashMap<String, TokenRecord>,
    pub(super) slates: HashMap<BroadcastId, Arc<SlateRecord>>,
    /// At most [`crate::limits::SHARDS_MAX`]; none is ever removed.
    pub(super) shards: BTreeMap<u16, ShardRecord>,
    /// At most [`crate::limits::VODS_MAX`], by id.
    pub(super) vods: BTreeMap<String, Arc<VodRecord>>,
    pub(super) hooks: HookQueue,
    /// Of them, what has changed since the last commit; in the next one, whatever that is for.
    pub(super) hooks_unsaved: BTreeSet<u64>,
    /// Rows with a queued job that is not waited for: another change of the row joins it.
    pub(super) soon: HashSet<Key>,
}

/// Names a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Broadcast(BroadcastId),
    Token(String),
    /// Of a broadcast.
    Slate(BroadcastId),
    Shard(u16),
    Vod(String),
    /// Webhooks that are owed, whichever of them.
    Hooks,
}

impl Rows {
    /// What the store shall do to have the row `key` as it is now; webhooks have numbers.
    pub(super) fn mutation(&self, key: &Key) -> Option<Mutation> {
        Some(match key {
            Key::Hooks => return None,
            Key::Shard(shard) => Mutation::PutShard(*self.shards.get(shard)?),
            Key::Vod(id) => match self.vods.get(id) {
                Some(vod) => Mutation::PutVod(Arc::clone(vod)),
                None => Mutation::RemoveVod(id.clone()),
            },
            Key::Broadcast(id) => match self.broadcasts.get(id) {
                Some(record) => Mutation::PutBroadcast(Arc::clone(record)),
                None => Mutation::RemoveBroadcast(id.clone()),
            },
            Key::Token(token) => match self.tokens.get(token) {
                Some(record) => Mutation::PutToken(record.clone()),
                None => Mutation::RemoveToken(token.clone()),
            },
            Key::Slate(id) => match self.slates.get(id) {
                Some(slate) => Mutation::PutSlate(Arc::clone(slate)),
                None => Mutation::RemoveSlate(id.clone()),
            },
        })
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        match key {
            Key::Hooks => false,
            Key::Shard(shard) => self.shards.contains_key(shard),
            Key::Vod(id) => self.vods.contains_key(id),
            Key::Broadcast(id) => self.broadcasts.get(id).is_some(),
            Key::Token(token) => self.tokens.contains_key(token),
            Key::Slate(id) => self.slates.contains_key(id),
        }
    }

    /// And to have the webhook `sequence` as it is now.
    pub(super) fn hook_mutation(&self, sequence: u64) -> Mutation {
        match self.hooks.get(sequence) {
            Some(hook) => Mutation::PutHook(Arc::clone(hook)),
            None => Mutation::RemoveHook(sequence),
        }
    }
}
