//! HTTP/2 connections, shared by many requests at a time. Closed by [`sweep`](crate::sweep) after
//! an idle time; a connection that ended or is shutting down is dropped when it is come across.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::connectors::http::v2::ConnectionRef;

use crate::origin::Key;

/// All HTTP/2 connections that take requests.
#[derive(Default)]
pub(crate) struct Multiplex {
    connections: Mutex<HashMap<Key, Vec<Shared>>>,
}

struct Shared {
    connection: ConnectionRef,
    /// When it was last seen in use.
    used: Instant,
    idle_timeout: Duration,
}

impl Multiplex {
    /// A connection with room for another request.
    pub(crate) fn find(&self, key: &Key) -> Option<ConnectionRef> {
        let mut connections = self.connections.lock();
        let shared = connections.get_mut(key)?;
        shared.retain(|shared| is_open(&shared.connection));
        let free = shared
            .iter_mut()
            .find(|shared| shared.connection.more_streams_allowed())?;
        free.used = Instant::now();
        Some(free.connection.clone())
    }

    /// Shares a connection, unless `server_max` are shared already: then it serves one request.
    pub(crate) fn put(
        &self,
        key: Key,
        connection: ConnectionRef,
        server_max: usize,
        idle_timeout: Duration,
    ) {
        let mut connections = self.connections.lock();
        let shared = connections.entry(key).or_default();
        shared.retain(|shared| is_open(&shared.connection));
        if shared.len() < server_max {
            shared.push(Shared {
                connection,
                used: Instant::now(),
                idle_timeout,
            });
        }
    }

    /// Closes what has been idle for too long. Says whether anything is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut connections = self.connections.lock();
        connections.retain(|_, shared| {
            shared.retain_mut(|shared| {
                if !shared.connection.is_idle() {
                    shared.used = now;
                }
                is_open(&shared.connection)
                    && now.saturating_duration_since(shared.used) < shared.idle_timeout
            });
            !shared.is_empty()
        });
        !connections.is_empty()
    }
}

fn is_open(connection: &ConnectionRef) -> bool {
    !connection.is_closed() && !connection.is_shutting_down()
}
