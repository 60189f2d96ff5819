//! Requests with a body: passed on as they come, held back by whoever reads slowly, refused early
//! when they are too large, and never ended by us when the client did not end them.

use crate::{edge, in_front_of, one_heavy_test_at_a_time};
use edge_testkit::{
    Bodies, Connection, Gate, NoResponse, Origin, Reply, Request, eventually, pattern_crc,
};
use std::time::Duration;

/// An origin that reads uploads and keeps only their length and sum.
fn counting() -> Origin {
    Origin::builder()
        .bodies(Bodies::Count)
        .start(|_| Reply::ok("done"))
}

#[test]
fn an_upload_keeps_its_framing_on_the_way() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let sized = Request::post("/", "hello").send(node.http()).expect(200);
    let chunked = Request::new("PUT", "/")
        .chunked(["hel", "lo"])
        .trailer("X-Sum", "5");
    assert_eq!(
        (sized.text(), chunked.send(node.http()).expect(200).text()),
        ("hello".into(), "hello".into())
    );
    let visits = origin.requests();
    assert_eq!(
        (
            visits[0].field("content-length"),
            visits[0].has("transfer-encoding")
        ),
        ("5", false)
    );
    assert_eq!(
        (
            visits[1].field("transfer-encoding"),
            visits[1].has("content-length")
        ),
        ("chunked", false)
    );
    assert!(origin.faults().is_empty());
}

#[test]
fn a_post_without_a_body_says_so_to_the_origin() {
    let origin = Origin::start(|_| Reply::ok("x"));
    let node = in_front_of(&origin);
    Request::new("POST", "/").send(node.http()).expect(200);
    Request::post("/", "").send(node.http()).expect(200);
    Request::new("POST", "/")
        .chunked([""; 0])
        .send(node.http())
        .expect(200);
    for visit in origin.requests() {
        assert_eq!(visit.body_len, 0);
        assert!(
            visit.field("content-length") == "0" || visit.has("transfer-encoding"),
            "{:?}",
            visit.fields
        );
    }
}

#[test]
fn sixty_four_mebibytes_pass_through_in_constant_memory() {
    let _alone = one_heavy_test_at_a_time();
    let origin = counting();
    let node = in_front_of(&origin);
    Request::put("/", "warm").send(node.http()).expect(200);
    let before = node.rss_bytes();
    Request::put("/", "")
        .pattern(64 << 20, 5)
        .send(node.http())
        .expect(200);
    Request::put("/", "")
        .pattern_chunked(64 << 20, 6)
        .send(node.http())
        .expect(200);
    let visits = origin.requests();
    for (visit, seed) in visits[1..].iter().zip([5, 6]) {
        assert_eq!(
            (visit.body_len, visit.body_crc),
            (64 << 20, pattern_crc(64 << 20, seed))
        );
    }
    let grown = node.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "the node grew by {grown} bytes");
}

#[test]
fn many_uploads_at_once_do_not_mix() {
    let origin = Origin::start(|visit| Reply::ok(visit.body_crc.to_string()));
    let node = in_front_of(&origin);
    let requests: Vec<_> = (0..40)
        .map(|n| Request::post("/", "").pattern(1000 + n * 5000, n))
        .collect();
    let crowd = edge_testkit::Crowd::gather(40, node.http(), &requests[0])
        .requests(requests)
        .start();
    for (n, answer) in crowd.responses().iter().enumerate() {
        let n = n as u64;
        assert_eq!(answer.text(), pattern_crc(1000 + n * 5000, n).to_string());
    }
}

#[test]
fn the_origin_gets_the_first_part_before_the_client_has_sent_the_last() {
    let origin = counting();
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert!(eventually(Duration::from_secs(5), || origin
        .bytes_received()
        == 5));
    client.send_raw("world");
    assert_eq!(client.receive().expect(200).text(), "done");
}

#[test]
fn an_origin_that_does_not_read_holds_the_client_back() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(move |_| Reply::new(503).hold_head(&hold).close());
    let node = in_front_of(&origin);
    let before = node.rss_bytes();
    let mut client = node.connect();
    client.set_timeout(Duration::from_millis(500));
    client.send(&Request::put("/", "").pattern(64 << 20, 1));
    assert!(node.peak_rss_bytes() - before < 16 << 20);
    gate.open();
    client.set_timeout(Duration::from_secs(20));
    assert_eq!(client.receive().status, 503);
}

#[test]
fn an_expected_100_comes_when_the_origin_is_ready_for_the_body() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let request = Request::put("/", "late").field("Expect", "100-continue");
    let mut client = node.connect();
    for _ in 0..2 {
        client.send_head(&request);
        assert!(client.wait_for_interim(1));
        client.send_body(&request);
        let answer = client.receive().expect(200);
        assert_eq!((answer.text().as_str(), answer.interim.len()), ("late", 1));
    }
    assert!(origin.faults().is_empty());
}

