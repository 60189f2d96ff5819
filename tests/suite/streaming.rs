//! Bodies far larger than memory pass both ways, and whoever is slow slows the other side down
//! instead of filling the node. `EDGE_TEST_FULL=1` sends five gibibytes instead of one.

use crate::{edge, fresh, in_front_of, one_heavy_test_at_a_time};
use edge_testkit::{
    Bodies, Connection, Ended, Frames, Gate, Node, Origin, Reply, Request, eventually, pattern,
    pattern_crc, repeated_crc,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How much is sent.
fn large() -> u64 {
    match std::env::var("EDGE_TEST_FULL") {
        Ok(_) => 5 << 30,
        Err(_) => 1 << 30,
    }
}

/// What the node may grow by while it passes on.
const GROWTH_MAX: u64 = 64 << 20;

/// A node with room for bodies this large, and its memory before any.
fn warm(origin: &Origin) -> (Node, u64) {
    let node = edge()
        .config("[guard]\nbody_max = \"8GiB\"\n[cache]\nmemory = \"16MiB\"")
        .origin(origin)
        .start();
    node.get("/warm-up");
    node.send(&Request::put("/warm-up", "x"));
    let before = node.rss_bytes();
    (node, before)
}

#[track_caller]
fn assert_small(node: &Node, before: u64) {
    let grown = node.peak_rss_bytes().saturating_sub(before);
    eprintln!("the node grew by {} MiB", grown >> 20);
    assert!(grown < GROWTH_MAX, "the node grew by {} MiB", grown >> 20);
}

/// Many mebibytes of one pattern, made once; its CRC over and over is quick to know.
fn block() -> Vec<u8> {
    pattern(1 << 20, 7)
}

#[test]
fn a_gibibyte_is_downloaded_in_constant_memory() {
    let _alone = one_heavy_test_at_a_time();
    let block = block();
    let count = large() >> 20;
    let origin = {
        let block = block.clone();
        Origin::start(move |visit| match visit.path() {
            "/large" => Reply::new(200).repeated(&block, count),
            "/chunked" => Reply::new(200).repeated(&block, count / 4).chunked(),
            _ => Reply::ok("x"),
        })
    };
    let (node, before) = warm(&origin);
    for (path, count) in [("/large", count), ("/chunked", count / 4)] {
        let answer = Request::get(path)
            .count_body()
            .send(node.http())
            .expect(200);
        assert_eq!(
            (answer.body_len, answer.body_crc),
            (count << 20, repeated_crc(&block, count)),
            "{path}"
        );
    }
    assert_small(&node, before);
}

#[test]
fn a_gibibyte_is_uploaded_in_constant_memory() {
    let _alone = one_heavy_test_at_a_time();
    let origin = Origin::builder()
        .bodies(Bodies::Count)
        .start(|_| Reply::ok("done"));
    let (node, before) = warm(&origin);
    let block = block();
    let count = large() >> 20;
    for (target, count, head) in [
        ("/large", count, format!("Content-Length: {}", count << 20)),
        (
            "/chunked",
            count / 4,
            "Transfer-Encoding: chunked".to_owned(),
        ),
    ] {
        let mut client = node.connect();
        client.send_raw(format!(
            "PUT {target} HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n"
        ));
        let chunked = target == "/chunked";
        let piece = if chunked {
            [format!("{:x}\r\n", block.len()).as_bytes(), &block, b"\r\n"].concat()
        } else {
            block.clone()
        };
        for _ in 0..count {
            client.send_raw(&piece);
        }
        if chunked {
            client.send_raw("0\r\n\r\n");
        }
        client.receive().expect(200);
        let visit = origin.requests().pop().unwrap();
        assert!(visit.body_complete);
        assert_eq!(
            (visit.body_len, visit.body_crc),
            (count << 20, repeated_crc(&block, count)),
            "{target}"
        );
    }
    assert_small(&node, before);
}

#[test]
fn large_bodies_pass_over_http_2_in_constant_memory() {
    let _alone = one_heavy_test_at_a_time();
    let block = block();
    let count = large() >> 22;
    let origin = {
        let block = block.clone();
        Origin::builder()
            .bodies(Bodies::Count)
            .start(move |visit| match visit.path() {
                "/large" => Reply::new(200).repeated(&block, count),
                _ => Reply::ok("x"),
            })
    };
    let (node, before) = warm(&origin);
    let mut client = Frames::open_with(node.http(), 4 << 20, None);
    client.count_bodies();
    let stream = client.request("GET", "/large", &[], true);
    let answer = client.finish(stream).expect(200);
    assert_eq!(
        (answer.body_len, answer.body_crc),
        (count << 20, repeated_crc(&block, count))
    );
    let stream = client.request("PUT", "/large-upload", &[], false);
    for n in 1..=count {
        assert!(client.send_data(stream, &block, n == count));
    }
    client.finish(stream).expect(200);
    let visit = origin.requests().pop().unwrap();
    assert_eq!(
        (visit.body_len, visit.body_crc),
        (count << 20, repeated_crc(&block, count))
    );
    assert_small(&node, before);
}

#[test]
fn a_client_that_reads_slowly_holds_the_origin_back() {
    let origin = Origin::start(|_| Reply::ok("").pattern(256 << 20, 1));
    let node = in_front_of(&origin);
    let before = node.rss_bytes();
    let mut client = Connection::open_narrow(node.http(), 16 << 10);
    client.send(&Request::get("/").count_body());
    assert!(client.wait_for_body(1));
    let held = settled(|| origin.bytes_sent());
    assert!(
        held < 64 << 20,
        "the origin could write {} MiB nobody read",
        held >> 20
    );
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "the node grew by {} MiB", grown >> 20);
    // Whoever reads on gets on.
    assert!(client.wait_for_body(8 << 20));
    assert!(eventually(Duration::from_secs(5), || origin.bytes_sent() > held));
    client.reset();
    assert!(
        eventually(Duration::from_secs(10), || origin.abandoned() == 1),
        "the origin is still being read"
    );
}

