//! Stamps: 64-bit hybrid-clock values that order purges and fetches.
//!
//! A stamp is microseconds of wall time, pushed forward so that it never
//! repeats and never goes back while the process lives. Marks of several nodes
//! can be merged by taking the larger. The idea is the hybrid logical clock of
//! "Logical Physical Clocks" (OPODIS 2014).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in the order of fetches and purges. Larger is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: AtomicU64,
}

impl Clock {
    /// The next stamp, later than every one before it.
    pub(crate) fn next(&self, wall: SystemTime) -> Stamp {
        let micros = wall
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        let before = self
            .last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
                Some(micros.max(last.saturating_add(1)))
            })
            .unwrap_or_default();
        Stamp(micros.max(before.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps_never_go_back_even_when_the_wall_clock_does() {
        let clock = Clock::default();
        let noon = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let first = clock.next(noon);
        let second = clock.next(noon - Duration::from_secs(60));
        let third = clock.next(noon + Duration::from_secs(60));
        assert!(first < second && second < third);
    }
}
