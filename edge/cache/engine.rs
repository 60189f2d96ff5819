//! The cache as its caller sees it: look up, follow, fill, purge.
//!
//! A lookup answers with one of five things, and hands out at most one fill per
//! key and variant. What is stored and what is being fetched are checked under
//! one lock before a fill is given out, so however many clients come at once,
//! one of them fetches.

use crate::body::weight;
use crate::entry::{Entry, Meta};
use crate::fill::Fill;
use crate::flow::{Flow, Phase};
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

/// One part in this many of the budget is left to the allocator.
const ALLOCATOR_SHARE: u64 = 8;

/// Plain settings of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Budget of the memory tier in bytes, heads, keys and fills under way
    /// included.
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

impl Slot {
    fn take(engine: &Arc<Engine>) -> Option<Slot> {
        engine
            .under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fills| {
                (fills < engine.settings.fills_max).then_some(fills + 1)
            })
            .ok()?;
        Some(Slot(Arc::clone(engine)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The fills of one shard of the keys that may still be joined. As many as
/// fetches are under way, at most.
type Fills = HashMap<u128, Vec<Arc<Flow>>>;

/// The HTTP cache.
pub struct Engine {
    settings: Settings,
    memory: Memory,
    ledger: Arc<Ledger>,
    marks: Marks,
    passes: Passes,
    clock: Clock,
    fills: Box<[Mutex<Fills>]>,
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
    pub fn new(mut settings: Settings) -> Arc<Engine> {
        settings.object_bytes_max = settings.object_bytes_max.min(settings.memory_bytes / 4);
        // The rest is what an allocator keeps beside what it gave out: at worst,
        // bodies of all sizes replaced as fast as it goes, it was measured to
        // keep 40 % more, and the promise is 15 % and 64 MiB.
        let budget = settings.memory_bytes - settings.memory_bytes / ALLOCATOR_SHARE;
        // What moka may hold leaves room for fills under way, since it makes
        // room only after an insert.
        let for_fills = settings.object_bytes_max.max(budget / 8);
        Arc::new(Engine {
            settings,
            memory: Memory::new(budget - for_fills),
            ledger: Ledger::new(budget),
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
        if let (Found::Variant(entry), Some(Standing::Fresh(left))) = self.stands(ask) {
            return Lookup::Fresh(entry, left);
        }
        if let Some(why) = self.remembered(ask) {
            return Lookup::Pass(why);
        }
        let mut fills = self.shard(ask.key).lock();
        // A fill that has ended in between has put its entry in first.
        let (found, standing) = self.stands(ask);
        if let (Found::Variant(entry), Some(Standing::Fresh(left))) = (&found, &standing) {
            return Lookup::Fresh(Arc::clone(entry), *left);
        }
        let joined = self
            .joinable(&fills, &found, ask)
            .find_map(|flow| Reader::join(flow, self, false));
        if let Some(reader) = joined {
            return Lookup::Follow(reader);
        }
        if ask.method == Method::HEAD {
            return Lookup::Pass(Why::Method);
        }
        let Some(slot) = Slot::take(self) else {
            return Lookup::Pass(Why::Busy);
        };
        let (missed, entry) = missed(found, standing);
        let stale = match entry {
            Some(entry) if missed == Missed::Purged => {
                self.memory.remove(&entry);
                None
            }
            entry => entry,
        };
        let (fill, reader) = self.begin(&mut fills, ask, slot, stale.clone());
        match stale {
            Some(entry) => Lookup::Stale(entry, fill, reader),
            None => Lookup::Miss(missed, fill, reader),
        }
    }

    /// What `lookup` would answer, without side effects.
    pub fn peek(self: &Arc<Self>, ask: &Ask<'_>) -> Peek {
        let (found, standing) = self.stands(ask);
        if let (Found::Variant(entry), Some(Standing::Fresh(left))) = (&found, &standing) {
            return Peek::Fresh(Arc::clone(entry), *left);
        }
        if let Some(why) = self.remembered(ask) {
            return Peek::Pass(why);
        }
        let fills = self.shard(ask.key).lock();
        if self
            .joinable(&fills, &found, ask)
            .any(|flow| flow.has_beginning())
        {
            return Peek::Following;
        }
        drop(fills);
        if ask.method == Method::HEAD {
            return Peek::Pass(Why::Method);
        }
        if self.under_way.load(Ordering::Relaxed) >= self.settings.fills_max {
            return Peek::Pass(Why::Busy);
        }
        match missed(found, standing) {
            (Missed::Stale, Some(entry)) => Peek::Stale(entry),
            (missed, _) => Peek::Miss(missed),
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
        let Some(mark) = self.passes.get(ask.key, ask.now) else {
            return;
        };
        // One of unknown length may be as large as the one before it was.
        let measured = mark.why != Why::TooLarge || body_bytes.is_some();
        if !framed || !measured {
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
        self.marks.set(selector, mode, || self.clock.next(now.wall))
    }

    /// Figures for metrics. What was evicted or replaced is let go of first, so
    /// that they are exact.
    pub fn counters(&self) -> Counters {
        self.memory.settle();
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

    /// What is stored for a request, and how it stands.
    fn stands(&self, ask: &Ask<'_>) -> (Found, Option<Standing>) {
        let found = self.memory.find(ask.key, ask.headers);
        let standing = match &found {
            Found::Variant(entry) => Some(self.judge(entry, ask)),
            _ => None,
        };
        (found, standing)
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

    /// The fills under way whose answer this request may be given.
    fn joinable<'a>(
        &'a self,
        fills: &'a Fills,
        found: &'a Found,
        ask: &'a Ask<'_>,
    ) -> impl Iterator<Item = &'a Arc<Flow>> {
        let latest = self.marks.latest();
        let flows = fills.get(&ask.key.hash()).map_or(&[][..], Vec::as_slice);
        let flows = flows.iter().filter(|flow| flow.key == *ask.key);
        // Which fields choose the variant is known once one head is there:
        // nobody waits for a fill that will turn out to be for others.
        let known: Vec<Arc<Meta>> = flows
            .clone()
            .filter_map(|flow| match &flow.inner.lock().phase {
                Phase::Live(meta) => Some(Arc::clone(meta)),
                _ => None,
            })
            .collect();
        flows.filter(move |flow| {
            let phase = flow.inner.lock().phase.clone();
            match phase {
                Phase::Waiting => {
                    let agree = |meta: &Arc<Meta>| meta.variance.agree(&flow.request, ask.headers);
                    !self.is_purged_while_waiting(flow, latest)
                        && known.iter().all(agree)
                        && found.agree(&flow.request, ask.headers)
                }
                Phase::Live(meta) => {
                    meta.variance.fits(ask.headers)
                        && meta.terms.fresh_for(ask.rules, ask.now).is_some()
                        && !self.is_purged(&meta, latest)
                }
                _ => false,
            }
        })
    }

    fn begin(
        self: &Arc<Self>,
        fills: &mut Fills,
        ask: &Ask<'_>,
        slot: Slot,
        stale: Option<Arc<Entry>>,
    ) -> (Fill, Reader) {
        let flow = Arc::new(Flow::new(
            ask.key.clone(),
            ask.host,
            ask.target,
            ask.headers.clone(),
            self.clock.next(ask.now.wall),
            self.ledger.count(0),
        ));
        fills
            .entry(ask.key.hash())
            .or_default()
            .push(Arc::clone(&flow));
        let reader = Reader::join(&flow, self, true).expect("a new fill has its beginning");
        let rules = Arc::clone(ask.rules);
        let fill = Fill::new(Arc::clone(self), flow, rules, ask.now, stale, slot);
        (fill, reader)
    }

    fn shard(&self, key: &Key) -> &Mutex<Fills> {
        &self.fills[(key.hash() >> 64) as usize % SHARDS]
    }

    /// Nobody new joins this fill from now on.
    pub(crate) fn leave(&self, flow: &Arc<Flow>) {
        let mut fills = self.shard(&flow.key).lock();
        if let Some(of_key) = fills.get_mut(&flow.key.hash()) {
            of_key.retain(|other| !Arc::ptr_eq(other, flow));
            if of_key.is_empty() {
                fills.remove(&flow.key.hash());
            }
        }
    }

    /// The largest body that a route keeps.
    pub(crate) fn keeps(&self, rules: &Rules) -> u64 {
        rules.object_bytes_max.min(self.settings.object_bytes_max)
    }

    /// Charges for a head, and for as much of its body as is announced.
    pub(crate) fn room_for(&self, meta: &Meta, body: Option<u64>) -> Result<(Charge, Charge), Why> {
        let body = body.unwrap_or(0);
        if body > self.settings.object_bytes_max {
            return Err(Why::TooLarge);
        }
        let head = meta.bytes();
        let mut charge = self.more_room(head + weight(body))?;
        Ok((charge.split(head), charge))
    }

    /// A charge of `more`, if there is room.
    pub(crate) fn more_room(&self, more: u64) -> Result<Charge, Why> {
        let mut live = self.ledger.live();
        loop {
            if let Some(charge) = self.ledger.take(more) {
                return Ok(charge);
            }
            // Evictions that are due may free what is wanted.
            self.memory.settle();
            let before = std::mem::replace(&mut live, self.ledger.live());
            if live >= before {
                break;
            }
        }
        self.ledger.take(more).ok_or_else(|| {
            self.no_room.fetch_add(1, Ordering::Relaxed);
            Why::NoRoom
        })
    }

    /// A charge for what is there already.
    pub(crate) fn count(&self, bytes: u64) -> Charge {
        self.ledger.count(bytes)
    }

    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        self.memory.insert(entry);
    }

    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        self.memory.remove(entry);
    }

    /// How much of a body that is not kept may wait for its slowest reader.
    /// Nothing, while more memory is in use than should be: then each fill has
    /// one piece on its way.
    pub(crate) fn window_bytes(&self) -> u64 {
        if self.ledger.is_over() {
            return 0;
        }
        self.settings.window_bytes
    }

    pub(crate) fn latest_mark(&self) -> u64 {
        self.marks.latest()
    }

    /// Whether a request that came when `known` was the newest mark must not be
    /// given this. Of several purges only the newest is known, so one that came
    /// later than the request may hide one that came before it: in doubt, yes.
    pub(crate) fn is_purged(&self, meta: &Meta, known: u64) -> bool {
        known > meta.stamp.0 && self.marks.find(meta).covering(meta.stamp).is_some()
    }

    /// The same for a fill whose head, and so its tags, are not known yet.
    fn is_purged_while_waiting(&self, flow: &Flow, known: u64) -> bool {
        known > flow.stamp.0
            && self
                .marks
                .find_for(&flow.host, &flow.target, &[])
                .covering(flow.stamp)
                .is_some()
    }

    /// Whether a stored response was purged for good.
    pub(crate) fn is_gone(&self, meta: &Meta) -> bool {
        self.marks.find(meta).covering(meta.stamp) == Some(Mode::Hard)
    }

    pub(crate) fn remember_pass(&self, flow: &Flow, why: Why, now: Now) {
        if why.met_by_all() {
            self.passes.remember(&flow.key, why, flow.stamp, now);
        }
    }

    pub(crate) fn forget_pass(&self, key: &Key) {
        self.passes.forget(key);
    }
}

/// Why what was found cannot be used, and what of it can be validated, or was
/// purged.
fn missed(found: Found, standing: Option<Standing>) -> (Missed, Option<Arc<Entry>>) {
    match (found, standing) {
        (Found::Variant(entry), Some(Standing::Stale)) => {
            let fields = &entry.meta.fields;
            let validator = fields.contains_key(ETAG) || fields.contains_key(LAST_MODIFIED);
            (Missed::Stale, validator.then_some(entry))
        }
        (Found::Variant(entry), _) => (Missed::Purged, Some(entry)),
        (Found::OtherVariants(_), _) => (Missed::Vary, None),
        (Found::Nothing, _) => (Missed::Uri, None),
    }
}
