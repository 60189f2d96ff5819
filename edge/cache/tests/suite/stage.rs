//! A cache to play on: its clock is moved by hand, and every answer is scripted.

use bytes::Bytes;
use edge_cache::{
    Ask, Broken, Decision, Engine, Entry, Failure, Fill, Key, KeyParts, Lookup, Mode, Now, Peek,
    Reader, Resolved, Rules, Secret, Selector, Settings, Verdict, Why, Writer,
};
use http::{HeaderMap, HeaderName, Method, response};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const HOST: &str = "a.example";
pub const SETTINGS: Settings = Settings {
    memory_bytes: 64 << 20,
    object_bytes_max: 16 << 20,
    fills_max: 1000,
    window_bytes: 256 << 10,
};
pub const KEPT: &[(&str, &str)] = &[("cache-control", "max-age=60")];
pub const TAGGED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("surrogate-key", "t")];

pub struct Stage {
    pub engine: Arc<Engine>,
    rules: Arc<Rules>,
    began: Now,
    millis: AtomicU64,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(SETTINGS)
    }

    pub fn with(settings: Settings) -> Stage {
        Stage::ruled(settings, Rules::default())
    }

    pub fn ruled(settings: Settings, rules: Rules) -> Stage {
        Stage {
            engine: Engine::new(settings),
            rules: Arc::new(rules),
            began: Now::read(),
            millis: AtomicU64::new(0),
        }
    }

    pub fn now(&self) -> Now {
        let passed = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        Now {
            wall: self.began.wall + passed,
            mono: self.began.mono + passed,
        }
    }

    pub fn advance(&self, seconds: u64) {
        self.millis.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn ask<T>(
        &self,
        method: &Method,
        path: &str,
        fields: &HeaderMap,
        f: impl FnOnce(&Ask<'_>) -> T,
    ) -> T {
        let key = key(path);
        f(&Ask {
            key: &key,
            host: HOST,
            target: path,
            method,
            headers: fields,
            rules: &self.rules,
            now: self.now(),
        })
    }

    pub fn get(&self, path: &str) -> Lookup {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Lookup {
        self.ask(&Method::GET, path, &map(fields), |ask| {
            self.engine.lookup(ask)
        })
    }

    pub fn head(&self, path: &str) -> Lookup {
        self.ask(&Method::HEAD, path, &map(&[]), |ask| {
            self.engine.lookup(ask)
        })
    }

    pub fn peek(&self, path: &str) -> Peek {
        self.ask(&Method::GET, path, &map(&[]), |ask| self.engine.peek(ask))
    }

    /// Expects a miss.
    pub fn miss(&self, path: &str) -> (Fill, Reader) {
        self.miss_with(path, &[])
    }

    pub fn miss_with(&self, path: &str, fields: &[(&str, &str)]) -> (Fill, Reader) {
        match self.get_with(path, fields) {
            Lookup::Miss(_, fill, reader) => (fill, reader),
            other => panic!("{path}: not a miss: {other:?}"),
        }
    }

    /// Expects to follow.
    pub fn follow(&self, path: &str) -> Reader {
        self.follow_with(path, &[])
    }

    pub fn follow_with(&self, path: &str, fields: &[(&str, &str)]) -> Reader {
        match self.get_with(path, fields) {
            Lookup::Follow(reader) => reader,
            other => panic!("{path}: not followed: {other:?}"),
        }
    }

    /// Expects a stale response with a validator.
    pub fn stale(&self, path: &str) -> (Arc<Entry>, Fill, Reader) {
        match self.get(path) {
            Lookup::Stale(entry, fill, reader) => (entry, fill, reader),
            other => panic!("{path}: not stale: {other:?}"),
        }
    }

    /// Expects a hit.
    pub fn hit(&self, path: &str) -> Arc<Entry> {
        self.hit_with(path, &[])
    }

    pub fn hit_with(&self, path: &str, fields: &[(&str, &str)]) -> Arc<Entry> {
        match self.get_with(path, fields) {
            Lookup::Fresh(entry, _) => entry,
            other => panic!("{path}: not a hit: {other:?}"),
        }
    }

    /// Expects to pass.
    pub fn pass(&self, path: &str) -> Why {
        match self.get(path) {
            Lookup::Pass(why) => why,
            other => panic!("{path}: does not pass: {other:?}"),
        }
    }

    /// Hands an answer to a fill.
    pub fn answer(
        &self,
        fill: Fill,
        status: u16,
        fields: &[(&str, &str)],
        bytes: Option<u64>,
    ) -> Decision {
        fill.answered(&head(status, fields), true, bytes, Vec::new(), self.now())
    }

    /// Expects that the answer is written.
    pub fn write(&self, fill: Fill, fields: &[(&str, &str)], bytes: Option<u64>) -> Writer {
        match self.answer(fill, 200, fields, bytes) {
            Decision::Write(writer) => writer,
            other => panic!("not written: {other:?}"),
        }
    }

    /// Answers a fill with a whole body.
    pub fn fill(&self, fill: Fill, fields: &[(&str, &str)], body: &[u8]) {
        let mut writer = self.write(fill, fields, Some(body.len() as u64));
        assert!(at_once(writer.push(Bytes::copy_from_slice(body))));
        writer.finish().unwrap();
    }

    /// Stores a response under a path.
    pub fn store(&self, path: &str, fields: &[(&str, &str)], body: &[u8]) {
        let (fill, _reader) = self.miss(path);
        self.fill(fill, fields, body);
    }

    pub fn purge(&self, selector: Selector, mode: Mode) {
        self.engine.purge(selector, mode, self.now());
    }

    /// An answer for `path` went around the cache.
    pub fn passed_by(&self, path: &str, fields: &[(&str, &str)], bytes: Option<u64>) {
        self.ask(&Method::GET, path, &map(&[]), |ask| {
            self.engine.reconsider(ask, &head(200, fields), true, bytes);
        });
    }
}

pub fn key(path: &str) -> Key {
    let parts = KeyParts {
        scheme: "http",
        host: HOST,
        path,
        query: None,
        extras: &[],
    };
    Key::new(&Secret([9; 16]), &parts)
}

pub fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

pub fn head(status: u16, fields: &[(&str, &str)]) -> response::Parts {
    let mut response = http::Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = map(fields);
    response.into_parts().0
}

/// A future that must not need to wait.
pub fn at_once<F: Future>(future: F) -> F::Output {
    now_or_never(future).expect("it waits")
}

pub fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Expects a head that is there, whose body streams.
pub fn live(resolved: Resolved) -> Reader {
    match resolved {
        Resolved::Live(_, reader) => reader,
        other => panic!("not live: {other:?}"),
    }
}

/// The rest of a body.
pub async fn read(reader: &mut Reader) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// The body of a stored response.
pub fn stored(entry: &Entry) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = entry.body.from(all.len() as u64) {
        all.extend_from_slice(&bytes);
    }
    all
}

/// Bytes that differ from place to place and from seed to seed.
pub fn body(seed: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        all.extend_from_slice(&dice.roll().to_le_bytes());
    }
    all.truncate(bytes);
    all
}

pub fn url(path: &str) -> Selector {
    Selector::Url {
        host: HOST.into(),
        target: path.into(),
    }
}

#[derive(Debug)]
pub struct Oops;

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("oops")
    }
}

impl std::error::Error for Oops {}

pub fn oops() -> Failure {
    Arc::new(Oops)
}

pub fn again(decision: Decision) -> Fill {
    match decision {
        Decision::Done(Verdict::Again(fill)) => fill,
        other => panic!("not asked again: {other:?}"),
    }
}

pub fn declined(decision: Decision) -> Why {
    match decision {
        Decision::Declined(why) => why,
        other => panic!("not declined: {other:?}"),
    }
}

/// SplitMix64: a small generator of which a seed repeats every roll.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// A seed from the environment (`SEED`), or another one each time.
pub fn seed() -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    })
}
