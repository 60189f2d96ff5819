//! Connections of clients: kept, pipelined, of an older version, too slow, idle, too many.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{
    Connection, Ended, NoResponse, Node, Origin, Reply, Request, eventually, pattern_crc,
};
use std::time::{Duration, Instant};

#[test]
fn a_connection_is_kept_for_the_next_request_whatever_the_answer() {
    let origin = Origin::start(|visit| match visit.path() {
        "/chunked" => fresh("").pattern(100_000, 1).chunked(),
        "/204" => Reply::new(204),
        "/304" => Reply::new(304),
        "/404" => Reply::new(404).piece("no"),
        "/close" => Reply::ok("x").close(),
        "/until-close" => Reply::ok("x").until_close(),
        _ => fresh("x"),
    });
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    for path in [
        "/",
        "/chunked",
        "/chunked",
        "/204",
        "/304",
        "/404",
        "/close",
        "/until-close",
        "/",
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = connection.exchange(&Request::new(method, path));
            assert!(
                answer.complete && !answer.has("connection"),
                "{method} {path}: {answer}"
            );
        }
    }
    assert_eq!(node.metric("edge_connections_total", &[]), 1.0);
}

#[test]
fn connection_close_is_honoured_and_answered() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    for field in ["close", "Close", "keep-alive, close"] {
        let mut connection = node.connect();
        let answer = connection
            .exchange(&Request::get("/").field("Connection", field))
            .expect(200);
        assert_eq!(answer.field("connection"), "close", "{field}");
        assert!(connection.closes_within(Duration::from_secs(5)), "{field}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::start(|visit| match visit.path() {
        "/slow" => fresh("slow").pause_head(Duration::from_millis(100)),
        path => fresh(path),
    });
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    let heads: String = (0..200)
        .map(|n| {
            if n % 50 == 0 {
                "/slow".to_owned()
            } else {
                format!("/{}", n % 7)
            }
        })
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    connection.send_raw(heads);
    for n in 0..200 {
        let wanted = if n % 50 == 0 {
            "slow".to_owned()
        } else {
            format!("/{}", n % 7)
        };
        assert_eq!(connection.receive().expect(200).text(), wanted, "{n}");
    }
    assert_eq!(origin.request_count(), 8);
}

