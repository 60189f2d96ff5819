//! Origins that refuse, stall, lie or die: what the client is told, that nothing of it is stored,
//! and how connections are kept. HTTP/2 towards origins is tested in edge/origin: the kit's origin
//! speaks HTTP/1.1 only.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Ended, NoResponse, Node, NodeBuilder, Origin, Reply, Request, Response};
use socket2::{Domain, Socket, Type};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// A node in front of one origin at `url` that loses patience soon.
fn impatient(url: &str, more: &str) -> NodeBuilder {
    let origin = format!(
        "[origins.app]\nservers = [\"{url}\"]\nconnect_timeout = \"300ms\"\nfirst_byte_timeout = \"300ms\"\n\
         between_bytes_timeout = \"300ms\"\nwrite_timeout = \"300ms\"\n{more}"
    );
    edge()
        .config(&origin)
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"app\"")
}

/// A whole answer that says: the origin failed, in this way.
#[track_caller]
fn assert_failed(answer: Response, status: u16, error: &str) {
    let answer = answer.expect(status);
    assert_eq!(
        answer.field("proxy-status"),
        format!("edge; error={error}"),
        "{answer}"
    );
    assert!(
        answer.field("cache-status").starts_with("edge; fwd="),
        "{answer}"
    );
    assert_eq!(answer.field("cache-control"), "no-store");
    assert!(
        !answer.text().contains("127.0.0.1"),
        "addresses are for the log: {answer}"
    );
}

/// The answer breaks off by a reset, which may take its head along.
#[track_caller]
fn assert_broken_off(node: &Node) {
    match Request::get("/").try_send(node.http()) {
        Ok(answer) => assert_eq!(
            (answer.status, answer.complete, &answer.ended),
            (200, false, &Ended::Reset),
            "{answer}"
        ),
        Err(why) => assert_eq!(why, NoResponse::Reset),
    }
}

/// For every way round the cache: a GET, a POST and what a rule bypasses.
fn every_way(node: &Node) -> [Response; 2] {
    [node.get("/"), Request::post("/", "x").send(node.http())]
}

#[test]
fn an_origin_that_refuses_is_a_502_until_it_is_back() {
    let origin = Origin::start(|_| fresh("back"));
    let node = in_front_of(&origin);
    origin.stop();
    for answer in every_way(&node) {
        assert_failed(answer, 502, "connection_refused");
    }
    origin.restart();
    assert_eq!(node.get("/").expect(200).text(), "back");
    assert!(node.get("/").field("cache-status").starts_with("edge; hit"));
    assert_eq!(
        node.metric("edge_origin_errors_total", &[("reason", "connect_refused")]),
        2.0
    );
}

#[test]
fn a_stored_copy_is_served_while_the_origin_is_gone() {
    let origin = Origin::start(|_| fresh("kept"));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    origin.stop();
    assert_eq!(node.get("/").expect(200).text(), "kept");
    node.get("/other").expect(502);
}

#[test]
fn an_origin_that_takes_no_connection_is_a_504() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    // The queue has room for one; what comes after it is not even answered.
    let _taken: Vec<_> = (0..3)
        .map_while(|_| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()
        })
        .collect();
    let node = impatient(&format!("http://{address}"), "").start();
    for answer in every_way(&node) {
        assert_failed(answer, 504, "connection_timeout");
    }
}

#[test]
fn an_origin_that_cannot_be_reached_is_a_502() {
    // The broadcast address of the loopback network: no route leads there.
    let node = impatient("http://127.255.255.255:81", "").start();
    for answer in every_way(&node) {
        assert_failed(answer, 502, "destination_ip_unroutable");
    }
}

#[test]
fn an_origin_whose_name_does_not_exist_is_a_502() {
    // RFC 6761, section 6.4: no DNS knows it, and a resolver need not be asked.
    let node = impatient("http://no-such-host.invalid", "").start();
    let answer = node.get("/");
    let status = answer.field("proxy-status").to_owned();
    let dns = ["edge; error=dns_error", "edge; error=dns_timeout"];
    assert!(
        matches!(answer.status, 502 | 504) && dns.contains(&&*status),
        "{answer}"
    );
}

#[test]
fn an_origin_that_stalls_before_the_end_of_its_head_is_a_504() {
    for stalled in [
        Reply::silence(),
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Le").stall(),
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n").stall(),
    ] {
        let origin = Origin::sequence([stalled.clone(), stalled, fresh("back")]);
        let node = impatient(&origin.url(), "").start();
        for answer in every_way(&node) {
            assert_failed(answer, 504, "http_response_timeout");
        }
        assert_eq!(node.get("/").expect(200).text(), "back");
        assert_eq!(origin.request_count(), 3);
    }
}

