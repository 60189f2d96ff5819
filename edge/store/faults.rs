//! Tests with a disk that fails on command: what a failed sync, a full disk, a
//! filesystem without unnamed files and a crash at any moment do to the store.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::body::whole;
use crate::disk::{Disk, RealDisk};
use crate::sweep;
use crate::{Error, Put, Settings, Store};

/// The real disk, until told otherwise.
#[derive(Debug, Default)]
struct BadDisk {
    no_unnamed: AtomicBool,
    fail_files: AtomicBool,
    fail_directories: AtomicBool,
    used: AtomicU64,
    /// Copies the store here before every sync, as a crash would leave it.
    crash: Mutex<Option<Crash>>,
}

#[derive(Debug)]
struct Crash {
    from: PathBuf,
    to: PathBuf,
    /// For each copy, how many objects had been acknowledged.
    copies: Vec<(PathBuf, usize)>,
    acknowledged: usize,
}

impl BadDisk {
    fn crash_here(&self) {
        let mut crash = self.crash.lock();
        if let Some(crash) = crash.as_mut() {
            let to = crash.to.join(crash.copies.len().to_string());
            copy(&crash.from, &to);
            crash.copies.push((to, crash.acknowledged));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::create_dir_all(to).unwrap();
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn broken(flag: &AtomicBool) -> io::Result<()> {
    match flag.load(SeqCst) {
        true => Err(io::Error::other("the disk is on fire")),
        false => Ok(()),
    }
}

impl Disk for BadDisk {
    fn unnamed(&self, directory: &Path) -> io::Result<File> {
        broken(&self.no_unnamed)?;
        RealDisk.unnamed(directory)
    }

    fn sync_file(&self, _: &File) -> io::Result<()> {
        self.crash_here();
        broken(&self.fail_files)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.crash_here();
        broken(&self.fail_directories)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok((10u64 << 30).saturating_sub(self.used.load(SeqCst)))
    }
}

async fn store(path: &Path) -> (Arc<Store>, Arc<BadDisk>) {
    let disk = Arc::new(BadDisk::default());
    let store = Store::open_on(Settings::at(path), disk.clone())
        .await
        .unwrap();
    store.create_bucket("www").await.unwrap();
    (store, disk)
}

async fn put(store: &Store, key: &str, size: usize) -> Result<(), Error> {
    let body = whole(vec![key.as_bytes()[0]; size]);
    store.put("www", key, Put::default(), body).await.map(drop)
}

async fn size_of(store: &Store, key: &str) -> Result<usize, Error> {
    let object = store.get("www", key, None).await?;
    let bytes = object.body.collect().await.unwrap().to_bytes();
    assert!(bytes.iter().all(|b| *b == key.as_bytes()[0]));
    Ok(bytes.len())
}

/// Names of all files under `blobs/`.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in std::fs::read_dir(path.join("blobs")).unwrap() {
        for file in std::fs::read_dir(directory.unwrap().path()).unwrap() {
            found.push(file.unwrap().path());
        }
    }
    found
}

const LARGE: usize = 400_000;

#[tokio::test]
async fn a_failed_directory_sync_ends_writing_but_not_reading() {
    let directory = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    put(&store, "a", LARGE).await.unwrap();

    disk.fail_directories.store(true, SeqCst);
    let refused = put(&store, "b", LARGE).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused}");
    assert!(refused.to_string().contains("on fire"), "{refused}");
    // The disk recovers, the store does not trust it again.
    disk.fail_directories.store(false, SeqCst);
    assert!(matches!(put(&store, "c", 5).await, Err(Error::ReadOnly(_))));
    let deleted = store.delete("www", "a").await;
    assert!(matches!(deleted, Err(Error::ReadOnly(_))));
    assert!(store.counters().read_only);

    assert_eq!(size_of(&store, "a").await.unwrap(), LARGE);
    assert!(store.head("www", "b").await.is_err());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_metadata_sync_ends_writing_but_not_reading() {
    let directory = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    put(&store, "a", 10).await.unwrap();
    put(&store, "b", LARGE).await.unwrap();

    disk.fail_files.store(true, SeqCst);
    let refused = put(&store, "c", 10).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused}");

    assert_eq!(size_of(&store, "a").await.unwrap(), 10);
    assert_eq!(size_of(&store, "b").await.unwrap(), LARGE);
    let page = store.list("www", crate::List::default()).await.unwrap();
    assert!(page.objects.len() >= 2);
    store.close().await.unwrap();

    // The next start finds everything that was acknowledged.
    let store = Store::open(Settings::at(directory.path())).await.unwrap();
    assert_eq!(size_of(&store, "a").await.unwrap(), 10);
    assert_eq!(size_of(&store, "b").await.unwrap(), LARGE);
    put(&store, "d", 10).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_body_sync_ends_writing_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    disk.fail_files.store(true, SeqCst);
    let refused = put(&store, "a", LARGE).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused}");
    assert!(files(directory.path()).is_empty());
    disk.fail_files.store(false, SeqCst);
    store.close().await.unwrap();
}

