//! What a fill and its readers share: how far the fill has come, the part of
//! the body that is here, and where each reader stands.
//!
//! One lock guards all of it and is never held while another lock of the engine
//! is taken. Readers wait for `news`, the writer for `room`.

use crate::body::{Fragments, weight};
use crate::entry::{Entry, Meta};
use crate::fill::{Abandoned, Failure};
use crate::key::Key;
use crate::ledger::Charge;
use crate::pieces::Pieces;
use crate::policy::Why;
use crate::stamp::Stamp;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// How far a fill has come.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Waiting,
    Live(Arc<Meta>),
    Refreshed(Arc<Entry>),
    Declined(Why),
    Failed(Failure),
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) phase: Phase,
    pieces: Pieces,
    /// The whole body, once it has ended and is kept. Its charge is in it.
    body: Option<Arc<Fragments>>,
    /// Length of the whole body, if the head announced it.
    wanted: Option<u64>,
    pub(crate) done: Option<Result<(), Failure>>,
    /// The object is being kept: nothing is dropped before its end.
    kept: bool,
    /// For the pieces: what is reserved for an object being kept, otherwise
    /// what is here.
    charge: Charge,
    /// Where the readers are: offset → how many.
    readers: BTreeMap<u64, usize>,
    /// Readers behind this offset have been broken off.
    broken_below: u64,
}

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) key: Key,
    pub(crate) host: Box<str>,
    pub(crate) target: Box<str>,
    /// The fields of the request it is for.
    pub(crate) request: HeaderMap,
    pub(crate) stamp: Stamp,
    pub(crate) inner: Mutex<Inner>,
    /// Something new for the readers.
    pub(crate) news: Notify,
    /// A reader has moved or left.
    pub(crate) room: Notify,
}

/// Whether bytes may be added to a body that is not kept.
pub(crate) enum Room {
    Yes,
    /// The slowest reader is too far behind.
    Full,
    /// Nobody reads it.
    Deserted,
}

impl Flow {
    pub(crate) fn new(
        key: Key,
        host: &str,
        target: &str,
        request: HeaderMap,
        stamp: Stamp,
        nothing: Charge,
    ) -> Flow {
        Flow {
            key,
            host: host.into(),
            target: target.into(),
            request,
            stamp,
            inner: Mutex::new(Inner {
                phase: Phase::Waiting,
                pieces: Pieces::default(),
                body: None,
                wanted: None,
                done: None,
                kept: false,
                charge: nothing,
                readers: BTreeMap::new(),
                broken_below: 0,
            }),
            news: Notify::new(),
            room: Notify::new(),
        }
    }

    pub(crate) fn become_phase(&self, phase: Phase) {
        self.inner.lock().phase = phase;
        self.news.notify_waiters();
    }

