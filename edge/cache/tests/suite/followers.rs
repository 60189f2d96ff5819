//! Readers of a body that is still arriving.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{Broken, FRAGMENT_BYTES, Resolved};

#[test]
fn followers_stream_from_the_first_byte_while_the_rest_is_on_its_way() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let early = stage.follow("/a");
    let mut writer = stage.write(fill, KEPT, Some(10));
    assert!(at_once(writer.push(Bytes::from_static(b"hello"))));
    let late = stage.follow("/a");
    let mut readers: Vec<_> = [leader, early, late]
        .into_iter()
        .map(|reader| live(at_once(reader.resolve(&map(&[])))))
        .collect();
    for reader in &mut readers {
        assert_eq!(reader.announced(), Some(10));
        assert!(reader.is_kept());
        assert_eq!(at_once(reader.next()).unwrap().unwrap(), "hello");
        assert!(now_or_never(reader.next()).is_none());
    }
    assert!(at_once(writer.push(Bytes::from_static(b"world"))));
    let last = stage.follow("/a");
    writer.finish().unwrap();
    for reader in &mut readers {
        assert_eq!(at_once(read(reader)).unwrap(), b"world");
        assert!(at_once(reader.next()).unwrap().is_none());
    }
    let mut last = live(at_once(last.resolve(&map(&[]))));
    assert_eq!(at_once(read(&mut last)).unwrap(), b"helloworld");
}

#[tokio::test]
async fn a_waiting_reader_wakes_for_every_step_of_the_fill() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let reading = tokio::spawn(async move {
        let mut reader = live(leader.resolve(&map(&[])).await);
        read(&mut reader).await
    });
    tokio::task::yield_now().await;
    let mut writer = stage.write(fill, KEPT, None);
    for piece in [&b"a"[..], b"bc", b"def"] {
        tokio::task::yield_now().await;
        assert!(writer.push(Bytes::copy_from_slice(piece)).await);
    }
    tokio::task::yield_now().await;
    writer.finish().unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), b"abcdef");
}

#[test]
fn an_aborted_fetch_breaks_its_readers_and_is_never_stored() {
    for (announced, dropped) in [
        (Some(10), true),
        (Some(10), false),
        (None, true),
        (None, false),
    ] {
        let stage = Stage::new();
        let (fill, leader) = stage.miss("/a");
        let follower = stage.follow("/a");
        let mut writer = stage.write(fill, KEPT, announced);
        assert!(at_once(writer.push(Bytes::from_static(b"hello"))));
        if dropped {
            drop(writer);
        } else {
            writer.fail(oops());
        }
        for reader in [leader, follower] {
            let mut reader = live(at_once(reader.resolve(&map(&[]))));
            assert_eq!(at_once(reader.next()).unwrap().unwrap(), "hello");
            assert!(matches!(at_once(reader.next()), Err(Broken::Fetch(_))));
            assert!(!reader.is_kept());
        }
        stage.miss("/a");
        assert_eq!(stage.engine.counters().live_bytes, 0);
    }
}

#[test]
fn a_body_shorter_than_announced_is_broken() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, Some(10));
    assert!(at_once(writer.push(Bytes::from_static(b"hello"))));
    let failure = writer.finish().unwrap_err().to_string();
    assert_eq!(failure, "a body of 10 bytes was announced and 5 came");
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    assert!(matches!(at_once(read(&mut reader)), Err(Broken::Fetch(_))));
    stage.miss("/a");
}

#[test]
fn a_body_longer_than_announced_is_broken_before_a_byte_too_many_is_read() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, Some(5));
    assert!(at_once(writer.push(Bytes::from_static(b"hell"))));
    assert!(!at_once(writer.push(Bytes::from_static(b"oworld"))));
    assert!(!at_once(writer.push(Bytes::from_static(b"o"))));
    assert!(writer.finish().is_err());
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    assert_eq!(at_once(reader.next()).unwrap().unwrap(), "hell");
    assert!(matches!(at_once(reader.next()), Err(Broken::Fetch(_))));
    stage.miss("/a");
}

