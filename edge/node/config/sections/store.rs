//! `[store]`: the bundled object store.

use crate::config::section::section;
use crate::config::settings::Store;
use crate::config::words::size::Size;

section! {
    /// The bundled object store. It lives in the `data` directory.
    pub struct Table {
        /// Objects up to this size are kept in the metadata database instead of a file each.
        inline_max: Size = "16KiB", from "0B" to "1MiB";
        /// Writes are refused when the disk has less free space than this.
        reserve: Size = "1GiB", from "0B" to "16TiB";
        /// Memory for the metadata database.
        metadata_cache: Size = "64MiB", from "1MiB" to "1TiB";
    }
}

impl Table {
    /// One to one.
    pub fn settings(&self) -> Store {
        Store {
            inline_bytes_max: self.inline_max.0,
            reserve_bytes: self.reserve.0,
            metadata_cache_bytes: self.metadata_cache.0,
        }
    }
}
