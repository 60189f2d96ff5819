//! A fill: one fetch that many clients read from.
//!
//! `Fill` is a token to spend: whoever holds it owes the readers an answer, and
//! dropping it tells them that there will be none. Once the head is accepted it
//! becomes a `Writer`, which takes the body.

use crate::engine::{Engine, Rules, Slot};
use crate::entry::{Arrival, Entry, Meta};
use crate::flow::{Flow, Phase};
use crate::freshness::Now;
use crate::ledger::Charge;
use crate::policy::{self, Why};
use crate::validate;
use crate::writer::Writer;
use http::{HeaderMap, StatusCode, response};
use std::sync::Arc;

/// Why a fill failed, shared by all who waited for it.
pub type Failure = Arc<dyn std::error::Error + Send + Sync>;

/// What became of an answer handed to a fill.
#[derive(Debug)]
pub enum Verdict {
    /// A 304 renewed the stored response; everybody is served from it.
    Refreshed,
    /// A 304 that does not renew what is stored: ask again without conditions.
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

/// The token of one fetch under way. Spend it on an answer or a failure.
#[derive(Debug)]
pub struct Fill {
    flow: Arc<Flow>,
    engine: Arc<Engine>,
    rules: Arc<Rules>,
    asked: Now,
    stale: Option<Arc<Entry>>,
    slot: Option<Slot>,
}

impl Fill {
    pub(crate) fn new(
        engine: Arc<Engine>,
        flow: Arc<Flow>,
        rules: Arc<Rules>,
        asked: Now,
        stale: Option<Arc<Entry>>,
        slot: Slot,
    ) -> Fill {
        Fill {
            flow,
            engine,
            rules,
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
        &self.flow.request
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
        let mut meta = Meta::new(self.arrival(head.status, tags, now), &head.headers);
        let allowed = self
            .allows(&meta, &head.headers, body_bytes)
            .and_then(|()| {
                let framed = framed.then_some(()).ok_or(Why::Unframed);
                framed.and_then(|()| self.engine.room_for(&meta, body_bytes))
            });
        match allowed {
            Ok((of_head, of_body)) => {
                self.engine.forget_pass(&self.flow.key);
                meta.hold(of_head);
                Decision::Write(self.write(meta, Some(of_body), body_bytes))
            }
            // What cannot be kept for its size can still be shared by those who
            // read it at the same time.
            Err(why @ (Why::TooLarge | Why::NoRoom)) if framed && body_bytes != Some(0) => {
                self.engine.remember_pass(&self.flow, why, now);
                Decision::Write(self.write(meta, None, body_bytes))
            }
            Err(why) => {
                self.engine.remember_pass(&self.flow, why, now);
                // What was stored is no longer so, unless the origin is in
                // trouble, or the answer is about this client alone.
                if !head.status.is_server_error() && why != Why::Authorization {
                    self.drop_stale();
                }
                self.spend(Phase::Declined(why));
                Decision::Declined(why)
            }
        }
    }

    fn allows(&self, meta: &Meta, got: &HeaderMap, body_bytes: Option<u64>) -> Result<(), Why> {
        policy::may_store(
            &self.rules,
            &self.flow.request,
            meta.status,
            got,
            &meta.terms,
            body_bytes,
        )
    }

    /// A 304 renews the stored response, unless it speaks of another one, what
    /// is stored was purged for good meanwhile, or what it says about keeping
    /// the response forbids that.
    fn refresh(mut self, head: &response::Parts, tags: Vec<String>, now: Now) -> Verdict {
        let Some(stale) = self.stale.take() else {
            return Verdict::Again(self);
        };
        let arrival = self.arrival(stale.meta.status, tags, now);
        let mut meta = stale.meta.refreshed(arrival, &head.headers);
        let speaks = validate::speaks_of(&stale.meta.fields, &head.headers);
        let body_bytes = Some(stale.body.len());
        let renews = speaks
            && !self.engine.is_gone(&stale.meta)
            && self.allows(&meta, &meta.fields, body_bytes).is_ok();
        if !renews {
            self.engine.remove(&stale);
            return Verdict::Again(self);
        }
        meta.hold(self.engine.count(meta.bytes()));
        let entry = Arc::new(Entry {
            meta: Arc::new(meta),
            body: Arc::clone(&stale.body),
        });
        self.engine.insert(Arc::clone(&entry));
        self.spend(Phase::Refreshed(entry));
        Verdict::Refreshed
    }

    fn drop_stale(&mut self) {
        if let Some(stale) = self.stale.take() {
            self.engine.remove(&stale);
        }
    }

    fn arrival(&self, status: StatusCode, tags: Vec<String>, got: Now) -> Arrival<'_> {
        Arrival {
            key: &self.flow.key,
            host: &self.flow.host,
            target: &self.flow.target,
            request: &self.flow.request,
            stamp: self.flow.stamp,
            asked: self.asked,
            got,
            status,
            tags,
        }
    }

    fn write(&mut self, meta: Meta, charge: Option<Charge>, wanted: Option<u64>) -> Writer {
        let kept = charge.is_some();
        let meta = Arc::new(meta);
        self.flow.go_live(Arc::clone(&meta), wanted, charge);
        if !kept {
            self.drop_stale();
            self.engine.leave(&self.flow);
        }
        Writer::new(
            Arc::clone(&self.engine),
            Arc::clone(&self.flow),
            meta,
            wanted,
            kept.then(|| self.engine.keeps(&self.rules)),
            self.stale.take(),
            self.slot.take(),
        )
    }

    fn spend(&mut self, phase: Phase) {
        self.slot = None;
        // What was refreshed is in the memory tier already, so that whoever
        // comes between the two finds one or the other.
        self.engine.leave(&self.flow);
        self.flow.become_phase(phase);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.slot.is_some() {
            self.spend(Phase::Failed(Arc::new(Abandoned)));
        }
    }
}

/// A fetch that was dropped before its end.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl std::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fetch was given up before its end")
    }
}

impl std::error::Error for Abandoned {}