#[test]
fn the_length_of_an_unannounced_body_is_known_at_its_end() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, None);
    assert!(at_once(writer.push(Bytes::from_static(b"hello"))));
    let reader = live(at_once(leader.resolve(&map(&[]))));
    assert_eq!(reader.announced(), None);
    writer.finish().unwrap();
    assert_eq!(reader.announced(), Some(5));
}

#[test]
fn the_last_reader_of_a_kept_fill_may_leave() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, None);
    drop(leader);
    for _ in 0..10 {
        assert!(at_once(writer.push(Bytes::from(vec![1; 100_000]))));
    }
    writer.finish().unwrap();
    assert_eq!(stage.hit("/a").body.len(), 1_000_000);
}

#[test]
fn a_range_reader_goes_ahead_and_reads_what_the_others_read() {
    let stage = Stage::new();
    let content = body(3, 3 * FRAGMENT_BYTES);
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, Some(content.len() as u64));
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    reader.skip_to(300_000);
    reader.skip_to(5); // Never back.
    let mut got = Vec::new();
    for piece in content.chunks(70_001) {
        assert!(at_once(writer.push(Bytes::copy_from_slice(piece))));
        while let Some(Ok(Some(bytes))) = now_or_never(reader.next()) {
            got.extend_from_slice(&bytes);
        }
    }
    writer.finish().unwrap();
    assert!(at_once(reader.next()).unwrap().is_none());
    assert_eq!(got, content[300_000..]);
}

#[test]
fn a_reader_reads_on_while_fragments_are_put_together_under_it() {
    let stage = Stage::new();
    let content = body(4, 2 * FRAGMENT_BYTES + 12_345);
    let (fill, leader) = stage.miss("/a");
    let mut writer = stage.write(fill, KEPT, None);
    let mut readers = vec![live(at_once(leader.resolve(&map(&[]))))];
    let mut got = vec![Vec::new()];
    let mut dice = Dice(4);
    let mut rest = &content[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(9000) as usize));
        rest = after;
        assert!(at_once(writer.push(Bytes::copy_from_slice(piece))));
        if dice.below(20) == 0 {
            readers.push(live(at_once(stage.follow("/a").resolve(&map(&[])))));
            got.push(Vec::new());
        }
        for (reader, got) in readers.iter_mut().zip(&mut got) {
            if dice.below(4) == 0
                && let Some(Ok(Some(bytes))) = now_or_never(reader.next())
            {
                got.extend_from_slice(&bytes);
            }
        }
    }
    writer.finish().unwrap();
    for (mut reader, mut got) in readers.into_iter().zip(got) {
        got.extend(at_once(read(&mut reader)).unwrap());
        assert!(got == content);
    }
}

#[test]
fn a_push_that_was_given_up_half_way_never_becomes_a_whole_body() {
    let stage = Stage::new();
    let (fill, leader) = stage.miss("/a");
    let bytes = edge_cache_window() + 1;
    let mut writer = stage.write(fill, &[("cache-control", "max-age=60")], Some(3 * bytes));
    let mut reader = live(at_once(leader.resolve(&map(&[]))));
    assert!(!reader.is_kept());
    let piece = Bytes::from(vec![1; bytes as usize]);
    assert!(at_once(writer.push(piece.clone())));
    assert!(now_or_never(writer.push(piece.clone())).is_none());
    at_once(reader.next()).unwrap();
    assert!(!at_once(writer.push(piece)));
    assert!(writer.finish().is_err());
    assert!(matches!(at_once(reader.next()), Err(Broken::Fetch(_))));
}

/// Pieces so large that three of them are more than the tier keeps.
fn edge_cache_window() -> u64 {
    SETTINGS.object_bytes_max / 2
}

#[test]
fn a_follower_of_a_purged_or_declined_fill_is_sent_away_once_only() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let follower = stage.follow("/a");
    declined(stage.answer(fill, 200, &[("cache-control", "no-store")], None));
    assert!(matches!(
        at_once(follower.resolve(&map(&[]))),
        Resolved::Declined(_)
    ));
    stage.pass("/a");
}
