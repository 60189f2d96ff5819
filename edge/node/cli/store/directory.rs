//! The store of a data directory, opened by this process. Needs that no node holds it.

use super::shelf::{Bucket, Listed, Object, Page, Query, Upload};
use crate::assemble;
use crate::cli::Failure;
use crate::moment::Moment;
use edge_store::{Error, List, Put, Settings, Store};
use std::path::Path;
use std::sync::Arc;

pub(super) struct Directory {
    store: Arc<Store>,
}

impl Directory {
    /// Opens the store below `data`. Only if `may_make`, one that is missing is made.
    pub(super) async fn open(data: &Path, may_make: bool) -> Result<Directory, Failure> {
        let path = assemble::store_path(data);
        if !may_make && !path.join("meta.redb").exists() {
            return Err(Failure::Failed(format!(
                "there is no store in {}; `edge store mb` makes one",
                data.display()
            )));
        }
        let opened = Store::open(Settings::at(path)).await;
        let store = opened.map_err(|error| match error {
            Error::InUse(_) => Failure::Failed(format!(
                "a running node holds {}; leave out --data to go through its admin API",
                data.display()
            )),
            error => failed(error),
        })?;
        Ok(Directory { store })
    }

    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.store.close().await.map_err(failed)
    }

    pub(super) async fn buckets(&self) -> Result<Vec<Bucket>, Failure> {
        let buckets = self.store.buckets().await.map_err(failed)?;
        let shown = |bucket: edge_store::Bucket| Bucket {
            created: Moment::of(bucket.created).rfc3339(),
            name: bucket.name,
        };
        Ok(buckets.into_iter().map(shown).collect())
    }

    pub(super) async fn make(&self, bucket: &str) -> Result<(), Failure> {
        self.store.create_bucket(bucket).await.map_err(failed)
    }

    pub(super) async fn remove(&self, bucket: &str) -> Result<(), Failure> {
        self.store.delete_bucket(bucket).await.map_err(failed)
    }

    pub(super) async fn list(&self, bucket: &str, query: &Query) -> Result<Page, Failure> {
        let list = List {
            prefix: query.prefix.clone(),
            after: query.after.clone(),
            delimiter: query.by_folder.then(|| "/".to_owned()),
            ..List::default()
        };
        let page = self.store.list(bucket, list).await.map_err(failed)?;
        let shown = |object: edge_store::Listed| Listed {
            key: object.key,
            size: object.size,
            etag: object.etag,
            last_modified: Moment::of(object.last_modified).rfc3339(),
        };
        Ok(Page {
            objects: page.objects.into_iter().map(shown).collect(),
            prefixes: page.prefixes,
            next: page.next,
        })
    }

    pub(super) async fn put(&self, bucket: &str, key: &str, new: Upload) -> Result<(), Failure> {
        let put = Put {
            content_type: new.content_type,
            cache_control: new.cache_control,
            ..Put::default()
        };
        let done = self.store.put(bucket, key, put, new.body).await;
        done.map(drop).map_err(|error| match error {
            // The file's own words, which name it.
            Error::Upload(source) => Failure::Failed(source.to_string()),
            error => failed(error),
        })
    }

    pub(super) async fn get(&self, bucket: &str, key: &str) -> Result<Object, Failure> {
        let object = self.store.get(bucket, key, None).await.map_err(failed)?;
        Ok(Object {
            size: Some(object.info.size),
            content_type: object.info.content_type,
            body: object.body,
        })
    }

    pub(super) async fn delete(&self, bucket: &str, key: &str) -> Result<bool, Failure> {
        self.store.delete(bucket, key).await.map_err(failed)
    }
}

fn failed(error: Error) -> Failure {
    Failure::Failed(match error {
        Error::NoSuchBucket(_) => format!("{error}; `edge store mb` makes one"),
        error => error.to_string(),
    })
}
