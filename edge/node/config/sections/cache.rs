//! `[cache]`: how much the cache may hold and do.

use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::settings::Cache;
use crate::config::words::size::Size;

/// One object may take this part of the memory, so that a few large ones
/// cannot push out everything else.
const OBJECT_PART: u64 = 4;

/// Larger objects are not worth memory by default, however much there is.
const OBJECT_DEFAULT: Size = Size(64 << 20);

section! {
    /// How much the cache may hold and do.
    pub struct Table {
        /// Memory for cached responses, heads and keys included; an eighth of it is left to
        /// what the allocator keeps beside them.
        memory: Size = "256MiB", from "1MiB" to "16TiB";
        /// Largest body kept in memory, at most a quarter of `memory`. By default 64MiB or a
        /// quarter of `memory`, whichever is less.
        object_max: Option<Size>, from "1KiB" to "4TiB", example "64MiB";
        /// Fetches from origins under way at once.
        fills: usize = 10000, from 1 to 1000000;
        /// How much of a body that is not kept is held between the origin and the slowest
        /// client.
        window: Size = "1MiB", from "16KiB" to "1GiB";
    }
}

impl Table {
    /// Fills in the largest object where nobody said it.
    pub fn settings(&mut self, mistakes: &mut Mistakes) -> Cache {
        let limit = self.object_limit();
        let default = OBJECT_DEFAULT.min(Size(self.memory.0 / OBJECT_PART));
        let object_max = match self.object_max.value {
            None => *self.object_max.value.insert(default),
            Some(size) => {
                check_object_max(size, limit, &self.object_max.at, mistakes);
                size
            }
        };
        Cache {
            memory_bytes: self.memory.0,
            object_bytes_max: object_max.0,
            fills_max: self.fills.value,
            window_bytes: self.window.0,
        }
    }

    /// The largest `object_max` anyone may ask for; `None` while `memory` itself is wrong.
    pub fn object_limit(&self) -> Option<Size> {
        (!self.memory.broken).then_some(Size(self.memory.0 / OBJECT_PART))
    }
}

/// Notes an `object_max` beyond the limit, here and in the rules of a site.
pub fn check_object_max(
    size: Size,
    limit: Option<Size>,
    at: &crate::config::mistakes::At,
    mistakes: &mut Mistakes,
) {
    if let Some(limit) = limit.filter(|limit| size > *limit) {
        let (size, limit) = (size.text(), limit.text());
        let text = format!(
            "`object_max` may be at most a quarter of `cache.memory`, not {size}; \
             for example object_max = \"{limit}\""
        );
        mistakes.add(at, text);
    }
}
