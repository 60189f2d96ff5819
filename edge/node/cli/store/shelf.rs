//! The store as the commands see it, wherever it is: behind a running node's admin API
//! (`remote`), or in a directory that no node holds (`directory`).

use super::directory::Directory;
use super::remote::Remote;
use crate::cli::Failure;
use crate::cli::talk::Admin;
use edge_store::Body;
use std::path::Path;

pub(super) enum Shelf {
    Remote(Remote),
    Directory(Directory),
}

/// A bucket, as listed.
pub(super) struct Bucket {
    pub(super) name: String,
    /// RFC 3339.
    pub(super) created: String,
}

/// What to list.
#[derive(Clone, Default)]
pub(super) struct Query {
    /// Only keys that begin with this.
    pub(super) prefix: String,
    /// Folders become one entry each.
    pub(super) by_folder: bool,
    /// Where the page before this one ended.
    pub(super) after: Option<String>,
}

/// A page of a listing, of at most a thousand entries.
pub(super) struct Page {
    pub(super) objects: Vec<Listed>,
    /// Folders, each ending with a slash.
    pub(super) prefixes: Vec<String>,
    pub(super) next: Option<String>,
}

/// An object, as listed.
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    /// RFC 3339.
    pub(super) last_modified: String,
}

/// An object on its way in.
pub(super) struct Upload {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    /// The length of the body, where it is known.
    pub(super) size: Option<u64>,
    pub(super) body: Body,
}

/// An object on its way out.
pub(super) struct Object {
    pub(super) size: Option<u64>,
    pub(super) content_type: Option<String>,
    pub(super) body: Body,
}

/// Calls the method of the same name, wherever the store is.
macro_rules! either {
    ($shelf:expr, $method:ident ( $($argument:expr),* )) => {
        match $shelf {
            Shelf::Remote(remote) => remote.$method($($argument),*).await,
            Shelf::Directory(directory) => directory.$method($($argument),*).await,
        }
    };
}

impl Shelf {
    /// The store of a running node.
    pub(super) fn of_node(admin: &Admin) -> Result<Shelf, Failure> {
        Remote::new(admin).map(Shelf::Remote)
    }

    /// The store of a data directory.
    pub(super) async fn in_directory(data: &Path, may_make: bool) -> Result<Shelf, Failure> {
        Directory::open(data, may_make).await.map(Shelf::Directory)
    }

    pub(super) async fn buckets(&self) -> Result<Vec<Bucket>, Failure> {
        either!(self, buckets())
    }

    pub(super) async fn make(&self, bucket: &str) -> Result<(), Failure> {
        either!(self, make(bucket))
    }

    pub(super) async fn remove(&self, bucket: &str) -> Result<(), Failure> {
        either!(self, remove(bucket))
    }

    pub(super) async fn list(&self, bucket: &str, query: &Query) -> Result<Page, Failure> {
        either!(self, list(bucket, query))
    }

    /// Writes an object, replacing one of the same key.
    pub(super) async fn put(&self, bucket: &str, key: &str, new: Upload) -> Result<(), Failure> {
        either!(self, put(bucket, key, new))
    }

    pub(super) async fn get(&self, bucket: &str, key: &str) -> Result<Object, Failure> {
        either!(self, get(bucket, key))
    }

    /// False when there was no such object.
    pub(super) async fn delete(&self, bucket: &str, key: &str) -> Result<bool, Failure> {
        either!(self, delete(bucket, key))
    }

    pub(super) async fn close(&self) -> Result<(), Failure> {
        match self {
            Shelf::Remote(_) => Ok(()),
            Shelf::Directory(directory) => directory.close().await,
        }
    }
}
