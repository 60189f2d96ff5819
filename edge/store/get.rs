//! Reading objects: one trip to the blocking pool finds the row, lets the
//! caller choose a part, and brings the first bytes along, so that a damaged
//! object is noticed before an answer has begun. A ranged read touches only the
//! chunks that hold the range.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use redb::ReadTransaction;
use tokio::runtime::Handle;

use crate::body::{Body, Reader, whole};
use crate::counters::count;
use crate::error::Error;
use crate::id::Id;
use crate::meta::{self, BLOBS, INLINE, OBJECTS};
use crate::names;
use crate::row::{Info, Place, Row};
use crate::span::Span;
use crate::store::{Shared, Store, blocking};
use crate::sums::{self, CHUNK_BYTES, SLAB_SUMS};

/// An object being read.
pub struct Object {
    /// What is known about it.
    pub info: Info,
    /// The part of it that `body` holds; the end is not included.
    pub span: Range<u64>,
    /// Its bytes; knows its exact size. Wrong bytes on the disk end it with an
    /// error.
    pub body: Body,
}

/// What a lookup found. `said` is whatever the chooser wanted to remember.
pub(crate) struct Found<T> {
    pub info: Info,
    pub body: Option<(Range<u64>, Body)>,
    pub said: T,
}

const DOING: &str = "reading an object";

impl Store {
    /// Reads an object, or the part of it that `span` names.
    pub async fn get(&self, bucket: &str, key: &str, span: Option<Span>) -> Result<Object, Error> {
        let choose = move |info: &Info| match span {
            None => (Some(0..info.size), ()),
            Some(span) => (span.resolve(info.size), ()),
        };
        let found = self.fetch(bucket, key, choose).await?;
        let size = found.info.size;
        let (span, body) = found.body.ok_or(Error::BadRange { size })?;
        Ok(Object {
            info: found.info,
            span,
            body,
        })
    }

    /// What is known about an object.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Info, Error> {
        let found = self.fetch(bucket, key, |_| (None, ())).await?;
        Ok(found.info)
    }

    /// Looks an object up and reads the range that `choose` picks, if any. Row
    /// and body are of the same version.
    pub(crate) async fn fetch<T: Send + 'static>(
        &self,
        bucket: &str,
        key: &str,
        choose: impl FnOnce(&Info) -> (Option<Range<u64>>, T) + Send + 'static,
    ) -> Result<Found<T>, Error> {
        names::check_key(key)?;
        let shared = self.shared.clone();
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let runtime = Handle::current();
        let tally = self.shared.clone();
        let found = blocking(move || {
            let transaction = shared.meta.read()?;
            let row = find(&transaction, &bucket, &key)?;
            let (range, said) = choose(&row.info);
            let body = match range {
                None => None,
                Some(range) => {
                    count(&shared.tally.gets);
                    let body = read(&shared, transaction, &row, range.clone(), runtime)?;
                    Some((range, body))
                }
            };
            Ok(Found {
                info: row.info,
                body,
                said,
            })
        });
        found.await.inspect_err(|e| tally.note(e))
    }
}

fn find(transaction: &ReadTransaction, bucket: &str, key: &str) -> Result<Row, Error> {
    let number = meta::bucket_number(transaction, bucket)?;
    let table = transaction
        .open_table(OBJECTS)
        .map_err(Error::metadata(DOING))?;
    let found = table
        .get((number, key.as_bytes()))
        .map_err(Error::metadata(DOING))?;
    let Some(found) = found else {
        return Err(Error::NoSuchKey {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        });
    };
    Row::decode(found.value()).map_err(|why| {
        let what = format!("object `{}` in bucket `{bucket}`", key.escape_debug());
        Error::damaged(what, why)
    })
}

/// The body of `range`, which lies within the object.
fn read(
    shared: &Arc<Shared>,
    transaction: ReadTransaction,
    row: &Row,
    range: Range<u64>,
    runtime: Handle,
) -> Result<Body, Error> {
    match row.place {
        _ if range.is_empty() => Ok(whole(Bytes::new())),
        Place::Inline { id, crc } => {
            let bytes = read_inline(&transaction, id, crc, row.info.size)?;
            let bytes = bytes.slice(range.start as usize..range.end as usize);
            let tally = &shared.tally;
            tally.bytes_out.fetch_add(bytes.len() as u64, Relaxed);
            Ok(whole(bytes))
        }
        Place::File { id } => {
            let first_chunk = range.start / CHUNK_BYTES as u64;
            let sums = read_sums(&transaction, id, first_chunk..sums::count(range.end))?;
            drop(transaction);
            let mut reader = Reader {
                file: shared.blobs.open_body(id, row.info.size)?,
                id,
                size: row.info.size,
                sums,
                first_chunk,
                at: range.start,
                end: range.end,
                shared: shared.clone(),
            };
            let first = reader.read()?;
            Ok(reader.into_body(first, runtime))
        }
    }
}

fn read_inline(transaction: &ReadTransaction, id: Id, crc: u32, size: u64) -> Result<Bytes, Error> {
    let table = transaction
        .open_table(INLINE)
        .map_err(Error::metadata(DOING))?;
    let found = table.get(id.number()).map_err(Error::metadata(DOING))?;
    let what = || format!("the inline body {}", id.name());
    let Some(found) = found else {
        return Err(Error::damaged(what(), "it is missing"));
    };
    let bytes = found.value();
    if bytes.len() as u64 != size || crc32c::crc32c(bytes) != crc {
        return Err(Error::damaged(what(), "wrong size or checksum"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}

/// The sums of these chunks.
fn read_sums(transaction: &ReadTransaction, id: Id, chunks: Range<u64>) -> Result<Vec<u32>, Error> {
    let table = transaction
        .open_table(BLOBS)
        .map_err(Error::metadata(DOING))?;
    let per_slab = SLAB_SUMS as u64;
    let slab = |chunk: u64| u32::try_from(chunk / per_slab).unwrap_or(u32::MAX);
    let (first, last) = (slab(chunks.start), slab(chunks.end - 1));
    let mut all = Vec::new();
    let rows = table
        .range((id.number(), first)..=(id.number(), last))
        .map_err(Error::metadata(DOING))?;
    for row in rows {
        let (_, bytes) = row.map_err(Error::metadata(DOING))?;
        all.extend(sums::read_slab(bytes.value()).into_iter().flatten());
    }
    // A missing or damaged slab leaves too few sums, and chunks without a sum
    // count as damaged when they are read.
    let skip = (chunks.start - u64::from(first) * per_slab) as usize;
    all.drain(..skip.min(all.len()));
    all.truncate((chunks.end - chunks.start) as usize);
    Ok(all)
}
