//! Builds a node from settings and runs it until it is told to stop.
//!
//! Start: store, cache, origins, log, listeners. Then signals: SIGHUP reloads,
//! SIGTERM and SIGINT drain. A reload prepares everything before it changes
//! anything; requests under way keep the settings they began with.

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::config::{self, Changes, Listen, Settings};
use crate::demo;
use crate::http::fetch::own_tag;
use crate::http::front::Terms;
use crate::http::head::Limits;
use crate::http::listen::{self, Event, Listener};
use crate::http::request_id::RequestIds;
use crate::http::serve::Sites;
use crate::http::sites::Live;
use crate::metrics::Metrics;
use crate::node::Node;
use arc_swap::ArcSwap;
use edge_cache::{Engine, Mode, Now, Secret, Selector};
use edge_guard::Door;
use edge_store::Store;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Files kept for what is not a client: origins, the store, the log.
const FILES_RESERVED: u64 = 256;

/// The cap on connections to the admin listener, apart from that of strangers,
/// so that a node under attack can still be looked into.
const ADMIN_CONNECTIONS: usize = 64;

/// What a node is started with.
#[derive(Debug)]
pub struct Start {
    /// Checked settings.
    pub settings: Settings,
    /// The file they came from, for reloads.
    pub file: Option<PathBuf>,
    /// The settings as TOML, secrets shown as their source.
    pub printed: String,
    /// Install the demo site if there is no bucket `www` yet.
    pub demo: bool,
}

/// Runs a node. Returns when it has stopped; an error means that it could not
/// start, and names what and the cure.
pub fn run(start: Start) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("edge")
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(async {
        let running = Running::start(start).await?;
        running.until_told().await;
        Ok(())
    })
}

/// A node and its listeners.
struct Running {
    node: Arc<Node>,
    listeners: Vec<JoinHandle<()>>,
    /// The admin listener goes on while the node drains, so that whoever asks
    /// hears that it is not ready; it ends with this.
    admin: watch::Sender<bool>,
    signals: Signals,
}

/// What the node can be told by signals.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let heard =
            |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Signals {
            hangup: heard(SignalKind::hangup())?,
            terminate: heard(SignalKind::terminate())?,
            interrupt: heard(SignalKind::interrupt())?,
        })
    }
}

impl Running {
    async fn start(start: Start) -> Result<Running, String> {
        let files = raise_files();
        let settings = &start.settings;
        // Ports first: they fail most often, and nothing needs undoing yet.
        let sockets = bind_all(settings)?;
        let store = open_store(settings).await?;
        if start.demo {
            demo::install(&store)
                .await
                .map_err(|error| format!("cannot put the demo site into the store: {error}"))?;
        }
        let metrics = Metrics::new();
        let engine = Engine::new(edge_cache::Settings {
            memory_bytes: settings.cache.memory_bytes,
            object_bytes_max: settings.cache.object_bytes_max,
            fills_max: settings.cache.fills_max,
            window_bytes: settings.cache.window_bytes,
        });
        store.watch(Arc::new(Purger(Arc::clone(&engine))));
        let origins = edge_origin::Client::new(edge_origin::Settings::default())
            .map_err(|error| error.to_string())?;
        let request_ids = RequestIds::default();
        let door = Door::new(connections(settings, files, start.file.is_some()));
        let access = AccessLog::open(&settings.log.access, settings.log.format)?;
        let live = Live::new(start.settings, start.printed, &metrics, None)?;
        let node = Arc::new(Node {
            engine,
            secret: secret()?,
            id: request_ids.next(),
            request_ids,
            origins,
            store,
            live: ArcSwap::from_pointee(live),
            metrics,
            access,
            door,
            draining: watch::Sender::new(false),
            file: start.file,
            bound: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
        });
        let admin = watch::Sender::new(false);
        let listeners = sockets
            .into_iter()
            .filter_map(|(kind, socket)| listen_on(&node, kind, socket, &admin).transpose())
            .collect::<Result<_, _>>()?;
        // Before anybody is told that it is ready: who is told may send one at once.
        let signals = Signals::listen()?;
        eprintln!("edge: ready");
        Ok(Running {
            node,
            listeners,
            admin,
            signals,
        })
    }

