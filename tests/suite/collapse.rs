//! Many clients and one fetch: who waits for whom, who reads along, and what happens to the
//! others when one of them, or the origin, leaves in the middle.

use crate::{EDGE, edge, fresh, in_front_of, one_heavy_test_at_a_time};
use edge_testkit::{
    Connection, Crowd, Ended, Gate, Node, Origin, Reply, Request, crowd, eventually, pattern_crc,
    raise_open_files,
};
use std::time::{Duration, Instant};

/// A reply of twice `half` bytes that stops in the middle until the gate opens.
fn two_halves(half: u64, gate: &Gate) -> Reply {
    let bytes = edge_testkit::pattern(half as usize * 2, 1);
    let (first, second) = bytes.split_at(half as usize);
    fresh(first).gate(gate).piece(second)
}

#[test]
fn ten_thousand_cold_requests_are_one_fetch_and_all_get_the_same() {
    let _alone = one_heavy_test_at_a_time();
    let gate = Gate::new();
    let reply = two_halves(1000, &gate);
    let origin = Origin::start(move |_| reply.clone());
    raise_open_files(20_000);
    let node = Node::with(EDGE)
        .config("[log]\naccess = \"off\"")
        .origin(&origin)
        .start();
    let request = Request::get("/").count_body();
    let crowd = crowd(10_000, node.http(), &request);
    crowd.wait_until_all_have(1000);
    assert_eq!((origin.request_count(), crowd.ended()), (1, 0));
    gate.open();
    let count = crowd.len();
    let answers = crowd.responses();
    assert_eq!(origin.request_count(), 1);
    assert_eq!(
        count, 10_000,
        "the limit on open files is too low for this test"
    );
    let sum = pattern_crc(2000, 1);
    assert!(
        answers
            .iter()
            .all(|got| got.status == 200 && got.complete && got.body_crc == sum)
    );
    let first = answers
        .iter()
        .filter(|got| !got.field("cache-status").contains("collapsed"));
    assert_eq!(first.count(), 1);
}

#[test]
fn followers_stream_from_the_first_byte_however_the_body_is_framed() {
    for chunked in [false, true] {
        let gate = Gate::new();
        let reply = two_halves(500, &gate);
        let reply = if chunked { reply.chunked() } else { reply };
        let origin = Origin::start(move |_| reply.clone());
        let node = in_front_of(&origin);
        let mut clients = [node.connect(), node.connect(), node.connect()];
        for client in &mut clients {
            client.send(&Request::get("/"));
            assert!(
                client.wait_for_body(500),
                "the first half comes before the second exists"
            );
        }
        gate.open();
        let [leader, follower, other] = clients.map(|mut client| client.receive().expect(200));
        assert!(
            leader
                .field("cache-status")
                .starts_with("edge; fwd=uri-miss; fwd-status=200; stored; ttl")
        );
        assert!(
            follower.field("cache-status").contains("; collapsed"),
            "{follower}"
        );
        assert!(
            leader.body == follower.body && leader.body == other.body && leader.body_len == 1000
        );
        assert_eq!(origin.request_count(), 1);
    }
}

