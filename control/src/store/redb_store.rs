//! The store of a single machine: a redb file. Commits are durable (fsync) when they return, and
//! a process killed in between leaves the last commit in place.

use std::{
    fs::{File, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
};
use serde::de::DeserializeOwned;
use shardcast_link::BroadcastId;

use super::{Contents, Mutation, SlateRecord, Store, StoreError};

const BROADCASTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("broadcasts");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
/// By broadcast: name, content type and the file itself, which is no JSON.
const SLATES: TableDefinition<'_, &str, (&str, &str, &[u8])> = TableDefinition::new("slates");
/// By sequence, in as many digits as it takes for the order of texts to be that of numbers.
const HOOKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hooks");

/// Rows as JSON, slates as they came.
#[derive(Debug)]
pub(crate) struct RedbStore {
    database: Database,
}

impl RedbStore {
    /// Opens `path` or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        private(path)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                path: path.display().to_string(),
            },
            error => StoreError::Failed(format!("{}: {error}", path.display())),
        })?;
        let store = Self { database };
        store.make_tables().map_err(failed)?;
        Ok(store)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        write.open_table(BROADCASTS)?;
        write.open_table(TOKENS)?;
        write.open_table(SLATES)?;
        write.open_table(HOOKS)?;
        write.commit()?;
        Ok(())
    }

    fn read<T: DeserializeOwned>(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        for json in self.raw(table).map_err(failed)? {
            let row = serde_json::from_slice(&json).map_err(|error| StoreError::Row {
                table: table.name().to_owned(),
                column: error.column(),
            })?;
            rows.push(row);
        }
        Ok(rows)
    }

    fn raw(&self, table: TableDefinition<'_, &str, &[u8]>) -> Result<Vec<Vec<u8>>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(table)?;
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (_, value) = row?;
            rows.push(value.value().to_owned());
        }
        Ok(rows)
    }

    /// Slates whose key is no broadcast cannot have been written by this product; they are left
    /// out.
    fn slates(&self) -> Result<Vec<SlateRecord>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(SLATES)?;
        let mut slates = Vec::new();
        for row in table.iter()? {
            let (id, value) = row?;
            let (name, content_type, image) = value.value();
            let id = BroadcastId::try_from(id.value().to_owned()).ok();
            slates.extend(id.map(|broadcast| SlateRecord {
                broadcast,
                name: name.to_owned(),
                content_type: content_type.to_owned(),
                image: Bytes::copy_from_slice(image),
            }));
        }
        Ok(slates)
    }

    fn write(&self, mutations: &[(&Mutation, Vec<u8>)]) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut broadcasts = write.open_table(BROADCASTS)?;
            let mut tokens = write.open_table(TOKENS)?;
            let mut slates = write.open_table(SLATES)?;
            let mut hooks = write.open_table(HOOKS)?;
            for (mutation, json) in mutations {
                match mutation {
                    Mutation::PutBroadcast(record) => {
                        broadcasts.insert(record.id.as_str(), json.as_slice())?;
                    }
                    Mutation::RemoveBroadcast(id) => {
                        broadcasts.remove(id.as_str())?;
                    }
                    Mutation::PutToken(record) => {
                        tokens.insert(record.token.as_str(), json.as_slice())?;
                    }
                    Mutation::RemoveToken(token) => {
                        tokens.remove(token.as_str())?;
                    }
                    Mutation::PutSlate(slate) => {
                        let row = (&*slate.name, &*slate.content_type, &*slate.image);
                        slates.insert(slate.broadcast.as_str(), row)?;
                    }
                    Mutation::RemoveSlate(id) => {
                        slates.remove(id.as_str())?;
                    }
                    Mutation::PutHook(record) => {
                        hooks.insert(hook_key(record.sequence).as_str(), json.as_slice())?;
                    }
                    Mutation::RemoveHook(sequence) => {
                        hooks.remove(hook_key(*sequence).as_str())?;
                    }
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Store for RedbStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents {
            broadcasts: self.read(BROADCASTS)?,
            tokens: self.read(TOKENS)?,
            slates: self.slates().map_err(failed)?,
            hooks: self.read(HOOKS)?,
        })
    }

    fn commit(&mut self, mutations: &[Mutation]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let json = match mutation {
                Mutation::PutBroadcast(record) => serde_json::to_vec(record.as_ref()),
                Mutation::PutToken(record) => serde_json::to_vec(record),
                Mutation::PutHook(record) => serde_json::to_vec(record.as_ref()),
                Mutation::RemoveBroadcast(_)
                | Mutation::RemoveToken(_)
                | Mutation::PutSlate(_)
                | Mutation::RemoveSlate(_)
                | Mutation::RemoveHook(_) => Ok(Vec::new()),
            };
            rows.push((
                mutation,
                json.map_err(|e| StoreError::Failed(e.to_string()))?,
            ));
        }
        self.write(&rows).map_err(failed)
    }
}

fn hook_key(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// Makes the file, if there is none, and keeps it from other users: it holds stream keys.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    let file = options.append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn failed(error: redb::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{BroadcastRecord, TokenRecord};

    #[test]
    fn what_was_committed_is_there_after_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let id = BroadcastId::new("app", "one").unwrap();
        let record = BroadcastRecord::new(id.clone(), 7);
        let token = TokenRecord {
            token: "t".into(),
            broadcast: id.clone(),
            kind: "publish".into(),
            expire_unix_s: 9,
            room: None,
        };
        let slate = SlateRecord {
            broadcast: id.clone(),
            name: "n".into(),
            content_type: "image/png".into(),
            image: Bytes::from_static(b"\0not\xffJSON"),
        };
        let mut store = RedbStore::open(&path).unwrap();
        store
            .commit(&[
                Mutation::PutBroadcast(Arc::new(record.clone())),
                Mutation::PutToken(token.clone()),
                Mutation::PutSlate(Arc::new(slate.clone())),
            ])
            .unwrap();
        drop(store);
        let mut store = RedbStore::open(&path).unwrap();
        let contents = store.load().unwrap();
        assert_eq!(
            (contents.broadcasts, contents.tokens, contents.slates),
            (vec![record], vec![token], vec![slate])
        );
        store
            .commit(&[
                Mutation::RemoveBroadcast(id.clone()),
                Mutation::RemoveToken("t".into()),
                Mutation::RemoveSlate(id),
            ])
            .unwrap();
        let contents = store.load().unwrap();
        assert!(contents.broadcasts.is_empty() && contents.tokens.is_empty());
        assert!(contents.slates.is_empty());
    }

    #[test]
    fn a_row_that_cannot_be_read_is_reported_without_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let write = store.database.begin_write().unwrap();
        let row: &[u8] = br#"{"token": 7, "kind": "secret"}"#;
        let mut table = write.open_table(TOKENS).unwrap();
        table.insert("secret-token", row).unwrap();
        drop(table);
        write.commit().unwrap();
        let error = { store }.load().unwrap_err().to_string();
        assert!(
            error.contains("tokens") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn the_store_is_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        RedbStore::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_process_on_the_same_file_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let _first = RedbStore::open(&path).unwrap();
        let error = RedbStore::open(&path).unwrap_err();
        assert!(error.to_string().contains("another shardcast"), "{error}");
    }
}
