//! Bodies that are not kept: a bounded window between origin and readers.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{Broken, Lookup, Reader, Resolved, Rules, Settings, Why, Writer};
use std::time::Duration;

const PIECE: usize = 16 << 10;
const WINDOW: u64 = SETTINGS.window_bytes;
const HUGE: u64 = SETTINGS.object_bytes_max + 1;

fn piece() -> Bytes {
    Bytes::from(vec![7; PIECE])
}

/// A fill that is not kept, with its leader and some followers.
fn passing(stage: &Stage, followers: usize) -> (Writer, Vec<Reader>) {
    let (fill, leader) = stage.miss("/a");
    let mut readers = vec![leader];
    readers.extend((0..followers).map(|_| stage.follow("/a")));
    let writer = stage.write(fill, KEPT, Some(HUGE));
    let readers = readers
        .into_iter()
        .map(|reader| live(at_once(reader.resolve(&map(&[])))))
        .collect();
    (writer, readers)
}

fn held(stage: &Stage) -> u64 {
    stage.engine.counters().live_bytes
}

#[tokio::test]
async fn what_is_too_large_streams_through_a_window_to_all_who_read_it() {
    let stage = Stage::new();
    let content = body(5, HUGE as usize);
    let (mut writer, readers) = passing(&stage, 3);
    let mut reading = tokio::task::JoinSet::new();
    for mut reader in readers {
        assert!(!reader.is_kept());
        reading.spawn(async move { read(&mut reader).await.unwrap() });
    }
    let mut held_max = 0;
    for piece in content.chunks(PIECE) {
        assert!(writer.push(Bytes::copy_from_slice(piece)).await);
        held_max = held_max.max(held(&stage));
    }
    writer.finish().unwrap();
    while let Some(got) = reading.join_next().await {
        assert!(got.unwrap() == content);
    }
    assert!(
        held_max > 0 && held_max <= WINDOW + PIECE as u64,
        "{held_max}"
    );
    assert_eq!(held(&stage), 0);
    assert_eq!(stage.pass("/a"), Why::TooLarge);
}

#[test]
fn the_writer_waits_when_the_window_is_full_and_goes_on_when_it_is_read() {
    let stage = Stage::new();
    let (mut writer, mut readers) = passing(&stage, 0);
    for _ in 0..WINDOW / PIECE as u64 {
        assert!(at_once(writer.push(piece())));
    }
    assert_eq!(held(&stage), WINDOW);
    let mut push = std::pin::pin!(writer.push(piece()));
    assert!(now_or_never(push.as_mut()).is_none());
    at_once(readers[0].next()).unwrap();
    assert!(at_once(push));
    assert_eq!(held(&stage), WINDOW);
}

#[test]
fn nobody_new_joins_a_body_that_is_not_kept() {
    let stage = Stage::new();
    let (_writer, _readers) = passing(&stage, 0);
    assert_eq!(stage.pass("/a"), Why::TooLarge);
}

#[test]
fn one_piece_larger_than_the_window_gets_through() {
    let stage = Stage::new();
    let (mut writer, mut readers) = passing(&stage, 0);
    let large = Bytes::from(vec![1; 3 * WINDOW as usize]);
    assert!(at_once(writer.push(large.clone())));
    assert!(now_or_never(writer.push(large.clone())).is_none());
    assert_eq!(at_once(readers[0].next()).unwrap().unwrap(), large);
    assert_eq!(held(&stage), 0);
}

