//! A fill: one fetch that many clients read from.
//!
//! `Fill` is a token to spend: whoever holds it owes the readers an answer, and
//! dropping it tells them that there will be none. Once the head is accepted it
//! becomes a `Writer`, which takes the body; dropping that breaks the body for
//! every reader, so that a short body never looks complete.
//!
//! While the object will be kept, all of it stays readable and the fill never
//! waits. When there is no room for it (or it is larger than the tier keeps) it
//! turns into a window: what every reader has read is dropped, and the fill
//! waits for the slowest reader within bounds.

use crate::body::{FRAGMENT_BYTES, Fragments, join};
use crate::engine::{Engine, Rules, Slot};
use crate::entry::{Arrival, Entry, Meta};
use crate::freshness::Now;
use crate::key::Key;
use crate::ledger::Charge;
use crate::policy::{self, Why};
use crate::stamp::Stamp;
use crate::validate;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long in total a fill waits for its slowest reader while others read with
/// it; then that reader is broken off. A reader alone is waited for as long as
/// it lives.
const HELD_BACK_MAX: Duration = Duration::from_secs(10);

/// Pieces smaller than this are copied, so that a short slice does not pin the
/// whole read buffer it was cut from.
const PIECE_BYTES_MIN: usize = 32 * 1024;

/// Why a fill failed, shared by all who waited for it.
pub type Failure = Arc<dyn std::error::Error + Send + Sync>;

/// What became of an answer handed to a fill.
#[derive(Debug)]
pub enum Verdict {
    /// A 304 renewed the stored response; everybody is served from it.
    Refreshed,
    /// A 304 that is not about what is stored: ask again without conditions.
    Again(Fill),
}

/// What to do with the answer whose head was handed in.
#[derive(Debug)]
pub enum Decision {
    /// Write the body; readers follow.
    Write(Writer),
    /// Not to be kept: it belongs to the client that asked, and those who
    /// waited fetch for themselves.
    Declined(Why),
    /// Nothing to write.
    Done(Verdict),
}

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
    /// Pieces of the body by the offset they start at, without gaps.
    pieces: VecDeque<(u64, Bytes)>,
    /// Bytes received so far.
    pub(crate) end: u64,
    /// Length of the whole body, if the head announced it.
    wanted: Option<u64>,
    pub(crate) done: Option<Result<(), Failure>>,
    /// `Some` while the object will be kept.
    charge: Option<Charge>,
    /// Where the readers are: offset → how many.
    readers: BTreeMap<u64, usize>,
    /// Readers behind this offset have been broken off.
    pub(crate) broken_below: u64,
}

/// What a fill and its readers share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) key: Key,
    pub(crate) host: Box<str>,
    pub(crate) target: Box<str>,
    pub(crate) stamp: Stamp,
    pub(crate) inner: Mutex<Inner>,
    /// Something new for the readers.
    pub(crate) news: Notify,
    /// Room for the writer.
    room: Notify,
}

impl State {
    pub(crate) fn new(key: Key, host: &str, target: &str, stamp: Stamp) -> State {
        State {
            key,
            host: host.into(),
            target: target.into(),
            stamp,
            inner: Mutex::new(Inner {
                phase: Phase::Waiting,
                pieces: VecDeque::new(),
                end: 0,
                wanted: None,
                done: None,
                charge: None,
                readers: BTreeMap::new(),
                broken_below: 0,
            }),
            news: Notify::new(),
            room: Notify::new(),
        }
    }

    fn become_phase(&self, phase: Phase) {
        self.inner.lock().phase = phase;
        self.news.notify_waiters();
    }

    fn end(&self, how: Result<(), Failure>) {
        let mut inner = self.inner.lock();
        if inner.done.is_none() {
            inner.done = Some(how);
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// A reader comes in at offset 0; `None` when the beginning is gone.
    pub(crate) fn join(&self) -> Option<()> {
        let mut inner = self.inner.lock();
        let gone = inner
            .pieces
            .front()
            .map_or(inner.end > 0, |(at, _)| *at > 0);
        if gone {
            return None;
        }
        *inner.readers.entry(0).or_default() += 1;
        Some(())
    }

    /// A reader has moved; what nobody needs any more is dropped.
    pub(crate) fn moved(&self, inner: &mut Inner, from: u64, to: Option<u64>) {
        if let Some(count) = inner.readers.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                inner.readers.remove(&from);
            }
        }
        if let Some(to) = to {
            *inner.readers.entry(to).or_default() += 1;
        }
        if inner.charge.is_none() {
            inner.trim();
            self.room.notify_one();
        }
    }
}

