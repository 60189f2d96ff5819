//! The config file: read once, checked completely, turned into [`Settings`].
//!
//! The way in is TOML text → `tree` (every key and value with its place) →
//! `file` and `sections` (shaped like the file) → `settings` (shaped like the
//! program). Everything wrong is collected in [`Mistakes`] on the way, never
//! only the first. One declaration per table (`section!`) gives reading, the
//! JSON Schema and the printed form.
//!
//! To add a section: a file in `sections/` and a line in `file.rs`. To add a
//! kind of value: a file in `words/`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificate;
mod changes;
mod file;
mod include;
mod load;
mod mistakes;
mod nearest;
mod section;
mod sections;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod words;

pub use certificate::{Certificate, ClientCa};
pub use changes::{Changes, changed};
pub use file::File;
pub use load::{Loaded, demo, for_origin, from_str, load, print, schema};
pub use mistakes::{At, Mistake, Mistakes};
pub use settings::{
    AccessLog, Admin, Bypass, Cache, CacheRules, Format, Guard, HostPattern, Level, Listen, Log,
    OriginConfig, OriginRef, OriginTls, OriginUrl, PathPattern, Prefix, Protocol, QueryKeep,
    QueryName, QueryRule, Route, Secret, SecretSource, Settings, Site, SiteTls, Store, Suite, Tls,
    TlsVersion,
};
