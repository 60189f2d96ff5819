//! Puts, deletes and buckets: limits, conditions, concurrency.

use std::sync::Arc;

use edge_store::{Body, BoxError, Error, METADATA_BYTES_MAX, Only, Put, Settings, Store};
use futures_util::future::join_all;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::{LARGE, body, fixture, noise, pieces};

#[tokio::test]
async fn buckets_come_and_go() {
    let f = fixture().await;
    let again = f.store.create_bucket("www").await;
    assert!(matches!(again, Err(Error::BucketExists(_))));
    let bad = f.store.create_bucket("No").await.unwrap_err();
    assert!(bad.to_string().contains("3 to 63"), "{bad}");
    f.store.create_bucket("abc").await.unwrap();
    let names: Vec<_> = f.store.buckets().await.unwrap();
    let names: Vec<_> = names.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["abc", "www"]);

    f.put("a", b"1").await;
    let full = f.store.delete_bucket("www").await;
    assert!(matches!(full, Err(Error::BucketNotEmpty(_))));
    f.store.delete("www", "a").await.unwrap();
    f.store.delete_bucket("www").await.unwrap();
    assert!(!f.store.bucket_exists("www").await.unwrap());
    assert!(f.store.bucket_exists("abc").await.unwrap());
    // A new bucket of the same name begins empty.
    f.store.create_bucket("www").await.unwrap();
    let page = f.store.list("www", Default::default()).await.unwrap();
    assert!(page.objects.is_empty());
}

#[tokio::test]
async fn puts_that_break_a_rule_are_refused() {
    let f = fixture().await;
    let put = |key: &str, put: Put| {
        let (store, key) = (f.store.clone(), key.to_owned());
        async move { store.put("www", &key, put, body("x")).await.unwrap_err() }
    };
    let long = "k".repeat(1025);
    assert!(matches!(put("", Put::default()).await, Error::BadKey(_)));
    assert!(matches!(put(&long, Put::default()).await, Error::BadKey(_)));
    let broken = Put {
        content_type: Some("a\nb".into()),
        ..Put::default()
    };
    assert!(matches!(put("a", broken).await, Error::BadField { .. }));
    let chatty = Put {
        metadata: vec![("m".into(), "x".repeat(METADATA_BYTES_MAX))],
        ..Put::default()
    };
    assert!(matches!(put("a", chatty).await, Error::BadField { .. }));
    let nowhere = f.store.put("nope", "a", Put::default(), body("x")).await;
    assert!(matches!(nowhere, Err(Error::NoSuchBucket(_))));
    let nowhere = f
        .store
        .put("nope", "a", Put::default(), body(noise(LARGE, 1)))
        .await;
    assert!(matches!(nowhere, Err(Error::NoSuchBucket(_))));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_announced_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        object_bytes_max: 300_000,
        ..Settings::at(directory.path())
    };
    let store = Store::open(settings).await.unwrap();
    store.create_bucket("www").await.unwrap();
    let bytes = noise(300_001, 3);
    for body in [body(bytes.clone()), pieces(&bytes, 7000)] {
        let refused = store.put("www", "a", Put::default(), body).await;
        assert!(matches!(refused, Err(Error::TooLarge { max: 300_000 })));
    }
    let fits = pieces(&bytes[..300_000], 7000);
    store.put("www", "a", Put::default(), fits).await.unwrap();
}

