//! HTTP/2 has no deadlines of its own: every wait for a client ends, no stream waits for another,
//! and a node that stops lets open streams finish.

use crate::{edge, fresh, in_front_of, one_heavy_test_at_a_time};
use edge_testkit::{
    Bodies, Frames, Gate, Origin, PREFACE, Reply, code, eventually, kind, pattern, pattern_crc,
};
use std::time::{Duration, Instant};

#[test]
fn a_hit_is_served_while_another_stream_is_stalled() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| match visit.path() {
        "/stalled" => Reply::ok("half ").gate(&hold).piece("whole").length(10),
        "/large" => fresh("").pattern(4 << 20, 1),
        _ => fresh("x"),
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    client.get("/").expect(200);
    // One stalls at the origin, one in an upload.
    let stalled = client.request("GET", "/stalled", &[], true);
    assert!(client.wait_for_body(stalled, 5));
    let upload = client.request("PUT", "/", &[], false);
    client.send_data(upload, b"hello", false);
    for _ in 0..10 {
        assert!(
            client
                .get("/")
                .expect(200)
                .field("cache-status")
                .contains("hit")
        );
    }
    gate.open();
    assert_eq!(client.finish(stalled).expect(200).text(), "half whole");
    client.send_data(upload, b"world", true);
    client.finish(upload).expect(200);
}

#[test]
fn a_stream_whose_window_is_shut_holds_back_nobody_but_itself() {
    let origin = Origin::start(|visit| match visit.path() {
        "/large" => fresh("").pattern(4 << 20, 1),
        _ => fresh("x"),
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open_with(node.http(), 16_384, None);
    client.hold_windows();
    let large = client.request("GET", "/large", &[], true);
    assert!(client.wait_for_body(large, 16_384));
    for _ in 0..10 {
        let answer = client.get("/").expect(200);
        assert_eq!(answer.text(), "x");
    }
    assert_eq!(
        client.answer(large).body_len,
        16_384,
        "more than the window allows"
    );
    client.open_window(0, 8 << 20);
    client.open_window(large, 8 << 20);
    let answer = client.finish(large).expect(200);
    assert_eq!(answer.body_crc, pattern_crc(4 << 20, 1));
}

#[test]
fn a_client_that_never_opens_its_window_is_given_up_at_the_deadline() {
    let origin = Origin::start(|visit| match visit.path() {
        "/large" => fresh("").pattern(4 << 20, 1),
        "/passed" => Reply::ok("").pattern(4 << 20, 1),
        _ => fresh("x"),
    });
    let node = edge()
        .config("[guard]\nbody_idle = \"1s\"")
        .origin(&origin)
        .start();
    for path in ["/large", "/large", "/passed"] {
        let mut client = Frames::open_with(node.http(), 1000, None);
        client.hold_windows();
        let began = Instant::now();
        let stream = client.request("GET", path, &[], true);
        let answer = client.finish(stream);
        assert_eq!((answer.body_len, answer.complete), (1000, false), "{path}");
        assert_eq!(answer.reset, Some(code::CANCEL), "{path}");
        let took = began.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(8)).contains(&took),
            "{path}: {took:?}"
        );
        client.get("/").expect(200);
    }
}

#[test]
fn an_upload_that_stands_still_is_given_up_at_the_deadline() {
    let origin = Origin::builder()
        .bodies(Bodies::Count)
        .start(|_| Reply::ok("x"));
    let node = edge()
        .config("[guard]\nbody_idle = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = Frames::open(node.http());
    let stream = client.request("PUT", "/", &[("content-length", "10")], false);
    client.send_data(stream, b"hello", false);
    let answer = client.finish(stream);
    assert!(answer.status == 408 || answer.reset.is_some(), "{answer:?}");
    assert!(origin.requests().iter().all(|visit| !visit.body_complete));
    client.get("/").expect(200);
}

#[test]
fn an_origin_that_does_not_read_holds_the_upload_back() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(move |visit| match visit.method.as_str() {
            "PUT" => Reply::new(503).hold_unread(&hold).close(),
            _ => fresh("x"),
        });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let before = node.rss_bytes();
    let mut client = Frames::open(node.http());
    client.set_patience(Duration::from_secs(1));
    let stream = client.request("PUT", "/", &[], false);
    let all = pattern(64 << 20, 1);
    assert!(!client.send_data(stream, &all, true), "nobody read it");
    assert!(node.peak_rss_bytes().saturating_sub(before) < 16 << 20);
    client.set_patience(Duration::from_secs(20));
    client.get("/").expect(200);
    gate.open();
    assert_eq!(client.finish(stream).status, 503);
}