#[test]
fn a_range_of_what_is_still_arriving_is_exact() {
    let gate = Gate::new();
    let reply = two_halves(500, &gate);
    let origin = Origin::start(move |_| reply.clone());
    let node = in_front_of(&origin);
    let mut leader = node.connect();
    leader.send(&Request::get("/"));
    assert!(leader.wait_for_body(500));
    let early = Request::get("/")
        .field("Range", "bytes=100-199")
        .send(node.http())
        .expect(206);
    assert!(edge_testkit::is_pattern_from(100, &early.body, 1) && early.body_len == 100);
    let mut late = node.connect();
    late.send(&Request::get("/").field("Range", "bytes=450-549"));
    assert!(late.wait_for_body(50));
    gate.open();
    let late = late.receive().expect(206);
    assert!(edge_testkit::is_pattern_from(450, &late.body, 1) && late.body_len == 100);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_client_that_leaves_in_the_middle_does_not_break_the_others() {
    let gate = Gate::new();
    let reply = two_halves(1000, &gate);
    let origin = Origin::start(move |_| reply.clone());
    let node = in_front_of(&origin);
    let mut clients: Vec<_> = (0..10).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(&Request::get("/"));
        assert!(client.wait_for_body(1000));
    }
    // The one that caused the fetch, and every second one of the others.
    for (n, client) in std::mem::take(&mut clients).into_iter().enumerate() {
        if n % 2 == 0 {
            client.reset()
        } else {
            clients.push(client)
        }
    }
    gate.open();
    for mut client in clients {
        assert_eq!(client.receive().expect(200).body_crc, pattern_crc(2000, 1));
    }
    assert!(node.get("/").field("cache-status").starts_with("edge; hit"));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_fetch_that_will_be_kept_goes_on_when_everybody_has_left() {
    let gate = Gate::new();
    let reply = two_halves(1000, &gate);
    let origin = Origin::start(move |_| reply.clone());
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send(&Request::get("/"));
    assert!(client.wait_for_body(1000));
    client.reset();
    gate.open();
    assert!(eventually(Duration::from_secs(5), || origin.finished() == 1));
    assert_eq!(node.get("/").expect(200).body_crc, pattern_crc(2000, 1));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn an_origin_that_dies_in_the_middle_resets_every_reader_and_leaves_nothing_behind() {
    type Break = fn(Reply) -> Reply;
    let ways: [(&str, Break); 4] = [
        ("length, closed", |reply| reply.cut_after(1500)),
        ("length, reset", |reply| reply.reset_after(1500)),
        ("chunked, closed", |reply| reply.chunked().cut_after(1500)),
        ("chunked, reset", |reply| reply.chunked().reset_after(1500)),
    ];
    for (way, cut) in ways {
        let gate = Gate::new();
        let broken = cut(two_halves(1000, &gate));
        let whole = fresh("").pattern(2000, 1);
        let origin = Origin::sequence([broken, whole]);
        let node = in_front_of(&origin);
        let crowd = crowd(100, node.http(), &Request::get("/"));
        crowd.wait_until_all_have(1000);
        gate.open();
        for answer in crowd.responses() {
            assert!(
                !answer.complete && answer.body_len < 2000,
                "{way}: {answer}"
            );
            assert_eq!(answer.ended, Ended::Reset, "{way}");
        }
        let next = node.get("/").expect(200);
        assert_eq!(
            (next.body_len, next.body_crc),
            (2000, pattern_crc(2000, 1)),
            "{way}"
        );
        assert!(
            next.field("cache-status").contains("fwd=uri-miss"),
            "{way}: {next}"
        );
        assert_eq!(origin.request_count(), 2, "{way}");
        assert!(
            node.get("/").field("cache-status").starts_with("edge; hit"),
            "{way}"
        );
    }
}

#[test]
fn an_origin_that_fails_before_its_head_is_asked_once_for_all_who_waited() {
    let gate = Gate::new();
    let broken = Reply::raw("").gate(&gate).close();
    let origin = Origin::sequence([broken, fresh("back")]);
    let node = in_front_of(&origin);
    let crowd = crowd(50, node.http(), &Request::get("/"));
    gate.wait_until_reached(1);
    wait_for_followers();
    gate.open();
    let answers = crowd.responses();
    let failed = answers.iter().filter(|answer| answer.status == 502).count();
    assert!(failed > 0 && answers.iter().all(|answer| answer.complete));
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 502 | 200))
    );
    assert_eq!(node.get("/").expect(200).text(), "back");
    assert_eq!(origin.request_count(), 2);
}

/// Gives requests under way the time to reach the cache. What is asserted holds without it too;
/// it only makes the interesting order of events the usual one.
fn wait_for_followers() {
    std::thread::sleep(Duration::from_millis(200));
}

#[test]
fn what_cannot_be_shared_goes_to_the_one_that_asked_and_the_others_ask_for_themselves() {
    for control in ["no-store", "private", "max-age=0"] {
        let gate = Gate::new();
        let hold = gate.clone();
        let origin = Origin::start(move |visit| {
            let reply = Reply::ok(visit.number.to_string()).field("Cache-Control", control);
            if visit.number == 1 {
                reply.hold_head(&hold)
            } else {
                reply
            }
        });
        let node = in_front_of(&origin);
        let crowd = crowd(50, node.http(), &Request::get("/"));
        gate.wait_until_reached(1);
        wait_for_followers();
        gate.open();
        let mut bodies: Vec<u32> = crowd
            .responses()
            .iter()
            .map(|got| got.text().parse().unwrap())
            .collect();
        bodies.sort_unstable();
        assert_eq!(bodies, (1..=50).collect::<Vec<_>>(), "{control}");
        assert_eq!(origin.request_count(), 50);
    }
}

#[test]
fn what_could_not_be_shared_is_remembered_so_that_nobody_queues_behind_it() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| {
        let reply = Reply::ok("x").field("Cache-Control", "no-store");
        if visit.number == 2 {
            reply.hold_head(&hold)
        } else {
            reply
        }
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let mut held = node.connect();
    held.send(&Request::get("/"));
    gate.wait_until_reached(1);
    let past = node.get("/").expect(200);
    assert!(
        past.field("cache-status")
            .contains("detail=remembered-uncacheable"),
        "{past}"
    );
    gate.open();
    held.receive().expect(200);
}

#[test]
fn what_becomes_cacheable_is_cached_soon() {
    let origin = Origin::start(|visit| {
        let control = if visit.number == 1 {
            "no-store"
        } else {
            "max-age=60"
        };
        Reply::ok(visit.number.to_string()).field("Cache-Control", control)
    });
    let node = in_front_of(&origin);
    for body in ["1", "2", "3", "3", "3"] {
        assert_eq!(node.get("/").text(), body);
    }
}

