//! What the client counts. Plain atomics: whoever owns the metrics reads them when asked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, REASONS};

/// Totals since the client was made, except [`idle`](Counters::idle), which is a level.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections opened.
    pub opened: AtomicU64,
    /// Requests sent on a connection that had carried another before.
    pub reused: AtomicU64,
    /// Requests sent a second time because a kept connection was dead.
    pub retries: AtomicU64,
    /// Addresses given up for the next one.
    pub failovers: AtomicU64,
    /// Idle HTTP/1 connections kept right now.
    pub idle: AtomicU64,
    /// Questions put to the DNS.
    pub dns_queries: AtomicU64,
    /// Questions the DNS did not answer (a missing name is an answer).
    pub dns_failures: AtomicU64,
    errors: [AtomicU64; REASONS.len()],
}

impl Counters {
    /// Errors by [`Error::reason`], those of response bodies included.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS
            .iter()
            .zip(&self.errors)
            .map(|(&reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    pub(crate) fn error(&self, error: &Error) {
        add(&self.errors[error.index()]);
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