#[test]
fn a_client_that_does_not_wait_for_the_100_is_served_as_well() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let mut client = node.connect();
    for _ in 0..3 {
        let answer = client.exchange(&Request::put("/", "now").field("Expect", "100-continue"));
        assert_eq!(answer.expect(200).text(), "now");
    }
}

#[test]
fn no_100_is_sent_for_a_body_that_nobody_will_read() {
    let origin = counting();
    let node = edge()
        .config("[guard]\nbody_max = \"1KiB\"")
        .origin(&origin)
        .start();
    let mut client = node.connect();
    client.send_head(
        &Request::put("/", "")
            .pattern(1025, 1)
            .field("Expect", "100-continue"),
    );
    let answer = client.receive().expect(413);
    assert!(answer.interim.is_empty(), "{answer}");
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_it_is_read() {
    let origin = counting();
    let node = edge()
        .config("[guard]\nbody_max = \"1KiB\"")
        .origin(&origin)
        .start();
    Request::put("/", "")
        .pattern(1024, 1)
        .send(node.http())
        .expect(200);
    let answer = Request::put("/", "")
        .pattern(1 << 30, 1)
        .send(node.http())
        .expect(413);
    assert!(answer.fields.lists("connection", "close"), "{answer}");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_chunked_body_that_grows_too_large_is_cut_off() {
    let origin = counting();
    let node = edge()
        .config("[guard]\nbody_max = \"100KiB\"")
        .origin(&origin)
        .start();
    Request::put("/", "")
        .pattern_chunked(100 << 10, 1)
        .send(node.http())
        .expect(200);
    Request::put("/", "")
        .pattern_chunked(1 << 20, 1)
        .send(node.http())
        .expect(413);
    let visits = origin.requests();
    assert!(visits[0].body_complete);
    assert!(
        visits[1..]
            .iter()
            .all(|visit| !visit.body_complete && visit.body_len <= 100 << 10)
    );
}

#[test]
fn an_answer_before_the_end_of_the_upload_is_heard_at_once() {
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(|_| Reply::new(403).piece("no").close());
    let node = in_front_of(&origin);
    for request in [
        Request::put("/", "").pattern(256 << 20, 1),
        Request::put("/", "").pattern_chunked(256 << 20, 1),
    ] {
        let answer = request.send(node.http()).expect(403);
        assert_eq!(answer.text(), "no");
        assert!(answer.fields.lists("connection", "close"), "{answer}");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_has_not_finished_it() {
    for head in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        for orderly in [true, false] {
            let origin = counting();
            let node = in_front_of(&origin);
            let mut client = node.connect();
            client.send_raw(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"));
            assert!(eventually(Duration::from_secs(5), || origin
                .bytes_received()
                == 5));
            if orderly {
                drop(client)
            } else {
                client.reset()
            }
            assert!(eventually(Duration::from_secs(5), || origin
                .open_connections()
                == 0));
            let visits = origin.requests();
            assert!(visits.len() == 1 && !visits[0].body_complete, "{head:?}");
        }
    }
}

#[test]
fn a_client_that_ends_its_side_too_early_is_told() {
    let origin = counting();
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    client.finish_sending();
    assert_eq!(client.receive().status, 400);
    assert!(origin.requests().iter().all(|visit| !visit.body_complete));
}

#[test]
fn an_upload_that_stands_still_is_given_up() {
    let origin = counting();
    let node = edge()
        .config("[guard]\nbody_idle = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = node.connect();
    client.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.receive().expect(408).field("connection"), "close");
    assert!(client.closes_within(Duration::from_secs(5)));
    assert!(origin.requests().iter().all(|visit| !visit.body_complete));
}

#[test]
fn an_upload_for_nobody_is_answered_and_its_connection_used_again_if_it_is_small() {
    let origin = counting();
    let site = format!(
        "[[site]]\nhosts = [\"a.test\"]\norigin = \"{}\"",
        origin.url()
    );
    let node = edge().site(&site).start();
    let mut client = Connection::open(node.http());
    let small = client
        .exchange(&Request::put("/", "small").host("b.test"))
        .expect(421);
    if !small.fields.lists("connection", "close") {
        client
            .exchange(&Request::put("/", "mine").host("a.test"))
            .expect(200);
    }
    let large = Request::put("/", "")
        .pattern(64 << 20, 1)
        .host("b.test")
        .try_send(node.http());
    match large {
        Ok(answer) => assert_eq!(answer.status, 421),
        Err(why) => assert_eq!(why, NoResponse::Reset),
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|visit| visit.field("host") == "a.test")
    );
}
