//! What is not a request and its reply: WebSockets and other upgrades, events that are sent one by
//! one.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{
    Connection, Ended, Frames, Gate, Node, Origin, Reply, Request, eventually, pattern,
};
use std::time::Duration;

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An origin that agrees to every upgrade and sends back what it gets.
fn echoing() -> Origin {
    Origin::start(|visit| match visit.field("upgrade") {
        "" => fresh("plain"),
        protocol => Reply::new(101)
            .field("Upgrade", protocol)
            .field("Connection", "Upgrade")
            .field("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .piece("welcome")
            .echo(),
    })
}

#[track_caller]
fn upgraded(node: &Node) -> Connection {
    let mut client = node.connect();
    client.send_raw(HANDSHAKE);
    let answer = client.receive();
    assert_eq!(
        (answer.status, answer.field("upgrade")),
        (101, "websocket"),
        "{answer}"
    );
    assert!(answer.fields.lists("connection", "upgrade"), "{answer}");
    assert_eq!(
        answer.field("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert!(
        !answer.has("content-length") && !answer.has("transfer-encoding"),
        "{answer}"
    );
    assert_eq!(client.read_raw(7), b"welcome");
    client
}

#[test]
fn after_an_upgrade_bytes_pass_both_ways_as_they_are() {
    let origin = echoing();
    let node = in_front_of(&origin);
    let mut client = upgraded(&node);
    for n in [1, 10, 1000, 100_000] {
        let bytes = pattern(n, n as u64);
        client.send_raw(&bytes);
        assert_eq!(client.read_raw(n), bytes);
    }
    // What looks like a request is none any more.
    client.send_raw("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        client.read_raw(35),
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    let visit = &origin.requests()[0];
    assert_eq!(
        (visit.field("upgrade"), visit.field("sec-websocket-version")),
        ("websocket", "13")
    );
    assert!(visit.fields.lists("connection", "upgrade"));
    assert_eq!(origin.request_count(), 1);
    assert!(origin.faults().is_empty());
}

#[test]
fn bytes_right_behind_the_head_reach_the_origin() {
    let origin = echoing();
    let node = in_front_of(&origin);
    for early in ["x".to_owned(), "e".repeat(20_000)] {
        let mut client = node.connect();
        client.send_raw(format!("{HANDSHAKE}{early}"));
        assert_eq!(client.receive().status, 101);
        assert_eq!(client.read_raw(7), b"welcome");
        assert_eq!(client.read_raw(early.len()), early.as_bytes());
        client.send_raw("late");
        assert_eq!(client.read_raw(4), b"late");
    }
}

#[test]
fn who_closes_a_tunnel_closes_it_for_the_other_side() {
    let origin = echoing();
    let node = in_front_of(&origin);
    let mut client = upgraded(&node);
    assert_eq!(origin.open_connections(), 1);
    client.finish_sending();
    assert!(
        client.closes_within(Duration::from_secs(5)),
        "the end of the client did not pass"
    );
    let gone = || origin.open_connections() == 0;
    assert!(eventually(Duration::from_secs(5), gone));
    upgraded(&node).reset();
    assert!(
        eventually(Duration::from_secs(5), gone),
        "the reset of the client did not pass"
    );
    origin.answer(|_| {
        Reply::new(101)
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade")
            .piece("bye")
            .close()
    });
    let mut client = node.connect();
    client.send_raw(HANDSHAKE);
    assert_eq!(client.receive().status, 101);
    assert_eq!(client.read_raw(3), b"bye");
    assert!(
        client.closes_within(Duration::from_secs(5)),
        "the end of the origin did not pass"
    );
    let closed = || node.metric("edge_connections", &[]) == 0.0;
    drop(client);
    assert!(eventually(Duration::from_secs(5), closed));
}

#[test]
fn a_tunnel_may_be_quiet_for_longer_than_any_request() {
    let origin = echoing();
    let node = edge()
        .config("[guard]\nidle = \"1s\"\nbody_idle = \"1s\"\nheader_deadline = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = upgraded(&node);
    assert!(!client.closes_within(Duration::from_millis(2500)));
    client.send_raw("still here");
    let back = eventually(Duration::from_secs(5), || {
        client.read_at_most(100) >= 10 || !client.closes_within(Duration::from_millis(1))
    });
    assert!(back);
}

#[test]
fn many_tunnels_at_once_do_not_mix() {
    let origin = echoing();
    let node = in_front_of(&origin);
    let mut clients: Vec<_> = (0..40).map(|_| upgraded(&node)).collect();
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send_raw(format!("{round} {n:03}"));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read_raw(5), format!("{round} {n:03}").as_bytes());
        }
    }
    assert_eq!(node.get("/").expect(200).text(), "plain");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_reply() {
    for status in [200, 400, 404, 426] {
        let origin = Origin::start(move |_| {
            Reply::new(status)
                .piece("no")
                .field("Cache-Control", "max-age=60")
        });
        let node = in_front_of(&origin);
        let mut client = node.connect();
        for _ in 0..2 {
            client.send_raw(HANDSHAKE);
            let answer = client.receive().expect(status);
            assert_eq!(
                (answer.text().as_str(), answer.has("upgrade")),
                ("no", false),
                "{answer}"
            );
        }
        // The connection goes on, and nothing of it was cached.
        assert_eq!(origin.request_count(), 2);
        client.exchange(&Request::get("/chat")).expect(status);
        assert_eq!(origin.request_count(), 3);
    }
}

#[test]
fn an_upgrade_is_never_cached_and_never_answered_from_the_cache() {
    let origin = echoing();
    let node = in_front_of(&origin);
    assert_eq!(node.get("/chat").expect(200).text(), "plain");
    for _ in 0..2 {
        upgraded(&node);
    }
    assert!(
        node.get("/chat")
            .expect(200)
            .field("cache-status")
            .contains("hit")
    );
    assert_eq!(origin.request_count(), 3);
}

#[test]
fn upgrades_nobody_asked_for_are_an_error_of_the_origin() {
    let origin = Origin::start(|_| {
        Reply::new(101)
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade")
            .echo()
    });
    let node = in_front_of(&origin);
    for method in ["GET", "POST"] {
        let answer = Request::new(method, "/").send(node.http());
        assert_eq!(answer.status, 502, "{method}: {answer}");
    }
    let mut client = Frames::open(node.http());
    client.get("/").expect(502);
}

#[test]
fn what_is_no_upgrade_is_served_without_one() {
    let origin = echoing();
    let node = in_front_of(&origin);
    for head in [
        // Not named in Connection; of HTTP/1.0; with a body; two protocols in two fields.
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let answer = Request::raw(head).send(node.http()).expect(200);
        assert_eq!(answer.text(), "plain", "{head:?}");
    }
    assert!(origin.requests().iter().all(|visit| !visit.has("upgrade")));
    assert!(origin.faults().is_empty());
}

#[test]
fn a_stopping_node_does_not_wait_for_tunnels_beyond_its_time() {
    let origin = echoing();
    let mut node = edge()
        .config("[guard]\ndrain = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = upgraded(&node);
    node.begin_stop();
    client.send_raw("last");
    assert_eq!(client.read_raw(4), b"last");
    assert_eq!(node.wait_for_exit().code(), Some(0));
    assert!(client.closes_within(Duration::from_secs(1)));
}

#[test]
fn events_arrive_one_by_one_while_the_origin_is_still_speaking() {
    let gates: Vec<_> = (0..5).map(|_| Gate::new()).collect();
    let holds = gates.clone();
    let origin = Origin::start(move |_| {
        let mut reply = Reply::ok("")
            .field("Content-Type", "text/event-stream")
            .chunked();
        for (n, hold) in holds.iter().enumerate() {
            reply = reply.piece(format!("data: {n}\n\n")).gate(hold);
        }
        reply
    });
    let node = in_front_of(&origin);
    let mut old = node.connect();
    old.send(&Request::get("/events"));
    let mut new = Frames::open(node.http());
    let stream = new.request("GET", "/events", &[], true);
    for (n, gate) in gates.iter().enumerate() {
        let bytes = 9 * (n as u64 + 1);
        assert!(old.wait_for_body(bytes), "event {n} did not come");
        assert!(
            new.wait_for_body(stream, bytes),
            "event {n} did not come over HTTP/2"
        );
        gate.wait_until_reached(1);
        gate.open();
    }
    assert_eq!(old.receive().expect(200).body_len, 45);
    assert_eq!(new.finish(stream).expect(200).body_len, 45);
}

#[test]
fn events_until_close_arrive_as_well_and_their_end_is_an_end() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |_| {
        Reply::ok("data: 1\n\n")
            .field("Content-Type", "text/event-stream")
            .gate(&hold)
            .piece("data: 2\n\n")
            .until_close()
    });
    let node = in_front_of(&origin);
    let mut client = node.connect();
    client.send(&Request::get("/events"));
    assert!(client.wait_for_body(9));
    gate.open();
    let answer = client.receive();
    assert_eq!(
        (answer.body_len, &answer.ended),
        (18, &Ended::Chunked),
        "{answer}"
    );
}
