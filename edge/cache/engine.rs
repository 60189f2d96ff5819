//! The cache as its caller sees it: look up, follow, fill, purge.
//!
//! A lookup answers with one of five things, and hands out at most one fill per
//! key and variant. What is stored and what is being fetched are checked under
//! one lock before a fill is given out, so however many clients come at once,
//! one of them fetches.

use crate::entry::{Entry, Meta};
use crate::fill::{Fill, Phase, State};
use crate::freshness::{Now, Rule, Terms};
use crate::key::Key;
use crate::ledger::{Charge, Ledger};
use crate::marks::{Marks, Mode, Selector};
use crate::memory::{Found, Memory};
use crate::pass::Passes;
use crate::policy::{self, Why};
use crate::reader::Reader;
use crate::stamp::{Clock, Stamp};
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, response};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const SHARDS: usize = 64;

/// Plain settings of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Budget of the memory tier in bytes, heads and keys included.
    pub memory_bytes: u64,
    /// The largest body the memory tier keeps; at most a quarter of the budget.
    pub object_bytes_max: u64,
    /// Fetches under way at once; beyond it requests pass.
    pub fills_max: usize,
    /// Bytes of a body that is not kept, held between origin and slowest reader.
    pub window_bytes: u64,
}

/// What a route says about caching.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Overrides the freshness in the response.
    pub ttl: Option<Duration>,
    /// Freshness of a response that gives none itself.
    pub ttl_unsaid: Option<Duration>,
    /// The largest body this route keeps, in bytes.
    pub object_bytes_max: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            ttl: None,
            ttl_unsaid: None,
            object_bytes_max: u64::MAX,
        }
    }
}

/// A GET or HEAD, as the cache is asked about it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The key of the resource.
    pub key: &'a Key,
    /// Normalised host, for purges.
    pub host: &'a str,
    /// Normalised path and query, for purges.
    pub target: &'a str,
    /// GET or HEAD.
    pub method: &'a Method,
    /// Request fields.
    pub headers: &'a HeaderMap,
    /// The route's rules.
    pub rules: &'a Arc<Rules>,
    /// The present moment.
    pub now: Now,
}

/// Why nothing stored could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing under the key.
    Uri,
    /// Only other variants.
    Vary,
    /// Purged for good.
    Purged,
    /// Stale, without a validator to ask with.
    Stale,
}

/// The answer to a lookup.
#[derive(Debug)]
pub enum Lookup {
    /// Serve this; it stays fresh that long.
    Fresh(Arc<Entry>, Duration),
    /// Stale: the fill validates it, the reader waits for the outcome.
    Stale(Arc<Entry>, Fill, Reader),
    /// Somebody else is fetching it.
    Follow(Reader),
    /// Nothing: spend the fill on a fetch, read with the reader.
    Miss(Missed, Fill, Reader),
    /// Not a matter for the cache.
    Pass(Why),
}

/// What a lookup would find, without touching anything.
#[derive(Debug)]
pub enum Peek {
    /// Stored and fresh that long.
    Fresh(Arc<Entry>, Duration),
    /// Stored, but must be validated first.
    Stale(Arc<Entry>),
    /// Being fetched now.
    Following,
    /// Not there.
    Miss(Missed),
    /// It would pass.
    Pass(Why),
}

/// How a stored response stands.
enum Standing {
    Fresh(Duration),
    Stale,
    Purged,
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Bytes alive: stored, being filled, or held by readers.
    pub live_bytes: u64,
    /// Keys stored.
    pub keys: u64,
    /// Entries evicted for room since the start.
    pub evicted: u64,
    /// Fetches under way.
    pub fills: usize,
    /// Purge marks held.
    pub marks: usize,
    /// Answers not kept because there was no room, since the start.
    pub no_room: u64,
}

/// One of the fetches that may be under way; given back on drop.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Engine>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The HTTP cache.
pub struct Engine {
    settings: Settings,
    memory: Memory,
    ledger: Arc<Ledger>,
    marks: Marks,
    passes: Passes,
    clock: Clock,
    fills: Box<[Mutex<HashMap<u128, Vec<Arc<State>>>>]>,
    under_way: AtomicUsize,
    no_room: AtomicU64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An empty cache.
    pub fn new(settings: Settings) -> Arc<Engine> {
        let budget = settings.memory_bytes;
        let limit = budget + budget / 20;
        // What moka may hold leaves room for fills under way, since it makes
        // room only after an insert.
        let for_fills = settings.object_bytes_max.max(budget / 8);
        let kept = limit.saturating_sub(for_fills).max(budget / 2);
        Arc::new(Engine {
            settings,
            memory: Memory::new(kept),
            ledger: Ledger::new(limit),
            marks: Marks::default(),
            passes: Passes::new(),
            clock: Clock::default(),
            fills: (0..SHARDS).map(|_| Mutex::default()).collect(),
            under_way: AtomicUsize::new(0),
            no_room: AtomicU64::new(0),
        })
    }