impl Inner {
    /// The bytes at `at` to the end of their piece.
    pub(crate) fn at(&self, at: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, piece) = self.pieces.get(after.checked_sub(1)?)?;
        let offset = (at - start) as usize;
        (offset < piece.len()).then(|| piece.slice(offset..))
    }

    /// The length of the whole body: announced, or known since it has ended.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.done {
            Some(Ok(())) => Some(self.end),
            _ => self.wanted,
        }
    }

    /// Whether the object is being kept, or has been.
    pub(crate) fn is_kept(&self) -> bool {
        self.charge.is_some() || matches!(self.done, Some(Ok(())))
    }

    fn slowest(&self) -> Option<u64> {
        self.readers.keys().next().copied()
    }

    fn trim(&mut self) {
        let needed = self.slowest().unwrap_or(self.end);
        while let Some((start, piece)) = self.pieces.front()
            && start + piece.len() as u64 <= needed
        {
            self.pieces.pop_front();
        }
    }

    /// Makes the fragments from `first` to the last whole one contiguous, and
    /// cuts the piece that crosses a boundary.
    fn cut_fragments(&mut self, first: u64) {
        let size = FRAGMENT_BYTES as u64;
        let mut rest = self.take_from(first * size);
        for fragment in first..self.end / size {
            let whole = rest.split_to(FRAGMENT_BYTES);
            self.pieces
                .push_back((fragment * size, Bytes::copy_from_slice(&whole)));
        }
        if !rest.is_empty() {
            let start = self.end / size * size;
            self.pieces
                .push_back((start, Bytes::copy_from_slice(&rest)));
        }
    }

    /// Makes the tail contiguous.
    fn close_tail(&mut self) {
        let start = self.end / FRAGMENT_BYTES as u64 * FRAGMENT_BYTES as u64;
        let tail = self.take_from(start);
        if !tail.is_empty() {
            self.pieces.push_back((start, tail));
        }
    }

    fn take_from(&mut self, start: u64) -> Bytes {
        let first = self.pieces.partition_point(|(at, _)| *at < start);
        join(self.pieces.drain(first..).map(|(_, piece)| piece).collect())
    }
}

/// The token of one fetch under way. Spend it on an answer or a failure.
#[derive(Debug)]
pub struct Fill {
    state: Arc<State>,
    engine: Arc<Engine>,
    rules: Arc<Rules>,
    request: HeaderMap,
    asked: Now,
    stale: Option<Arc<Entry>>,
    slot: Option<Slot>,
}

impl Fill {
    pub(crate) fn new(
        engine: Arc<Engine>,
        state: Arc<State>,
        rules: Arc<Rules>,
        request: HeaderMap,
        asked: Now,
        stale: Option<Arc<Entry>>,
        slot: Slot,
    ) -> Fill {
        Fill {
            state,
            engine,
            rules,
            request,
            asked,
            stale,
            slot: Some(slot),
        }
    }

    /// The stale response to validate, if there is one with a validator.
    pub fn stale(&self) -> Option<&Arc<Entry>> {
        self.stale.as_ref()
    }

    /// The fields of the request this fill is for.
    pub fn request(&self) -> &HeaderMap {
        &self.request
    }

    /// Nobody will answer: every reader is told why.
    pub fn fail(mut self, failure: Failure) {
        self.spend(Phase::Failed(failure));
    }