#[test]
fn an_origin_that_reads_slowly_holds_the_client_back() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(move |_| Reply::new(503).hold_unread(&hold).close());
    let node = in_front_of(&origin);
    let before = node.rss_bytes();
    let sent = AtomicU64::new(0);
    let leave = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut client = node.connect();
        client.set_timeout(Duration::from_secs(20));
        client.send_raw("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (sent, leave) = (&sent, &leave);
        scope.spawn(move || {
            let piece = [b"10000\r\n", &pattern(1 << 16, 1)[..], b"\r\n"].concat();
            while !leave.load(Ordering::SeqCst) && client.try_send_raw(&piece).is_ok() {
                sent.fetch_add(1 << 16, Ordering::SeqCst);
            }
        });
        gate.wait_until_reached(1);
        let held = settled(|| sent.load(Ordering::SeqCst));
        leave.store(true, Ordering::SeqCst);
        gate.open();
        assert!(
            held < 64 << 20,
            "the client could write {} MiB nobody read",
            held >> 20
        );
    });
    let grown = node.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "the node grew by {} MiB", grown >> 20);
}

/// The value once it has stopped growing.
#[track_caller]
fn settled(value: impl Fn() -> u64) -> u64 {
    let mut last = value();
    let still = eventually(Duration::from_secs(20), || {
        std::thread::sleep(Duration::from_millis(300));
        let now = value();
        std::mem::replace(&mut last, now) == now
    });
    assert!(still, "it goes on and on: {last}");
    last
}

#[test]
fn a_slow_reader_of_a_fill_does_not_hold_back_the_others() {
    let origin = Origin::start(|_| fresh("").pattern(8 << 20, 1));
    let node = in_front_of(&origin);
    let mut slow = Connection::open_narrow(node.http(), 4096);
    slow.send(&Request::get("/").count_body());
    assert!(slow.wait_for_head());
    for _ in 0..2 {
        let answer = Request::get("/").count_body().send(node.http()).expect(200);
        assert_eq!(answer.body_crc, pattern_crc(8 << 20, 1));
    }
    assert_eq!(slow.receive().expect(200).body_crc, pattern_crc(8 << 20, 1));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn an_expected_100_that_never_comes_costs_nothing() {
    // The origin refuses from the head alone: no 100, and the body is never asked for.
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(|_| Reply::new(401).piece("who are you").close());
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send_head(
        &Request::put("/", "")
            .pattern(1 << 30, 1)
            .field("Expect", "100-continue"),
    );
    let answer = client.receive().expect(401);
    assert_eq!(answer.text(), "who are you");
    assert!(answer.fields.lists("connection", "close"), "{answer}");
    assert!(client.closes_within(Duration::from_secs(5)));
}

#[test]
fn an_expectation_without_a_body_is_answered_at_once() {
    let origin = Origin::start(|_| Reply::ok("x"));
    let node = in_front_of(&origin);
    let mut client = node.connect();
    for _ in 0..3 {
        let answer = client
            .exchange(&Request::get("/").field("Expect", "100-continue"))
            .expect(200);
        assert!(answer.interim.is_empty(), "{answer}");
    }
}

#[test]
fn http_1_0_gets_no_100() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body).interim(103, &[("Link", "</a>")]));
    let node = in_front_of(&origin);
    let request = Request::put("/", "body")
        .version("HTTP/1.0")
        .field("Expect", "100-continue");
    let answer = request.send(node.http()).expect(200);
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("body", 0));
}