    /// Looks a request up. Hands out at most one fill per key and variant.
    pub fn lookup(self: &Arc<Self>, ask: &Ask<'_>) -> Lookup {
        let found = self.memory.find(ask.key, ask.headers);
        if let Found::Variant(entry) = &found
            && let Standing::Fresh(left) = self.judge(entry, ask)
        {
            return Lookup::Fresh(Arc::clone(entry), left);
        }
        if let Some(why) = self.remembered(ask) {
            return Lookup::Pass(why);
        }
        let mut fills = self.shard(ask.key).lock();
        // A fill that has ended in between has put its entry in first.
        let found = self.memory.find(ask.key, ask.headers);
        let standing = match &found {
            Found::Variant(entry) => Some(self.judge(entry, ask)),
            _ => None,
        };
        if let (Found::Variant(entry), Some(Standing::Fresh(left))) = (&found, &standing) {
            return Lookup::Fresh(Arc::clone(entry), *left);
        }
        if let Some(reader) = self.joinable(&fills, ask) {
            return Lookup::Follow(reader);
        }
        if ask.method == Method::HEAD {
            return Lookup::Pass(Why::Method);
        }
        if self.under_way.load(Ordering::Relaxed) >= self.settings.fills_max {
            return Lookup::Pass(Why::Busy);
        }
        let (missed, stale) = self.missed(found, standing);
        let (fill, reader) = self.begin(&mut fills, ask, stale.clone());
        match stale {
            Some(entry) => Lookup::Stale(entry, fill, reader),
            None => Lookup::Miss(missed, fill, reader),
        }
    }

    /// What `lookup` would answer, without side effects.
    pub fn peek(self: &Arc<Self>, ask: &Ask<'_>) -> Peek {
        let found = self.memory.find(ask.key, ask.headers);
        let standing = match &found {
            Found::Variant(entry) => Some(self.judge(entry, ask)),
            _ => None,
        };
        if let (Found::Variant(entry), Some(Standing::Fresh(left))) = (&found, &standing) {
            return Peek::Fresh(Arc::clone(entry), *left);
        }
        if let Some(why) = self.remembered(ask) {
            return Peek::Pass(why);
        }
        if self.joinable(&self.shard(ask.key).lock(), ask).is_some() {
            return Peek::Following;
        }
        if ask.method == Method::HEAD {
            return Peek::Pass(Why::Method);
        }
        if self.under_way.load(Ordering::Relaxed) >= self.settings.fills_max {
            return Peek::Pass(Why::Busy);
        }
        match self.missed(found, standing) {
            (_, Some(entry)) => Peek::Stale(entry),
            (missed, None) => Peek::Miss(missed),
        }
    }

    /// An answer went by without the cache. If it could have been kept, its key
    /// is no longer remembered as one whose answers cannot be.
    pub fn reconsider(
        &self,
        ask: &Ask<'_>,
        head: &response::Parts,
        framed: bool,
        body_bytes: Option<u64>,
    ) {
        if self.passes.get(ask.key, ask.now).is_none() || !framed {
            return;
        }
        let terms = Terms::of(head.status, &head.headers, ask.now, ask.now);
        let fits = body_bytes.is_none_or(|bytes| bytes <= self.settings.object_bytes_max);
        let judged = policy::may_store(
            ask.rules,
            ask.headers,
            head.status,
            &head.headers,
            &terms,
            body_bytes,
        );
        if fits && judged.is_ok() {
            self.passes.forget(ask.key);
        }
    }

    /// Purges. What was fetched before this call and fits is covered, fetches
    /// under way included. Returns the stamp of the mark.
    pub fn purge(&self, selector: Selector, mode: Mode, now: Now) -> Stamp {
        let stamp = self.clock.next(now.wall);
        self.marks.set(selector, mode, stamp);
        stamp
    }

    /// Figures for metrics.
    pub fn counters(&self) -> Counters {
        Counters {
            live_bytes: self.ledger.live(),
            keys: self.memory.keys(),
            evicted: self.memory.evicted(),
            fills: self.under_way.load(Ordering::Relaxed),
            marks: self.marks.len(),
            no_room: self.no_room.load(Ordering::Relaxed),
        }
    }

    /// Where a lifetime came from under these rules, for `explain`.
    pub fn rule(entry: &Entry, rules: &Rules) -> Rule {
        entry.meta.terms.lifetime(rules).1
    }

    fn judge(&self, entry: &Arc<Entry>, ask: &Ask<'_>) -> Standing {
        let meta = &entry.meta;
        let latest = self.marks.latest();
        if meta.checked() < latest {
            match self.marks.find(meta).covering(meta.stamp) {
                Some(Mode::Hard) => return Standing::Purged,
                Some(Mode::Soft | Mode::Revalidate) => return Standing::Stale,
                None => meta.found_clean(latest),
            }
        }
        match meta.terms.fresh_for(ask.rules, ask.now) {
            Some(left) => Standing::Fresh(left),
            None => Standing::Stale,
        }
    }

