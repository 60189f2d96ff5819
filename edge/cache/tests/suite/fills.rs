//! One fill for many lookups, and what becomes of it.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{Decision, FRAGMENT_BYTES, Lookup, Missed, Peek, Resolved, Settings, Why};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

#[test]
fn what_was_filled_is_a_hit_with_the_same_bytes_until_it_is_stale() {
    let stage = Stage::new();
    let content = body(1, 3 * FRAGMENT_BYTES + 1000);
    stage.store(
        "/a",
        &[("cache-control", "max-age=60"), ("x-a", "1")],
        &content,
    );
    let entry = stage.hit("/a");
    assert_eq!(stored(&entry), content);
    assert_eq!(entry.meta.fields["x-a"], "1");
    stage.advance(59);
    stage.hit("/a");
    stage.advance(1);
    let Lookup::Miss(Missed::Stale, ..) = stage.get("/a") else {
        panic!("fresh at the end of its lifetime");
    };
}

#[test]
fn a_second_lookup_follows_the_first() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let followers: Vec<_> = (0..10).map(|_| stage.follow("/a")).collect();
    stage.fill(fill, KEPT, b"hello");
    for follower in followers {
        let mut follower = live(at_once(follower.resolve(&map(&[]))));
        assert_eq!(at_once(read(&mut follower)).unwrap(), b"hello");
    }
    assert_eq!(stage.engine.counters().fills, 0);
}

