//! The bundled object store: buckets and objects on one machine's disk.
//!
//! Metadata and small bodies live in one transactional file (`meta.redb`),
//! larger bodies in one file each under `blobs/`. The rule everything here
//! keeps: what was acknowledged is on the disk, and bytes that do not match
//! their checksum are never served. This crate knows no protocol and opens no
//! socket; `pages.rs` answers requests handed to it in-process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blob;
mod body;
mod buckets;
mod commit;
mod conditions;
mod counters;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod get;
mod health;
mod hold;
mod id;
mod list;
mod meta;
mod names;
mod pages;
mod percent;
mod put;
mod row;
mod settings;
mod span;
mod store;
mod sums;
mod sweep;
mod tables;
mod volume;
mod watcher;

pub use body::{Body, BoxError};
pub use buckets::Bucket;
pub use counters::Counters;
pub use error::Error;
pub use get::Object;
pub use list::{List, Listed, PAGE_MAX, Page};
pub use pages::Tags;
pub use put::{METADATA_BYTES_MAX, Only, Put};
pub use row::Info;
pub use settings::Settings;
pub use span::Span;
pub use store::Store;
pub use watcher::{Watcher, bucket_tag, tag};