#[test]
fn a_client_that_ends_its_side_behind_a_whole_request_still_gets_its_reply() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| match visit.path() {
        "/hit" => fresh("x"),
        "/slow" => Reply::ok(&visit.body).hold_head(&hold),
        _ => Reply::ok("first ").gate(&hold).piece("second").length(12),
    });
    let node = in_front_of(&origin);
    node.get("/hit").expect(200);
    let requests = [
        ("GET /hit HTTP/1.1\r\nHost: edge.test\r\n\r\n", "x"),
        ("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /body HTTP/1.1\r\nHost: a\r\n\r\n", "first second"),
        (
            "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
            "body",
        ),
        (
            "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "body",
        ),
        ("GET /slow HTTP/1.0\r\n\r\n", ""),
    ];
    let mut clients: Vec<_> = requests
        .iter()
        .map(|(request, _)| {
            let mut client = node.connect();
            client.send_raw(request);
            client.finish_sending();
            client
        })
        .collect();
    gate.wait_until_reached(5);
    gate.open();
    for (client, (request, wanted)) in clients.iter_mut().zip(requests) {
        let answer = client.receive().expect(200);
        assert_eq!(answer.text(), wanted, "{request:?}");
        assert!(client.closes_within(Duration::from_secs(5)));
    }
}

#[test]
fn pipelined_requests_are_all_answered_to_a_client_that_has_ended_its_side() {
    let origin = Origin::start(|visit| fresh(&visit.target));
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send_raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    for wanted in ["/1", "/2", "/3"] {
        assert_eq!(client.receive().expect(200).text(), wanted);
    }
    assert!(client.closes_within(Duration::from_secs(5)));
}

#[test]
fn http_1_0_without_keep_alive_is_closed_behind_its_reply() {
    let origin = Origin::start(|visit| match visit.path() {
        "/chunked" => Reply::ok("").pattern(3 << 20, 1).chunked(),
        _ => Reply::ok("").pattern(3 << 20, 1),
    });
    let node = in_front_of(&origin);
    for (path, ended) in [("/", Ended::Length), ("/chunked", Ended::Close)] {
        let mut client = node.connect();
        let answer = client
            .exchange(&Request::get(path).version("HTTP/1.0").count_body())
            .expect(200);
        assert_eq!(
            (&answer.ended, answer.body_crc),
            (&ended, pattern_crc(3 << 20, 1)),
            "{path}"
        );
        assert!(client.closes_within(Duration::from_secs(5)));
        let post = Request::post(path, "x")
            .version("HTTP/1.0")
            .count_body()
            .send(node.http())
            .expect(200);
        assert_eq!(post.ended, ended);
    }
}

#[test]
fn a_kept_connection_that_died_is_replaced_without_the_client_noticing() {
    let origin = Origin::start(|visit| Reply::ok(format!("{} {}", visit.target, visit.text())));
    let node = in_front_of(&origin);
    for round in 0..5 {
        for method in ["GET", "HEAD", "OPTIONS"] {
            node.get(&format!("/warm/{round}{method}")).expect(200);
            // Every kept connection of the node dies, and the port stays the same.
            origin.restart();
            Request::new(method, &format!("/{round}{method}"))
                .send(node.http())
                .expect(200);
        }
    }
}

#[test]
fn what_may_not_be_sent_twice_is_never_sent_twice() {
    // The origin takes the request and dies without a word.
    let origin = Origin::start(|visit| match visit.path() {
        "/warm" => Reply::ok("x"),
        _ => Reply::raw("").close(),
    });
    let node = in_front_of(&origin);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        node.get("/warm").expect(200);
        let before = origin.request_count();
        let answer = Request::new(method, "/once").body("body").send(node.http());
        assert_eq!(answer.status, 502, "{method}");
        assert_eq!(
            origin.request_count() - before,
            1,
            "{method} was sent again"
        );
    }
}
