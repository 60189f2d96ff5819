//! What the store is told at start. Plain numbers: whoever reads config files
//! turns them into this.

use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened. Every field but `path` has a sensible default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's directory; made if missing, held by one process at a time.
    pub path: PathBuf,
    /// Memory for cached metadata pages. A quarter of the machine is good for
    /// many millions of objects; 64 MiB is enough for some hundred thousand.
    pub metadata_cache_bytes: usize,
    /// Bodies up to this size are kept beside the metadata, so that one disk
    /// flush makes both durable. Never more than [`Settings::INLINE_BYTES_CAP`].
    pub inline_bytes_max: usize,
    /// Larger bodies are refused.
    pub object_bytes_max: u64,
    /// Writes are refused when less than this is free on the filesystem; reads
    /// and deletes go on.
    pub reserve_bytes: u64,
    /// How long the file of an overwritten or deleted object stays on disk.
    pub removal_delay: Duration,
}

impl Settings {
    /// Above this an inline body would stall the thread that hashes it.
    pub const INLINE_BYTES_CAP: usize = 64 << 10;

    /// The defaults, at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Settings {
        Settings {
            path: path.into(),
            ..Settings::default()
        }
    }

    /// The inline limit that holds, whatever was asked for.
    pub(crate) fn inline_bytes(&self) -> usize {
        self.inline_bytes_max.min(Self::INLINE_BYTES_CAP)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            path: PathBuf::from("store"),
            metadata_cache_bytes: 64 << 20,
            // Measured: up to here one grouped flush beats a file of its own.
            inline_bytes_max: 16 << 10,
            // The largest single upload S3 allows.
            object_bytes_max: 5 << 30,
            // Deletes need room too: the metadata file is copy-on-write.
            reserve_bytes: 256 << 20,
            // Longer than a reader needs between finding a row and opening its file.
            removal_delay: Duration::from_secs(600),
        }
    }
}
