//! SIGTERM: nobody new comes in, whoever is inside is served to the end, and the process ends.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Connection, Gate, NoResponse, Origin, Reply, Request, eventually};
use std::time::{Duration, Instant};

#[test]
fn a_node_with_nothing_to_do_stops_at_once_with_code_0() {
    let origin = Origin::start(|_| fresh("x"));
    let mut node = in_front_of(&origin);
    let mut kept = node.connect();
    kept.exchange(&Request::get("/")).expect(200);
    let began = Instant::now();
    assert_eq!(node.stop().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(kept.closes_within(Duration::from_secs(1)));
    assert!(node.stderr().contains("edge: stopped"), "{}", node.stderr());
}

#[test]
fn a_signal_right_after_ready_is_heard() {
    let origin = Origin::start(|_| fresh("x"));
    for _ in 0..10 {
        let mut node = in_front_of(&origin);
        node.reload();
        node.begin_stop();
        assert_eq!(node.wait_for_exit().code(), Some(0));
    }
}

#[test]
fn while_it_drains_the_node_takes_nobody_in_and_serves_who_is_inside() {
    let gate = Gate::new();
    let hold = gate.clone();
    let origin = Origin::start(move |visit| match visit.path() {
        "/head" => fresh("late").hold_head(&hold),
        _ => Reply::ok("first ").gate(&hold).piece("second").length(12),
    });
    let mut node = in_front_of(&origin);
    let address = node.http();
    let mut idle = node.connect();
    let mut waiting = node.connect();
    waiting.send(&Request::get("/head"));
    let mut halfway = node.connect();
    halfway.send(&Request::get("/body"));
    assert!(halfway.wait_for_body(6));
    gate.wait_until_reached(2);
    let mut admin = Connection::open(node.admin());
    let ready = Request::get("/readyz").host(&node.admin().to_string());
    admin.exchange(&ready).expect(200);
    node.begin_stop();
    node.wait_for_stderr("edge: stopping");
    let refused = || {
        matches!(
            Connection::try_open(address),
            Err(NoResponse::NotConnected(_))
        )
    };
    assert!(eventually(Duration::from_secs(5), refused));
    assert!(idle.closes_within(Duration::from_secs(5)));
    // The admin listener stays, so that whoever sends requests here learns to stop.
    for answer in [admin.exchange(&ready), node.admin_get("/readyz")] {
        assert!(answer.expect(503).text().contains("draining"));
    }
    assert!(node.is_running());
    gate.open();
    let answer = waiting.receive().expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("late", "close")
    );
    assert_eq!(halfway.receive().expect(200).text(), "first second");
    drop((waiting, halfway));
    assert_eq!(node.wait_for_exit().code(), Some(0));
}

#[test]
fn an_upload_under_way_is_taken_to_its_end() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let mut node = in_front_of(&origin);
    let mut client = node.connect();
    client.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert!(eventually(Duration::from_secs(5), || origin
        .bytes_received()
        == 5));
    node.begin_stop();
    node.wait_for_stderr("edge: stopping");
    client.send_raw("world");
    let answer = client.receive().expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("helloworld", "close")
    );
    assert_eq!(node.wait_for_exit().code(), Some(0));
}

#[test]
fn who_does_not_end_in_time_is_cut_off() {
    let origin = Origin::start(|_| fresh("half").length(8).stall());
    let mut node = edge()
        .config("[guard]\ndrain = \"1s\"")
        .origin(&origin)
        .start();
    let mut client = node.connect();
    client.send(&Request::get("/"));
    assert!(client.wait_for_body(4));
    let began = Instant::now();
    node.begin_stop();
    assert_eq!(node.wait_for_exit().code(), Some(0));
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    let answer = client.receive();
    assert!(
        !answer.complete,
        "a cut answer must not look like an end: {answer}"
    );
}

#[test]
fn connections_that_wait_in_the_kernels_queue_are_answered_before_it_closes() {
    let origin = Origin::start(|_| fresh("x"));
    let mut node = in_front_of(&origin);
    node.get("/").expect(200);
    let mut clients: Vec<_> = (0..50).map(|_| node.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(&Request::get("/")));
    node.begin_stop();
    for client in &mut clients {
        match client.try_receive() {
            Ok(answer) => drop(answer.expect(200)),
            // It had not been read yet when the node decided to leave: the client may ask again.
            Err(why) => assert!(
                matches!(why, NoResponse::Closed | NoResponse::Reset),
                "{why:?}"
            ),
        }
    }
    assert_eq!(node.wait_for_exit().code(), Some(0));
}
