//! What is on the disk, and who may have it open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};

use edge_store::{Error, Put, Settings, Store, Watcher};
use parking_lot::Mutex;

use crate::{Fixture, LARGE, body, fixture, noise, open};

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let f = fixture().await;
    let put = Put {
        content_type: Some("text/plain".into()),
        cache_control: Some("max-age=60".into()),
        content_encoding: Some("gzip".into()),
        metadata: vec![("owner".into(), "ü".into())],
        ..Put::default()
    };
    let small = f
        .store
        .put("www", "small", put, body("hello"))
        .await
        .unwrap();
    assert_eq!(small.etag, "5d41402abc4b2a76b9719d911017c592");
    let large = f.put("large", &noise(LARGE, 1)).await;
    f.put("gone", b"x").await;
    assert!(f.store.delete("www", "gone").await.unwrap());
    let before = f.store.counters();
    assert_eq!((before.objects, before.bytes), (2, LARGE as u64 + 5));
    f.store.close().await.unwrap();

    let store = open(f.directory.path()).await;
    let f = Fixture { store, ..f };
    assert_eq!(f.store.head("www", "small").await.unwrap(), small);
    assert_eq!(f.store.head("www", "large").await.unwrap(), large);
    assert_eq!(f.read("small").await.unwrap(), b"hello");
    assert!(f.read("large").await.unwrap() == noise(LARGE, 1));
    assert!(matches!(f.read("gone").await, Err(Error::NoSuchKey { .. })));
    let after = f.store.counters();
    assert_eq!((after.objects, after.bytes), (2, LARGE as u64 + 5));
    f.store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_has_one_holder() {
    let f = fixture().await;
    let second = Store::open(Settings::at(f.directory.path())).await;
    let error = second.err().unwrap();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    f.store.close().await.unwrap();
    open(f.directory.path()).await.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let f = fixture().await;
    f.put("a", b"1").await;
    f.store.close().await.unwrap();
    f.store.close().await.unwrap();
    assert!(matches!(f.read("a").await, Err(Error::Closed)));
    let put = f.store.put("www", "a", Put::default(), body("2")).await;
    assert!(matches!(put, Err(Error::Closed)));
}

#[tokio::test]
async fn a_damaged_metadata_file_is_an_error_and_never_a_panic() {
    let f = fixture().await;
    for n in 0..20 {
        f.put(&format!("key{n}"), &noise(3000, n)).await;
    }
    f.store.close().await.unwrap();
    let path = f.directory.path().join("meta.redb");
    let good = std::fs::read(&path).unwrap();
    for seed in 1..12 {
        let mut bad = good.clone();
        let mut random = crate::Random(seed);
        for _ in 0..200 {
            let at = random.below(bad.len());
            bad[at] ^= 0xff;
        }
        std::fs::write(&path, bad).unwrap();
        // Either it does not open, or what it serves is right.
        let Ok(store) = Store::open(Settings::at(f.directory.path())).await else {
            continue;
        };
        for n in 0..20 {
            if let Ok(object) = store.get("www", &format!("key{n}"), None).await {
                assert!(
                    crate::collect(object.body).await == noise(3000, n),
                    "seed {seed}"
                );
            }
        }
        let _ = store.close().await;
    }
}

/// Blocks until the test lets it go on.
struct Gate {
    asked: Mutex<Sender<String>>,
    go: Mutex<Receiver<()>>,
}

impl Watcher for Gate {
    fn changed(&self, bucket: &str, key: &str) {
        self.asked.lock().send(format!("{bucket}/{key}")).unwrap();
        let _ = self.go.lock().recv();
    }

    fn bucket_changed(&self, bucket: &str) {
        self.asked.lock().send(bucket.to_owned()).unwrap();
        let _ = self.go.lock().recv();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_hears_before_the_writer_and_after_the_change_is_visible() {
    let f = Arc::new(fixture().await);
    let (asked, asks) = channel();
    let (go, goes) = channel();
    f.store.watch(Arc::new(Gate {
        asked: Mutex::new(asked),
        go: Mutex::new(goes),
    }));
    let acknowledged = Arc::new(AtomicBool::new(false));
    let writer = {
        let (f, acknowledged) = (f.clone(), acknowledged.clone());
        tokio::spawn(async move {
            f.put("a", b"new").await;
            acknowledged.store(true, SeqCst);
        })
    };
    let asks = tokio::task::spawn_blocking(move || (asks.recv().unwrap(), asks));
    let (first, asks) = asks.await.unwrap();
    assert_eq!(first, "www/a");
    assert_eq!(f.read("a").await.unwrap(), b"new");
    assert!(!acknowledged.load(SeqCst), "the writer was told too early");
    go.send(()).unwrap();
    writer.await.unwrap();

    drop(go);
    assert!(f.store.delete("www", "a").await.unwrap());
    assert!(!f.store.delete("www", "a").await.unwrap());
    f.store.create_bucket("other").await.unwrap();
    f.store.delete_bucket("other").await.unwrap();
    let rest: Vec<_> = asks.try_iter().collect();
    assert_eq!(rest, ["www/a", "other", "other"]);
    f.store.close().await.unwrap();
}