    /// Runs until SIGTERM or SIGINT, then drains.
    async fn until_told(self) {
        let Running {
            node,
            listeners,
            admin,
            mut signals,
        } = self;
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => {
                    node.access.reopen();
                    reload_and_say(&node).await;
                }
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        drain(&node, listeners).await;
        admin.send_replace(true);
        eprintln!("edge: stopped");
    }
}

/// Stops accepting, lets requests under way finish within the deadline, and
/// closes what must be closed.
async fn drain(node: &Arc<Node>, listeners: Vec<JoinHandle<()>>) {
    let limit = node.settings().guard.drain;
    eprintln!(
        "edge: stopping; requests under way have {} s",
        limit.as_secs()
    );
    node.draining.send_replace(true);
    for listener in listeners {
        // A listener that panicked has already said so.
        let _ = listener.await;
    }
    let until = Instant::now() + limit;
    while node.door.open() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = node.door.open();
    if left > 0 {
        log::warn!("{left} connections were closed before they had ended");
    }
    if let Err(error) = node.store.close().await {
        log::error!("the store could not be closed cleanly: {error}");
    }
    node.access.close();
}

async fn reload_and_say(node: &Arc<Node>) {
    match reload(node).await {
        Ok(changes) => {
            eprintln!("edge: reloaded; changed: {}", list(&changes.applied));
            if !changes.needs_restart.is_empty() {
                eprintln!("edge: needs a restart: {}", list(&changes.needs_restart));
            }
        }
        Err(why) => eprintln!("edge: not reloaded, the running config stays: {why}"),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// Reads the config file again and swaps to it, whole or not at all.
pub(crate) async fn reload(node: &Arc<Node>) -> Result<Changes, String> {
    let _one_at_a_time = node.reloading.lock().await;
    let Some(file) = node.file.clone() else {
        return Err("this node runs without a config file; start it with --config FILE".into());
    };
    let reading = tokio::task::spawn_blocking(move || config::load(&file));
    let loaded = reading
        .await
        .map_err(|error| error.to_string())?
        .map_err(|mistakes| mistakes.to_string())?;
    let running = node.settings();
    let changes = config::changed(&running, &loaded.settings);
    let mut settings = loaded.settings;
    // What needs a restart stays as it runs, so that nobody reads a value that
    // is not in force.
    settings.data = running.data.clone();
    settings.listen = Listen {
        proxy_protocol_from: settings.listen.proxy_protocol_from,
        ..running.listen.clone()
    };
    settings.cache = running.cache.clone();
    settings.store = running.store.clone();
    settings.log.access = running.log.access.clone();
    settings.log.format = running.log.format;
    let level = settings.log.level.filter();
    let most = connections(&settings, files(), settings.guard != running.guard);
    let printed = config::print(&loaded.file);
    let mut live = Live::new(settings, printed, &node.metrics, Some(&node.live.load()))?;
    live.needs_restart = changes.needs_restart.clone();
    node.live.store(Arc::new(live));
    node.door.set_most(most);
    log::set_max_level(level);
    Ok(changes)
}

fn bind_all(settings: &Settings) -> Result<Vec<(&'static str, TcpListener)>, String> {
    let http = settings
        .listen
        .http
        .iter()
        .map(|address| ("http", *address));
    let https = settings
        .listen
        .https
        .iter()
        .map(|address| ("https", *address));
    let admin = settings
        .listen
        .admin
        .iter()
        .map(|address| ("admin", *address));
    http.chain(https)
        .chain(admin)
        .map(|(kind, address)| Ok((kind, listen::bind(address)?)))
        .collect()
}

/// Starts a listener; those of strangers are waited for when the node drains.
fn listen_on(
    node: &Arc<Node>,
    kind: &'static str,
    socket: TcpListener,
    admin: &watch::Sender<bool>,
) -> Result<Option<JoinHandle<()>>, String> {
    let address = socket
        .local_addr()
        .map_err(|error| format!("cannot tell where {kind} listens: {error}"))?;
    node.bound.lock().push((kind, address));
    eprintln!("edge: listening {kind} {address}");
    let own_port = if kind == "https" { 443 } else { 80 };
    let terms = {
        let node = Arc::clone(node);
        Box::new(move || {
            let mut terms = terms(&node.live.load().settings, own_port);
            if kind == "admin" {
                // What strangers may upload is no limit for objects of the store.
                terms.limits.body_bytes = edge_store::Settings::default().object_bytes_max;
            }
            terms
        })
    };
    if kind == "admin" {
        let service = Admin {
            node: Arc::clone(node),
        };
        let listener = Listener {
            socket,
            service: Arc::new(service),
            door: Door::new(ADMIN_CONNECTIONS),
            draining: admin.subscribe(),
            terms,
            tls: None,
            announces: Box::new(|_| false),
            counted: Arc::new(|_| {}),
        };
        tokio::spawn(listener.run());
        return Ok(None);
    }
    let secured = Arc::clone(node);
    let tls = move || secured.live.load().tls.clone();
    let trusting = Arc::clone(node);
    let announces = move |peer| {
        let live = trusting.live.load();
        live.settings
            .listen
            .proxy_protocol_from
            .iter()
            .any(|prefix| prefix.contains(peer))
    };
    let counting = Arc::clone(node);
    let listener = Listener {
        socket,
        service: Arc::new(Sites(Arc::clone(node))),
        door: Arc::clone(&node.door),
        draining: node.draining.subscribe(),
        terms,
        tls: (kind == "https").then(|| Box::new(tls) as Box<_>),
        announces: Box::new(announces),
        counted: Arc::new(move |event| count(&counting.metrics, &event)),
    };
    Ok(Some(tokio::spawn(listener.run())))
}

fn count(metrics: &Metrics, event: &Event<'_>) {
    match event {
        Event::Taken => metrics.connections_opened.inc(),
        Event::TurnedAway => metrics.connections_refused.inc(),
        Event::NotAnnounced => metrics.announcements_refused.inc(),
        Event::NotSecured => metrics.handshakes_failed.inc(),
        Event::Secured(session) => {
            let kind = if session.resumed { "resumed" } else { "full" };
            let labels = [session.version.word(), kind];
            metrics.handshakes.with_label_values(&labels).inc();
        }
    }
}

/// What the settings of the moment allow a connection.
pub(crate) fn terms(settings: &Settings, own_port: u16) -> Terms {
    let guard = &settings.guard;
    Terms {
        limits: Limits {
            head_bytes: guard.head_bytes_max,
            target_bytes: guard.target_bytes_max,
            fields: guard.fields_max,
            body_bytes: guard.body_bytes_max,
            own_port,
        },
        header_deadline: guard.header_deadline,
        idle: guard.idle,
        body_idle: guard.body_idle,
    }
}

async fn open_store(settings: &Settings) -> Result<Arc<Store>, String> {
    let store = edge_store::Settings {
        metadata_cache_bytes: settings.store.metadata_cache_bytes as usize,
        inline_bytes_max: settings.store.inline_bytes_max as usize,
        reserve_bytes: settings.store.reserve_bytes,
        ..edge_store::Settings::at(store_path(&settings.data))
    };
    Store::open(store).await.map_err(|error| error.to_string())
}

/// Where the bundled store lives below the data directory.
pub(crate) fn store_path(data: &Path) -> PathBuf {
    data.join("store")
}

/// Cuts the cap on connections to what the process may open. Says so to whoever
/// chose the number; nobody chose the default.
fn connections(settings: &Settings, files: u64, was_chosen: bool) -> usize {
    let wanted = settings.guard.connections_total;
    // A connection may need a second file, towards its origin.
    let possible = usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX);
    if possible < wanted && was_chosen {
        log::warn!(
            "guard.connections.total is {wanted}, but the process may open {files} files: {possible} it is; \
             raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    wanted.min(possible).max(1)
}

/// Raises the limit on open files as far as it goes.
fn raise_files() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    // Where it cannot be raised the limit of now counts.
    let _ = setrlimit(Resource::Nofile, raised);
    files()
}

fn files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The secret that keys hashes, new at every start: nothing hashed with it
/// outlives the process yet.
fn secret() -> Result<Secret, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers to be had: {error}"))?;
    Ok(Secret(bytes))
}

/// Purges what a change in the store affects, before its writer is told.
struct Purger(Arc<Engine>);

impl edge_store::Watcher for Purger {
    fn changed(&self, bucket: &str, key: &str) {
        self.purge(&edge_store::tag(bucket, key));
    }

    fn bucket_changed(&self, bucket: &str) {
        self.purge(&edge_store::bucket_tag(bucket));
    }
}

impl Purger {
    fn purge(&self, tag: &str) {
        self.0
            .purge(Selector::Tag(own_tag(tag)), Mode::Hard, Now::read());
    }
}