#[test]
fn the_last_reader_that_leaves_stops_a_fill_that_is_not_kept() {
    let stage = Stage::new();
    let (mut writer, mut readers) = passing(&stage, 1);
    assert!(at_once(writer.push(piece())));
    readers.pop();
    assert!(at_once(writer.push(piece())));
    readers.pop();
    assert_eq!(held(&stage), 0);
    assert!(!at_once(writer.push(piece())));
    drop(writer);
    assert_eq!(stage.engine.counters().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_frees_the_writer() {
    let stage = Stage::new();
    let (mut writer, mut readers) = passing(&stage, 1);
    let slow = readers.pop().unwrap();
    let mut fast = readers.pop().unwrap();
    let fast = tokio::spawn(async move { while let Ok(Some(_)) = fast.next().await {} });
    let started = tokio::time::Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(slow);
    });
    for _ in 0..2 * WINDOW / PIECE as u64 {
        assert!(writer.push(piece()).await);
    }
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4));
    drop(writer);
    fast.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_broken_off_once_the_others_have_starved_for_ten_seconds() {
    let stage = Stage::new();
    let (mut writer, mut readers) = passing(&stage, 2);
    let mut slow = readers.pop().unwrap();
    let started = tokio::time::Instant::now();
    let fast: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut bytes = 0;
                while let Ok(Some(piece)) = reader.next().await {
                    bytes += piece.len() as u64;
                }
                bytes
            })
        })
        .collect();
    for sent in 0..HUGE / PIECE as u64 {
        assert!(writer.push(piece()).await, "{sent}");
        assert!(held(&stage) <= WINDOW + PIECE as u64);
    }
    assert!(writer.push(Bytes::from_static(b"x")).await);
    let waited = started.elapsed();
    assert!(
        waited >= Duration::from_secs(10) && waited < Duration::from_secs(11),
        "{waited:?}"
    );
    writer.finish().unwrap();
    for fast in fast {
        assert_eq!(fast.await.unwrap(), HUGE);
    }
    assert!(matches!(slow.next().await, Err(Broken::TooSlow)));
    slow.skip_to(HUGE);
    assert!(matches!(slow.next().await, Err(Broken::TooSlow)));
    drop(slow);
    assert_eq!(held(&stage), 0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_are_slow_together_are_waited_for() {
    // Nobody starves: the fill goes at their pace, however long that takes.
    let stage = Stage::new();
    let (mut writer, readers) = passing(&stage, 2);
    let reading: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut bytes = 0;
                while let Some(piece) = reader.next().await.unwrap() {
                    bytes += piece.len() as u64;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                bytes
            })
        })
        .collect();
    for _ in 0..HUGE / PIECE as u64 {
        assert!(writer.push(piece()).await);
    }
    assert!(writer.push(Bytes::from_static(b"x")).await);
    writer.finish().unwrap();
    for reading in reading {
        assert_eq!(reading.await.unwrap(), HUGE);
    }
}

#[test]
fn a_range_reader_ahead_of_the_body_neither_holds_it_back_nor_misses_its_part() {
    let stage = Stage::new();
    let content = body(6, 40 * PIECE);
    let (mut writer, mut readers) = passing(&stage, 0);
    let at = 33 * PIECE + 100;
    readers[0].skip_to(at as u64);
    let mut got = Vec::new();
    for piece in content.chunks(PIECE) {
        assert!(at_once(writer.push(Bytes::copy_from_slice(piece))));
        while let Some(Ok(Some(bytes))) = now_or_never(readers[0].next()) {
            got.extend_from_slice(&bytes);
        }
        assert!(held(&stage) <= PIECE as u64);
    }
    assert!(got == content[at..]);
}

#[test]
fn an_unannounced_body_that_outgrows_the_tier_becomes_a_window_and_is_remembered() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, None);
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    assert!(reader.is_kept());
    let mut sent = 0;
    while sent + PIECE as u64 <= SETTINGS.object_bytes_max {
        assert!(at_once(writer.push(piece())));
        sent += PIECE as u64;
    }
    stage.follow("/a");
    // What is here stays counted until it is read.
    assert!(now_or_never(writer.push(piece())).is_none());
    assert_eq!(stage.pass("/a"), Why::TooLarge);
    assert!(held(&stage) >= sent);
    let mut got = 0;
    while let Some(Ok(Some(bytes))) = now_or_never(reader.next()) {
        got += bytes.len() as u64;
        assert!(held(&stage) <= 4096 + sent - got);
    }
    assert_eq!(got, sent);
    assert!(!reader.is_kept());
    drop(writer);
    assert!(matches!(at_once(reader.next()), Err(Broken::Fetch(_))));
}

