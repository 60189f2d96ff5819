//! HTTP/2 requests that are malformed: each is refused on its own stream or with its connection,
//! and the origin hears nothing of it.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Answer, Frames, Node, Origin, Request, code, eventually};
use std::time::Duration;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "edge.test");
const PATH: (&str, &str) = (":path", "/");

/// Sends these fields as a request; it must be refused, and the next request answered: on the same
/// connection unless that was given up.
#[track_caller]
fn assert_refused(node: &Node, fields: &[(&str, &str)]) {
    let mut client = Frames::open(node.http());
    client.get("/good").expect(200);
    let stream = client.new_stream();
    client.send_fields(stream, fields, true);
    let over = eventually(Duration::from_secs(10), || {
        client.listen_for(Duration::from_millis(2));
        client.answer(stream).is_over() || !client.goaways().is_empty()
    });
    assert!(over, "nothing happened: {fields:?}");
    let answer = client.answer(stream);
    let refused = match client.goaways() {
        [] => is_refusal(&answer),
        given_up => given_up.iter().any(|(_, code)| *code != code::NO_ERROR),
    };
    assert!(refused, "{fields:?}: {answer:?} {:?}", client.goaways());
    if client.goaways().is_empty() {
        client.get("/good").expect(200);
    }
}

fn is_refusal(answer: &Answer) -> bool {
    answer.reset == Some(code::PROTOCOL_ERROR) || (answer.complete && answer.status == 400)
}