#[test]
fn an_origin_that_stalls_in_its_body_breaks_the_answer_and_nothing_is_kept() {
    let stalls = [
        fresh("half").length(8).stall(),
        fresh("half").chunked().stall(),
        fresh("").length(8).stall(),
        Reply::ok("half").length(8).stall(),
        Reply::ok("half").until_close().stall(),
    ];
    for stalled in stalls {
        let origin = Origin::sequence([stalled, fresh("all of it")]);
        let node = impatient(&origin.url(), "").start();
        assert_broken_off(&node);
        assert_eq!(node.get("/").expect(200).text(), "all of it");
        assert_eq!(origin.request_count(), 2);
    }
}

#[test]
fn an_origin_that_cuts_its_body_short_breaks_the_answer_and_nothing_is_kept() {
    let cuts = [
        fresh("half").length(8),
        fresh("half").chunked().cut_after(2),
        fresh("half").reset_after(2),
        fresh("").length(8),
        fresh("half").chunked().cut_after(4),
        Reply::ok("half").length(8),
        Reply::ok("half").until_close().reset_after(2),
        Reply::raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n").close(),
        Reply::raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n").close(),
    ];
    for cut in cuts {
        let origin = Origin::sequence([cut, fresh("all of it")]);
        let node = in_front_of(&origin);
        assert_broken_off(&node);
        assert_eq!(node.get("/").expect(200).text(), "all of it");
        assert_eq!(origin.request_count(), 2);
    }
}

#[test]
fn an_origin_that_closes_before_its_head_is_a_502() {
    for gone in [
        Reply::raw("").close(),
        Reply::raw("HTTP/1.1 200 OK\r\nCache-").close(),
    ] {
        let origin = Origin::sequence([gone.clone(), gone, fresh("back")]);
        let node = in_front_of(&origin);
        for answer in every_way(&node) {
            assert_failed(answer, 502, "connection_terminated");
        }
        assert_eq!(node.get("/").expect(200).text(), "back");
    }
}

#[test]
fn an_origin_that_speaks_nonsense_is_a_502_and_its_connection_is_not_used_again() {
    for nonsense in [
        "220 mail.test ESMTP\r\n\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = Origin::sequence([Reply::raw(nonsense), Reply::raw(nonsense), fresh("back")]);
        let node = in_front_of(&origin);
        for answer in every_way(&node) {
            assert_failed(answer, 502, "http_protocol_error");
        }
        assert_eq!(node.get("/").expect(200).text(), "back", "{nonsense:?}");
        assert_eq!(origin.connections(), 3, "{nonsense:?}");
    }
}

#[test]
fn a_head_without_end_is_a_502() {
    let line = "X-Fill: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(2000);
    let origin = Origin::start(move |_| Reply::raw(format!("HTTP/1.1 200 OK\r\n{line}")).stall());
    let node = in_front_of(&origin);
    assert_failed(node.get("/"), 502, "http_protocol_error");
}

#[test]
fn bytes_after_an_answer_are_never_taken_for_the_next_one() {
    let origin = Origin::start(|visit| match visit.path() {
        "/first" => Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        ),
        _ => Reply::ok("clean"),
    });
    let node = in_front_of(&origin);
    for _ in 0..5 {
        assert_eq!(node.get("/first").expect(200).text(), "ok");
        assert_eq!(node.get("/second").expect(200).text(), "clean");
    }
}

#[test]
fn a_body_without_a_length_is_passed_on_and_never_stored() {
    let origin = Origin::start(|visit| fresh(visit.number.to_string()).until_close());
    let node = in_front_of(&origin);
    for body in ["1", "2", "3"] {
        let answer = node.get("/").expect(200);
        assert_eq!(answer.text(), body);
        let status = answer.field("cache-status");
        let why = if body == "1" {
            "unframed-body"
        } else {
            "remembered-uncacheable"
        };
        assert!(status.ends_with(&format!("detail={why}")), "{status}");
        assert_eq!(answer.ended, Ended::Chunked);
    }
}

