//! The kit against itself: what the client reports is what the origin did.

use std::time::Duration;

use crate::*;

#[test]
fn a_request_arrives_as_it_was_sent_and_the_reply_comes_back() {
    let origin =
        Origin::start(|visit| Reply::ok(visit.text().to_uppercase()).field("X-Case", "Kept"));
    let request = Request::post("/a?b=c", "body")
        .host("a.test")
        .field("X-Mine", "1");
    let response = request.send(origin.address()).expect(200);
    assert_eq!(
        (response.text().as_str(), response.field("x-case")),
        ("BODY", "Kept")
    );
    let visit = &origin.requests()[0];
    assert_eq!(
        (&*visit.method, visit.path(), visit.query()),
        ("POST", "/a", "b=c")
    );
    assert_eq!(
        (visit.field("host"), visit.field("x-mine")),
        ("a.test", "1")
    );
    assert!(visit.body_complete && origin.faults().is_empty());
}

#[test]
fn a_connection_is_kept_alive_and_requests_may_be_pipelined() {
    let origin = Origin::start(|visit| Reply::ok(&visit.target));
    let mut connection = Connection::open(origin.address());
    connection.send(&Request::get("/1"));
    connection.send(&Request::head("/2"));
    connection.send(&Request::get("/3"));
    assert_eq!(connection.receive().text(), "/1");
    assert_eq!(connection.receive().text(), "");
    assert_eq!(connection.receive().text(), "/3");
    assert_eq!((origin.connections(), origin.request_count()), (1, 3));
}

#[test]
fn every_framing_of_a_reply_is_read_to_its_proper_end() {
    let replies = [
        (Reply::ok("abc"), Ended::Length),
        (
            Reply::ok("ab").piece("c").trailer("X-Sum", "3"),
            Ended::Chunked,
        ),
        (Reply::ok("abc").until_close(), Ended::Close),
        (
            Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
            Ended::Length,
        ),
    ];
    for (reply, ended) in replies {
        let response = get(Origin::sequence([reply]).address(), "/").expect(200);
        assert_eq!((response.text().as_str(), &response.ended), ("abc", &ended));
        assert_eq!(response.trailers.has("x-sum"), ended == Ended::Chunked);
    }
}

#[test]
fn a_body_cut_short_is_told_from_a_clean_end_and_from_a_reset() {
    let replies = [
        (Reply::ok("abcdef").cut_after(3), Ended::Cut),
        (Reply::ok("abcdef").chunked().cut_after(3), Ended::Cut),
        (Reply::ok("abc").length(6), Ended::Cut),
        (Reply::ok("abcdef").reset_after(3), Ended::Reset),
    ];
    for (reply, ended) in replies {
        let response = get(Origin::sequence([reply]).address(), "/");
        assert_eq!(
            (response.text().as_str(), response.complete),
            ("abc", false)
        );
        assert_eq!(response.ended, ended);
    }
}

#[test]
fn a_gate_holds_the_body_until_the_test_opens_it() {
    let gate = Gate::new();
    let origin = Origin::sequence([Reply::ok("first").gate(&gate).piece("second").chunked()]);
    let mut connection = Connection::open(origin.address());
    connection.send(&Request::get("/"));
    assert!(connection.wait_for_body(5));
    gate.wait_until_reached(1);
    connection.set_timeout(Duration::from_millis(50));
    assert!(!connection.wait_for_body(6));
    gate.open();
    assert_eq!(connection.receive().text(), "firstsecond");
}

#[test]
fn interim_responses_and_a_held_head_come_in_order() {
    let gate = Gate::new();
    let reply = Reply::ok("x")
        .interim(103, &[("Link", "</a>")])
        .hold_head(&gate);
    let origin = Origin::sequence([reply]);
    let mut connection = Connection::open(origin.address());
    connection.send(&Request::get("/"));
    assert!(connection.wait_for_interim(1));
    gate.open();
    let response = connection.receive();
    assert_eq!(response.interim[0].fields.get("link"), Some("</a>"));
    assert_eq!(response.text(), "x");
}