#[test]
fn followers_of_another_variant_get_their_own() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| {
        let reply = fresh(visit.field("accept-language")).field("Vary", "Accept-Language");
        if visit.number == 1 {
            reply.hold_head(&hold)
        } else {
            reply
        }
    });
    let node = in_front_of(&origin);
    let requests: Vec<_> = ["en", "fr", "de"]
        .iter()
        .map(|lang| Request::get("/").field("Accept-Language", lang))
        .collect();
    let crowd = Crowd::gather(30, node.http(), &requests[0])
        .requests(requests)
        .start();
    gate.wait_until_reached(1);
    wait_for_followers();
    gate.open();
    for (n, answer) in crowd.responses().iter().enumerate() {
        assert_eq!(answer.text(), ["en", "fr", "de"][n % 3]);
    }
    let most = origin.request_count();
    assert!(
        (3..=6).contains(&most),
        "{most} requests for three variants"
    );
}

#[test]
fn a_slow_reader_of_what_is_kept_holds_nobody_up_and_gets_all_of_it() {
    let origin = Origin::start(|_| fresh("").pattern(8 << 20, 2));
    let node = in_front_of(&origin);
    let mut slow = Connection::open_narrow(node.http(), 4096);
    slow.send(&Request::get("/").count_body());
    assert!(slow.wait_for_body(1));
    let began = Instant::now();
    for _ in 0..3 {
        let fast = Request::get("/").count_body().send(node.http()).expect(200);
        assert_eq!(fast.body_crc, pattern_crc(8 << 20, 2));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(slow.receive().expect(200).body_crc, pattern_crc(8 << 20, 2));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_slow_reader_of_what_is_not_kept_holds_the_others_up_for_a_bounded_time() {
    let gate = Gate::new();
    let reply = fresh("").pattern(32 << 20, 2).hold_head(&gate);
    let origin = Origin::start(move |_| reply.clone());
    let limits = "[cache]\nobject_max = \"1MiB\"\nwindow = \"256KiB\"";
    let node = edge().config(limits).origin(&origin).start();
    let mut slow = Connection::open_narrow(node.http(), 4096);
    slow.send(&Request::get("/").count_body());
    gate.wait_until_reached(1);
    let mut fast = node.connect();
    fast.send(&Request::get("/").count_body());
    // Both are to read from the same fetch, which nobody can join later.
    std::thread::sleep(Duration::from_secs(1));
    gate.open();
    let began = Instant::now();
    assert_eq!(
        fast.receive().expect(200).body_crc,
        pattern_crc(32 << 20, 2)
    );
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(origin.request_count(), 1);
    assert_eq!(
        slow.receive().ended,
        Ended::Reset,
        "who holds the others up is broken off"
    );
}

#[test]
fn a_stale_copy_is_validated_once_for_all_who_ask() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| {
        let reply = match visit.has("if-none-match") {
            true => Reply::new(304).hold_head(&hold),
            false => Reply::ok("one"),
        };
        let control = if visit.number == 1 {
            "max-age=0"
        } else {
            "max-age=60"
        };
        reply
            .field("ETag", "\"v1\"")
            .field("Cache-Control", control)
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let crowd = crowd(200, node.http(), &Request::get("/"));
    gate.wait_until_reached(1);
    wait_for_followers();
    gate.open();
    for answer in crowd.responses() {
        assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
        let status = answer.field("cache-status");
        assert!(
            status.contains("fwd=stale") || status.contains("hit"),
            "{status}"
        );
    }
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_lone_slow_reader_of_what_is_not_kept_holds_the_origin_back() {
    let _alone = one_heavy_test_at_a_time();
    let origin = Origin::start(|_| fresh("").pattern(64 << 20, 2));
    let limits = "[cache]\nobject_max = \"1MiB\"\nwindow = \"256KiB\"";
    let node = edge().config(limits).origin(&origin).start();
    let before = node.rss_bytes();
    let mut slow = Connection::open_narrow(node.http(), 4096);
    slow.send(&Request::get("/").count_body());
    assert!(slow.wait_for_body(1));
    let mut sent = 0;
    // The origin stands still: what it sent no longer grows.
    let stands = eventually(Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut sent, origin.bytes_sent()) == origin.bytes_sent()
    });
    assert!(stands && sent < 32 << 20, "{sent} bytes were sent");
    assert!(node.peak_rss_bytes() - before < 24 << 20);
    assert_eq!(
        slow.receive().expect(200).body_crc,
        pattern_crc(64 << 20, 2)
    );
}

#[test]
fn a_purge_in_the_middle_of_a_fetch_covers_it() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| {
        let reply = fresh(format!("{:04}", visit.number));
        if visit.number == 1 {
            reply.gate(&hold).length(8).piece("tail")
        } else {
            reply
        }
    });
    let node = in_front_of(&origin);
    let mut before = node.connect();
    before.send(&Request::get("/"));
    assert!(before.wait_for_body(4));
    node.admin_post("/purge", r#"{"url": "http://edge.test/"}"#)
        .expect(200);
    assert_eq!(
        node.get("/").text(),
        "0002",
        "who comes after the purge gets what was made after it"
    );
    gate.open();
    assert_eq!(before.receive().expect(200).text(), "0001tail");
    assert_eq!(node.get("/").text(), "0002");
    assert_eq!(origin.request_count(), 2);
}
