//! HTTP/2 by prior knowledge, frame by frame: requests of every kind, their bodies and trailers,
//! and what an answer looks like when it is whole, and when it is not.

use crate::{fresh, in_front_of};
use edge_testkit::{
    Frames, Gate, Origin, Reply, Request, code, eventually, http_date, is_pattern, pattern,
};
use std::time::{Duration, SystemTime};

#[test]
fn a_get_is_a_miss_and_then_a_hit_for_both_protocols() {
    let origin = Origin::start(|_| fresh("hello").field("X-A", "1"));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let missed = client.get("/").expect(200);
    assert_eq!(
        (missed.text().as_str(), missed.field("x-a")),
        ("hello", "1")
    );
    assert!(
        missed.field("cache-status").contains("fwd=uri-miss"),
        "{missed:?}"
    );
    for _ in 0..3 {
        let hit = client.get("/").expect(200);
        assert!(hit.field("cache-status").contains("hit"), "{hit:?}");
        assert_eq!(
            (hit.text().as_str(), hit.field("content-length")),
            ("hello", "5")
        );
    }
    assert!(
        node.send(&Request::get("/"))
            .field("cache-status")
            .contains("hit")
    );
    assert_eq!(origin.request_count(), 1);
    let visit = &origin.requests()[0];
    assert_eq!(
        (visit.version.as_str(), visit.field("host")),
        ("HTTP/1.1", "edge.test")
    );
    assert_eq!(
        (visit.field("via"), visit.field("x-forwarded-proto")),
        ("2.0 edge", "http")
    );
}

