//! The metadata file: its tables, its format version, and the door to it.
//!
//! One process holds the file (a lock on it says so); inside, only the
//! committer writes. Read transactions are short: each pins the pages it sees.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use crate::disk::Disk;
use crate::error::Error;
use crate::volume::{Frozen, Live};

/// Numbers of the store itself, by the names below.
pub(crate) const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// Bucket name → its number, the second it was made.
pub(crate) const BUCKETS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("buckets");
/// Bucket number, key → row. The only table a listing reads; its order is S3's.
pub(crate) const OBJECTS: TableDefinition<'_, (u64, &[u8]), &[u8]> =
    TableDefinition::new("objects");
/// Bucket number → objects, bytes.
pub(crate) const TOTALS: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("totals");
/// Id → a small body. Its own table, so that listings never drag bodies along.
pub(crate) const INLINE: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("inline");
/// Id, slab → sums of a body that has a file. No row here: the file is nobody's.
pub(crate) const BLOBS: TableDefinition<'_, (u128, u32), &[u8]> = TableDefinition::new("blobs");
/// Second from which it is due, id → a file to remove.
pub(crate) const REMOVALS: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("removals");

/// The newest format this program reads, and the one it writes.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
/// How often the store was opened.
const SESSION_KEY: &str = "session";
/// The number the next bucket gets.
pub(crate) const NEXT_BUCKET_KEY: &str = "next bucket";

pub(crate) struct Meta {
    path: PathBuf,
    file: Arc<File>,
    cache_bytes: usize,
    database: RwLock<Option<Database>>,
}

impl Meta {
    /// Opens or makes `meta.redb` in `directory` and counts the session.
    pub fn open(
        directory: &Path,
        cache_bytes: usize,
        disk: Arc<dyn Disk>,
    ) -> Result<(Meta, u32), Error> {
        let path = directory.join("meta.redb");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => Error::InUse(directory.to_owned()),
            TryLockError::Error(e) => Error::io("locking", &path)(e),
        })?;
        let file = Arc::new(file);
        let live = Live {
            file: file.clone(),
            disk,
        };
        let database = Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(live)
            .map_err(Error::metadata("opening the store"))?;
        check_format(&database, directory)?;
        let session = begin_session(&database)?;
        let meta = Meta {
            path,
            file,
            cache_bytes,
            database: RwLock::new(Some(database)),
        };
        Ok((meta, session))
    }

    pub fn read(&self) -> Result<ReadTransaction, Error> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(Error::Closed)?;
        database
            .begin_read()
            .map_err(Error::metadata("beginning to read"))
    }

    /// The committer's alone. A crash after its commit needs no repair.
    pub fn write(&self) -> Result<WriteTransaction, Error> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(Error::Closed)?;
        begin_write(database)
    }

    /// After a failed write: opens the file again for reading only.
    pub fn freeze(&self) -> Result<(), Error> {
        let mut database = self.database.write();
        if database.take().is_none() {
            return Err(Error::Closed);
        }
        let frozen = Frozen::new(self.file.clone()).map_err(Error::io("reading", &self.path))?;
        let again = Builder::new()
            .set_cache_size(self.cache_bytes)
            .create_with_backend(frozen)
            .map_err(Error::metadata("opening the store for reading only"))?;
        *database = Some(again);
        Ok(())
    }

    /// Lets go of the file. Transactions still open end with an error.
    pub fn close(&self) -> Result<(), Error> {
        let Some(database) = self.database.write().take() else {
            return Ok(());
        };
        let closed = database
            .close()
            .map_err(Error::metadata("closing the store"));
        let unlocked = self
            .file
            .unlock()
            .map_err(Error::io("unlocking", &self.path));
        closed.and(unlocked)
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, Error> {
    let mut transaction = database
        .begin_write()
        .map_err(Error::metadata("beginning to write"))?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// A store made by a newer program is left alone.
fn check_format(database: &Database, directory: &Path) -> Result<(), Error> {
    const DOING: &str = "reading the format version";
    let transaction = database.begin_read().map_err(Error::metadata(DOING))?;
    let table = match transaction.open_table(STATE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(e) => return Err(Error::metadata(DOING)(e)),
    };
    let found = table.get(FORMAT_KEY).map_err(Error::metadata(DOING))?;
    match found.map(|found| found.value()) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(Error::NewerFormat {
            path: directory.to_owned(),
            found,
            known: FORMAT,
        }),
        _ => Err(Error::damaged(
            directory.display().to_string(),
            "its format version is missing or unknown",
        )),
    }
}

/// Makes the tables that are missing and counts this opening.
fn begin_session(database: &Database) -> Result<u32, Error> {
    let transaction = begin_write(database)?;
    let begin = || -> Result<u32, redb::Error> {
        let mut state = transaction.open_table(STATE)?;
        let before = state.get(SESSION_KEY)?.map_or(0, |found| found.value());
        let session = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
        state.insert(SESSION_KEY, u64::from(session))?;
        state.insert(FORMAT_KEY, FORMAT)?;
        transaction.open_table(BUCKETS)?;
        transaction.open_table(OBJECTS)?;
        transaction.open_table(TOTALS)?;
        transaction.open_table(INLINE)?;
        transaction.open_table(BLOBS)?;
        transaction.open_table(REMOVALS)?;
        Ok(session)
    };
    const DOING: &str = "preparing the store";
    let session = begin().map_err(Error::metadata(DOING))?;
    transaction.commit().map_err(Error::metadata(DOING))?;
    Ok(session)
}

/// The number of a bucket; `NoSuchBucket` when there is none.
pub(crate) fn bucket_number(transaction: &ReadTransaction, bucket: &str) -> Result<u64, Error> {
    const DOING: &str = "looking for a bucket";
    let table = transaction
        .open_table(BUCKETS)
        .map_err(Error::metadata(DOING))?;
    match table.get(bucket).map_err(Error::metadata(DOING))? {
        Some(found) => Ok(found.value().0),
        None => Err(Error::NoSuchBucket(bucket.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_newer_format_is_refused_with_a_clear_message() {
        let directory = tempfile::tempdir().unwrap();
        let (meta, session) = Meta::open(directory.path(), 1 << 20, Arc::new(RealDisk)).unwrap();
        assert_eq!(session, 1);
        let transaction = meta.write().unwrap();
        let mut state = transaction.open_table(STATE).unwrap();
        state.insert(FORMAT_KEY, 9).unwrap();
        drop(state);
        transaction.commit().unwrap();
        meta.close().unwrap();

        let refused = Meta::open(directory.path(), 1 << 20, Arc::new(RealDisk));
        let message = refused.err().unwrap().to_string();
        assert!(message.contains("format 9"), "{message}");
        assert!(message.contains("newer version"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_store_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("meta.redb"), vec![5; 100_000]).unwrap();
        assert!(Meta::open(directory.path(), 1 << 20, Arc::new(RealDisk)).is_err());
    }
}
