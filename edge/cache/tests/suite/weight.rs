//! What a stored response weighs: what the ledger counts against what the
//! process holds.

use crate::stage::{SETTINGS, Stage};
use edge_cache::Settings;

/// A typical head.
const HEAD: &[(&str, &str)] = &[
    ("cache-control", "public, max-age=3600"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "1024"),
    ("date", "Sun, 06 Nov 1994 12:00:00 GMT"),
    ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
    ("etag", "\"5f3e-1c2d3e4f5a6b7\""),
    ("server", "nginx/1.24.0"),
    ("vary", "accept-encoding"),
    ("x-request-id", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    ("x-powered-by", "a framework/1.2"),
];

pub fn process_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// `cargo test -p edge-cache --release -- --ignored --nocapture --exact weight::…`
#[test]
#[ignore = "a measurement that wants a process of its own"]
fn what_a_stored_object_weighs() {
    let fields: usize = std::env::var("FIELDS").map_or(HEAD.len(), |n| n.parse().unwrap());
    let bytes: usize = std::env::var("BYTES").map_or(1024, |n| n.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(100_000, |n| n.parse().unwrap());
    let stage = Stage::with(Settings {
        memory_bytes: 8 << 30,
        ..SETTINGS
    });
    let content = vec![7; bytes];
    // The first ones pay for what is there once.
    for i in 0..2000 {
        stage.store(&format!("/warm/{i}"), &HEAD[..fields], &content);
    }
    let (rss, live) = (process_bytes("VmRSS"), stage.engine.counters().live_bytes);
    for i in 0..count {
        stage.store(
            &format!("/some/path/to/a/page/{i}"),
            &HEAD[..fields],
            &content,
        );
    }
    let rss = process_bytes("VmRSS") - rss;
    let live = stage.engine.counters().live_bytes - live;
    println!(
        "{fields} fields, {bytes} bytes: true {} counted {} ({:+.1} %)",
        rss / count,
        live / count,
        (live as f64 / rss as f64 - 1.0) * 100.0,
    );
}
