//! What every request shares: the cache, the origins, the store, the settings
//! of the moment, the counters and the log.

use crate::access_log::AccessLog;
use crate::config::Settings;
use crate::http::request_id::RequestIds;
use crate::http::sites::Live;
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use edge_cache::{Engine, Secret};
use edge_guard::Door;
use edge_store::Store;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// A running node.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) secret: Secret,
    /// This node among all that a request may pass, new at every start.
    pub(crate) id: String,
    pub(crate) request_ids: RequestIds,
    pub(crate) origins: edge_origin::Client,
    pub(crate) store: Arc<Store>,
    /// Replaced whole by a reload; a request keeps the one it began with.
    pub(crate) live: ArcSwap<Live>,
    pub(crate) metrics: Metrics,
    pub(crate) access: AccessLog,
    pub(crate) door: Arc<Door>,
    /// True once the node has been told to stop.
    pub(crate) draining: watch::Sender<bool>,
    /// The config file, for reloads. `None` when the node runs without one.
    pub(crate) file: Option<PathBuf>,
    /// What it listens on, by kind, with the ports the system gave.
    pub(crate) bound: Mutex<Vec<(&'static str, SocketAddr)>>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

impl Node {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.live.load().settings)
    }
}
