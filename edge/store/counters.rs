//! What the store has done and holds, for metrics. Counting never blocks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A snapshot. Counts since the store was opened, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Objects held now.
    pub objects: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Objects written.
    pub puts: u64,
    /// Objects read, whole or in part, [`crate::Store::answer`] included.
    pub gets: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// List pages read.
    pub lists: u64,
    /// Bytes of bodies written.
    pub bytes_in: u64,
    /// Bytes of bodies handed to readers.
    pub bytes_out: u64,
    /// Transactions committed; writes per commit tell how well they group.
    pub commits: u64,
    /// Files removed: of overwritten and deleted objects, and left-overs of crashes.
    pub files_removed: u64,
    /// Reads that met bytes which are not what was written.
    pub damaged: u64,
    /// No writes are taken any more because a sync failed.
    pub read_only: bool,
}

#[derive(Default)]
pub(crate) struct Tally {
    pub objects: AtomicI64,
    pub bytes: AtomicI64,
    pub puts: AtomicU64,
    pub gets: AtomicU64,
    pub deletes: AtomicU64,
    pub lists: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub commits: AtomicU64,
    pub files_removed: AtomicU64,
    pub damaged: AtomicU64,
}

impl Tally {
    pub fn snapshot(&self, read_only: bool) -> Counters {
        Counters {
            objects: self.objects.load(Relaxed).max(0).unsigned_abs(),
            bytes: self.bytes.load(Relaxed).max(0).unsigned_abs(),
            puts: self.puts.load(Relaxed),
            gets: self.gets.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
            lists: self.lists.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            commits: self.commits.load(Relaxed),
            files_removed: self.files_removed.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            read_only,
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
