//! Writing and deleting objects.
//!
//! A body is taken in batches. A small one stays in memory and travels with its
//! row; a larger one is written, hashed and summed on the blocking pool while
//! the next batch arrives. Memory per put: two batches, and four bytes per
//! 64 KiB of body.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use http_body::Body as _;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use tokio::task::JoinHandle;

use crate::blob::{Finished, Writer, check_md5};
use crate::body::Body;
use crate::commit::{Change, Content, NewObject};
use crate::error::Error;
use crate::meta;
use crate::names;
use crate::row::{Info, Place, Row, time_from, whole_seconds};
use crate::store::{Shared, Store, blocking, finished};

/// What a put says about its object besides the body.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// `Content-Type`, at most 1 KiB, like each of the next two.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The writer's own names (small letters) and values, at most
    /// [`METADATA_BYTES_MAX`] together.
    pub metadata: Vec<(String, String)>,
    /// The body's MD5, if its sender announced one.
    pub content_md5: Option<[u8; 16]>,
    /// When the put may happen at all.
    pub only: Only,
}

/// A condition, decided in the same transaction that writes the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// No condition.
    #[default]
    Always,
    /// `If-None-Match: *`: only if there is no such object.
    IfAbsent,
    /// `If-Match`: only if the object there has this entity tag.
    IfEtag(String),
}

/// Limit on all metadata names and values of an object together; S3's.
pub const METADATA_BYTES_MAX: usize = 2048;

/// Body bytes per trip to the blocking pool.
const BATCH_BYTES: usize = 256 << 10;