#[test]
fn requests_behind_an_upload_in_the_same_write_are_answered_too() {
    let origin = Origin::start(|visit| Reply::ok(format!("{} {}", visit.target, visit.text())));
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    connection.send_raw(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         GET /2 HTTP/1.1\r\nHost: a\r\n\r\n\
         PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\
         GET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for wanted in ["/1 hello", "/2 ", "/3 abcde", "/4 ok", "/5 "] {
        assert_eq!(connection.receive().expect(200).text(), wanted);
    }
}

#[test]
fn a_head_is_understood_however_it_is_cut_into_packets() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let head = b"GET /a?b=c HTTP/1.1\r\nHost: edge.test\r\nX-A: 1\r\n\r\n";
    let mut connection = node.connect();
    for cut in 1..head.len() {
        connection.send_raw(&head[..cut]);
        // Two packets: the first is on its way before the second is written.
        std::thread::yield_now();
        connection.send_raw(&head[cut..]);
        connection.receive().expect(200);
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_client_of_http_1_0_gets_what_it_understands() {
    let origin = Origin::start(|visit| match visit.path() {
        "/chunked" => Reply::ok("").pattern(100_000, 1).chunked(),
        _ => fresh("x"),
    });
    let node = in_front_of(&origin);
    let old = |path: &str| Request::get(path).version("HTTP/1.0");
    let mut connection = node.connect();
    let answer = connection.exchange(&old("/")).expect(200);
    assert_eq!(
        (answer.ended, answer.fields.lists("connection", "close")),
        (Ended::Length, true)
    );
    assert!(connection.closes_within(Duration::from_secs(5)));
    let chunked = old("/chunked").send(node.http()).expect(200);
    assert_eq!(
        (&chunked.ended, chunked.body_crc),
        (&Ended::Close, pattern_crc(100_000, 1))
    );
    let mut connection = node.connect();
    for _ in 0..3 {
        let answer = connection
            .exchange(&old("/").field("Connection", "keep-alive"))
            .expect(200);
        assert_eq!(answer.field("connection"), "keep-alive");
    }
    let kept = old("/chunked").field("Connection", "keep-alive");
    let answer = connection.exchange(&kept).expect(200);
    assert_eq!(
        (&answer.ended, answer.field("connection")),
        (&Ended::Close, "close")
    );
    old("/").without_host().send(node.http()).expect(200);
    assert!(
        origin
            .requests()
            .iter()
            .all(|visit| visit.version == "HTTP/1.1")
    );
}

#[test]
fn a_body_that_breaks_under_a_client_of_http_1_0_is_a_reset_and_no_end() {
    let origin = Origin::start(|_| Reply::ok("half").chunked().cut_after(2));
    let node = in_front_of(&origin);
    let broken = Request::get("/").version("HTTP/1.0").try_send(node.http());
    match broken {
        Ok(answer) => assert_eq!((answer.complete, answer.ended), (false, Ended::Reset)),
        Err(why) => assert_eq!(why, NoResponse::Reset),
    }
}

#[test]
fn a_head_that_drips_is_given_up_at_its_deadline() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\nheader_deadline = \"500ms\"")
        .origin(&origin)
        .start();
    let mut connection = node.connect();
    connection.exchange(&Request::get("/")).expect(200);
    let began = Instant::now();
    let mut bytes = b"GET / HTTP/1.1\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'a'));
    let given_up = eventually(Duration::from_secs(5), || {
        let _ = connection.try_send_raw([*bytes.next().unwrap()]);
        connection.closes_within(Duration::from_millis(20))
    });
    assert!(
        given_up && began.elapsed() >= Duration::from_millis(450),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(connection.receive().status, 408);
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\nidle = \"1s\"")
        .origin(&origin)
        .start();
    let (mut fresh, mut used) = (node.connect(), node.connect());
    used.exchange(&Request::get("/")).expect(200);
    let began = Instant::now();
    for connection in [&mut fresh, &mut used] {
        assert!(connection.closes_within(Duration::from_secs(5)));
        assert_eq!(connection.try_receive().unwrap_err(), NoResponse::Closed);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let origin = Origin::start(|_| fresh("").pattern(8 << 20, 1));
    let node = edge()
        .config("[guard]\nbody_idle = \"1s\"")
        .origin(&origin)
        .start();
    node.get("/").expect(200);
    let mut client = Connection::open_narrow(node.http(), 4096);
    client.send(&Request::get("/").count_body());
    assert!(client.wait_for_head());
    let cut = || node.metric("edge_replies_cut_total", &[]) == 1.0;
    assert!(eventually(Duration::from_secs(5), cut));
    let answer = client.receive();
    assert_eq!((answer.complete, answer.ended), (false, Ended::Reset));
}

#[test]
fn one_connection_more_than_the_cap_is_reset_and_a_place_that_is_free_is_given_again() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\nconnections = { total = 3 }")
        .origin(&origin)
        .start();
    let mut inside: Vec<_> = (0..3).map(|_| node.connect()).collect();
    for connection in &mut inside {
        connection.exchange(&Request::get("/")).expect(200);
    }
    for _ in 0..3 {
        let refused = Request::get("/").try_send(node.http()).unwrap_err();
        assert!(
            matches!(refused, NoResponse::Reset | NoResponse::NotConnected(_)),
            "{refused:?}"
        );
    }
    assert_eq!(
        node.admin_get("/healthz").status,
        200,
        "the admin listener has places of its own"
    );
    assert_eq!(node.metric("edge_connections_refused_total", &[]), 3.0);
    inside.pop();
    assert!(eventually(Duration::from_secs(5), || Request::get("/")
        .try_send(node.http())
        .is_ok()));
    inside[0].exchange(&Request::get("/")).expect(200);
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let origin = Origin::start(|_| fresh("x").pattern(100_000, 1));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let files = node.open_files();
    for n in 0..200 {
        let mut client = node.connect();
        match n % 4 {
            0 => client.send_raw("GET / HT"),
            1 => client.send(&Request::get("/")),
            2 => client.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"),
            _ => {}
        }
        if n % 2 == 0 {
            client.reset()
        }
    }
    let quiet = |node: &Node| node.metric("edge_connections", &[]) == 0.0;
    assert!(eventually(Duration::from_secs(10), || quiet(&node)));
    assert!(
        node.open_files() <= files + 4,
        "{} open files, {files} before",
        node.open_files()
    );
}

#[test]
fn a_client_that_leaves_while_it_waits_gives_its_place_back() {
    let origin = Origin::start(|visit| match visit.path() {
        "/fetched" => fresh("x").stall_head(),
        _ => Reply::silence(),
    });
    let node = in_front_of(&origin);
    for (n, request) in [Request::get("/fetched"), Request::new("DELETE", "/passed")]
        .iter()
        .enumerate()
    {
        let mut client = node.connect();
        client.send(request);
        origin.wait_for_requests(n + 1);
        client.reset();
        let gone = eventually(Duration::from_secs(5), || {
            node.metric("edge_connections", &[]) == 0.0
        });
        assert!(gone, "request {n}: its connection is still counted");
    }
}

#[test]
fn several_addresses_are_listened_on_at_once() {
    let origin = Origin::start(|_| fresh("x"));
    let listen =
        "[listen]\nhttp = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"[::1]:0\"]\nadmin = \"127.0.0.1:0\"";
    let node = edge().config(listen).origin(&origin).start();
    let addresses = node.addresses("http");
    assert_eq!(addresses.len(), 3);
    for address in addresses.iter().filter(|address| address.is_ipv4()) {
        Request::get("/").send(*address).expect(200);
    }
    assert_eq!(origin.request_count(), 1);
}