#[test]
fn a_gibibyte_of_unread_answers_is_not_held_in_memory() {
    let _alone = one_heavy_test_at_a_time();
    let origin = Origin::start(|_| Reply::ok("").pattern(64 << 20, 1));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let before = node.rss_bytes();
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Frames::open(node.http());
            client.hold_windows();
            for n in 0..16 {
                client.request("GET", &format!("/{n}"), &[("x-pass", "1")], true);
            }
            client.listen_for(Duration::from_millis(300));
            client
        })
        .collect();
    let sent = || origin.bytes_sent();
    // The origin's writes stop: nobody reads on.
    let mut last = 0;
    let still = eventually(Duration::from_secs(20), || {
        let same = sent() == last;
        last = sent();
        std::thread::sleep(Duration::from_millis(200));
        same
    });
    assert!(still);
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(
        grown < 96 << 20,
        "64 stalled streams took {} MiB",
        grown >> 20
    );
    clients.clear();
    let gone = || node.metric("edge_connections", &[]) <= 1.0;
    assert!(eventually(Duration::from_secs(10), gone));
}

#[test]
fn a_quiet_connection_is_sent_away_and_closed() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\nidle = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = Frames::open(node.http());
    client.get("/").expect(200);
    let began = Instant::now();
    let (_, reason) = client.wait_for_goaway();
    assert_eq!(reason, code::NO_ERROR);
    assert!(client.closes_within(Duration::from_secs(5)));
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_quiet_connection_with_an_open_stream_is_kept() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |_| Reply::ok("late").hold_head(&hold));
    let node = edge()
        .config("[guard]\nidle = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = Frames::open(node.http());
    let stream = client.request("GET", "/", &[], true);
    client.listen_for(Duration::from_millis(2500));
    gate.open();
    assert_eq!(client.finish(stream).expect(200).text(), "late");
}

#[test]
fn openings_and_heads_that_drip_are_given_up() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\nidle = \"1s\"\nheader_deadline = \"1s\"")
        .origin(&origin)
        .start();
    for opening in [
        &PREFACE[..10],
        PREFACE,
        &[PREFACE, &[0, 0, 0, kind::SETTINGS]].concat(),
    ] {
        let mut client = Frames::dial(node.http(), None);
        client.write(opening);
        assert!(client.closes_within(Duration::from_secs(8)), "{opening:?}");
    }
    let mut client = Frames::open(node.http());
    client.ping();
    // A head that is never ended.
    let stream = client.new_stream();
    client.send(kind::HEADERS, 0, stream, &[0x82]);
    assert!(client.closes_within(Duration::from_secs(8)));
}

#[test]
fn sigterm_says_goaway_and_lets_open_streams_finish() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| match visit.path() {
        "/head" => Reply::ok("late").hold_head(&hold),
        "/body" => Reply::ok("first ").gate(&hold).piece("second").length(12),
        _ => Reply::ok(&visit.body),
    });
    let mut node = in_front_of(&origin);
    let mut quiet = Frames::open(node.http());
    quiet.get("/").expect(200);
    let mut client = Frames::open(node.http());
    let head = client.request("GET", "/head", &[], true);
    let body = client.request("GET", "/body", &[], true);
    let upload = client.request("PUT", "/upload", &[], false);
    client.send_data(upload, b"hello", false);
    assert!(client.wait_for_body(body, 6));
    gate.wait_until_reached(2);
    node.begin_stop();
    assert_eq!(client.wait_for_goaway().1, code::NO_ERROR);
    assert_eq!(quiet.wait_for_goaway().1, code::NO_ERROR);
    assert!(quiet.closes_within(Duration::from_secs(5)));
    gate.open();
    client.send_data(upload, b"world", true);
    assert_eq!(client.finish(head).expect(200).text(), "late");
    assert_eq!(client.finish(body).expect(200).text(), "first second");
    assert_eq!(client.finish(upload).expect(200).text(), "helloworld");
    assert!(
        client
            .goaways()
            .iter()
            .all(|(_, reason)| *reason == code::NO_ERROR)
    );
    assert!(client.closes_within(Duration::from_secs(5)));
    assert_eq!(node.wait_for_exit().code(), Some(0));
}

#[test]
fn a_stream_that_does_not_end_is_cut_off_when_the_time_to_drain_is_over() {
    let origin = Origin::start(|_| Reply::ok("half").length(10).stall());
    let mut node = edge()
        .config("[guard]\ndrain = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = Frames::open(node.http());
    let stream = client.request("GET", "/", &[], true);
    assert!(client.wait_for_body(stream, 4));
    let began = Instant::now();
    node.begin_stop();
    assert_eq!(node.wait_for_exit().code(), Some(0));
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
    assert!(client.closes_within(Duration::from_secs(1)));
    assert!(!client.answer(stream).complete);
}
