//! Many threads at once.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{Entry, Lookup, Meta, Mode, Reader, Resolved};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const THREADS: u64 = 4;
const PATHS: u64 = 4;

/// What all threads share: one count of all that happens, and for each path the
/// newest purge that has returned.
struct Yard {
    stage: Stage,
    count: AtomicU64,
    purged: [AtomicU64; PATHS as usize],
    fills: [AtomicU64; PATHS as usize],
}

impl Yard {
    fn new() -> Yard {
        Yard {
            stage: Stage::new(),
            count: AtomicU64::new(1),
            purged: Default::default(),
            fills: Default::default(),
        }
    }

    fn count(&self) -> u64 {
        self.count.fetch_add(1, Ordering::SeqCst)
    }
}

/// Runs `work` on every thread, each with its own dice.
fn in_threads(work: impl Fn(&mut Dice) + Sync) {
    let seed = seed();
    println!("SEED={seed}");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(&mut Dice(seed + thread)));
        }
    });
}

/// Waits, but not for ever.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), future).await })
        .expect("it waits for ever")
}

#[test]
fn nothing_fetched_before_a_purge_is_given_to_who_comes_after_it() {
    let yard = Yard::new();
    in_threads(|dice| {
        for _ in 0..2000 {
            let path = dice.below(PATHS);
            let name = format!("/{path}");
            let purged = &yard.purged[path as usize];
            if dice.below(10) == 0 {
                let began = yard.count();
                let mode = [Mode::Soft, Mode::Hard][dice.below(2) as usize];
                yard.stage.purge(url(&name), mode);
                purged.fetch_max(began, Ordering::SeqCst);
                continue;
            }
            let known = purged.load(Ordering::SeqCst);
            let (entry, reader) = match yard.stage.get(&name) {
                Lookup::Fresh(entry, _) => (Some(entry), None),
                Lookup::Follow(reader) => (None, Some(reader)),
                Lookup::Miss(_, fill, reader) => {
                    let asked = yard.count();
                    let body = body(asked, dice.below(3000) as usize);
                    let asked = asked.to_string();
                    let fields = [("cache-control", "max-age=60"), ("x-asked", &asked)];
                    match dice.below(10) {
                        0 => drop(fill),
                        1 => drop(yard.stage.write(fill, &fields, None)),
                        _ => yard.stage.fill(fill, &fields, &body),
                    }
                    (None, Some(reader))
                }
                other => panic!("{other:?}"),
            };
            if let Some(entry) = entry {
                check(&entry.meta, known);
                assert_eq!(stored(&entry), body_of(&entry));
            }
            if let Some(reader) = reader {
                follow(reader, known);
            }
        }
    });
    assert_eq!(yard.stage.engine.counters().fills, 0);
}

fn check(meta: &Meta, known: u64) {
    let asked: u64 = meta.fields["x-asked"].to_str().unwrap().parse().unwrap();
    assert!(asked > known, "asked for at {asked}, purged at {known}");
}

/// The body this entry must have: it begins with what its number rolls.
fn body_of(entry: &Entry) -> Vec<u8> {
    let asked: u64 = entry.meta.fields["x-asked"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    body(asked, entry.body.len() as usize)
}

fn follow(reader: Reader, known: u64) {
    match wait(reader.resolve(&map(&[]))) {
        Resolved::Live(meta, mut reader) => {
            check(&meta, known);
            if let Ok(got) = wait(read(&mut reader)) {
                let asked: u64 = meta.fields["x-asked"].to_str().unwrap().parse().unwrap();
                assert!(got == body(asked, got.len()));
            }
        }
        Resolved::Elsewhere | Resolved::Failed(_) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_key_is_never_fetched_twice_at_once_however_often_it_fails() {
    let yard = Yard::new();
    in_threads(|dice| {
        for _ in 0..2000 {
            let path = dice.below(PATHS);
            match yard.stage.get(&format!("/{path}")) {
                Lookup::Follow(reader) => {
                    let resolved = wait(reader.resolve(&map(&[])));
                    assert!(matches!(
                        resolved,
                        Resolved::Failed(_) | Resolved::Declined(_)
                    ));
                }
                Lookup::Miss(_, fill, _reader) => {
                    let fills = &yard.fills[path as usize];
                    assert_eq!(fills.fetch_add(1, Ordering::SeqCst), 0, "two fetches");
                    if dice.below(2) == 0 {
                        std::thread::yield_now();
                    }
                    fills.fetch_sub(1, Ordering::SeqCst);
                    match dice.below(3) {
                        0 => drop(fill),
                        1 => fill.fail(oops()),
                        _ => drop(yard.stage.answer(fill, 503, &[], None)),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn readers_of_a_window_on_many_threads_all_get_the_whole_body() {
    let stage = Arc::new(Stage::new());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS as usize)
        .enable_time()
        .build()
        .unwrap();
    let content = Arc::new(body(8, 3 << 20));
    for round in 0..5 {
        let path = format!("/{round}");
        let (fill, leader) = stage.miss(&path);
        let mut readers = vec![leader];
        readers.extend((0..30).map(|_| stage.follow(&path)));
        // Announced as more than is kept, and broken off at the end.
        let announced = Some(SETTINGS.object_bytes_max + 1);
        let mut writer = stage.write(fill, KEPT, announced);
        let reading: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let content = content.clone();
                runtime.spawn(async move {
                    let mut reader = live(reader.resolve(&map(&[])).await);
                    let mut at = 0;
                    while let Ok(Some(bytes)) = reader.next().await {
                        assert!(bytes == content[at..at + bytes.len()]);
                        at += bytes.len();
                    }
                    assert_eq!(at, content.len());
                })
            })
            .collect();
        runtime.block_on(async {
            let mut dice = Dice(round);
            let mut rest = &content[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(50_000) as usize));
                rest = after;
                let push = writer.push(Bytes::copy_from_slice(piece));
                let pushed = tokio::time::timeout(Duration::from_secs(10), push).await;
                assert!(pushed.expect("it waits for ever"));
            }
            drop(writer);
            for reading in reading {
                reading.await.unwrap();
            }
        });
    }
    assert_eq!(stage.engine.counters().live_bytes, 0);
}