#[tokio::test]
async fn a_wrong_md5_is_refused_and_keeps_the_old_object() {
    let f = fixture().await;
    for size in [10, LARGE] {
        f.put("a", b"old").await;
        let put = Put {
            content_md5: Some([7; 16]),
            ..Put::default()
        };
        let refused = f.store.put("www", "a", put, body(noise(size, 1))).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
        assert_eq!(f.read("a").await.unwrap(), b"old");
    }
    let put = Put {
        content_md5: Some(*b"\x5d\x41\x40\x2a\xbc\x4b\x2a\x76\xb9\x71\x9d\x91\x10\x17\xc5\x92"),
        ..Put::default()
    };
    f.store.put("www", "a", put, body("hello")).await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_leaves_the_old_object() {
    let f = fixture().await;
    f.put("a", b"old").await;
    for good in [3, LARGE] {
        let frames: Vec<Result<_, BoxError>> = vec![
            Ok(Frame::data(noise(good, 2).into())),
            Err("the client left".into()),
        ];
        let body: Body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let broken = f.store.put("www", "a", Put::default(), body).await;
        assert!(matches!(broken, Err(Error::Upload(_))));
        assert_eq!(f.read("a").await.unwrap(), b"old");
    }
}

#[tokio::test]
async fn bodies_arrive_whole_however_they_are_cut() {
    let f = fixture().await;
    for size in [0, 1, 16_384, 16_385, 65_536, 262_144, 262_145, LARGE] {
        let bytes = noise(size, size as u64);
        for piece in [999, 300_000] {
            let body = pieces(&bytes, piece);
            let info = f.store.put("www", "a", Put::default(), body).await.unwrap();
            assert_eq!(info.size, size as u64);
            assert!(f.read("a").await.unwrap() == bytes, "{size} by {piece}");
        }
    }
}

#[tokio::test]
async fn conditions_are_decided_against_what_is_there() {
    let f = fixture().await;
    let put = |only: Only, text: &'static str| {
        let put = Put {
            only,
            ..Put::default()
        };
        let store = f.store.clone();
        async move { store.put("www", "a", put, body(text)).await }
    };
    let tag = |text: &str| Only::IfEtag(text.to_owned());
    let none = put(tag("abc"), "0").await;
    assert!(matches!(none, Err(Error::NoSuchKey { .. })));
    let first = put(Only::IfAbsent, "1").await.unwrap();
    let again = put(Only::IfAbsent, "2").await;
    assert!(matches!(again, Err(Error::PreconditionFailed { .. })));
    put(tag(&format!("\"{}\"", first.etag)), "3").await.unwrap();
    let stale = put(tag(&first.etag), "4").await;
    assert!(matches!(stale, Err(Error::PreconditionFailed { .. })));
    assert_eq!(f.read("a").await.unwrap(), b"3");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_that_want_to_be_first_one_is() {
    let f = fixture().await;
    for size in [10, 20_000] {
        let key = format!("key{size}");
        let puts = (0..16).map(|n| {
            let put = Put {
                only: Only::IfAbsent,
                ..Put::default()
            };
            let (store, key) = (f.store.clone(), key.clone());
            tokio::spawn(async move { store.put("www", &key, put, body(noise(size, n))).await })
        });
        let results: Vec<_> = join_all(puts).await;
        let winners: Vec<_> = results
            .into_iter()
            .filter_map(|r| r.unwrap().ok())
            .collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(f.store.head("www", &key).await.unwrap(), winners[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_puts_share_commits_and_lose_nothing() {
    let f = Arc::new(fixture().await);
    let puts = (0..200u64).map(|n| {
        let f = f.clone();
        let size = if n % 10 == 0 { 50_000 } else { 500 };
        tokio::spawn(async move {
            f.put(&format!("own/{n}"), &noise(size, n)).await;
            f.put("shared", &noise(size, n)).await;
        })
    });
    for done in join_all(puts).await {
        done.unwrap();
    }
    for n in 0..200u64 {
        let size = if n % 10 == 0 { 50_000 } else { 500 };
        assert!(f.read(&format!("own/{n}")).await.unwrap() == noise(size, n));
    }
    let shared = f.read("shared").await.unwrap();
    assert!([500, 50_000].contains(&shared.len()));
    let counters = f.store.counters();
    assert_eq!((counters.objects, counters.puts), (201, 400));
    assert!(counters.commits < 400, "{counters:?}");
    f.store.close().await.unwrap();
}
