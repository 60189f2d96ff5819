//! Removes files nobody can reach any more, in small steps, on its own thread.
//!
//! Two kinds: bodies of overwritten or deleted objects, once due, and files left
//! over from a crash between linking and committing. The latter are of an
//! earlier session and have no row; files of this session may still get theirs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::blob::PART;
use crate::commit::{Change, Job, Message};
use crate::counters::count;
use crate::error::Error;
use crate::id::Id;
use crate::meta::{BLOBS, REMOVALS};
use crate::row::whole_seconds;
use crate::store::Shared;

/// How often due removals are looked for.
const EVERY: Duration = Duration::from_secs(30);

/// Files per step; the store can be closed between steps.
const STEP: usize = 64;

/// Runs until `stop` is dropped at the other end.
pub(crate) fn run(shared: &Shared, queue: &mpsc::WeakSender<Message>, stop: &Receiver<()>) {
    if let Err(e) = remove_orphans(shared, stop) {
        log::warn!("store: sweeping left-over files: {e}");
    }
    loop {
        if stop.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(queue) = queue.upgrade() else { return };
        match remove_due(shared, &queue, stop, SystemTime::now()) {
            Ok(()) | Err(Error::ReadOnly(_) | Error::Closed) => {}
            Err(e) => log::warn!("store: removing files: {e}"),
        }
    }
}

fn stopped(stop: &Receiver<()>) -> bool {
    stop.try_recv() != Err(TryRecvError::Empty)
}

/// Removes bodies whose time has come.
pub(crate) fn remove_due(
    shared: &Shared,
    queue: &mpsc::Sender<Message>,
    stop: &Receiver<()>,
    now: SystemTime,
) -> Result<(), Error> {
    let now = whole_seconds(now);
    loop {
        // Once read-only, rows cannot go, so neither may files.
        shared.health.check_writable()?;
        let due = due(shared, now)?;
        if due.is_empty() || stopped(stop) {
            return Ok(());
        }
        for (_, id) in &due {
            shared.blobs.remove(&shared.blobs.path(*id))?;
        }
        // Only now the rows: should we crash in between, the next pass finds
        // nothing to remove and forgets them.
        let (reply, answer) = oneshot::channel();
        let change = Change::Forget(due);
        queue
            .blocking_send(Message::Job(Job { change, reply }))
            .map_err(|_| Error::Closed)?;
        answer.blocking_recv().map_err(|_| Error::Closed)??;
    }
}

fn due(shared: &Shared, now: u64) -> Result<Vec<(u64, Id)>, Error> {
    const DOING: &str = "looking for files to remove";
    let table = shared
        .meta
        .read()?
        .open_table(REMOVALS)
        .map_err(Error::metadata(DOING))?;
    let rows = table
        .range((0, 0)..=(now, u128::MAX))
        .map_err(Error::metadata(DOING))?;
    rows.take(STEP)
        .map(|row| {
            let (key, _) = row.map_err(Error::metadata(DOING))?;
            let (due, id) = key.value();
            Ok((due, Id::from_number(id)))
        })
        .collect()
}

/// Removes files of earlier sessions that no row knows.
pub(crate) fn remove_orphans(shared: &Shared, stop: &Receiver<()>) -> Result<(), Error> {
    for n in 0..=u8::MAX {
        let directory = shared.blobs.directory(n);
        let mut files = std::fs::read_dir(&directory)
            .map_err(Error::io("reading", &directory))?
            .filter_map(Result::ok)
            .filter_map(|entry| suspect(shared, entry.path()))
            .peekable();
        while files.peek().is_some() {
            if stopped(stop) {
                return Ok(());
            }
            let step: Vec<_> = files.by_ref().take(STEP).collect();
            for path in without_row(shared, step)? {
                shared.blobs.remove(&path)?;
                count(&shared.tally.files_removed);
                log::info!("store: removed left-over {}", path.display());
            }
        }
    }
    Ok(())
}

struct Suspect {
    path: PathBuf,
    id: Id,
    /// Never finished, so no row can know it.
    part: bool,
}

/// A file of ours from an earlier session. Anything else is left alone.
fn suspect(shared: &Shared, path: PathBuf) -> Option<Suspect> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let (name, part) = match name.strip_suffix(PART) {
        Some(name) => (name, true),
        None => (name, false),
    };
    let id = Id::parse(name)?;
    (id.session() < shared.blobs.session()).then_some(Suspect { path, id, part })
}

fn without_row(shared: &Shared, suspects: Vec<Suspect>) -> Result<Vec<PathBuf>, Error> {
    const DOING: &str = "looking for left-over files";
    let table = shared
        .meta
        .read()?
        .open_table(BLOBS)
        .map_err(Error::metadata(DOING))?;
    let mut orphans = Vec::new();
    for Suspect { path, id, part } in suspects {
        let row = table
            .get((id.number(), 0))
            .map_err(Error::metadata(DOING))?;
        if part || row.is_none() {
            orphans.push(path);
        }
    }
    Ok(orphans)
}
