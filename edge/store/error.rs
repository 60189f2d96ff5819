//! Everything that can go wrong, in the cases a caller treats differently.
//! Each message says what was being done and to what.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::body::BoxError;

/// Why the store did not do what it was asked to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another process (or another `Store`) has this directory open.
    InUse(PathBuf),
    /// The directory was written by a newer version of this program.
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// The version found on disk.
        found: u64,
        /// The newest version this program reads.
        known: u64,
    },
    /// The bucket name breaks a rule.
    BadBucketName {
        /// The name as given.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The object key breaks a rule.
    BadKey(&'static str),
    /// A header or metadata field of a put breaks a rule.
    BadField {
        /// Which field.
        field: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// There is no such bucket.
    NoSuchBucket(String),
    /// The bucket is there already.
    BucketExists(String),
    /// Only empty buckets can be deleted.
    BucketNotEmpty(String),
    /// The limit on the number of buckets is reached.
    TooManyBuckets(usize),
    /// There is no such object.
    NoSuchKey {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// The object is not in the state the writer asked for.
    PreconditionFailed {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// The asked-for range lies outside the object.
    BadRange {
        /// The object's size.
        size: u64,
    },
    /// The body is larger than the store accepts.
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The body does not have the MD5 its sender announced.
    DigestMismatch {
        /// Announced, in hex.
        expected: String,
        /// Received, in hex.
        found: String,
    },
    /// The sender's body broke before its end.
    Upload(BoxError),
    /// Free space is below the reserve; deletes still work.
    Full {
        /// Bytes free now.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// An earlier write could not be made durable, so no more are taken.
    ReadOnly(Arc<str>),
    /// What is on disk is not what was written there.
    Damaged {
        /// The thing that is damaged.
        what: String,
        /// How it shows.
        why: String,
    },
    /// The operating system refused a file operation.
    Io {
        /// What was being done, and to what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The metadata file refused an operation.
    Metadata {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: Box<redb::Error>,
    },
    /// The store has been closed.
    Closed,
}

impl Error {
    /// For `map_err` on file operations: what was being done, and to which path.
    pub(crate) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let doing = format!("{doing} {}", path.display());
        |source| Error::Io { doing, source }
    }

    /// For `map_err` on metadata operations.
    pub(crate) fn metadata<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Metadata {
            doing,
            source: Box::new(source.into()),
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Damaged {
            what: what.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InUse(path) => write!(
                f,
                "the store at {} is held by another process; stop that one first",
                path.display()
            ),
            Error::NewerFormat { path, found, known } => write!(
                f,
                "the store at {} has format {found}, written by a newer version; \
                 this one reads up to {known}",
                path.display()
            ),
            Error::BadBucketName { name, why } => {
                write!(f, "`{}` is no bucket name: {why}", name.escape_debug())
            }
            Error::BadKey(why) => write!(f, "bad object key: {why}"),
            Error::BadField { field, why } => {
                write!(f, "bad value for `{}`: {why}", field.escape_debug())
            }
            Error::NoSuchBucket(name) => {
                write!(f, "there is no bucket `{}`", name.escape_debug())
            }
            Error::BucketExists(name) => write!(f, "bucket `{name}` exists already"),
            Error::BucketNotEmpty(name) => {
                write!(f, "bucket `{name}` still holds objects; delete them first")
            }
            Error::TooManyBuckets(max) => write!(f, "there are {max} buckets, which is the limit"),
            Error::NoSuchKey { bucket, key } => {
                write!(
                    f,
                    "bucket `{bucket}` has no object `{}`",
                    key.escape_debug()
                )
            }
            Error::PreconditionFailed { bucket, key } => write!(
                f,
                "object `{}` in bucket `{bucket}` is not in the state the write asked for",
                key.escape_debug()
            ),
            Error::BadRange { size } => {
                write!(f, "the range lies outside the object's {size} bytes")
            }
            Error::TooLarge { max } => {
                write!(f, "the body is larger than the limit of {max} bytes")
            }
            Error::DigestMismatch { expected, found } => write!(
                f,
                "the body's MD5 is {found}, but its sender announced {expected}"
            ),
            Error::Upload(source) => write!(f, "the body broke before its end: {source}"),
            Error::Full { free, reserve } => write!(
                f,
                "only {free} bytes are free and {reserve} are kept in reserve, \
                 so writes are refused; deletes still work"
            ),
            Error::ReadOnly(why) => write!(f, "the store takes no writes any more: {why}"),
            Error::Damaged { what, why } => write!(f, "{what} is damaged: {why}"),
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Metadata { doing, source } => write!(f, "{doing}: metadata file: {source}"),
            Error::Closed => write!(f, "the store is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Upload(source) => Some(source.as_ref()),
            Error::Io { source, .. } => Some(source),
            Error::Metadata { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
