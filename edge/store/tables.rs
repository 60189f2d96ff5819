//! Applies one change to the tables of an open transaction.
//!
//! A change checks first and writes afterwards, so a refused one leaves the
//! transaction as it was. `Error::Metadata` from here means the transaction is
//! lost; every other error concerns the one change.

use redb::{ReadableTable, Table, WriteTransaction};

use crate::blob::Blobs;
use crate::buckets::BUCKETS_MAX;
use crate::commit::{Applied, Change, Content, NewObject};
use crate::error::Error;
use crate::id::Id;
use crate::meta::{BLOBS, BUCKETS, INLINE, NEXT_BUCKET_KEY, OBJECTS, REMOVALS, STATE, TOTALS};
use crate::put::Only;
use crate::row::{Place, Row};
use crate::sums;

type Bytes = &'static [u8];

pub(crate) struct Tables<'t> {
    state: Table<'t, &'static str, u64>,
    buckets: Table<'t, &'static str, (u64, u64)>,
    objects: Table<'t, (u64, Bytes), Bytes>,
    totals: Table<'t, u64, (u64, u64)>,
    inline: Table<'t, u128, Bytes>,
    blobs: Table<'t, (u128, u32), Bytes>,
    removals: Table<'t, (u64, u128), ()>,
    /// Objects and bytes more than before.
    grown: (i64, i64),
}

const DOING: &str = "writing a change";