    /// The head is there. With a charge, the body will be kept.
    pub(crate) fn go_live(&self, meta: Arc<Meta>, wanted: Option<u64>, charge: Option<Charge>) {
        let mut inner = self.inner.lock();
        inner.phase = Phase::Live(meta);
        inner.wanted = wanted;
        inner.kept = charge.is_some();
        if let Some(charge) = charge {
            inner.charge.absorb(charge);
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// Adds bytes to the body, and what was reserved for them.
    pub(crate) fn push(&self, bytes: Bytes, charge: Option<Charge>) {
        let mut inner = self.inner.lock();
        if let Some(charge) = charge {
            inner.charge.absorb(charge);
        }
        inner.pieces.push(bytes);
        if inner.kept {
            inner.pieces.close_fragments();
        } else {
            inner.trim();
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// Whether `bytes` more fit into `window`, of a body that is not kept.
    pub(crate) fn room_for(&self, bytes: u64, window: u64) -> Room {
        let inner = self.inner.lock();
        let Some(slowest) = inner.slowest() else {
            return Room::Deserted;
        };
        let behind = inner.pieces.end().saturating_sub(slowest);
        if behind > 0 && behind + bytes > window {
            return Room::Full;
        }
        Room::Yes
    }

    /// The object will not be kept after all.
    pub(crate) fn let_go(&self) {
        let mut inner = self.inner.lock();
        inner.kept = false;
        inner.trim();
    }

    /// Whether a reader has nothing left to read while a slower one holds the
    /// fill back.
    pub(crate) fn is_somebody_starving(&self) -> bool {
        self.inner.lock().starving()
    }

    /// Breaks off the slowest reader, if another one still starves for it.
    pub(crate) fn break_slowest(&self) {
        let mut inner = self.inner.lock();
        if inner.starving()
            && let Some(slowest) = inner.slowest()
        {
            inner.readers.remove(&slowest);
            inner.broken_below = slowest + 1;
            inner.trim();
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// The last byte has come: makes the body, if it is to be kept. Readers go
    /// on in it; the end is announced by `end`, once it is stored. `torn` is
    /// whether bytes are missing.
    pub(crate) fn complete(&self, torn: bool) -> Result<Option<Arc<Fragments>>, Failure> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if let Some(Err(failure)) = &inner.done {
            return Err(Arc::clone(failure));
        }
        if torn {
            return Err(Arc::new(Abandoned));
        }
        if let Some(wanted) = inner.wanted
            && wanted != inner.pieces.end()
        {
            let got = inner.pieces.end();
            return Err(Arc::new(WrongLength { wanted, got }));
        }
        if !inner.kept {
            return Ok(None);
        }
        inner.charge.become_bytes(weight(inner.pieces.held()));
        let body = Fragments::new(inner.pieces.close(), inner.charge.take_all());
        inner.body = Some(Arc::new(body));
        Ok(inner.body.clone())
    }

    /// Tells the readers how it ended. The first end counts.
    pub(crate) fn end(&self, how: Result<(), Failure>) {
        let mut inner = self.inner.lock();
        if inner.done.is_none() {
            if how.is_err() {
                inner.kept = false;
                inner.trim();
            }
            inner.done = Some(how);
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// Whether a reader could still begin at offset 0.
    pub(crate) fn has_beginning(&self) -> bool {
        self.inner.lock().has_beginning()
    }

    /// A reader comes in at offset 0; `false` when the beginning is gone.
    pub(crate) fn enter(&self) -> bool {
        let mut inner = self.inner.lock();
        let enters = inner.has_beginning();
        if enters {
            *inner.readers.entry(0).or_default() += 1;
        }
        enters
    }

    /// A reader has moved, or left; what nobody needs any more is dropped.
    pub(crate) fn moved(&self, inner: &mut Inner, from: u64, to: Option<u64>) {
        if from < inner.broken_below {
            return; // Broken off, and no longer counted.
        }
        if let Some(count) = inner.readers.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                inner.readers.remove(&from);
            }
        }
        if let Some(to) = to {
            *inner.readers.entry(to).or_default() += 1;
        }
        if !inner.kept {
            inner.trim();
            self.room.notify_one();
        }
    }
}

impl Inner {
    /// The bytes at `at` to the end of their piece.
    pub(crate) fn at(&self, at: u64) -> Option<Bytes> {
        match &self.body {
            Some(body) => body.from(at),
            None => self.pieces.at(at),
        }
    }

    /// The length of the whole body: announced, or known since it has ended.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.done {
            Some(Ok(())) => Some(self.pieces.end()),
            _ => self.wanted,
        }
    }

    /// Whether the object is being kept, or has been.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether the reader at `at` has been broken off.
    pub(crate) fn is_broken(&self, at: u64) -> bool {
        at < self.broken_below
    }

    fn has_beginning(&self) -> bool {
        self.broken_below == 0 && (self.body.is_some() || self.pieces.start() == 0)
    }

    fn slowest(&self) -> Option<u64> {
        self.readers.keys().next().copied()
    }

    fn starving(&self) -> bool {
        let end = self.pieces.end();
        let fastest = self.readers.keys().next_back();
        fastest.is_some_and(|at| *at >= end) && self.slowest().is_some_and(|at| at < end)
    }

    /// Drops what every reader has read, of a body that is not kept.
    fn trim(&mut self) {
        let needed = self.slowest().unwrap_or(self.pieces.end());
        self.pieces.drop_before(needed);
        self.charge.become_bytes(self.pieces.held());
    }
}

/// The origin sent more or less than it announced.
#[derive(Debug)]
pub(crate) struct WrongLength {
    pub(crate) wanted: u64,
    pub(crate) got: u64,
}

impl std::fmt::Display for WrongLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a body of {} bytes was announced and {} came",
            self.wanted, self.got
        )
    }
}

impl std::error::Error for WrongLength {}
