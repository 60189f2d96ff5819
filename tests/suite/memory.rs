//! The memory budget of the cache holds for the whole process, however fast and in whatever order
//! it is filled: the budget × 1.15 and 64 MiB for everything else. Each test puts ten times the
//! budget in.

use crate::{edge, fresh, one_heavy_test_at_a_time};
use edge_testkit::{Connection, Node, Origin, Reply, Request, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const BUDGET: u64 = 64 << 20;

/// For objects of 1 KiB. Ten times the larger budget would be 200,000 requests, which a build for
/// tests serves in a minute; growth without bound would still be twice what is allowed.
const SMALL_BUDGET: u64 = 16 << 20;

/// A node with this budget, and the memory it takes before anything is in its cache.
fn budgeted(budget: u64, site: &str) -> (Node, u64) {
    let config = format!("[cache]\nmemory = \"{budget}B\"\n[log]\naccess = \"off\"");
    let node = edge().config(&config).site(site).start();
    node.get("/warm-up");
    let before = node.rss_bytes();
    (node, before)
}

fn all_to(origin: &Origin) -> String {
    format!("[[site]]\nhosts = [\"*\"]\norigin = \"{}\"", origin.url())
}

#[track_caller]
fn assert_within_budget(node: &Node, before: u64, budget: u64) {
    let grown = node.peak_rss_bytes().saturating_sub(before);
    let allowed = budget * 115 / 100 + (64 << 20);
    let metrics = node.metrics();
    let sum = |name| metrics.sum(name, &[("tier", "memory")]);
    let (live, evicted) = (sum("edge_cache_bytes"), sum("edge_cache_evictions_total"));
    eprintln!(
        "grew by {} MiB; the cache says {} MiB, {evicted} evicted",
        grown >> 20,
        live as u64 >> 20
    );
    assert!(
        grown < allowed,
        "the node grew by {grown} bytes, {allowed} are allowed"
    );
}

/// Asks for all of these over one connection without waiting in between, and throws the answers
/// away. As fast as it goes: the node is to be hurried, not the client to be thorough.
fn hurry(node: &Node, targets: impl Iterator<Item = String> + Send, body_bytes: u64) {
    let mut reading = TcpStream::connect(node.http()).unwrap();
    let mut writing = reading.try_clone().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || {
            let (mut batch, mut count) = (String::new(), 0_u64);
            for target in targets {
                batch.push_str(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
                count += 1;
                if batch.len() > 16 << 10 {
                    writing.write_all(batch.as_bytes()).unwrap();
                    batch.clear();
                }
            }
            batch.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            writing.write_all(batch.as_bytes()).unwrap();
            count
        });
        let (mut buffer, mut came) = (vec![0; 256 << 10], 0);
        while let Ok(bytes) = reading.read(&mut buffer)
            && bytes > 0
        {
            came += bytes as u64;
        }
        let count = asked.join().unwrap();
        assert!(
            came > count * body_bytes,
            "{count} answers cannot fit in {came} bytes"
        );
    });
}

/// Hurries from four clients at once, each with its part of `count` targets.
fn hurry_from_all_sides(node: &Node, count: u64, body_bytes: u64, target: fn(u64) -> String) {
    std::thread::scope(|scope| {
        for client in 0..4 {
            let targets = (0..count / 4).map(move |n| target(n * 4 + client));
            scope.spawn(move || hurry(node, targets, body_bytes));
        }
    });
}

#[test]
fn many_small_objects_stay_within_the_budget() {
    let _alone = one_heavy_test_at_a_time();
    let (node, before) = budgeted(
        SMALL_BUDGET,
        "[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"",
    );
    let admin = |request: Request| request.host(&node.admin().to_string()).send(node.admin());
    admin(Request::new("PUT", "/store/www")).expect(201);
    admin(Request::put("/store/www/a", "").pattern(1024, 1)).expect(200);
    // Every query is a copy of its own: some 3 KiB each, with head and key.
    let each = 3 << 10;
    hurry_from_all_sides(&node, 10 * SMALL_BUDGET / each, 1024, |n| format!("/a?{n}"));
    assert_within_budget(&node, before, SMALL_BUDGET);
    let held = node.metric("edge_cache_bytes", &[("tier", "memory")]);
    assert!(
        held > SMALL_BUDGET as f64 * 0.5,
        "{held} bytes held: the budget is there to be used"
    );
}