#[tokio::test]
async fn below_the_reserve_deletes_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    put(&store, "a", LARGE).await.unwrap();
    put(&store, "b", 10).await.unwrap();

    disk.used.store(10 << 30, SeqCst);
    for size in [10, LARGE] {
        let refused = put(&store, "c", size).await.unwrap_err();
        assert!(matches!(refused, Error::Full { .. }), "{refused}");
    }
    let refused = store.create_bucket("more").await.unwrap_err();
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert_eq!(size_of(&store, "a").await.unwrap(), LARGE);
    assert!(store.delete("www", "b").await.unwrap());

    disk.used.store(0, SeqCst);
    put(&store, "c", 10).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_filesystem_without_unnamed_files_works_too() {
    let directory = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    disk.no_unnamed.store(true, SeqCst);
    put(&store, "a", LARGE).await.unwrap();
    assert_eq!(size_of(&store, "a").await.unwrap(), LARGE);

    // A refused put takes its file away again.
    let wrong = Put {
        content_md5: Some([0; 16]),
        ..Put::default()
    };
    let refused = store.put("www", "b", wrong, whole(vec![1; LARGE])).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    store.close().await.unwrap();
    let names = files(directory.path());
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn the_file_of_an_overwritten_object_goes_when_it_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _disk) = store(directory.path()).await;
    put(&store, "a", LARGE).await.unwrap();
    put(&store, "a", LARGE + 1).await.unwrap();
    put(&store, "b", LARGE).await.unwrap();
    store.delete("www", "b").await.unwrap();
    assert_eq!(files(directory.path()).len(), 3);

    store.sweep(SystemTime::now()).await.unwrap();
    assert_eq!(files(directory.path()).len(), 3, "too early");

    let later = SystemTime::now() + Duration::from_secs(700);
    store.sweep(later).await.unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    assert_eq!(store.counters().files_removed, 2);
    assert_eq!(size_of(&store, "a").await.unwrap(), LARGE + 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn files_left_over_from_a_crash_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let (before, _disk) = store(directory.path()).await;
    put(&before, "a", LARGE).await.unwrap();
    let (left, part) = {
        let id = before.shared.blobs.new_id().unwrap();
        let path = before.shared.blobs.path(id);
        (path.clone(), path.with_extension("part"))
    };
    before.close().await.unwrap();
    std::fs::write(&left, "linked, never committed").unwrap();
    std::fs::write(&part, "half written").unwrap();
    let foreign = left.with_file_name("README");
    std::fs::write(&foreign, "not ours").unwrap();

    let disk = Arc::new(BadDisk::default());
    let after = Store::open_on(Settings::at(directory.path()), disk)
        .await
        .unwrap();
    let young = after
        .shared
        .blobs
        .path(after.shared.blobs.new_id().unwrap());
    std::fs::write(&young, "its row is on the way").unwrap();
    let shared = after.shared.clone();
    let (_stop, stopped) = sync_channel(1);
    tokio::task::spawn_blocking(move || sweep::remove_orphans(&shared, &stopped))
        .await
        .unwrap()
        .unwrap();

    assert!(!left.exists() && !part.exists());
    assert!(foreign.exists() && young.exists());
    assert_eq!(size_of(&after, "a").await.unwrap(), LARGE);
    after.close().await.unwrap();
}

#[tokio::test]
async fn a_crash_at_any_sync_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let (store, disk) = store(directory.path()).await;
    *disk.crash.lock() = Some(Crash {
        from: directory.path().to_owned(),
        to: copies.path().to_owned(),
        copies: Vec::new(),
        acknowledged: 0,
    });
    let keys = ["a", "b", "c", "d"];
    for (n, key) in keys.iter().enumerate() {
        put(&store, key, [100, LARGE][n % 2]).await.unwrap();
        disk.crash.lock().as_mut().unwrap().acknowledged = n + 1;
    }
    let crash = disk.crash.lock().take().unwrap();
    store.close().await.unwrap();

    assert!(crash.copies.len() > keys.len(), "{crash:?}");
    for (copy, acknowledged) in crash.copies {
        let store = Store::open(Settings::at(&copy)).await.unwrap();
        for (n, key) in keys.iter().enumerate() {
            match size_of(&store, key).await {
                Ok(size) => assert_eq!(size, [100, LARGE][n % 2], "{key} in {copy:?}"),
                Err(Error::NoSuchKey { .. }) => {
                    assert!(n >= acknowledged, "{key} lost in {copy:?}");
                }
                Err(e) => panic!("{key} in {copy:?}: {e}"),
            }
        }
        store.close().await.unwrap();
    }
}
