//! Making, deleting and naming buckets.

use std::time::SystemTime;

use redb::ReadableTable;

use crate::commit::Change;
use crate::error::Error;
use crate::meta::{self, BUCKETS};
use crate::names;
use crate::row::{time_from, whole_seconds};
use crate::store::{Store, blocking};

/// A list of buckets is given whole, so there may not be too many.
pub(crate) const BUCKETS_MAX: usize = 10_000;

/// A bucket, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made, in whole seconds.
    pub created: SystemTime,
}

impl Store {
    /// Makes a bucket. The name must follow the S3 rules; at most 10,000 exist.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        names::check_bucket(bucket)?;
        let change = Change::CreateBucket {
            bucket: bucket.to_owned(),
            now: whole_seconds(SystemTime::now()),
        };
        self.submit(change).await.map(drop)
    }

    /// Deletes a bucket, which must be empty ([`Error::BucketNotEmpty`]).
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), Error> {
        let bucket = bucket.to_owned();
        self.submit(Change::DeleteBucket { bucket }).await.map(drop)
    }

    /// All buckets, by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        const DOING: &str = "listing the buckets";
        let shared = self.shared.clone();
        blocking(move || {
            let transaction = shared.meta.read()?;
            let table = transaction
                .open_table(BUCKETS)
                .map_err(Error::metadata(DOING))?;
            let mut buckets = Vec::new();
            for row in table.iter().map_err(Error::metadata(DOING))? {
                let (name, value) = row.map_err(Error::metadata(DOING))?;
                let name = name.value().to_owned();
                let created = time_from(value.value().1)
                    .ok_or_else(|| Error::damaged(format!("bucket `{name}`"), "impossible date"))?;
                buckets.push(Bucket { name, created });
            }
            Ok(buckets)
        })
        .await
    }

    /// Is there such a bucket?
    pub async fn bucket_exists(&self, bucket: &str) -> Result<bool, Error> {
        let (shared, bucket) = (self.shared.clone(), bucket.to_owned());
        blocking(
            move || match meta::bucket_number(&shared.meta.read()?, &bucket) {
                Ok(_) => Ok(true),
                Err(Error::NoSuchBucket(_)) => Ok(false),
                Err(e) => Err(e),
            },
        )
        .await
    }
}
