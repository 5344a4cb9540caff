//! The store of a single machine: a redb file. Commits are durable (fsync) when they return, and
//! a process killed in between leaves the last commit in place.
//!
//! After an error of the disk redb refuses everything until the file is opened again, so it is.

use std::{
    fs::{File, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
};
use serde::de::DeserializeOwned;
use shardcast_link::BroadcastId;

use super::{
    records::{Contents, Mutation, SlateRecord},
    storage::{Store, StoreError},
};

const BROADCASTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("broadcasts");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
/// By broadcast: name, content type and the file itself, which is no JSON.
const SLATES: TableDefinition<'_, &str, (&str, &str, &[u8])> = TableDefinition::new("slates");
/// By sequence, in as many digits as it takes for the order of texts to be that of numbers.
const HOOKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hooks");

/// By number.
const SHARDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("shards");

/// By id.
const VODS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("vods");

/// Rows as JSON, slates as they came.
#[derive(Debug)]
pub(crate) struct RedbStore {
    path: PathBuf,
    /// `None` after an error of the disk.
    database: Option<Database>,
}

impl RedbStore {
    /// Opens `path` or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        private(path)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
        let database = Database::create(path).map_err(|error| unopened(path, error))?;
        make_tables(&database).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            database: Some(database),
        })
    }

    /// The open file; opened again, never made anew, after an error of the disk.
    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::open(&self.path).map_err(|error| unopened(&self.path, error))?,
        };
        Ok(self.database.insert(database))
    }
}

fn unopened(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.display().to_string(),
        },
        error => StoreError::Failed(format!("{}: {error}", path.display())),
    }
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(BROADCASTS)?;
    write.open_table(TOKENS)?;
    write.open_table(SLATES)?;
    write.open_table(HOOKS)?;
    write.open_table(SHARDS)?;
    write.open_table(VODS)?;
    write.commit()?;
    Ok(())
}

fn read<T: DeserializeOwned>(
    database: &Database,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    for json in raw(database, table).map_err(failed)? {
        let row = serde_json::from_slice(&json).map_err(|error| StoreError::Row {
            table: table.name().to_owned(),
            column: error.column(),
        })?;
        rows.push(row);
    }
    Ok(rows)
}

fn raw(
    database: &Database,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let read = database.begin_read()?;
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
fn slates(database: &Database) -> Result<Vec<SlateRecord>, redb::Error> {
    let read = database.begin_read()?;
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

fn write(database: &Database, mutations: &[(&Mutation, Vec<u8>)]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut broadcasts = write.open_table(BROADCASTS)?;
        let mut tokens = write.open_table(TOKENS)?;
        let mut slates = write.open_table(SLATES)?;
        let mut hooks = write.open_table(HOOKS)?;
        let mut shards = write.open_table(SHARDS)?;
        let mut vods = write.open_table(VODS)?;
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
                Mutation::PutShard(record) => {
                    shards.insert(record.shard.to_string().as_str(), json.as_slice())?;
                }
                Mutation::PutVod(vod) => {
                    vods.insert(vod.id.as_str(), json.as_slice())?;
                }
                Mutation::RemoveVod(id) => {
                    vods.remove(id.as_str())?;
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

impl Store for RedbStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        let database = self.database()?;
        Ok(Contents {
            broadcasts: read(database, BROADCASTS)?,
            tokens: read(database, TOKENS)?,
            slates: slates(database).map_err(failed)?,
            shards: read(database, SHARDS)?,
            vods: read(database, VODS)?,
            hooks: read(database, HOOKS)?,
        })
    }

    fn commit(&mut self, mutations: &[Mutation]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let json = match mutation {
                Mutation::PutBroadcast(record) => serde_json::to_vec(record.as_ref()),
                Mutation::PutToken(record) => serde_json::to_vec(record),
                Mutation::PutShard(record) => serde_json::to_vec(record),
                Mutation::PutHook(record) => serde_json::to_vec(record.as_ref()),
                Mutation::PutVod(vod) => serde_json::to_vec(vod.as_ref()),
                Mutation::RemoveBroadcast(_)
                | Mutation::RemoveToken(_)
                | Mutation::PutSlate(_)
                | Mutation::RemoveSlate(_)
                | Mutation::RemoveVod(_)
                | Mutation::RemoveHook(_) => Ok(Vec::new()),
            };
            rows.push((
                mutation,
                json.map_err(|e| StoreError::Failed(e.to_string()))?,
            ));
        }
        let written = write(self.database()?, &rows);
        if matches!(written, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            self.database = None;
        }
        written.map_err(failed)
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
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use redb::{StorageBackend, backends::InMemoryBackend};

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
        let mut store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let write = store.database().unwrap().begin_write().unwrap();
        let row: &[u8] = br#"{"token": 7, "kind": "secret"}"#;
        let mut table = write.open_table(TOKENS).unwrap();
        table.insert("secret-token", row).unwrap();
        drop(table);
        write.commit().unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(
            error.contains("tokens") && !error.contains("secret"),
            "{error}"
        );
    }

    /// A disk that is full from some moment on.
    #[derive(Debug, Default)]
    struct FullDisk {
        memory: InMemoryBackend,
        is_full: Arc<AtomicBool>,
    }

    impl StorageBackend for FullDisk {
        fn len(&self) -> Result<u64, io::Error> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.memory.write(offset, data)
        }
    }

    #[test]
    fn after_an_error_of_the_disk_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let mut store = RedbStore::open(&path).unwrap();
        let disk = FullDisk::default();
        let is_full = Arc::clone(&disk.is_full);
        let full = Database::builder().create_with_backend(disk).unwrap();
        make_tables(&full).unwrap();
        is_full.store(true, Ordering::SeqCst);
        store.database = Some(full);
        let id = BroadcastId::new("app", "one").unwrap();
        let record = Arc::new(BroadcastRecord::new(id.clone(), 7));
        let put = [Mutation::PutBroadcast(record)];
        store.commit(&put).unwrap_err();
        store.commit(&put).unwrap();
        assert_eq!(store.load().unwrap().broadcasts[0].id, id);
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
