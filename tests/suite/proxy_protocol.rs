//! The PROXY protocol: whose word about the client counts, and what happens to everybody else.

use crate::{edge, fresh};
use edge_testkit::{Authority, Connection, NoResponse, Node, Origin, Request, Tls};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const BALANCER: &str = "127.0.0.2";

/// A node behind a load balancer, on both kinds of listeners.
fn behind_a_balancer(origin: &Origin) -> (Authority, Node) {
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let node = edge()
        .listen(&format!(
            "https = [\"127.0.0.1:0\"]\nproxy_protocol_from = [\"{BALANCER}\"]"
        ))
        .config("[tls]\ncertificates = [{ chain = \"a.pem\", key = \"file:a.key\" }]")
        .config("[guard]\nheader_deadline = \"500ms\"")
        .file("a.pem", identity.chain)
        .file("a.key", identity.key)
        .origin(origin)
        .start();
    (authority, node)
}

/// An origin that says who it was told the client is.
fn telling() -> Origin {
    Origin::start(|visit| fresh(visit.field("x-forwarded-for")).field("Cache-Control", "no-store"))
}

fn from_balancer(to: SocketAddr) -> Connection {
    Connection::open_from(BALANCER.parse::<IpAddr>().unwrap(), to)
}

/// A header of version 2 for TCP over IPv4, from 203.0.113.9:4711.
fn v2(command: u8, tlvs: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, 0x11]);
    bytes.extend((12 + tlvs.len() as u16).to_be_bytes());
    bytes.extend([203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 1, 0xbb]);
    bytes.extend(tlvs);
    bytes
}

fn v1() -> Vec<u8> {
    b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n".to_vec()
}

#[test]
fn what_the_balancer_says_is_the_client() {
    let origin = telling();
    let (_authority, node) = behind_a_balancer(&origin);
    for (header, client) in [
        (v1(), "203.0.113.9"),
        (
            b"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n".to_vec(),
            "2001:db8::9",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), BALANCER),
        (v2(0x21, b""), "203.0.113.9"),
        (v2(0x21, &[0xee; 200]), "203.0.113.9"),
        (v2(0x20, b""), BALANCER),
    ] {
        let mut connection = from_balancer(node.http());
        connection.send_raw(&header);
        for _ in 0..2 {
            assert_eq!(
                connection.exchange(&Request::get("/")).expect(200).text(),
                client
            );
        }
    }
    assert!(
        node.wait_for_stdout("203.0.113.9")
            .contains("\"client\":\"203.0.113.9\"")
    );
}

#[test]
fn header_and_request_may_come_in_any_pieces() {
    let origin = telling();
    let (_authority, node) = behind_a_balancer(&origin);
    let request = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n";
    for header in [v1(), v2(0x21, &[1, 2, 3])] {
        let all = [&header[..], request].concat();
        for cut in (0..all.len()).step_by(5) {
            let mut connection = from_balancer(node.http());
            connection.send_raw(&all[..cut]);
            connection.send_raw(&all[cut..]);
            assert_eq!(
                connection.receive().expect(200).text(),
                "203.0.113.9",
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn tls_begins_behind_the_header() {
    let origin = telling();
    let (authority, node) = behind_a_balancer(&origin);
    let tls = Tls::trusting(&authority.pem());
    for header in [v1(), v2(0x21, &[0xee; 50])] {
        let mut connection = from_balancer(node.https());
        connection.send_raw(&header);
        let mut connection = tls.secure(connection, "edge.test").unwrap();
        assert_eq!(
            connection.exchange(&Request::get("/")).expect(200).text(),
            "203.0.113.9"
        );
    }
    // The client's first bytes may come with the header.
    let mut connection = from_balancer(node.https());
    connection.send_raw([&v1()[..], &[0x16, 3, 1]].concat());
    assert!(connection.closes_within(Duration::from_secs(10)));
}

#[test]
fn the_balancer_must_begin_with_a_header_and_a_good_one() {
    let origin = telling();
    let (authority, node) = behind_a_balancer(&origin);
    let request = "GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n";
    for bytes in [
        request.as_bytes().to_vec(),
        [
            b"PROXY TCP4 203.0.113.9 127.0.0.1 4711\r\n",
            request.as_bytes(),
        ]
        .concat(),
        [
            b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\n",
            request.as_bytes(),
        ]
        .concat(),
        [v2(0x22, b""), request.into()].concat(),
        [v2(0x21, &vec![0; 60_000]), request.into()].concat(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
    ] {
        let mut connection = from_balancer(node.http());
        let _ = connection.try_send_raw(&bytes);
        assert_eq!(
            connection.try_receive().unwrap_err(),
            NoResponse::Reset,
            "{bytes:?}"
        );
    }
    assert!(
        Tls::trusting(&authority.pem())
            .secure(from_balancer(node.https()), "edge.test")
            .is_err()
    );
    assert_eq!(origin.request_count(), 0);
    assert_eq!(node.metric("edge_proxy_headers_refused_total", &[]), 7.0);
}

#[test]
fn a_header_has_a_deadline() {
    let origin = telling();
    let (_authority, node) = behind_a_balancer(&origin);
    for start in [&b""[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
        let mut connection = from_balancer(node.http());
        connection.send_raw(start);
        assert!(connection.closes_within(Duration::from_secs(10)));
    }
}

#[test]
fn nobody_else_is_believed() {
    let origin = telling();
    let (authority, node) = behind_a_balancer(&origin);
    for header in [v1(), v2(0x21, b"")] {
        let mut connection = Connection::open(node.http());
        connection.send_raw([&header[..], b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n"].concat());
        assert_eq!(connection.receive().status, 400);
        let mut connection = Connection::open(node.https());
        connection.send_raw(&header);
        assert!(
            Tls::trusting(&authority.pem())
                .secure(connection, "edge.test")
                .is_err()
        );
    }
    assert_eq!(node.get("/").expect(200).text(), "127.0.0.1");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_reload_changes_whose_word_counts() {
    let origin = telling();
    let (_authority, node) = behind_a_balancer(&origin);
    node.edit_config(|text| text.replace(&format!("[\"{BALANCER}\"]"), "[]"));
    node.reload();
    let said = node.wait_for_stderr("edge: reloaded");
    assert!(said.contains("listen.proxy_protocol_from"), "{said}");
    let mut connection = from_balancer(node.http());
    assert_eq!(
        connection.exchange(&Request::get("/")).expect(200).text(),
        BALANCER
    );
    let mut connection = from_balancer(node.http());
    connection.send_raw([&v1()[..], b"Host: edge.test\r\n\r\n"].concat());
    assert_eq!(connection.receive().status, 400);
}