impl Put {
    fn check(&self) -> Result<(), Error> {
        let fields = [
            ("content-type", &self.content_type),
            ("cache-control", &self.cache_control),
            ("content-encoding", &self.content_encoding),
        ];
        for (field, value) in fields {
            names::check_field(field, value.as_deref().unwrap_or_default())?;
        }
        let mut bytes = 0;
        for (name, value) in &self.metadata {
            bytes += name.len() + value.len();
            if bytes > METADATA_BYTES_MAX {
                return Err(Error::BadField {
                    field: "metadata".into(),
                    why: "all names and values together are longer than 2048 bytes",
                });
            }
            names::check_metadata_name(name)?;
            // Two KiB is the limit for all, so only the characters are left to check.
            if http::HeaderValue::from_bytes(value.as_bytes()).is_err() {
                names::check_field(name, "\n")?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Writes an object, replacing one of the same key. When this returns, the
    /// object is durable and every watcher has heard of it.
    ///
    /// Dropping the future before that leaves either the old object or the new
    /// one, whole.
    pub async fn put(&self, bucket: &str, key: &str, put: Put, body: Body) -> Result<Info, Error> {
        names::check_key(key)?;
        put.check()?;
        self.shared.health.check_writable()?;
        let taken = receive(&self.shared, bucket, put.content_md5, body).await?;

        let now = whole_seconds(SystemTime::now());
        let info = Info {
            etag: hex::encode(taken.md5),
            size: taken.size,
            last_modified: time_from(now).unwrap_or(SystemTime::UNIX_EPOCH),
            content_type: put.content_type,
            cache_control: put.cache_control,
            content_encoding: put.content_encoding,
            metadata: put.metadata,
        };
        let new = NewObject {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            row: Row {
                info: info.clone(),
                place: taken.place,
            },
            content: taken.content,
            only: put.only,
            due: self.due(now),
        };
        self.submit(Change::Put(Box::new(new))).await?;
        Ok(info)
    }

    /// Deletes an object; `false` if it was not there. Works below the reserve
    /// of free space.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<bool, Error> {
        names::check_key(key)?;
        let change = Change::Delete {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            due: self.due(whole_seconds(SystemTime::now())),
        };
        self.submit(change).await
    }

    /// When a file that is replaced now may be removed.
    fn due(&self, now: u64) -> u64 {
        now.saturating_add(self.shared.settings.removal_delay.as_secs())
    }
}

/// A body that arrived whole and matches what its sender announced.
struct Taken {
    size: u64,
    md5: [u8; 16],
    place: Place,
    content: Content,
}

async fn receive(
    shared: &Arc<Shared>,
    bucket: &str,
    expected_md5: Option<[u8; 16]>,
    mut body: Body,
) -> Result<Taken, Error> {
    let max = shared.settings.object_bytes_max;
    if body.size_hint().lower() > max {
        return Err(Error::TooLarge { max });
    }
    let mut pipe = Pipe {
        shared: shared.clone(),
        bucket: bucket.to_owned(),
        busy: None,
    };
    let mut size = 0u64;
    let mut batch = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(Error::Upload)?.into_data() else {
            continue;
        };
        size += data.len() as u64;
        if size > max {
            return Err(Error::TooLarge { max });
        }
        while data.has_remaining() {
            let part = data.split_to(data.len().min(BATCH_BYTES - batch.len()));
            batch.extend_from_slice(&part);
            if batch.len() == BATCH_BYTES {
                batch = pipe.push(batch).await?;
            }
        }
    }
    if pipe.busy.is_none() && batch.len() <= shared.settings.inline_bytes() {
        return keep_inline(shared, expected_md5, batch);
    }
    let finished = pipe.finish(batch, expected_md5).await?;
    Ok(Taken {
        size: finished.size,
        md5: finished.md5,
        place: Place::File { id: finished.id },
        content: Content::File {
            sums: finished.sums,
            name: finished.name,
        },
    })
}

/// A body small enough to be hashed right here.
fn keep_inline(
    shared: &Shared,
    expected_md5: Option<[u8; 16]>,
    body: Vec<u8>,
) -> Result<Taken, Error> {
    let md5: [u8; 16] = Md5::digest(&body).into();
    check_md5(expected_md5, md5)?;
    Ok(Taken {
        size: body.len() as u64,
        md5,
        place: Place::Inline {
            id: shared.blobs.new_id()?,
            crc: crc32c::crc32c(&body),
        },
        content: Content::Inline(Bytes::from(body)),
    })
}

/// Writes batches in order, one at a time, while the caller fills the next.
struct Pipe {
    shared: Arc<Shared>,
    bucket: String,
    busy: Option<JoinHandle<Result<Written, Error>>>,
}

/// The writer, and the batch it wrote, empty again.
type Written = (Writer, Vec<u8>);

impl Pipe {
    /// Takes a full batch and gives an empty one back.
    async fn push(&mut self, mut batch: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (writer, spare) = self.settle().await?;
        let (shared, bucket) = (self.shared.clone(), self.bucket.clone());
        self.busy = Some(tokio::task::spawn_blocking(move || {
            let mut writer = writer.map_or_else(|| begin(&shared, &bucket), Ok)?;
            writer.write(&batch)?;
            batch.clear();
            Ok((writer, batch))
        }));
        Ok(spare)
    }

    async fn finish(
        mut self,
        last: Vec<u8>,
        expected_md5: Option<[u8; 16]>,
    ) -> Result<Finished, Error> {
        let (writer, _) = self.settle().await?;
        blocking(move || {
            let mut writer = writer.map_or_else(|| begin(&self.shared, &self.bucket), Ok)?;
            writer.write(&last)?;
            writer.finish(expected_md5)
        })
        .await
    }

    /// Waits for the batch being written, if any.
    async fn settle(&mut self) -> Result<(Option<Writer>, Vec<u8>), Error> {
        let Some(busy) = self.busy.take() else {
            return Ok((None, Vec::new()));
        };
        let (writer, spare) = finished(busy).await?;
        Ok((Some(writer), spare))
    }
}

/// Starts a file, unless the put cannot succeed anyway.
fn begin(shared: &Shared, bucket: &str) -> Result<Writer, Error> {
    meta::bucket_number(&shared.meta.read()?, bucket)?;
    shared.blobs.begin()
}
