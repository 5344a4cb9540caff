//! What a change of the catalog can read, put and remove.

use std::sync::Arc;

use shardcast_link::BroadcastId;

use super::{
    hooks::HookRecord,
    records::{BroadcastRecord, ShardRecord, SlateRecord, TokenRecord, VodRecord},
    rows::{Key, Rows},
};

/// Rows under a change. What is put or removed is seen by later reads at once.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(super) rows: &'a mut Rows,
    pub(super) keys: Vec<Key>,
}

impl Transaction<'_> {
    pub(crate) fn broadcast(&self, id: &BroadcastId) -> Option<Arc<BroadcastRecord>> {
        self.rows.broadcasts.get(id).cloned()
    }

    pub(crate) fn broadcast_count(&self) -> usize {
        self.rows.broadcasts.len()
    }

    pub(crate) fn put_broadcast(&mut self, record: BroadcastRecord) {
        self.keys.push(Key::Broadcast(record.id.clone()));
        self.rows.broadcasts.put(record);
    }

    /// Its slate goes with it.
    pub(crate) fn remove_broadcast(&mut self, id: &BroadcastId) {
        if self.rows.broadcasts.remove(id) {
            self.keys.push(Key::Broadcast(id.clone()));
        }
        self.remove_slate(id);
    }

    /// Bytes of the slates of all broadcasts but `id`.
    pub(crate) fn slate_bytes_beside(&self, id: &BroadcastId) -> usize {
        let others = self.rows.slates.values();
        let others = others.filter(|slate| slate.broadcast != *id);
        others.map(|slate| slate.image.len()).sum()
    }

    pub(crate) fn put_slate(&mut self, slate: SlateRecord) {
        let id = slate.broadcast.clone();
        self.rows.slates.insert(id.clone(), Arc::new(slate));
        self.keys.push(Key::Slate(id));
    }

    /// Says whether there was one.
    pub(crate) fn remove_slate(&mut self, id: &BroadcastId) -> bool {
        let removed = self.rows.slates.remove(id).is_some();
        if removed {
            self.keys.push(Key::Slate(id.clone()));
        }
        removed
    }

    pub(crate) fn put_shard(&mut self, record: ShardRecord) {
        self.rows.shards.insert(record.shard, record);
        self.keys.push(Key::Shard(record.shard));
    }

    pub(crate) fn vod_count(&self) -> usize {
        self.rows.vods.len()
    }

    pub(crate) fn vod(&self, id: &str) -> Option<Arc<VodRecord>> {
        self.rows.vods.get(id).cloned()
    }

    pub(crate) fn put_vod(&mut self, vod: VodRecord) {
        self.keys.push(Key::Vod(vod.id.clone()));
        self.rows.vods.insert(vod.id.clone(), Arc::new(vod));
    }

    /// The one that was removed.
    pub(crate) fn remove_vod(&mut self, id: &str) -> Option<Arc<VodRecord>> {
        let removed = self.rows.vods.remove(id)?;
        self.keys.push(Key::Vod(id.to_owned()));
        Some(removed)
    }

    pub(crate) fn token(&self, token: &str) -> Option<&TokenRecord> {
        self.rows.tokens.get(token)
    }

    pub(crate) fn token_count(&self) -> usize {
        self.rows.tokens.len()
    }

    pub(crate) fn put_token(&mut self, token: TokenRecord) {
        let key = token.token.clone();
        self.rows.tokens.insert(key.clone(), token);
        self.keys.push(Key::Token(key));
    }

    /// Removes the tokens for which `which` holds and says how many they were.
    pub(crate) fn remove_tokens(&mut self, which: impl Fn(&TokenRecord) -> bool) -> usize {
        let doomed = self.rows.tokens.values().filter(|token| which(token));
        let doomed: Vec<String> = doomed.map(|token| token.token.clone()).collect();
        for token in &doomed {
            self.rows.tokens.remove(token);
            self.keys.push(Key::Token(token.clone()));
        }
        doomed.len()
    }

    /// Appends to the webhooks that are owed; returns the one that is dropped because the queue is full,
    /// which may be `hook`.
    pub(crate) fn put_hook(&mut self, hook: HookRecord) -> Option<Arc<HookRecord>> {
        let pushed = self.rows.hooks.push(hook);
        if !pushed.changed.is_empty() {
            self.rows.hooks_unsaved.extend(pushed.changed);
            self.keys.push(Key::Hooks);
        }
        pushed.dropped
    }

    pub(crate) fn remove_hook(&mut self, sequence: u64) {
        if self.rows.hooks.remove(sequence).is_some() {
            self.rows.hooks_unsaved.insert(sequence);
            self.keys.push(Key::Hooks);
        }
    }
}
