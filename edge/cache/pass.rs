//! Remembers keys whose answers cannot be kept, so that nobody queues behind
//! them twice.
//!
//! Only causes that every client would meet are remembered. A mark expires, is
//! dropped as soon as an answer could be kept, and is purged like an entry: it
//! carries the stamp of the fetch it came from.

use crate::freshness::Now;
use crate::key::Key;
use crate::policy::Why;
use crate::stamp::Stamp;
use moka::sync::Cache;
use std::time::{Duration, Instant};

/// How long a key stays remembered.
const SPAN: Duration = Duration::from_secs(120);

/// Keys remembered at once; the least used go first.
const KEYS_MAX: u64 = 100_000;

#[derive(Clone)]
pub(crate) struct Mark {
    pub(crate) why: Why,
    pub(crate) stamp: Stamp,
    until: Instant,
}

pub(crate) struct Passes(Cache<u128, Mark>);

impl Passes {
    pub(crate) fn new() -> Passes {
        Passes(Cache::new(KEYS_MAX))
    }

    pub(crate) fn remember(&self, key: &Key, why: Why, stamp: Stamp, now: Now) {
        let until = now.mono + SPAN;
        self.0.insert(key.hash(), Mark { why, stamp, until });
    }

    pub(crate) fn get(&self, key: &Key, now: Now) -> Option<Mark> {
        self.0.get(&key.hash()).filter(|mark| now.mono < mark.until)
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.0.invalidate(&key.hash());
    }
}