#[test]
fn heads_that_are_no_request_are_refused() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    node.get("/good").expect(200);
    let all = [METHOD, SCHEME, AUTHORITY, PATH];
    let with = |field: (&'static str, &'static str)| [&all[..], &[field]].concat();
    let mut table: Vec<Vec<(&str, &str)>> = vec![
        // Pseudo-fields: missing, twice, unknown, of an answer, behind others, empty.
        vec![SCHEME, AUTHORITY, PATH],
        vec![METHOD, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY],
        vec![METHOD, SCHEME, PATH],
        vec![],
        vec![("x-a", "1")],
        vec![METHOD, METHOD, SCHEME, AUTHORITY, PATH],
        vec![METHOD, SCHEME, SCHEME, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY, PATH, PATH],
        vec![METHOD, SCHEME, AUTHORITY, PATH, (":path", "/other")],
        vec![METHOD, SCHEME, AUTHORITY, (":unknown", "x"), PATH],
        vec![METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
        vec![METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
        vec![METHOD, SCHEME, ("x-a", "1"), AUTHORITY, PATH],
        vec![("x-a", "1"), METHOD, SCHEME, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH],
        vec![(":Method", "GET"), SCHEME, AUTHORITY, PATH],
        vec![(":method", ""), SCHEME, AUTHORITY, PATH],
        vec![(":method", "G T"), SCHEME, AUTHORITY, PATH],
        vec![
            (":method", "GET / HTTP/1.1\r\nX: y"),
            SCHEME,
            AUTHORITY,
            PATH,
        ],
        vec![METHOD, (":scheme", ""), AUTHORITY, PATH],
        vec![METHOD, (":scheme", "ht tp"), AUTHORITY, PATH],
    ];
    for path in [
        "",
        "a",
        "?a",
        "*",
        "//\u{1}",
        "/a b",
        "/a\r\nX: y",
        "/\0",
        "/\u{7f}",
        "/..",
        "/a/../../b",
        "/%2e%2e/x",
        "/%",
        "/%zz",
        "/%00",
        "edge.test:80",
        "@a",
    ] {
        table.push(vec![METHOD, SCHEME, AUTHORITY, (":path", path)]);
    }
    for authority in [
        "",
        "u@edge.test",
        "a b",
        "a/b",
        "a,b",
        "a:99999",
        "a:b",
        "[::1",
        "a\r\nX: y",
        "a\0",
        "a?b",
        "a#b",
    ] {
        table.push(vec![METHOD, SCHEME, (":authority", authority), PATH]);
    }
    // Host and :authority must not name different hosts, and each stands once.
    table.push(with(("host", "other.test")));
    table.push(with(("host", "edge.test:81")));
    table.push(with(("host", "u@edge.test")));
    table.push(with(("host", "")));
    table.push([&all[..], &[("host", "edge.test"), ("host", "edge.test")]].concat());
    table.push(vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")]);
    for field in [
        // What belongs to a connection of HTTP/1.
        ("connection", "close"),
        ("connection", "x-a"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", ""),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        // Names and values no field can have.
        ("X-A", "1"),
        ("Transfer-Encoding", "chunked"),
        ("x a", "1"),
        ("x:a", "1"),
        ("x-a:", "1"),
        ("x\r\ny", "1"),
        ("x\0", "1"),
        ("", "1"),
        ("x-\u{e9}", "1"),
        ("x-a", "1\r\nTransfer-Encoding: chunked"),
        ("x-a", "1\nb"),
        ("x-a", "1\rb"),
        ("x-a", "\0"),
        // Lengths that are none, or not that of the body: there is none here.
        ("content-length", ""),
        ("content-length", "x"),
        ("content-length", "-1"),
        ("content-length", "+1"),
        ("content-length", "1"),
        ("content-length", "99999999999999999999"),
    ] {
        table.push(with(field));
    }
    for fields in &table {
        assert_refused(&node, fields);
    }
    let seen: Vec<_> = origin
        .requests()
        .iter()
        .map(|visit| visit.target.clone())
        .collect();
    assert_eq!(seen, ["/good"], "the origin saw something else");
}

#[test]
fn methods_that_make_no_sense_here_are_answered_with_405() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let stream = client.request("TRACE", "/", &[], true);
    client.finish(stream).expect(405);
    let stream = client.new_stream();
    client.send_fields(
        stream,
        &[(":method", "CONNECT"), (":authority", "edge.test:80")],
        true,
    );
    let answer = client.finish(stream);
    assert!(answer.status == 405 || is_refusal(&answer), "{answer:?}");
    client.get("/").expect(200);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn what_names_the_host_in_one_way_or_twice_the_same_is_answered() {
    let origin = Origin::start(|visit| fresh(visit.field("host")));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for (n, fields) in [
        &[METHOD, SCHEME, (":authority", "a.test")][..],
        &[METHOD, SCHEME, (":authority", "A.test:80")],
        &[METHOD, SCHEME, (":authority", "a.test"), ("host", "a.test")],
        &[
            METHOD,
            SCHEME,
            (":authority", "a.test"),
            ("host", "A.TEST."),
        ],
        &[METHOD, SCHEME, ("host", "a.test")],
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}");
        let mut all = fields.to_vec();
        all.insert(2, (":path", &path));
        let stream = client.new_stream();
        client.send_fields(stream, &all, true);
        assert_eq!(
            client.finish(stream).expect(200).text(),
            "a.test",
            "{fields:?}"
        );
    }
}

#[test]
fn targets_come_into_the_same_form_as_in_http_1() {
    let origin = Origin::start(|visit| fresh(&visit.target));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for (path, wanted) in [
        ("//a///b", "/a/b"),
        ("/a/./b/%2e%2e/c", "/a/c"),
        ("/%61%2Fb", "/a%2Fb"),
        ("/a?b=%zz&c[]", "/a?b=%zz&c%5B%5D"),
        ("/?", "/?"),
    ] {
        assert_eq!(client.get(path).expect(200).text(), wanted);
        assert_eq!(node.get(path).expect(200).text(), wanted);
    }
    let stream = client.request("OPTIONS", "*", &[], true);
    assert_eq!(client.finish(stream).expect(200).text(), "*");
}

#[test]
fn a_body_that_is_not_as_long_as_announced_never_ends_at_the_origin() {
    let origin = Origin::start(|_| edge_testkit::Reply::ok("taken"));
    let node = in_front_of(&origin);
    for (length, body) in [
        ("10", "hello"),
        ("4", "hello"),
        ("0", "hello"),
        ("1000000", ""),
    ] {
        let mut client = Frames::open(node.http());
        let stream = client.request("POST", "/upload", &[("content-length", length)], false);
        client.send_data(stream, body.as_bytes(), true);
        let answer = client.finish(stream);
        assert!(is_refusal(&answer), "{length} {body:?}: {answer:?}");
        client.get("/after").expect(200);
    }
    for visit in origin.requests() {
        assert!(
            visit.target == "/after" || !visit.body_complete,
            "{visit:?}"
        );
    }
    assert!(origin.faults().is_empty(), "{:?}", origin.faults());
}

#[test]
fn two_lengths_are_refused() {
    let origin = Origin::start(|_| edge_testkit::Reply::ok("taken"));
    let node = in_front_of(&origin);
    for second in ["5", "7"] {
        let mut client = Frames::open(node.http());
        let stream = client.request(
            "POST",
            "/",
            &[("content-length", "5"), ("content-length", second)],
            false,
        );
        client.send_data(stream, b"hello", true);
        assert!(is_refusal(&client.finish(stream)), "5 and {second}");
    }
    assert!(origin.requests().iter().all(|visit| !visit.body_complete));
}

#[test]
fn trailers_that_are_malformed_never_end_a_body() {
    let origin = Origin::start(|_| edge_testkit::Reply::ok("taken"));
    let node = in_front_of(&origin);
    for trailer in [
        ("X-A", "1"),
        ("x\0", "1"),
        ("x-a", "a\r\nb"),
        ("connection", "close"),
    ] {
        let mut client = Frames::open(node.http());
        let stream = client.request("POST", "/", &[], false);
        client.send_data(stream, b"hello", false);
        client.send_fields(stream, &[trailer], true);
        let over = eventually(Duration::from_secs(10), || {
            client.listen_for(Duration::from_millis(5));
            client.answer(stream).is_over() || !client.goaways().is_empty()
        });
        assert!(
            over && client.answer(stream).status != 200,
            "{trailer:?}: {:?}",
            client.answer(stream)
        );
    }
    assert!(origin.requests().iter().all(|visit| !visit.body_complete));
}

/// Malformed by RFC 9113, section 8.1; the codec drops such fields without telling us.
#[test]
fn pseudo_fields_among_trailers_change_nothing() {
    let origin = Origin::start(|visit| edge_testkit::Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let stream = client.request("POST", "/upload", &[], false);
    client.send_data(stream, b"hello", false);
    client.send_fields(
        stream,
        &[
            (":path", "/other"),
            (":method", "DELETE"),
            (":authority", "other.test"),
        ],
        true,
    );
    let answer = client.finish(stream);
    assert!(is_refusal(&answer) || answer.status == 200, "{answer:?}");
    let seen: Vec<_> = origin
        .requests()
        .into_iter()
        .map(|visit| (visit.method, visit.target, visit.trailers.len()))
        .collect();
    assert!(
        seen.iter()
            .all(|seen| *seen == ("POST".into(), "/upload".into(), 0)),
        "{seen:?}"
    );
}

#[test]
fn heads_beyond_their_limits_are_refused_and_the_connection_goes_on() {
    let origin = Origin::start(|_| fresh("x"));
    let limits = "[guard]\nhead_max = \"8KiB\"\ntarget_max = \"1KiB\"\nfields_max = 20";
    let node = edge().config(limits).origin(&origin).start();
    let mut client = Frames::open(node.http());
    let long = "v".repeat(9000);
    let stream = client.request("GET", "/", &[("x-long", &long)], true);
    client.finish(stream).expect(431);
    let stream = client.request("GET", &format!("/{}", "a".repeat(1024)), &[], true);
    client.finish(stream).expect(414);
    let many: Vec<_> = (0..21).map(|_| ("x-a", "1")).collect();
    let stream = client.request("GET", "/", &many, true);
    client.finish(stream).expect(431);
    client.get("/").expect(200);
    assert_eq!(origin.request_count(), 1);
    // One that goes on and on ends the connection.
    let endless = "v".repeat(1 << 20);
    client.request("GET", "/", &[("x-long", &endless)], true);
    assert!(client.closes_within(Duration::from_secs(5)));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_answered() {
    let gate = edge_testkit::Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |_| edge_testkit::Reply::ok("x").hold_head(&hold));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    client.ping();
    let most = client
        .setting(3)
        .expect("the node says how many streams it takes") as usize;
    assert!((100..=1000).contains(&most), "{most}");
    let mut streams: Vec<_> = (0..most + 1)
        .map(|n| client.request("POST", &format!("/{n}"), &[], true))
        .collect();
    let refused = client.finish(streams.pop().unwrap());
    assert_eq!(refused.reset, Some(code::REFUSED_STREAM), "{refused:?}");
    gate.wait_until_reached(most);
    gate.open();
    for stream in streams {
        client.finish(stream).expect(200);
    }
}

#[test]
fn a_client_that_only_cancels_is_sent_away_and_costs_the_others_nothing() {
    let origin = Origin::start(|_| fresh("x").pause_head(Duration::from_millis(200)));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    for n in 0..5000 {
        let stream = client.request("GET", &format!("/{n}"), &[], true);
        client.reset(stream, code::CANCEL);
    }
    client.listen_for(Duration::from_millis(500));
    assert!(
        origin.request_count() < 1000,
        "{} requests reached the origin",
        origin.request_count()
    );
    Request::get("/").send(node.http()).expect(200);
    Frames::open(node.http()).get("/").expect(200);
}
