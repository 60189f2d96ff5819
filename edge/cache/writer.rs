//! Takes the body of an accepted answer.
//!
//! While the object will be kept, all of it stays readable and the writer never
//! waits. When there is no room for it (or it is larger than the tier keeps) it
//! turns into a window: what every reader has read is dropped, and the writer
//! waits for the slowest reader within bounds. Dropping a writer breaks the body
//! for every reader, so that a short body never looks complete.

use crate::body::FRAGMENT_BYTES;
use crate::engine::{Engine, Slot};
use crate::entry::{Entry, Meta};
use crate::fill::{Abandoned, Failure};
use crate::flow::{Flow, Room, WrongLength};
use crate::freshness::Now;
use crate::ledger::Charge;
use crate::policy::Why;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long in total a fill is held back while a faster reader starves; then the
/// slowest is broken off. As long as nobody starves, the fill goes at the pace
/// of its readers.
const HELD_BACK_MAX: Duration = Duration::from_secs(10);

/// An unannounced body reserves memory in steps of this, so that the ledger is
/// not asked for every piece.
const STEP_BYTES: u64 = FRAGMENT_BYTES as u64 / 4;

/// Takes the body of an accepted answer.
#[derive(Debug)]
pub struct Writer {
    engine: Arc<Engine>,
    flow: Arc<Flow>,
    meta: Arc<Meta>,
    /// Length of the whole body, if the head announced it.
    wanted: Option<u64>,
    /// The largest body that is kept; `None` when this one is not.
    keeps: Option<u64>,
    /// Bytes taken so far.
    sent: u64,
    /// Bytes reserved for it, while it will be kept.
    reserved: u64,
    held_back: Duration,
    /// What it takes the place of.
    stale: Option<Arc<Entry>>,
    /// Bytes were handed in and not taken: what came so far is not the body.
    torn: bool,
    finished: bool,
    _slot: Option<Slot>,
}

impl Writer {
    pub(crate) fn new(
        engine: Arc<Engine>,
        flow: Arc<Flow>,
        meta: Arc<Meta>,
        wanted: Option<u64>,
        keeps: Option<u64>,
        stale: Option<Arc<Entry>>,
        slot: Option<Slot>,
    ) -> Writer {
        Writer {
            engine,
            flow,
            meta,
            wanted,
            keeps,
            sent: 0,
            reserved: wanted.unwrap_or(0),
            held_back: Duration::ZERO,
            stale,
            torn: false,
            finished: false,
            _slot: slot,
        }
    }

    /// Adds bytes. Waits only when the object is not kept and its window is
    /// full. `false` means stop: nobody reads it and it will not be kept, or it
    /// is longer than was announced and therefore broken.
    pub async fn push(&mut self, bytes: Bytes) -> bool {
        if bytes.is_empty() {
            return true;
        }
        if std::mem::replace(&mut self.torn, true) {
            return false; // A push before this one was given up half-way.
        }
        let more = bytes.len() as u64;
        let end = self.sent + more;
        if let Some(wanted) = self.wanted
            && end > wanted
        {
            self.end(Err(Arc::new(WrongLength { wanted, got: end })));
            return false;
        }
        let charge = self.reserve(end);
        while self.keeps.is_none() {
            let flow = Arc::clone(&self.flow);
            let moved = flow.room.notified();
            match flow.room_for(more, self.engine.window_bytes()) {
                Room::Yes => break,
                Room::Deserted => return false,
                Room::Full => self.hold_back(moved).await,
            }
        }
        self.flow.push(bytes, charge);
        self.sent = end;
        self.torn = false;
        true
    }

    /// Reserves memory for a body of `end` bytes, or stops keeping it.
    fn reserve(&mut self, end: u64) -> Option<Charge> {
        if end > self.keeps? {
            self.let_go(Why::TooLarge);
            return None;
        }
        if end <= self.reserved {
            return None;
        }
        let step = (end - self.reserved).max(STEP_BYTES);
        match self.engine.more_room(step) {
            Ok(charge) => {
                self.reserved += step;
                Some(charge)
            }
            Err(why) => {
                self.let_go(why);
                None
            }
        }
    }

    /// From here on the body only passes through.
    fn let_go(&mut self, why: Why) {
        self.keeps = None;
        self.flow.let_go();
        let arrived = Now {
            wall: self.meta.arrived,
            mono: self.meta.terms.arrived,
        };
        self.engine.remember_pass(&self.flow, why, arrived);
        self.drop_stale();
        // Whoever comes now could not read it from its beginning for long.
        self.engine.leave(&self.flow);
    }

    async fn hold_back(&mut self, moved: tokio::sync::futures::Notified<'_>) {
        if !self.flow.is_somebody_starving() {
            moved.await;
            return;
        }
        let started = tokio::time::Instant::now();
        let left = HELD_BACK_MAX.saturating_sub(self.held_back);
        let timely = tokio::time::timeout(left, moved).await.is_ok();
        self.held_back += started.elapsed();
        if !timely {
            self.flow.break_slowest();
        }
    }

    /// The body ended where it should: keeps it, if there was room. Fails when
    /// it is not as long as was announced; its readers are told.
    pub fn finish(mut self) -> Result<(), Failure> {
        match self.flow.complete(self.torn) {
            Ok(body) => {
                if let Some(body) = body {
                    let meta = Arc::clone(&self.meta);
                    self.engine.insert(Arc::new(Entry { meta, body }));
                    self.drop_stale();
                }
                self.end(Ok(()));
                Ok(())
            }
            Err(failure) => {
                self.end(Err(Arc::clone(&failure)));
                Err(failure)
            }
        }
    }

    /// The body broke: every reader is told, nothing is kept.
    pub fn fail(mut self, failure: Failure) {
        self.end(Err(failure));
    }

    fn end(&mut self, how: Result<(), Failure>) {
        self.finished = true;
        self.engine.leave(&self.flow);
        self.flow.end(how);
    }

    /// The nominated response does not fit any more (RFC 9111, section 4.3.3),
    /// even where the new one is another variant.
    fn drop_stale(&mut self) {
        if let Some(stale) = self.stale.take() {
            self.engine.remove(&stale);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.end(Err(Arc::new(Abandoned)));
        }
    }
}