#[test]
fn a_peer_that_leaves_a_stalled_reply_is_noticed() {
    let origin = Origin::start(|_| Reply::ok("a").chunked().stall());
    let mut connection = Connection::open(origin.address());
    connection.send(&Request::get("/"));
    assert!(connection.wait_for_body(1));
    drop(connection);
    assert!(eventually(Duration::from_secs(5), || origin.abandoned() == 1));
    assert!(eventually(Duration::from_secs(5), || origin
        .open_connections()
        == 0));
}

#[test]
fn a_large_upload_is_counted_and_never_held() {
    let origin = Origin::builder()
        .bodies(Bodies::Count)
        .start(|_| Reply::new(204));
    for request in [Request::put("/", ""), Request::put("/", "")] {
        let request = if origin.request_count() == 0 {
            request.pattern(3 << 20, 9)
        } else {
            request.pattern_chunked(3 << 20, 9)
        };
        request.send(origin.address()).expect(204);
        let visit = origin.requests().pop().unwrap();
        assert_eq!((visit.body_len, visit.body.len()), (3 << 20, 0));
        assert_eq!(visit.body_crc, pattern_crc(3 << 20, 9));
    }
}

#[test]
fn an_early_answer_to_an_unread_upload_is_heard() {
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(|_| Reply::new(413).close());
    let response = Request::put("/", "")
        .pattern(1 << 30, 1)
        .send(origin.address());
    assert_eq!(response.status, 413);
}

#[test]
fn an_expected_continue_comes_before_the_body_is_sent() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let request = Request::put("/", "late").field("Expect", "100-continue");
    let mut connection = Connection::open(origin.address());
    connection.send_head(&request);
    assert!(connection.wait_for_interim(1));
    connection.send_body(&request);
    assert_eq!(connection.receive().text(), "late");
}

#[test]
fn a_range_of_a_pattern_is_that_part_of_it() {
    let origin = Origin::start(|visit| Reply::pattern_range(visit, 1000, 4));
    let part = Request::get("/")
        .field("Range", "bytes=10-19")
        .send(origin.address())
        .expect(206);
    assert_eq!(part.field("content-range"), "bytes 10-19/1000");
    assert!(is_pattern_from(10, &part.body, 4) && part.body.len() == 10);
    assert!(is_pattern(&get(origin.address(), "/").expect(200).body, 4));
}

#[test]
fn after_a_switch_of_protocols_bytes_go_both_ways() {
    let origin = Origin::start(|_| {
        Reply::new(101)
            .field("Upgrade", "echo")
            .field("Connection", "upgrade")
            .echo()
    });
    let mut connection = Connection::open(origin.address());
    assert_eq!(connection.exchange(&Request::get("/")).status, 101);
    connection.send_raw("ping");
    assert_eq!(connection.read_raw(4), b"ping");
}

#[test]
fn a_tls_origin_is_trusted_through_its_authority() {
    let origin = Origin::start_tls(|_| Reply::ok("sealed"));
    let mut connection =
        Connection::open_tls(origin.address(), "localhost", origin.authority_pem());
    assert_eq!(connection.exchange(&Request::get("/")).text(), "sealed");
    assert_eq!(
        connection
            .exchange(&Request::put("/", "").pattern(1 << 20, 2))
            .text(),
        "sealed"
    );
    assert!(origin.url().starts_with("https://"));
}

#[test]
fn a_stopped_origin_refuses_and_a_restarted_one_answers_again() {
    let origin = Origin::start(|_| Reply::ok("up"));
    let mut kept = Connection::open(origin.address());
    kept.exchange(&Request::get("/"));
    origin.stop();
    assert!(kept.closes_within(Duration::from_secs(5)));
    assert!(matches!(
        Request::get("/").try_send(origin.address()),
        Err(NoResponse::NotConnected(_))
    ));
    origin.restart();
    origin.answer(|_| Reply::ok("again"));
    assert_eq!(get(origin.address(), "/").text(), "again");
}

