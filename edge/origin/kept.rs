//! Idle HTTP/1 connections, kept for the next request to the same server under the same proof.
//!
//! Sharded by key behind plain mutexes rather than per thread: under a work-stealing runtime a
//! response often ends on another thread than it began on, so per-thread pools drift empty on one
//! thread and full on another, cannot keep an exact bound per server, and need a sweeper each. The
//! lock is held for a push or a pop, about 50 ns. Pingora's own pool spawns a watcher per release,
//! which cost 2 to 3 µs per request on the prototype; here a connection is looked at when it is
//! taken, and [`sweep`](crate::sweep) closes what nobody takes.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;

use crate::counters::Counters;
use crate::line::Conn;
use crate::origin::Key;

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<Key, VecDeque<Idle>>>;

/// All idle HTTP/1 connections.
pub(crate) struct Kept {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    total_max: u64,
    counters: Arc<Counters>,
}

struct Idle {
    conn: Conn,
    until: Instant,
}

impl Kept {
    pub(crate) fn new(total_max: usize, counters: Arc<Counters>) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            total_max: total_max as u64,
            counters,
        }
    }

    /// The connection used last that is still alive; dead ones on the way are closed.
    pub(crate) async fn take(&self, key: &Key) -> Option<Conn> {
        loop {
            let idle = self.shard(key).lock().get_mut(key)?.pop_back()?;
            self.counters.idle.fetch_sub(1, Relaxed);
            if idle.until > Instant::now() && idle.conn.line.is_quiet().await {
                return Some(idle.conn);
            }
        }
    }

    /// Keeps a connection until `until`. With `server_max` already there the oldest is closed for
    /// it; with the total reached it is closed itself. Says whether it was kept.
    pub(crate) fn put(&self, key: Key, conn: Conn, server_max: usize, until: Instant) -> bool {
        if server_max == 0 {
            return false;
        }
        let mut shard = self.shard(&key).lock();
        let idle = shard.entry(key).or_default();
        let oldest = if idle.len() >= server_max {
            idle.pop_front()
        } else {
            None
        };
        if oldest.is_some() {
            self.counters.idle.fetch_sub(1, Relaxed);
        }
        if self.counters.idle.load(Relaxed) >= self.total_max {
            return false;
        }
        idle.push_back(Idle { conn, until });
        self.counters.idle.fetch_add(1, Relaxed);
        drop(shard);
        // Closing is a system call: not under the lock.
        drop(oldest);
        true
    }

    /// Closes what is past its time. Says whether anything is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut left = false;
        let mut closing = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|_, idle| {
                let mut i = 0;
                // Servers say how long they keep a connection, so times are not in order.
                while i < idle.len() {
                    if idle[i].until <= now {
                        closing.extend(idle.remove(i));
                    } else {
                        i += 1;
                    }
                }
                !idle.is_empty()
            });
            left |= !shard.lock().is_empty();
        }
        self.counters.idle.fetch_sub(closing.len() as u64, Relaxed);
        left
    }

    fn shard(&self, key: &Key) -> &Shard {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}