#[test]
fn an_unannounced_body_that_passes_the_limit_with_its_last_byte_is_not_kept() {
    for (extra, kept) in [(0, true), (1, false)] {
        let limits = [
            (SETTINGS.object_bytes_max, 100 << 10),
            (100 << 10, SETTINGS.object_bytes_max),
        ];
        for (tier, route) in limits {
            let settings = Settings {
                object_bytes_max: tier,
                ..SETTINGS
            };
            let rules = Rules {
                object_bytes_max: route,
                ..Rules::default()
            };
            let stage = Stage::ruled(settings, rules);
            let (fill, leader) = stage.miss("/a");
            let mut writer = stage.write(fill, KEPT, None);
            let mut reader = live(at_once(leader.resolve(&map(&[]))));
            for bytes in [50 << 10, (50 << 10) + extra] {
                assert!(at_once(writer.push(Bytes::from(vec![1; bytes]))));
                assert_eq!(at_once(reader.next()).unwrap().unwrap().len(), bytes);
            }
            writer.finish().unwrap();
            assert!(at_once(reader.next()).unwrap().is_none());
            assert_eq!(matches!(stage.get("/a"), Lookup::Fresh(..)), kept);
        }
    }
}

#[test]
fn a_body_for_which_there_is_no_room_passes_through_without_being_remembered() {
    let settings = Settings {
        memory_bytes: 1 << 20,
        object_bytes_max: 256 << 10,
        ..SETTINGS
    };
    let stage = Stage::with(settings);
    // Fetches under way that reserve all there is.
    let mut under_way = Vec::new();
    for i in 0..3 {
        let (fill, reader) = stage.miss(&format!("/{i}"));
        let writer = stage.write(fill, KEPT, Some(200 << 10));
        under_way.push((writer, reader));
    }
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, Some(200 << 10));
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    assert!(!reader.is_kept());
    assert_eq!(stage.engine.counters().no_room, 1);
    for _ in 0..10 {
        assert!(at_once(writer.push(Bytes::from(vec![1; 20 << 10]))));
        assert_eq!(at_once(reader.next()).unwrap().unwrap().len(), 20 << 10);
    }
    assert!(at_once(writer.push(Bytes::new())));
    drop(under_way);
    assert!(matches!(stage.get("/a"), Lookup::Miss(..)));
}

#[test]
fn a_window_shrinks_to_one_piece_while_more_is_in_use_than_should_be() {
    let stage = Stage::with(Settings {
        memory_bytes: 1 << 20,
        object_bytes_max: 1 << 10,
        ..SETTINGS
    });
    let mut under_way = Vec::new();
    for i in 0..20 {
        let (fill, leader) = stage.miss(&format!("/{i}"));
        let mut writer = stage.write(fill, KEPT, Some(1 << 20));
        let mut pieces = 0;
        while now_or_never(writer.push(piece())) == Some(true) {
            pieces += 1;
        }
        under_way.push((writer, leader, pieces));
    }
    let pieces: Vec<i32> = under_way.iter().map(|(_, _, pieces)| *pieces).collect();
    let full = (WINDOW / PIECE as u64) as i32;
    assert_eq!(pieces[0], full);
    assert_eq!(pieces[10..], [1; 10]);
    assert!(held(&stage) < (1 << 20) + (1 << 18) + 20 * PIECE as u64);
}

#[test]
fn a_body_that_fails_gives_its_memory_back_as_it_is_read() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, None);
    for _ in 0..10 {
        assert!(at_once(writer.push(piece())));
    }
    writer.fail(oops());
    let Resolved::Live(meta, mut reader) = at_once(leader.resolve(&map(&[]))) else {
        panic!("not live");
    };
    drop(meta);
    for left in (0..10).rev() {
        at_once(reader.next()).unwrap();
        assert!(held(&stage) <= 4096 + left * PIECE as u64);
    }
    drop(reader);
    assert_eq!(held(&stage), 0);
}
