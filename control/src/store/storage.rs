//! The seam to the disk: what the catalog asks of a durable store.

use super::records::{Contents, Mutation};

/// The store failed. Nothing a client did; the operator looks at the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("the store {path} is in use: another shardcast runs with this data directory")]
    InUse { path: String },
    /// Disk full, no permission, a damaged file.
    #[error("the store failed: {0}; check space and permissions of the data directory")]
    Failed(String),
    /// A row that this version cannot read. Neither its key nor its content is shown: both may be
    /// secret.
    #[error(
        "the store holds an unreadable row in {table}, column {column}; was it written by a newer version?"
    )]
    Row { table: String, column: usize },
}

/// Durable rows. Calls block; they come from one thread of the [`Catalog`].
pub(crate) trait Store: Send + 'static {
    /// Everything; called once, at the start.
    fn load(&mut self) -> Result<Contents, StoreError>;
    /// Writes all of `mutations` or none; when it returns they survive a power failure.
    fn commit(&mut self, mutations: &[Mutation]) -> Result<(), StoreError>;
}
