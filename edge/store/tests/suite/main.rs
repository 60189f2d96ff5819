//! The store from outside, through its Rust API, on a real directory.

#![allow(clippy::unwrap_used)]

mod durable;
mod listing;
mod pages;
mod reading;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use edge_store::{Body, Error, Info, Put, Settings, Store};
use http_body_util::{BodyExt, Full, StreamBody};

/// Larger than inline, several chunks and batches, and no round number.
pub(crate) const LARGE: usize = 700_001;

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body of unknown length, in pieces.
pub(crate) fn pieces(bytes: &[u8], piece: usize) -> Body {
    let frames: Vec<_> = bytes
        .chunks(piece)
        .map(|part| Ok(http_body::Frame::data(Bytes::copy_from_slice(part))))
        .collect();
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

/// Bytes that differ everywhere, so that a wrong offset shows.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Small, seeded, good enough to pick test cases.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

pub(crate) async fn collect(body: Body) -> Vec<u8> {
    body.collect().await.unwrap().to_bytes().to_vec()
}

pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    pub(crate) directory: tempfile::TempDir,
}

/// A new store with the bucket `www`.
pub(crate) async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.create_bucket("www").await.unwrap();
    Fixture { store, directory }
}

pub(crate) async fn open(path: &std::path::Path) -> Arc<Store> {
    Store::open(Settings::at(path)).await.unwrap()
}

impl Fixture {
    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) -> Info {
        let bytes = Bytes::copy_from_slice(bytes);
        let put = self.store.put("www", key, Put::default(), body(bytes));
        put.await.unwrap()
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Vec<u8>, Error> {
        Ok(collect(self.store.get("www", key, None).await?.body).await)
    }

    /// The only file under `blobs/`.
    pub(crate) fn blob(&self) -> std::path::PathBuf {
        let mut files = std::fs::read_dir(self.directory.path().join("blobs"))
            .unwrap()
            .flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap());
        let blob = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        blob
    }
}