    /// Judges the head that came. `framed` is whether the body's end can be
    /// told from a lost connection; `body_bytes` its length where known; `tags`
    /// are the node's own purge tags.
    pub fn answered(
        mut self,
        head: &response::Parts,
        framed: bool,
        body_bytes: Option<u64>,
        tags: Vec<String>,
        now: Now,
    ) -> Decision {
        if head.status == StatusCode::NOT_MODIFIED && self.stale.is_some() {
            return Decision::Done(self.refresh(head, tags, now));
        }
        let meta = Meta::new(self.arrival(head.status, tags, now), head.headers.clone());
        let allowed = policy::may_store(
            &self.rules,
            &self.request,
            head.status,
            &head.headers,
            &meta.terms,
            body_bytes,
        );
        let allowed = allowed.and(if framed { Ok(()) } else { Err(Why::Unframed) });
        let room = self.engine.room_for(&meta, body_bytes.unwrap_or(0));
        match (allowed, room) {
            (Ok(()), Some(charge)) => {
                self.engine.forget_pass(&self.state.key);
                Decision::Write(self.write(meta, Some(charge), body_bytes))
            }
            // What is too large to be kept can still be shared by those who
            // read it at the same time.
            (Ok(()), None) | (Err(Why::TooLarge), _) if body_bytes != Some(0) => {
                self.drop_stale();
                if let Err(why) = allowed {
                    self.engine
                        .remember_pass(&self.state.key, why, self.state.stamp, now);
                }
                Decision::Write(self.write(meta, None, body_bytes))
            }
            (allowed, _) => {
                let why = allowed.err().unwrap_or(Why::NoRoom);
                self.engine
                    .remember_pass(&self.state.key, why, self.state.stamp, now);
                self.drop_stale();
                self.spend(Phase::Declined(why));
                Decision::Declined(why)
            }
        }
    }

    fn refresh(mut self, head: &response::Parts, tags: Vec<String>, now: Now) -> Verdict {
        let Some(stale) = self.stale.take() else {
            return Verdict::Again(self);
        };
        if !validate::speaks_of(&stale.meta.fields, &head.headers) {
            return Verdict::Again(self);
        }
        let arrival = self.arrival(head.status, tags, now);
        let entry = Arc::new(Entry {
            meta: Arc::new(stale.meta.refreshed(arrival, &head.headers)),
            body: Arc::clone(&stale.body),
        });
        self.engine.insert(Arc::clone(&entry));
        self.spend(Phase::Refreshed(entry));
        Verdict::Refreshed
    }

    /// The origin has spoken: what was stored is no longer so.
    fn drop_stale(&mut self) {
        if let Some(stale) = self.stale.take() {
            self.engine.remove(&stale);
        }
    }

    fn arrival(&self, status: StatusCode, tags: Vec<String>, got: Now) -> Arrival<'_> {
        Arrival {
            key: &self.state.key,
            host: &self.state.host,
            target: &self.state.target,
            request: &self.request,
            stamp: self.state.stamp,
            asked: self.asked,
            got,
            status,
            tags,
        }
    }

    fn write(&mut self, meta: Meta, charge: Option<Charge>, wanted: Option<u64>) -> Writer {
        let meta = Arc::new(meta);
        let slot = self.slot.take();
        let kept = charge.is_some();
        let mut inner = self.state.inner.lock();
        inner.charge = charge;
        inner.wanted = wanted;
        inner.phase = Phase::Live(Arc::clone(&meta));
        drop(inner);
        if !kept {
            self.engine.leave(&self.state);
        }
        self.state.news.notify_waiters();
        Writer {
            state: Arc::clone(&self.state),
            engine: Arc::clone(&self.engine),
            meta,
            wanted,
            charged: wanted.unwrap_or(0),
            object_bytes_max: self.rules.object_bytes_max,
            window: self.engine.window_bytes(),
            held_back: Duration::ZERO,
            finished: false,
            _slot: slot,
        }
    }

    fn spend(&mut self, phase: Phase) {
        self.slot = None;
        // What was refreshed is in the memory tier already, so that whoever
        // comes between the two finds one or the other.
        self.engine.leave(&self.state);
        self.state.become_phase(phase);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.slot.is_some() {
            self.spend(Phase::Failed(Arc::new(Abandoned)));
        }
    }
}

/// A fill that was dropped before its end.
#[derive(Debug)]
struct Abandoned;

impl std::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fetch was given up before its end")
    }
}

impl std::error::Error for Abandoned {}

/// The origin sent more or less than it announced.
#[derive(Debug)]
struct WrongLength {
    wanted: u64,
    got: u64,
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

/// Takes the body of an accepted answer.
#[derive(Debug)]
pub struct Writer {
    state: Arc<State>,
    engine: Arc<Engine>,
    meta: Arc<Meta>,
    wanted: Option<u64>,
    charged: u64,
    object_bytes_max: u64,
    window: u64,
    held_back: Duration,
    finished: bool,
    _slot: Option<Slot>,
}

impl Writer {
    /// Adds bytes. Waits only when the object is not kept and its window is
    /// full. `false` means that nobody reads it and it will not be kept: stop.
    pub async fn push(&mut self, bytes: Bytes) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let bytes = if bytes.len() < PIECE_BYTES_MIN {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        };
        let state = Arc::clone(&self.state);
        loop {
            let room = state.room.notified();
            if let Some(wanted) = self.try_push(&state, &bytes) {
                return wanted;
            }
            self.hold_back(room).await;
        }
    }