#[test]
fn objects_of_a_hundred_kibibytes_stay_within_the_budget() {
    let _alone = one_heavy_test_at_a_time();
    let body = edge_testkit::pattern(100 << 10, 1);
    let origin = Origin::start(move |_| fresh(&body));
    let (node, before) = budgeted(BUDGET, &all_to(&origin));
    hurry_from_all_sides(&node, 10 * BUDGET / (100 << 10), 100 << 10, |n| {
        format!("/{n}")
    });
    assert_within_budget(&node, before, BUDGET);
}

#[test]
fn objects_of_four_mebibytes_stay_within_the_budget_however_they_are_framed() {
    let _alone = one_heavy_test_at_a_time();
    let body = edge_testkit::pattern(4 << 20, 1);
    let reply = fresh(&body);
    let origin = Origin::start(move |visit| match visit.number % 2 {
        0 => reply.clone(),
        _ => reply.clone().chunked(),
    });
    let (node, before) = budgeted(BUDGET, &all_to(&origin));
    hurry_from_all_sides(&node, 10 * BUDGET / (4 << 20), 4 << 20, |n| format!("/{n}"));
    assert_within_budget(&node, before, BUDGET);
}

#[test]
fn rewrites_of_the_same_few_objects_stay_within_the_budget() {
    let _alone = one_heavy_test_at_a_time();
    let body = edge_testkit::pattern(100 << 10, 1);
    // Stale at once, and never the same again: every request replaces what is stored.
    let origin = Origin::start(move |visit| {
        let reply = Reply::ok(&body).field("Cache-Control", "max-age=0");
        reply.field("ETag", &format!("\"{}\"", visit.number))
    });
    let (node, before) = budgeted(BUDGET, &all_to(&origin));
    hurry_from_all_sides(&node, 10 * BUDGET / (100 << 10), 100 << 10, |n| {
        format!("/{}", n % 7)
    });
    assert_within_budget(&node, before, BUDGET);
}

#[test]
fn what_slow_readers_hold_counts() {
    let _alone = one_heavy_test_at_a_time();
    let body = edge_testkit::pattern(4 << 20, 1);
    let reply = fresh(&body);
    let origin = Origin::start(move |_| reply.clone());
    let (node, before) = budgeted(BUDGET, &all_to(&origin));
    // Sixteen times 4 MiB are held by those who read nothing of it, then others come.
    let slow: Vec<_> = (0..16)
        .map(|n| {
            let mut client = Connection::open_narrow(node.http(), 4096);
            client.send(&Request::get(&format!("/slow/{n}")).count_body());
            assert!(client.wait_for_head());
            client
        })
        .collect();
    hurry_from_all_sides(&node, 10 * BUDGET / (4 << 20), 4 << 20, |n| format!("/{n}"));
    assert_within_budget(&node, before, BUDGET);
    for mut client in slow {
        let answer = client.receive().expect(200);
        assert_eq!(answer.body_crc, edge_testkit::pattern_crc(4 << 20, 1));
    }
}

#[test]
fn what_was_held_is_given_back_when_its_readers_have_gone() {
    let _alone = one_heavy_test_at_a_time();
    let origin = Origin::start(|_| fresh("").pattern(1 << 20, 1));
    let (node, _) = budgeted(BUDGET, &all_to(&origin));
    let held = || node.metric("edge_cache_bytes", &[("tier", "memory")]) as u64;
    let slow: Vec<_> = (0..10)
        .map(|n| {
            let mut client = Connection::open_narrow(node.http(), 4096);
            client.send(&Request::get(&format!("/{n}")).count_body());
            assert!(client.wait_for_head());
            client
        })
        .collect();
    assert!(eventually(Duration::from_secs(10), || held() > 10 << 20));
    node.admin_post("/purge", r#"{"everything": true}"#)
        .expect(200);
    slow.into_iter().for_each(Connection::reset);
    // What nobody can find any more is dropped by those who look for it, and by the cache's own
    // housekeeping, which runs when it is used.
    let mut round = 0;
    let given_back = eventually(Duration::from_secs(10), || {
        round += 1;
        Request::get(&format!("/{}", round % 10))
            .count_body()
            .send(node.http())
            .expect(200);
        round > 10 && held() < 12 << 20
    });
    assert!(
        given_back,
        "{} bytes are still held after {round} requests",
        held()
    );
}