#[test]
fn threads_that_come_at_once_start_one_fill_for_each_key() {
    const THREADS: usize = 8;
    const KEYS: usize = 200;
    let stage = Stage::new();
    let start = Barrier::new(THREADS);
    let fills = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for i in 0..KEYS {
                    let path = format!("/{i}");
                    match stage.get(&path) {
                        Lookup::Miss(_, fill, reader) => {
                            fills.fetch_add(1, Ordering::Relaxed);
                            stage.fill(fill, KEPT, path.as_bytes());
                            drop(reader);
                        }
                        Lookup::Follow(reader) => drop(reader),
                        Lookup::Fresh(entry, _) => assert_eq!(stored(&entry), path.as_bytes()),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(fills.load(Ordering::Relaxed), KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_tasks_read_identical_bytes_from_one_fetch() {
    let stage = Arc::new(Stage::new());
    let content = Arc::new(body(2, 2 * FRAGMENT_BYTES + 77));
    let fetches = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4000 {
        let (stage, content, fetches) = (stage.clone(), content.clone(), fetches.clone());
        tasks.spawn(async move {
            let reader = match stage.get("/a") {
                Lookup::Miss(_, fill, reader) => {
                    fetches.fetch_add(1, Ordering::Relaxed);
                    let (stage, content) = (stage.clone(), content.clone());
                    tokio::spawn(async move {
                        let mut writer = stage.write(fill, KEPT, Some(content.len() as u64));
                        for piece in content.chunks(10_000) {
                            assert!(writer.push(Bytes::copy_from_slice(piece)).await);
                            tokio::task::yield_now().await;
                        }
                        writer.finish().unwrap();
                    });
                    reader
                }
                Lookup::Follow(reader) => reader,
                Lookup::Fresh(entry, _) => return stored(&entry) == *content,
                other => panic!("{other:?}"),
            };
            let mut reader = live(reader.resolve(&map(&[])).await);
            read(&mut reader).await.unwrap() == *content
        });
    }
    while let Some(same) = tasks.join_next().await {
        assert!(same.unwrap());
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[test]
fn a_dropped_fill_tells_its_waiters_and_frees_the_key() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let follower = stage.follow("/a");
    drop(fill);
    for reader in [leader, follower] {
        assert!(matches!(
            at_once(reader.resolve(&map(&[]))),
            Resolved::Failed(_)
        ));
    }
    stage.miss("/a");
    assert_eq!(stage.engine.counters().fills, 0);
}

#[test]
fn a_failed_fetch_tells_its_waiters_why() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let follower = stage.follow("/a");
    fill.fail(oops());
    let Resolved::Failed(failure) = at_once(follower.resolve(&map(&[]))) else {
        panic!("not failed");
    };
    assert_eq!(failure.to_string(), "oops");
}

#[test]
fn an_answer_that_may_not_be_kept_is_declined_for_all_and_its_key_remembered() {
    for (fields, why) in [
        (&[("cache-control", "no-store")][..], Why::NoStore),
        (&[("cache-control", "private")], Why::Private),
        (
            &[("cache-control", "max-age=5"), ("set-cookie", "a=b")],
            Why::SetCookie,
        ),
        (
            &[("cache-control", "max-age=5"), ("vary", "*")],
            Why::VaryStar,
        ),
        (&[], Why::NoFreshness),
    ] {
        let stage = Stage::new();
        let (fill, leader) = stage.miss("/a");
        let follower = stage.follow("/a");
        assert_eq!(declined(stage.answer(fill, 200, fields, Some(5))), why);
        for reader in [leader, follower] {
            let resolved = at_once(reader.resolve(&map(&[])));
            assert!(matches!(resolved, Resolved::Declined(got) if got == why));
        }
        assert_eq!(stage.pass("/a"), Why::Remembered);
        // An answer of the same kind changes nothing, a better one does.
        stage.passed_by("/a", fields, Some(5));
        assert_eq!(stage.pass("/a"), Why::Remembered);
        stage.passed_by("/a", KEPT, Some(5));
        stage.store("/a", KEPT, b"hello");
        stage.hit("/a");
    }
}

#[test]
fn a_key_is_remembered_for_a_while_only() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    declined(stage.answer(fill, 200, &[("cache-control", "no-store")], Some(5)));
    stage.advance(119);
    stage.pass("/a");
    stage.advance(1);
    stage.miss("/a");
}

#[test]
fn a_cause_that_only_some_would_meet_is_not_remembered() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    assert_eq!(declined(stage.answer(fill, 503, &[], Some(5))), Why::Status);
    let (fill, _leader) = stage.miss_with("/a", &[("authorization", "Basic x")]);
    assert_eq!(
        declined(stage.answer(fill, 200, KEPT, Some(5))),
        Why::Authorization
    );
    let (fill, _leader) = stage.miss("/a");
    let (parts, now) = (head(206, KEPT), stage.now());
    let decision = fill.answered(&parts, true, Some(5), Vec::new(), now);
    assert_eq!(declined(decision), Why::Status);
    stage.miss("/a");
}

#[test]
fn a_body_that_ends_by_close_is_not_kept() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let decision = fill.answered(&head(200, KEPT), false, None, Vec::new(), stage.now());
    assert_eq!(declined(decision), Why::Unframed);
    assert_eq!(stage.pass("/a"), Why::Remembered);
}

#[test]
fn head_is_answered_from_what_is_there_but_never_starts_a_fill() {
    let stage = Stage::new();
    assert!(matches!(stage.head("/a"), Lookup::Pass(Why::Method)));
    let (fill, _leader) = stage.miss("/a");
    assert!(matches!(stage.head("/a"), Lookup::Follow(_)));
    stage.fill(
        fill,
        &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
        b"hello",
    );
    assert!(matches!(stage.head("/a"), Lookup::Fresh(..)));
    stage.advance(60);
    assert!(matches!(stage.head("/a"), Lookup::Pass(Why::Method)));
}

#[test]
fn more_fetches_than_allowed_pass() {
    let stage = Stage::with(Settings {
        fills_max: 2,
        ..SETTINGS
    });
    let (first, _a) = stage.miss("/a");
    let (_second, _b) = stage.miss("/b");
    assert_eq!(stage.pass("/c"), Why::Busy);
    assert!(matches!(stage.peek("/c"), Peek::Pass(Why::Busy)));
    stage.follow("/a");
    // A writer holds its place until the body has ended.
    let writer = stage.write(first, KEPT, None);
    assert_eq!(stage.pass("/c"), Why::Busy);
    writer.finish().unwrap();
    stage.miss("/c");
}

#[test]
fn fetches_are_never_more_than_allowed_when_threads_ask_at_once() {
    let stage = Stage::with(Settings {
        fills_max: 50,
        ..SETTINGS
    });
    let start = Barrier::new(8);
    let given: usize = std::thread::scope(|scope| {
        let ask = |thread: usize| {
            start.wait();
            let lookups: Vec<_> = (0..100)
                .map(|i| stage.get(&format!("/{thread}/{i}")))
                .collect();
            let miss = |lookup: &&Lookup| matches!(lookup, Lookup::Miss(..));
            assert!(stage.engine.counters().fills <= 50);
            let given = lookups.iter().filter(miss).count();
            start.wait();
            given
        };
        let threads: Vec<_> = (0..8)
            .map(|thread| scope.spawn(move || ask(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(given, 50);
    assert_eq!(stage.engine.counters().fills, 0);
}

#[test]
fn peek_tells_what_lookup_would_answer_and_changes_nothing() {
    let stage = Stage::new();
    assert!(matches!(stage.peek("/a"), Peek::Miss(Missed::Uri)));
    let (fill, _leader) = stage.miss("/a");
    assert!(matches!(stage.peek("/a"), Peek::Following));
    stage.fill(
        fill,
        &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
        b"hello",
    );
    assert!(matches!(stage.peek("/a"), Peek::Fresh(..)));
    stage.advance(60);
    assert!(matches!(stage.peek("/a"), Peek::Stale(_)));
    stage.purge(url("/a"), edge_cache::Mode::Hard);
    for _ in 0..2 {
        assert!(matches!(stage.peek("/a"), Peek::Miss(Missed::Purged)));
    }
    assert_eq!(stage.engine.counters().fills, 0);
    assert!(matches!(stage.get("/a"), Lookup::Miss(Missed::Purged, ..)));
}

#[test]
fn an_empty_body_is_stored() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let writer = stage.write(fill, KEPT, Some(0));
    writer.finish().unwrap();
    assert_eq!(
        at_once(read(&mut live(at_once(leader.resolve(&map(&[])))))).unwrap(),
        b""
    );
    assert!(stage.hit("/a").body.is_empty());
}

#[test]
fn an_error_with_its_own_freshness_is_stored_like_any_answer() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let Decision::Write(writer) = stage.answer(fill, 404, KEPT, Some(0)) else {
        panic!("not written");
    };
    writer.finish().unwrap();
    assert_eq!(stage.hit("/a").meta.status, 404);
}