#[test]
fn connections_to_the_origin_are_used_again() {
    let origin = Origin::start(|visit| match visit.path() {
        "/chunked" => fresh("x").chunked(),
        "/204" => Reply::new(204),
        _ => fresh("x"),
    });
    let node = in_front_of(&origin);
    for path in ["/a", "/b", "/chunked", "/204", "/404"] {
        node.get(path);
        Request::head(path).send(node.http());
        Request::post(path, "body").send(node.http());
    }
    assert!(origin.request_count() >= 10);
    assert_eq!(origin.connections(), 1);
    let node = impatient(&origin.url(), "keep_idle = 0").start();
    node.get("/c");
    node.get("/d");
    assert_eq!(origin.connections(), 3, "keep_idle = 0 keeps none");
}

#[test]
fn a_kept_connection_that_turns_out_dead_is_replaced_without_a_word() {
    // The origin closes each connection at its second request, without having said so.
    let origin = Origin::start(|visit| match visit.number % 2 {
        0 => Reply::raw("").close(),
        _ => Reply::ok(visit.number.to_string()),
    });
    let node = in_front_of(&origin);
    for body in ["1", "3", "5", "7"] {
        assert_eq!(node.get("/").expect(200).text(), body);
    }
    assert_eq!(origin.connections(), 4);
}

#[test]
fn what_must_not_be_sent_twice_is_not() {
    let origin = Origin::start(|visit| match visit.method.as_str() {
        "POST" => Reply::raw("").close(),
        _ => Reply::ok(""),
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    assert_failed(
        Request::post("/", "pay").send(node.http()),
        502,
        "connection_terminated",
    );
    let posts = origin
        .requests()
        .iter()
        .filter(|visit| visit.method == "POST")
        .count();
    assert_eq!(posts, 1);
}

#[test]
fn the_second_server_answers_while_the_first_is_down() {
    let (first, second) = (
        Origin::start(|_| Reply::ok("1")),
        Origin::start(|_| Reply::ok("2")),
    );
    let both = format!(
        "[origins.app]\nservers = [\"{}\", \"{}\"]",
        first.url(),
        second.url()
    );
    let node = edge()
        .config(&both)
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"app\"")
        .start();
    let mut answers: Vec<_> = (0..4).map(|_| node.get("/").expect(200).text()).collect();
    answers.sort();
    assert_eq!(answers, ["1", "1", "2", "2"], "servers take turns");
    first.stop();
    for n in 0..6 {
        assert_eq!(node.get("/").expect(200).text(), "2");
        assert_eq!(
            Request::post("/", n.to_string())
                .send(node.http())
                .expect(200)
                .text(),
            "2"
        );
    }
    second.stop();
    assert_failed(node.get("/"), 502, "connection_refused");
}

#[test]
fn a_tls_origin_is_believed_when_its_authority_is_trusted() {
    let origin = Origin::start_tls(|_| fresh("").pattern(1 << 20, 3));
    let node = impatient(&origin.url(), "tls = { ca = \"ca.pem\" }")
        .file("ca.pem", origin.authority_pem())
        .start();
    for _ in 0..2 {
        assert!(edge_testkit::is_pattern(&node.get("/").expect(200).body, 3));
    }
    Request::put("/", "")
        .pattern(3 << 20, 4)
        .send(node.http())
        .expect(200);
    let visits = origin.requests();
    assert_eq!(
        (visits.len(), visits[1].body_crc),
        (2, edge_testkit::pattern_crc(3 << 20, 4))
    );
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_tls_origin_that_cannot_prove_who_it_is_gets_no_request() {
    let origin = Origin::start_tls(|_| fresh("x"));
    let other = edge_testkit::Authority::new();
    for (tls, status) in [
        ("tls = { ca = \"other.pem\" }", 502),
        (
            "tls = { ca = \"own.pem\", server_name = \"other.test\" }",
            502,
        ),
        ("", 502),
        ("tls = { ca = \"own.pem\" }", 200),
        (
            "tls = { ca = \"own.pem\", server_name = \"localhost\" }",
            200,
        ),
        ("tls = { verify = false }", 200),
    ] {
        let node = impatient(&origin.url(), tls)
            .file("own.pem", origin.authority_pem())
            .file("other.pem", other.pem())
            .start();
        let seen = origin.request_count();
        if status == 200 {
            node.get("/").expect(200);
        } else {
            assert_failed(node.get("/"), 502, "tls_certificate_error");
            assert_eq!(origin.request_count(), seen, "{tls}");
        }
    }
}

#[test]
fn an_origin_that_speaks_no_tls_where_it_should_is_told_apart() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in plain.incoming() {
            let _ = client
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let node = impatient(&url, "").start();
    assert_failed(node.get("/"), 502, "tls_protocol_error");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = impatient(&format!("https://{}", silent.local_addr().unwrap()), "").start();
    assert_failed(node.get("/"), 504, "connection_timeout");
}