#[test]
fn a_head_has_the_length_and_no_body() {
    let origin = Origin::start(|_| fresh("hello"));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for _ in 0..2 {
        let stream = client.request("HEAD", "/", &[], true);
        let answer = client.finish(stream).expect(200);
        assert_eq!((answer.field("content-length"), answer.body_len), ("5", 0));
        client.get("/").expect(200);
    }
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let origin = Origin::start(|visit| match visit.path() {
        "/204" => Reply::new(204),
        "/304" => Reply::new(304).field("ETag", "\"a\""),
        _ => Reply::ok("").field("Cache-Control", "no-store"),
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        for method in ["GET", "POST"] {
            let stream = client.request(method, path, &[], true);
            assert_eq!(
                client.finish(stream).expect(status).body_len,
                0,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn uploads_with_and_without_a_length_keep_their_framing_on_the_way() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for (n, method) in ["POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        let sized = client.request(method, "/", &[("content-length", "5")], false);
        client.send_data(sized, b"hel", false);
        client.send_data(sized, b"lo", true);
        assert_eq!(client.finish(sized).expect(200).text(), "hello");
        let unsized_ = client.request(method, "/", &[], false);
        client.send_data(unsized_, b"world", true);
        assert_eq!(client.finish(unsized_).expect(200).text(), "world");
        let visits = origin.requests();
        let [sized, unsized_] = &visits[2 * n..] else {
            panic!("{visits:?}")
        };
        assert_eq!(
            (
                sized.field("content-length"),
                sized.has("transfer-encoding")
            ),
            ("5", false)
        );
        assert_eq!(
            (
                unsized_.field("transfer-encoding"),
                unsized_.has("content-length")
            ),
            ("chunked", false)
        );
    }
    assert!(origin.faults().is_empty());
}

#[test]
fn an_upload_without_a_byte_ends_like_any_other() {
    let origin = Origin::start(|visit| Reply::ok(visit.body_len.to_string()));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let bare = client.request("POST", "/", &[], true);
    assert_eq!(client.finish(bare).expect(200).text(), "0");
    for fields in [&[][..], &[("content-length", "0")]] {
        let stream = client.request("POST", "/", fields, false);
        client.send_data(stream, b"", true);
        assert_eq!(client.finish(stream).expect(200).text(), "0", "{fields:?}");
    }
    client.get("/").expect(200);
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::start(|visit| {
        let sum = visit.trailers.get("x-sum").unwrap_or("none").to_owned();
        Reply::ok(&visit.body)
            .chunked()
            .trailer("X-Sum", &sum)
            .trailer("X-End", "1")
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let stream = client.request(
        "POST",
        "/",
        &[("te", "trailers"), ("trailer", "x-sum")],
        false,
    );
    client.send_data(stream, b"hello", false);
    client.send_fields(stream, &[("x-sum", "5")], true);
    let answer = client.finish(stream).expect(200);
    assert_eq!(answer.text(), "hello");
    let trailers = answer.trailers.expect("trailers came");
    assert_eq!(
        (trailers.get("x-sum"), trailers.get("x-end")),
        (Some("5"), Some("1"))
    );
    assert_eq!(origin.requests()[0].field("te"), "trailers");
    assert!(origin.faults().is_empty());
}

#[test]
fn hints_come_before_the_answer() {
    for method in ["GET", "POST"] {
        let gate = Gate::new();
        let hold = gate.clone();
        let origin = Origin::start(move |_| {
            Reply::ok("x")
                .interim(103, &[("Link", "</a>")])
                .interim(103, &[("Link", "</b>")])
                .hold_head(&hold)
        });
        let node = in_front_of(&origin);
        let mut client = Frames::open(node.http());
        let stream = client.request(method, "/", &[], true);
        let came = eventually(Duration::from_secs(5), || {
            client.listen_for(Duration::from_millis(20));
            client.answer(stream).interim.len() == 2
        });
        assert!(came, "{method}: {:?}", client.answer(stream));
        gate.open();
        // The second time they come in one piece with the answer, and are not lost either.
        let again = client.request(method, "/again", &[], true);
        for stream in [stream, again] {
            let answer = client.finish(stream).expect(200);
            let links: Vec<_> = answer
                .interim
                .iter()
                .map(|hint| (hint.status, hint.fields.get("link")))
                .collect();
            assert_eq!(
                links,
                [(103, Some("</a>")), (103, Some("</b>"))],
                "{method}"
            );
        }
    }
}

#[test]
fn a_client_that_cancels_frees_the_origin_and_disturbs_nobody() {
    let origin = Origin::start(|visit| match visit.path() {
        "/" => fresh("x"),
        _ => Reply::ok("half").length(10).stall(),
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for method in ["GET", "POST"] {
        let before = origin.abandoned();
        let stream = client.request(method, "/stalled", &[("x-once", method)], true);
        assert!(client.wait_for_body(stream, 4), "{method}");
        client.reset(stream, code::CANCEL);
        client.get("/").expect(200);
        let left = || origin.abandoned() > before;
        assert!(
            eventually(Duration::from_secs(10), left),
            "{method}: the origin is still being read"
        );
    }
    let upload = client.request("PUT", "/", &[("content-length", "10")], false);
    client.send_data(upload, b"hello", false);
    let came = || origin.bytes_received() == 5;
    assert!(eventually(Duration::from_secs(5), came));
    client.reset(upload, code::CANCEL);
    client.get("/").expect(200);
    let ended = || origin.open_connections() <= 1;
    assert!(eventually(Duration::from_secs(10), ended));
    assert!(
        origin
            .requests()
            .iter()
            .all(|visit| visit.method != "PUT" || !visit.body_complete)
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_reset_and_never_an_end() {
    let replies: [fn(&Gate) -> Reply; 4] = [
        |gate| Reply::ok("half").length(10).gate(gate),
        |gate| {
            Reply::ok("half")
                .chunked()
                .gate(gate)
                .piece("x")
                .cut_after(5)
        },
        |gate| {
            Reply::ok("half")
                .chunked()
                .gate(gate)
                .piece("x")
                .reset_after(5)
        },
        |gate| fresh("half").length(10).gate(gate),
    ];
    for reply in replies {
        for method in ["GET", "POST"] {
            let gate = Gate::new();
            let hold = gate.clone();
            let origin = Origin::start(move |_| reply(&hold));
            let node = in_front_of(&origin);
            let mut client = Frames::open(node.http());
            let stream = client.request(method, "/", &[], true);
            assert!(client.wait_for_body(stream, 4), "{method}");
            gate.open();
            let answer = client.finish(stream);
            assert_eq!(
                (answer.status, answer.complete),
                (200, false),
                "{method}: {answer:?}"
            );
            assert_eq!(
                answer.reset,
                Some(code::INTERNAL_ERROR),
                "{method}: {answer:?}"
            );
            // One that breaks at once may be a reset without a head.
            let stream = client.request(method, "/again", &[], true);
            let answer = client.finish(stream);
            assert!(
                !answer.complete || answer.status == 502,
                "{method}: {answer:?}"
            );
            origin.answer(|_| fresh("x"));
            client.get("/good").expect(200);
        }
    }
}

#[test]
fn the_date_of_a_stored_answer_is_the_origins() {
    let date = http_date(SystemTime::now() - Duration::from_secs(3600));
    let sent = date.clone();
    let origin = Origin::start(move |_| {
        Reply::ok("x")
            .field("Date", &sent)
            .field("Cache-Control", "max-age=86400")
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for _ in 0..3 {
        let answer = client.get("/").expect(200);
        assert_eq!(answer.fields.all("date").collect::<Vec<_>>(), [&date]);
        assert!(
            answer.field("age").parse::<u64>().unwrap() >= 3600,
            "{answer:?}"
        );
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn crumbs_of_a_cookie_are_one_field_for_the_origin() {
    let origin = Origin::start(|_| Reply::ok("x"));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let crumbs = [
        ("cookie", "a=1"),
        ("cookie", "b=2; c=3"),
        ("x-a", "1"),
        ("cookie", "d=4"),
    ];
    let stream = client.request("GET", "/", &crumbs, true);
    client.finish(stream).expect(200);
    let visit = &origin.requests()[0];
    assert_eq!(
        visit.fields.all("cookie").collect::<Vec<_>>(),
        ["a=1; b=2; c=3; d=4"]
    );
}

#[test]
fn fields_of_the_origins_connection_do_not_reach_the_client() {
    let origin = Origin::start(|_| {
        Reply::ok("x")
            .chunked()
            .field("Connection", "keep-alive, X-Hop")
            .field("Keep-Alive", "timeout=5")
            .field("Proxy-Connection", "keep-alive")
            .field("Upgrade", "h2c")
            .field("X-Hop", "1")
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let answer = client.get("/").expect(200);
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "x-hop",
    ] {
        assert!(!answer.fields.has(name), "{name}: {answer:?}");
    }
    for (name, _) in answer.fields.iter() {
        assert_eq!(name, name.to_ascii_lowercase());
    }
}

#[test]
fn large_bodies_pass_both_ways_through_small_windows() {
    let origin = Origin::start(|visit| match visit.method.as_str() {
        "POST" => Reply::ok(&visit.body),
        _ => fresh("").pattern(2 << 20, 3),
    });
    let node = in_front_of(&origin);
    for window in [1_000, 65_535, 8 << 20] {
        let mut client = Frames::open_with(node.http(), window, None);
        for _ in 0..2 {
            let answer = client.get("/").expect(200);
            assert_eq!(answer.body_len, 2 << 20);
            assert!(is_pattern(&answer.body, 3), "window {window}");
        }
        let body = pattern(3 << 20, 4);
        let stream = client.request("POST", "/", &[], false);
        assert!(client.send_data(stream, &body, true));
        let answer = client.finish(stream).expect(200);
        assert!(
            answer.body == body,
            "window {window}: {} bytes came",
            answer.body_len
        );
    }
    assert!(origin.faults().is_empty());
}

#[test]
fn a_hundred_streams_at_once_each_get_their_own_answer() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| {
        Reply::ok(format!("{} {}", visit.target, visit.text())).hold_head(&hold)
    });
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let streams: Vec<_> = (0..100)
        .map(|n| {
            let stream = client.request("POST", &format!("/{n}"), &[], false);
            client.send_data(stream, n.to_string().as_bytes(), true);
            stream
        })
        .collect();
    gate.wait_until_reached(100);
    gate.open();
    // The last first: no answer waits for another to be read.
    for (n, stream) in streams.into_iter().enumerate().rev() {
        assert_eq!(
            client.finish(stream).expect(200).text(),
            format!("/{n} {n}")
        );
    }
    assert_eq!(node.metric("edge_connections_total", &[]), 1.0);
}

#[test]
fn a_thousand_requests_one_behind_the_other_in_one_write_are_answered() {
    let origin = Origin::start(|visit| fresh(&visit.target));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for round in 0..10 {
        let streams: Vec<_> = (0..100)
            .map(|n| client.request("GET", &format!("/{}", n % 7), &[], true))
            .collect();
        for (n, stream) in streams.into_iter().enumerate() {
            assert_eq!(
                client.finish(stream).expect(200).text(),
                format!("/{}", n % 7),
                "{round}"
            );
        }
    }
    assert_eq!(origin.request_count(), 7);
}

#[test]
fn a_request_in_many_packets_and_with_padding_and_priority_is_understood() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let long = "v".repeat(40_000);
    let stream = client.request("POST", "/", &[("x-long", &long)], false);
    // DATA with three bytes of padding.
    let payload = [&[3][..], b"padded", &[0; 3]].concat();
    client.send(
        edge_testkit::kind::DATA,
        edge_testkit::flag::PADDED,
        stream,
        &payload,
    );
    client.send(edge_testkit::kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 15]);
    client.send_data(stream, b"", true);
    assert_eq!(client.finish(stream).expect(200).text(), "padded");
    assert_eq!(origin.requests()[0].field("x-long"), long);
    // A frame type nobody knows is passed over (RFC 9113, section 5.5).
    client.send(0xfe, 0xff, 0, b"whatever");
    client.get("/").expect(200);
}

#[test]
fn conditions_and_ranges_mean_the_same_as_in_http_1() {
    let origin = Origin::start(|_| fresh("hello").field("ETag", "\"a\""));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    client.get("/").expect(200);
    let stream = client.request("GET", "/", &[("range", "bytes=1-3")], true);
    let part = client.finish(stream).expect(206);
    assert_eq!(
        (part.text().as_str(), part.field("content-range")),
        ("ell", "bytes 1-3/5")
    );
    let stream = client.request("GET", "/", &[("if-none-match", "\"a\"")], true);
    let same = client.finish(stream).expect(304);
    assert_eq!(
        (
            same.body_len,
            same.field("etag"),
            same.fields.has("content-length")
        ),
        (0, "\"a\"", false)
    );
    let stream = client.request("GET", "/", &[("range", "bytes=9-")], true);
    assert_eq!(
        client.finish(stream).expect(416).field("content-range"),
        "bytes */5"
    );
}
