//! Counts the bytes that are really alive: taken when made, given back when the
//! last holder drops them.
//!
//! The memory tier evicts in batches, and readers may hold what was evicted, so
//! its own weights say what it wants to keep, not what the process holds. A
//! charge past the limit is refused; that refusal is what keeps the process
//! within its budget under the fastest fill. What cannot be refused, the window
//! of a body that only passes through, is counted all the same, so that less is
//! kept while it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Ledger {
    live: AtomicU64,
    limit: u64,
}

/// Bytes charged to a ledger, given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Ledger {
    pub(crate) fn new(limit: u64) -> Arc<Ledger> {
        Arc::new(Ledger {
            live: AtomicU64::new(0),
            limit,
        })
    }

    /// Charges `bytes`, or refuses when that would pass the limit.
    pub(crate) fn take(self: &Arc<Ledger>, bytes: u64) -> Option<Charge> {
        self.live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| {
                live.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .ok()?;
        Some(Charge {
            ledger: Arc::clone(self),
            bytes,
        })
    }

    /// Charges `bytes` that are there already, past the limit if need be.
    pub(crate) fn count(self: &Arc<Ledger>, bytes: u64) -> Charge {
        self.live.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            ledger: Arc::clone(self),
            bytes,
        }
    }

    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// More is alive than should be.
    pub(crate) fn is_over(&self) -> bool {
        self.live() > self.limit
    }
}

impl Charge {
    /// Makes this charge one of exactly `bytes`, past the limit if need be.
    pub(crate) fn become_bytes(&mut self, bytes: u64) {
        let live = &self.ledger.live;
        if bytes > self.bytes {
            live.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            live.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Takes over what another charge holds.
    pub(crate) fn absorb(&mut self, mut other: Charge) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Splits off a charge of `bytes`, or of all there is.
    pub(crate) fn split(&mut self, bytes: u64) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge {
            ledger: Arc::clone(&self.ledger),
            bytes,
        }
    }

    /// All of it, leaving a charge of nothing.
    pub(crate) fn take_all(&mut self) -> Charge {
        self.split(self.bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.live.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_past_the_limit_is_refused_and_a_dropped_one_is_given_back() {
        let ledger = Ledger::new(100);
        let mut first = ledger.take(60).unwrap();
        assert!(ledger.take(50).is_none());
        first.absorb(ledger.take(40).unwrap());
        assert!(ledger.take(1).is_none());
        assert_eq!(ledger.live(), 100);
        let head = first.split(30);
        drop(first);
        assert_eq!(ledger.live(), 30);
        drop(head);
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn what_is_there_already_counts_past_the_limit() {
        let ledger = Ledger::new(100);
        let mut window = ledger.count(150);
        assert!(ledger.is_over());
        window.become_bytes(90);
        assert!(!ledger.is_over());
        assert!(ledger.take(11).is_none());
        let rest = window.take_all();
        drop(window);
        assert_eq!(ledger.live(), 90);
        drop(rest);
        assert_eq!(ledger.live(), 0);
    }
}