#[test]
fn what_is_no_response_is_said_to_be_none() {
    let origin = Origin::sequence([Reply::raw("junk\r\n\r\n").close(), Reply::raw("").close()]);
    assert!(matches!(
        send_raw(origin.address(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Err(NoResponse::Malformed(_))
    ));
    assert_eq!(
        Request::get("/").try_send(origin.address()).unwrap_err(),
        NoResponse::Closed
    );
    assert_eq!(
        send_raw(origin.address(), "no request\r\n\r\n").unwrap_err(),
        NoResponse::Closed
    );
    assert_eq!(origin.faults().len(), 1);
}

#[test]
fn a_crowd_sends_together_and_stops_where_it_is_told() {
    let origin = Origin::start(|_| Reply::new(200).pattern(300_000, 3));
    let request = Request::get("/").count_body();
    let crowd = Crowd::gather(200, origin.address(), &request)
        .hold_after(1000)
        .start();
    crowd.wait_until_all_have(1000);
    assert_eq!(
        (crowd.len(), crowd.ended(), crowd.received(7)),
        (200, 0, 1000)
    );
    let responses = crowd.responses();
    assert!(
        responses
            .iter()
            .all(|response| response.body_crc == pattern_crc(300_000, 3))
    );
    assert_eq!(origin.connections(), 200);
}

#[test]
fn a_crowd_member_without_a_response_says_why() {
    let origin = Origin::start(|visit| {
        if visit.target == "/bad" {
            Reply::raw("").close()
        } else {
            Reply::ok("")
        }
    });
    let requests = vec![Request::get("/good"), Request::get("/bad")];
    let results = Crowd::gather(10, origin.address(), &requests[0])
        .requests(requests)
        .start()
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    assert_eq!(results[1].as_ref().unwrap_err(), &NoResponse::Closed);
}

/// Plays the node's side of the contract.
const FAKE: &str = r#"
trap 'echo reloaded >&2' HUP
trap 'echo bye >&2; exit 3' TERM
echo "edge: listening http 127.0.0.1:81" >&2
echo "edge: listening admin 127.0.0.1:82" >&2
echo "started with $WORD"
echo "edge: ready" >&2
while :; do sleep 0.01; done
"#;

fn fake() -> NodeBuilder {
    Node::with("/bin/sh")
        .bare()
        .args(["fake.sh"])
        .file("fake.sh", FAKE)
        .env("WORD", "this")
}

#[test]
fn a_node_is_started_told_to_reload_stopped_and_started_again() {
    let mut node = fake().start();
    assert_eq!((node.http().port(), node.admin().port()), (81, 82));
    assert_eq!(node.wait_for_stdout("started"), "started with this");
    assert!(
        node.rss_bytes() > 0 && node.peak_rss_bytes() >= node.rss_bytes() && node.open_files() > 2
    );
    node.reload();
    node.wait_for_stderr("reloaded");
    assert_eq!(node.stop().code(), Some(3));
    assert!(node.stderr().contains("bye") && !node.is_running());
    node.start();
    assert!(node.is_running());
}

#[test]
fn what_a_config_leaves_out_is_filled_in() {
    let origin = Origin::start(|_| Reply::ok(""));
    let node = fake()
        .config("[cache]\nmemory = \"1MiB\"")
        .origin(&origin)
        .site("[site.cache]\nttl = \"1m\"")
        .start();
    let text = node.config_text();
    let expected = [
        "data = \"/",
        "[cache]",
        "[listen]\nhttp = [\"127.0.0.1:0\"]",
        "[[site]]",
        "[site.cache]",
    ];
    let places: Vec<_> = expected.map(|part| text.find(part).unwrap()).to_vec();
    assert!(places.is_sorted(), "{text}");
    let own = fake()
        .config("data = \"d\"\n[listen]\nhttp = [\"127.0.0.1:1\"]")
        .start()
        .config_text();
    assert_eq!(
        (
            own.matches("data =").count(),
            own.matches("[listen]").count()
        ),
        (1, 1)
    );
}

#[test]
#[should_panic(expected = "unknown key `bad`")]
fn a_node_that_ends_before_it_is_ready_fails_with_its_own_words() {
    Node::with("/bin/sh")
        .bare()
        .args(["-c", "echo 'unknown key `bad`' >&2; exit 2"])
        .start();
}

#[test]
fn a_command_runs_to_its_end() {
    let finished = run("/bin/sh", ["-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(
        finished,
        Finished {
            code: Some(7),
            stdout: "out\n".into(),
            stderr: "err\n".into()
        }
    );
}
