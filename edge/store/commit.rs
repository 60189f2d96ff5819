//! The committer: the one thread that writes metadata.
//!
//! It takes what is queued, makes the touched blob directories durable, writes
//! everything in one transaction, commits, tells the watchers, and only then
//! answers the writers. So one disk flush serves many writers, conditions are
//! decided where nobody can interfere, and "acknowledged" means "durable".

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::counters::count;
use crate::error::Error;
use crate::hold::Hold;
use crate::id::Id;
use crate::put::Only;
use crate::row::{Place, Row};
use crate::store::{Shared, panicked};
use crate::tables::Tables;
use crate::watcher::Watcher;

/// What a writer sends.
pub(crate) enum Message {
    Job(Job),
    /// Nothing after this is taken.
    Close,
}

pub(crate) struct Job {
    pub change: Change,
    pub reply: oneshot::Sender<Result<bool, Error>>,
}

pub(crate) enum Change {
    CreateBucket {
        bucket: String,
        now: u64,
    },
    DeleteBucket {
        bucket: String,
    },
    Put(Box<NewObject>),
    Delete {
        bucket: String,
        key: String,
        due: u64,
    },
    /// The files of these are gone; so go their rows.
    Forget(Vec<(u64, Id)>),
}

pub(crate) struct NewObject {
    pub bucket: String,
    pub key: String,
    pub row: Row,
    pub content: Content,
    pub only: Only,
    /// When the file this replaces may be removed.
    pub due: u64,
}

pub(crate) enum Content {
    Inline(Bytes),
    File { sums: Vec<u32>, name: Hold },
}

/// What a change did.
pub(crate) enum Applied {
    Nothing,
    Put {
        bucket: String,
        key: String,
        size: u64,
    },
    Deleted {
        bucket: String,
        key: String,
    },
    Bucket(String),
    Forgot(usize),
}

/// Changes per transaction.
const BATCH_MAX: usize = 256;

pub(crate) fn run(shared: &Shared, mut queue: mpsc::Receiver<Message>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = Vec::new();
        let mut next = Some(first);
        let mut closing = false;
        while let Some(message) = next.take() {
            match message {
                Message::Job(job) => batch.push(job),
                Message::Close => {
                    closing = true;
                    break;
                }
            }
            if batch.len() < BATCH_MAX {
                next = queue.try_recv().ok();
            }
        }
        if !batch.is_empty() {
            commit(shared, batch);
        }
        if closing {
            return;
        }
    }
}

fn commit(shared: &Shared, batch: Vec<Job>) {
    let (changes, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| (job.change, job.reply)).unzip();
    let result = catch_unwind(AssertUnwindSafe(|| apply(shared, changes)));
    match result.unwrap_or_else(|_| Err(panicked())) {
        Ok(outcomes) => {
            let done: Vec<_> = outcomes.iter().flatten().collect();
            tell(shared, &done);
            for (outcome, reply) in outcomes.into_iter().zip(replies) {
                let changed = outcome.map(|applied| !matches!(applied, Applied::Nothing));
                // A writer that left does not need to know.
                let _ = reply.send(changed);
            }
        }
        Err(e) => {
            let answer = fail(shared, e);
            for reply in replies {
                let _ = reply.send(Err(answer()));
            }
        }
    }
}

/// Applies all changes in one transaction. The outer error means that none is
/// known to be durable.
fn apply(shared: &Shared, changes: Vec<Change>) -> Result<Vec<Result<Applied, Error>>, Error> {
    shared.health.check_writable()?;
    shared.blobs.sync(&directories(&changes))?;

    let transaction = shared.meta.write()?;
    let mut tables = Tables::open(&transaction)?;
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        let outcome = tables.apply(change, &shared.blobs);
        if let Err(e @ Error::Metadata { .. }) = outcome {
            return Err(e);
        }
        outcomes.push(outcome);
    }
    let (objects, bytes) = tables.grown();
    drop(tables);

    let idle = outcomes
        .iter()
        .all(|outcome| matches!(outcome, Ok(Applied::Nothing) | Err(_)));
    if !idle {
        transaction
            .commit()
            .map_err(Error::metadata("committing"))?;
        count(&shared.tally.commits);
        shared.tally.objects.fetch_add(objects, Relaxed);
        shared.tally.bytes.fetch_add(bytes, Relaxed);
    }
    Ok(outcomes)
}

/// The blob directories with new names in them.
fn directories(changes: &[Change]) -> BTreeSet<u8> {
    let of = |change: &Change| match change {
        Change::Put(new) => match (&new.content, new.row.place) {
            (Content::File { .. }, Place::File { id }) => Some(id.directory()),
            _ => None,
        },
        _ => None,
    };
    changes.iter().filter_map(of).collect()
}

/// Counts what happened and tells the watchers.
fn tell(shared: &Shared, done: &[&Applied]) {
    let watchers = shared.watchers.read().clone();
    let tally = &shared.tally;
    for applied in done {
        match applied {
            Applied::Put { size, .. } => {
                count(&tally.puts);
                tally.bytes_in.fetch_add(*size, Relaxed);
            }
            Applied::Deleted { .. } => count(&tally.deletes),
            Applied::Forgot(files) => {
                tally.files_removed.fetch_add(*files as u64, Relaxed);
            }
            Applied::Bucket(_) | Applied::Nothing => {}
        }
        for watcher in &watchers {
            // The change is durable, so its writer is answered whatever a watcher does.
            if catch_unwind(AssertUnwindSafe(|| notify(watcher.as_ref(), applied))).is_err() {
                log::error!("store: a watcher panicked");
            }
        }
    }
}

fn notify(watcher: &dyn Watcher, applied: &Applied) {
    match applied {
        Applied::Put { bucket, key, .. } | Applied::Deleted { bucket, key } => {
            watcher.changed(bucket, key);
        }
        Applied::Bucket(bucket) => watcher.bucket_changed(bucket),
        Applied::Forgot(_) | Applied::Nothing => {}
    }
}

/// After a failed batch: no more writes, but reads go on. Gives the answer for
/// each writer of the batch.
fn fail(shared: &Shared, error: Error) -> impl Fn() -> Error {
    let why = match error {
        Error::Closed => None,
        Error::ReadOnly(why) => Some(why),
        error => {
            let failed = shared.health.fail(format!("committing: {error}"));
            if let Err(e) = shared.meta.freeze() {
                log::error!("store: no reads either: {e}");
            }
            match failed {
                Error::ReadOnly(why) => Some(why),
                _ => None,
            }
        }
    };
    move || why.clone().map_or(Error::Closed, Error::ReadOnly)
}
