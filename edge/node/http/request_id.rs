//! Names for requests: 128 bits in hex, unlike any other and not to be guessed.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes request ids: keyed hashes of a counter, so that no request waits for
/// the system's random numbers.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    high: RandomState,
    low: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    /// A new one: 32 hex digits.
    pub(crate) fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!(
            "{:016x}{:016x}",
            self.high.hash_one(count),
            self.low.hash_one(count)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_look_alike() {
        let ids = RequestIds::default();
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
