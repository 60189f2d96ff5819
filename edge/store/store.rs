//! The store as its users hold it: opening, closing, and handing work to the
//! two threads behind it (the committer and the sweeper) or to the blocking
//! pool. What the operations do is in the file named after each.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
#[cfg(test)]
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};
use tokio::task;

use crate::blob::Blobs;
use crate::commit::{self, Change, Job, Message};
use crate::counters::{Counters, Tally, count};
use crate::disk::{Disk, RealDisk};
use crate::error::Error;
use crate::health::Health;
use crate::meta::{Meta, TOTALS};
use crate::settings::Settings;
use crate::sweep;
use crate::watcher::Watcher;

/// Durable buckets and objects in one directory. All methods need a tokio
/// runtime. Close it when done; dropped instead, it loses nothing that was
/// acknowledged, but the directory may stay locked for a moment.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    threads: Mutex<Option<Threads>>,
}

/// What the store's users, threads and readers have in common.
pub(crate) struct Shared {
    pub settings: Settings,
    pub meta: Meta,
    pub blobs: Arc<Blobs>,
    pub health: Arc<Health>,
    pub tally: Tally,
    pub watchers: RwLock<Vec<Arc<dyn Watcher>>>,
}

struct Threads {
    /// Dropped to stop the sweeper.
    stop: SyncSender<()>,
    sweeper: JoinHandle<()>,
    committer: JoinHandle<()>,
}

/// Changes waiting for the committer; a writer that finds the queue full waits.
const QUEUE_LENGTH: usize = 256;

impl Store {
    /// Opens the store at `settings.path`, making it if it is missing.
    ///
    /// Fails with [`Error::InUse`] while another process holds it, and with
    /// [`Error::NewerFormat`] when a newer program wrote it.
    pub async fn open(settings: Settings) -> Result<Arc<Store>, Error> {
        Store::open_on(settings, Arc::new(RealDisk)).await
    }

    pub(crate) async fn open_on(
        settings: Settings,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Store>, Error> {
        blocking(move || Store::start(settings, disk)).await
    }

    fn start(settings: Settings, disk: Arc<dyn Disk>) -> Result<Arc<Store>, Error> {
        let path = settings.path.clone();
        let root = path.join("blobs");
        // What users store is nobody else's business.
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&path)
            .map_err(Error::io("making", &path))?;
        // The lock comes first: what follows changes the directory.
        let (meta, session) = Meta::open(&path, settings.metadata_cache_bytes, disk.clone())?;
        std::fs::create_dir_all(&root).map_err(Error::io("making", &root))?;
        sync_names(disk.as_ref(), &path)?;
        let health = Arc::new(Health::default());
        let blobs = Blobs::open(root, disk, health.clone(), settings.reserve_bytes, session)?;
        let shared = Arc::new(Shared {
            settings,
            tally: held(&meta)?,
            meta,
            blobs: Arc::new(blobs),
            health,
            watchers: RwLock::default(),
        });

        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH);
        let (stop, stopped) = sync_channel(1);
        let committer = {
            let shared = shared.clone();
            spawn("store-commit", move || commit::run(&shared, jobs))?
        };
        let sweeper = {
            let (shared, queue) = (shared.clone(), queue.downgrade());
            spawn("store-sweep", move || sweep::run(&shared, &queue, &stopped))?
        };
        Ok(Arc::new(Store {
            shared,
            queue,
            threads: Mutex::new(Some(Threads {
                stop,
                sweeper,
                committer,
            })),
        }))
    }

    /// From now on `watcher` hears of every change.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.shared.watchers.write().push(watcher);
    }

    /// What the store has done and holds.
    pub fn counters(&self) -> Counters {
        let read_only = self.shared.health.is_read_only();
        self.shared.tally.snapshot(read_only)
    }

    /// Finishes what is queued and lets go of the directory. Later calls, and
    /// reads of metadata still going on, end with [`Error::Closed`].
    pub async fn close(&self) -> Result<(), Error> {
        let Some(threads) = self.threads.lock().take() else {
            return Ok(());
        };
        let (shared, queue) = (self.shared.clone(), self.queue.clone());
        blocking(move || {
            drop(threads.stop);
            // A thread that panicked has logged it and holds nothing any more.
            let _ = threads.sweeper.join();
            let _ = queue.blocking_send(Message::Close);
            let _ = threads.committer.join();
            shared.meta.close()
        })
        .await
    }

    /// Removes what is due for removal at `now`.
    #[cfg(test)]
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<(), Error> {
        let (shared, queue) = (self.shared.clone(), self.queue.clone());
        let (_stop, stopped) = sync_channel(1);
        blocking(move || sweep::remove_due(&shared, &queue, &stopped, now)).await
    }

    /// Hands a change to the committer and waits until it is durable. `false`
    /// when there was nothing to change.
    pub(crate) async fn submit(&self, change: Change) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Job(Job { change, reply });
        self.queue.send(message).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

impl Shared {
    /// Counts and logs damage, which an operator must hear of even if the
    /// reader does not complain.
    pub fn note(&self, error: &Error) {
        if matches!(error, Error::Damaged { .. }) {
            log::error!("store: {error}");
            count(&self.tally.damaged);
        }
    }
}

/// Runs file work on the blocking pool. A panic there (a database that trips
/// over a damaged page) becomes an error here.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    finished(task::spawn_blocking(work)).await
}

/// Waits for file work that was started before.
pub(crate) async fn finished<T>(work: task::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    match work.await {
        Ok(result) => result,
        Err(e) if e.is_panic() => Err(panicked()),
        Err(_) => Err(Error::Closed),
    }
}

pub(crate) fn panicked() -> Error {
    Error::damaged("the store", "reading it panicked; see the log")
}

/// Makes the names in `path`, and the name `path` itself, durable.
fn sync_names(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    for directory in [path, parent.unwrap_or(Path::new("."))] {
        disk.sync_directory(directory)
            .map_err(Error::io("syncing", directory))?;
    }
    Ok(())
}

/// Counters that start at what the store holds already.
fn held(meta: &Meta) -> Result<Tally, Error> {
    use redb::ReadableTable;
    const DOING: &str = "counting the objects";
    let tally = Tally::default();
    let table = meta
        .read()?
        .open_table(TOTALS)
        .map_err(Error::metadata(DOING))?;
    let (mut objects, mut bytes) = (0u64, 0u64);
    for row in table.iter().map_err(Error::metadata(DOING))? {
        let (_, total) = row.map_err(Error::metadata(DOING))?;
        objects = objects.saturating_add(total.value().0);
        bytes = bytes.saturating_add(total.value().1);
    }
    let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX).into();
    Ok(Tally {
        objects: clamp(objects),
        bytes: clamp(bytes),
        ..tally
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| Error::Io {
            doing: format!("starting the thread {name}"),
            source,
        })
}