    fn missed(&self, found: Found, standing: Option<Standing>) -> (Missed, Option<Arc<Entry>>) {
        match (found, standing) {
            (Found::Variant(entry), Some(Standing::Stale)) => {
                let fields = &entry.meta.fields;
                let validator = fields.contains_key(ETAG) || fields.contains_key(LAST_MODIFIED);
                (Missed::Stale, validator.then_some(entry))
            }
            (Found::Variant(entry), _) => {
                self.memory.remove(&entry);
                (Missed::Purged, None)
            }
            (Found::OtherVariants, _) => (Missed::Vary, None),
            (Found::Nothing, _) => (Missed::Uri, None),
        }
    }

    fn remembered(&self, ask: &Ask<'_>) -> Option<Why> {
        let mark = self.passes.get(ask.key, ask.now)?;
        let purged = self.marks.latest() > mark.stamp.0
            && self
                .marks
                .find_for(ask.host, ask.target, &[])
                .covering(mark.stamp)
                .is_some();
        if purged {
            self.passes.forget(ask.key);
            return None;
        }
        Some(match mark.why {
            Why::TooLarge => Why::TooLarge,
            _ => Why::Remembered,
        })
    }

    /// A fill under way that this request may read with.
    fn joinable(
        self: &Arc<Self>,
        fills: &HashMap<u128, Vec<Arc<State>>>,
        ask: &Ask<'_>,
    ) -> Option<Reader> {
        let latest = self.marks.latest();
        fills
            .get(&ask.key.hash())?
            .iter()
            .filter(|state| state.key == *ask.key)
            .filter(|state| {
                // Purged while under way: this request came after the purge.
                state.stamp.0 > latest
                    || self
                        .marks
                        .find_for(&state.host, &state.target, &[])
                        .covering(state.stamp)
                        .is_none()
            })
            .filter(|state| match &state.inner.lock().phase {
                Phase::Waiting => true,
                Phase::Live(meta) => {
                    meta.variance.fits(ask.headers) && !self.purged_before(meta, latest)
                }
                _ => false,
            })
            .find_map(|state| Reader::join(state, self, false))
    }

    fn begin(
        self: &Arc<Self>,
        fills: &mut HashMap<u128, Vec<Arc<State>>>,
        ask: &Ask<'_>,
        stale: Option<Arc<Entry>>,
    ) -> (Fill, Reader) {
        let stamp = self.clock.next(ask.now.wall);
        let state = Arc::new(State::new(ask.key.clone(), ask.host, ask.target, stamp));
        fills
            .entry(ask.key.hash())
            .or_default()
            .push(Arc::clone(&state));
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let reader = Reader::join(&state, self, true).expect("a new fill has its beginning");
        let fill = Fill::new(
            Arc::clone(self),
            state,
            Arc::clone(ask.rules),
            ask.headers.clone(),
            ask.now,
            stale,
            Slot(Arc::clone(self)),
        );
        (fill, reader)
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<u128, Vec<Arc<State>>>> {
        &self.fills[(key.hash() >> 64) as usize % SHARDS]
    }

    /// Nobody new joins this fill from now on.
    pub(crate) fn leave(&self, state: &Arc<State>) {
        let mut fills = self.shard(&state.key).lock();
        if let Some(of_key) = fills.get_mut(&state.key.hash()) {
            of_key.retain(|other| !Arc::ptr_eq(other, state));
            if of_key.is_empty() {
                fills.remove(&state.key.hash());
            }
        }
    }

    /// A charge for a head and its body, or `None` when it cannot be kept.
    pub(crate) fn room_for(&self, meta: &Meta, body_bytes: u64) -> Option<Charge> {
        if body_bytes > self.settings.object_bytes_max {
            return None;
        }
        let bytes = meta.bytes() + body_bytes;
        let charge = self.ledger.take(bytes).or_else(|| {
            self.memory.settle();
            self.ledger.take(bytes)
        });
        if charge.is_none() {
            self.no_room.fetch_add(1, Ordering::Relaxed);
        }
        charge
    }

    /// Does evictions that are due, then tries again.
    pub(crate) fn settle_then(&self, again: impl FnOnce() -> bool) -> bool {
        self.memory.settle();
        again()
    }

    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        self.memory.insert(entry);
    }

    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        self.memory.remove(entry);
    }

    pub(crate) fn window_bytes(&self) -> u64 {
        self.settings.window_bytes
    }

    pub(crate) fn latest_mark(&self) -> u64 {
        self.marks.latest()
    }

    pub(crate) fn purged_before(&self, meta: &Meta, known: u64) -> bool {
        known > meta.stamp.0 && self.marks.find(meta).purged_between(meta.stamp, known)
    }

    pub(crate) fn remember_pass(&self, key: &Key, why: Why, stamp: Stamp, now: Now) {
        if why.met_by_all() {
            self.passes.remember(key, why, stamp, now);
        }
    }

    pub(crate) fn forget_pass(&self, key: &Key) {
        self.passes.forget(key);
    }
}