    /// `None`: no room now.
    fn try_push(&mut self, state: &State, bytes: &Bytes) -> Option<bool> {
        let mut inner = state.inner.lock();
        let start = inner.end;
        let end = start + bytes.len() as u64;
        let mut let_go = None;
        if let Some(mut charge) = inner.charge.take() {
            if self.still_kept(&mut charge, end) {
                inner.charge = Some(charge);
            } else {
                let_go = Some(charge);
            }
        }
        if inner.charge.is_none() {
            let Some(slowest) = inner.slowest() else {
                return Some(false);
            };
            let behind = start - slowest.min(start);
            if behind > 0 && end - slowest > self.window {
                return None;
            }
        }
        inner.pieces.push_back((start, bytes.clone()));
        inner.end = end;
        if inner.charge.is_none() {
            inner.trim();
        } else if end / FRAGMENT_BYTES as u64 > start / FRAGMENT_BYTES as u64 {
            inner.cut_fragments(start / FRAGMENT_BYTES as u64);
        }
        drop(inner);
        state.news.notify_waiters();
        if let_go.is_some() {
            // Whoever comes now could not read it from its beginning for long.
            self.engine.leave(&self.state);
        }
        Some(true)
    }

    /// Whether `end` bytes still fit what the tier keeps; charges them.
    fn still_kept(&mut self, charge: &mut Charge, end: u64) -> bool {
        if end > self.object_bytes_max {
            return false;
        }
        if end <= self.charged {
            return true;
        }
        // By the quarter of a fragment, so that the ledger is not asked for
        // every piece.
        let more = (end - self.charged).max(FRAGMENT_BYTES as u64 / 4);
        let grown = charge.grow(more) || self.engine.settle_then(|| charge.grow(more));
        if grown {
            self.charged += more;
        }
        grown
    }

    async fn hold_back(&mut self, room: tokio::sync::futures::Notified<'_>) {
        let alone = {
            let inner = self.state.inner.lock();
            inner.readers.values().sum::<usize>() <= 1
        };
        if alone {
            room.await;
            return;
        }
        let started = tokio::time::Instant::now();
        let left = HELD_BACK_MAX.saturating_sub(self.held_back);
        let timely = tokio::time::timeout(left, room).await.is_ok();
        self.held_back += started.elapsed();
        if !timely {
            self.break_slowest();
        }
    }

    fn break_slowest(&self) {
        let mut inner = self.state.inner.lock();
        if let Some(slowest) = inner.slowest() {
            inner.readers.remove(&slowest);
            inner.broken_below = slowest + 1;
            inner.trim();
        }
        drop(inner);
        self.state.news.notify_waiters();
    }

    /// The body ended where it should. Keeps it if there is room.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.finished = true;
        let mut inner = self.state.inner.lock();
        if let Some(wanted) = self.wanted
            && wanted != inner.end
        {
            let failure: Failure = Arc::new(WrongLength {
                wanted,
                got: inner.end,
            });
            drop(inner);
            self.engine.leave(&self.state);
            self.state.end(Err(Arc::clone(&failure)));
            return Err(failure);
        }
        if let Some(charge) = inner.charge.take() {
            inner.close_tail();
            let parts = inner
                .pieces
                .iter()
                .map(|(_, piece)| piece.clone())
                .collect();
            drop(inner);
            self.engine.insert(Arc::new(Entry {
                meta: Arc::clone(&self.meta),
                body: Arc::new(Fragments::new(parts, charge)),
            }));
        } else {
            drop(inner);
        }
        self.engine.leave(&self.state);
        self.state.end(Ok(()));
        Ok(())
    }

    /// The body broke: every reader is told, nothing is kept.
    pub fn fail(mut self, failure: Failure) {
        self.finished = true;
        self.engine.leave(&self.state);
        self.state.end(Err(failure));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.engine.leave(&self.state);
            self.state.end(Err(Arc::new(Abandoned)));
        }
    }
}