fn lost<E: Into<redb::Error>>(error: E) -> Error {
    Error::metadata(DOING)(error)
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, Error> {
        Ok(Tables {
            state: transaction.open_table(STATE).map_err(lost)?,
            buckets: transaction.open_table(BUCKETS).map_err(lost)?,
            objects: transaction.open_table(OBJECTS).map_err(lost)?,
            totals: transaction.open_table(TOTALS).map_err(lost)?,
            inline: transaction.open_table(INLINE).map_err(lost)?,
            blobs: transaction.open_table(BLOBS).map_err(lost)?,
            removals: transaction.open_table(REMOVALS).map_err(lost)?,
            grown: (0, 0),
        })
    }

    /// How many objects and bytes more there are than before.
    pub fn grown(&self) -> (i64, i64) {
        self.grown
    }

    pub fn apply(&mut self, change: Change, blobs: &Blobs) -> Result<Applied, Error> {
        match change {
            Change::Put(new) => {
                blobs.check_space()?;
                self.put(*new)
            }
            Change::Delete { bucket, key, due } => self.delete(bucket, key, due),
            Change::CreateBucket { bucket, now } => {
                blobs.check_space()?;
                self.create_bucket(bucket, now)
            }
            Change::DeleteBucket { bucket } => self.delete_bucket(bucket),
            Change::Forget(gone) => self.forget(&gone),
        }
    }

    fn create_bucket(&mut self, bucket: String, now: u64) -> Result<Applied, Error> {
        if self.find_bucket(&bucket)?.is_some() {
            return Err(Error::BucketExists(bucket));
        }
        if redb::ReadableTableMetadata::len(&self.buckets).map_err(lost)? >= BUCKETS_MAX as u64 {
            return Err(Error::TooManyBuckets(BUCKETS_MAX));
        }
        let next = self.state.get(NEXT_BUCKET_KEY).map_err(lost)?;
        let number = next.map_or(1, |next| next.value());
        self.state
            .insert(NEXT_BUCKET_KEY, number.saturating_add(1))
            .map_err(lost)?;
        self.buckets
            .insert(bucket.as_str(), (number, now))
            .map_err(lost)?;
        Ok(Applied::Bucket(bucket))
    }

    fn delete_bucket(&mut self, bucket: String) -> Result<Applied, Error> {
        let number = self.bucket(&bucket)?;
        let first = (number, &[][..]);
        let end = (number.saturating_add(1), &[][..]);
        let mut held = self.objects.range(first..end).map_err(lost)?;
        if held.next().transpose().map_err(lost)?.is_some() {
            return Err(Error::BucketNotEmpty(bucket));
        }
        drop(held);
        self.buckets.remove(bucket.as_str()).map_err(lost)?;
        self.totals.remove(number).map_err(lost)?;
        Ok(Applied::Bucket(bucket))
    }

    fn put(&mut self, new: NewObject) -> Result<Applied, Error> {
        let number = self.bucket(&new.bucket)?;
        let old = self.old(number, &new.bucket, &new.key)?;
        check(&new, old.as_ref())?;

        let size = new.row.info.size;
        match (new.content, new.row.place) {
            (Content::Inline(bytes), Place::Inline { id, .. }) => {
                self.inline.insert(id.number(), &*bytes).map_err(lost)?;
            }
            (Content::File { sums, name }, Place::File { id }) => {
                for (slab, bytes) in sums::slabs(&sums) {
                    self.blobs
                        .insert((id.number(), slab), bytes.as_slice())
                        .map_err(lost)?;
                }
                // From here on nobody can say whether the row will be there.
                name.keep();
            }
            _ => return Err(Error::damaged("a new object", "its row and body disagree")),
        }
        self.objects
            .insert((number, new.key.as_bytes()), new.row.encode().as_slice())
            .map_err(lost)?;
        let (mut objects, mut bytes) = (1, signed(size));
        if let Some(old) = old {
            objects = 0;
            bytes -= signed(old.size());
            self.retire(&old, new.due)?;
        }
        self.add(number, objects, bytes)?;
        Ok(Applied::Put {
            bucket: new.bucket,
            key: new.key,
            size,
        })
    }

    fn delete(&mut self, bucket: String, key: String, due: u64) -> Result<Applied, Error> {
        let number = self.bucket(&bucket)?;
        let Some(old) = self.old(number, &bucket, &key)? else {
            return Ok(Applied::Nothing);
        };
        self.objects
            .remove((number, key.as_bytes()))
            .map_err(lost)?;
        self.retire(&old, due)?;
        self.add(number, -1, -signed(old.size()))?;
        Ok(Applied::Deleted { bucket, key })
    }

    fn forget(&mut self, gone: &[(u64, Id)]) -> Result<Applied, Error> {
        for (due, id) in gone {
            let id = id.number();
            self.removals.remove((*due, id)).map_err(lost)?;
            self.blobs
                .retain_in((id, 0)..=(id, u32::MAX), |_, _| false)
                .map_err(lost)?;
        }
        Ok(Applied::Forgot(gone.len()))
    }

    /// The body of a row that is gone: a small one goes at once (its readers
    /// hold a copy), a file later.
    fn retire(&mut self, old: &Old, due: u64) -> Result<(), Error> {
        match old.0.as_ref().map(|row| row.place) {
            Some(Place::Inline { id, .. }) => {
                self.inline.remove(id.number()).map_err(lost)?;
            }
            Some(Place::File { id }) => {
                self.removals.insert((due, id.number()), ()).map_err(lost)?;
            }
            None => {}
        }
        Ok(())
    }

    fn add(&mut self, number: u64, objects: i64, bytes: i64) -> Result<(), Error> {
        let before = self.totals.get(number).map_err(lost)?;
        let before = before.map_or((0, 0), |total| total.value());
        let after = (
            before.0.saturating_add_signed(objects),
            before.1.saturating_add_signed(bytes),
        );
        self.totals.insert(number, after).map_err(lost)?;
        self.grown.0 = self.grown.0.saturating_add(objects);
        self.grown.1 = self.grown.1.saturating_add(bytes);
        Ok(())
    }

    fn find_bucket(&self, bucket: &str) -> Result<Option<u64>, Error> {
        let found = self.buckets.get(bucket).map_err(lost)?;
        Ok(found.map(|found| found.value().0))
    }

    fn bucket(&self, bucket: &str) -> Result<u64, Error> {
        self.find_bucket(bucket)?
            .ok_or_else(|| Error::NoSuchBucket(bucket.to_owned()))
    }

    fn old(&self, number: u64, bucket: &str, key: &str) -> Result<Option<Old>, Error> {
        let found = self.objects.get((number, key.as_bytes())).map_err(lost)?;
        let Some(found) = found else { return Ok(None) };
        let row = Row::decode(found.value()).inspect_err(|why| {
            let key = key.escape_debug();
            log::error!("store: replacing `{key}` in `{bucket}`, which is damaged: {why}");
        });
        Ok(Some(Old(row.ok())))
    }
}

/// The object that is there now; without a row when that cannot be read. Such
/// an object can still be overwritten and deleted.
struct Old(Option<Row>);

impl Old {
    fn size(&self) -> u64 {
        self.0.as_ref().map_or(0, |row| row.info.size)
    }
}

/// Does the writer's condition hold?
fn check(new: &NewObject, old: Option<&Old>) -> Result<(), Error> {
    let holds = match (&new.only, old) {
        (Only::Always, _) | (Only::IfAbsent, None) => true,
        (Only::IfAbsent, Some(_)) => false,
        (Only::IfEtag(etag), Some(Old(Some(row)))) => row.info.etag == etag.trim_matches('"'),
        (Only::IfEtag(_), Some(Old(None))) => false,
        (Only::IfEtag(_), None) => {
            return Err(Error::NoSuchKey {
                bucket: new.bucket.clone(),
                key: new.key.clone(),
            });
        }
    };
    if holds {
        return Ok(());
    }
    Err(Error::PreconditionFailed {
        bucket: new.bucket.clone(),
        key: new.key.clone(),
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
