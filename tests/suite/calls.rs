//! Calls as gRPC makes them: messages both ways at once, trailers at both ends, to an origin of
//! HTTP/2; and trailers over HTTP/1.

use crate::{edge, in_front_of};
use edge_testkit::{Bodies, Frames, Node, Origin, Reply, Request, code, eventually};
use std::time::Duration;

/// An origin of HTTP/2 that answers each message of a call with one of its own, one after the
/// other, and ends with trailers, as gRPC does.
struct CallOrigin {
    address: std::net::SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl CallOrigin {
    fn start() -> CallOrigin {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(call(request, respond));
                    }
                });
            }
        });
        CallOrigin {
            address,
            _runtime: runtime,
        }
    }

    fn node(&self) -> Node {
        let config = format!(
            "[origins.calls]\nservers = [\"http://{}\"]\nprotocol = \"http2\"",
            self.address
        );
        edge()
            .config(&config)
            .site("[[site]]\nhosts = [\"*\"]\norigin = \"calls\"")
            .start()
    }
}

async fn call(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) {
    let te = request.headers().get("te").cloned();
    let mut body = request.into_body();
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let Ok(mut back) = respond.send_response(head, false) else {
        return;
    };
    let mut count = 0;
    while let Some(Ok(message)) = body.data().await {
        let _ = body.flow_control().release_capacity(message.len());
        count += message.len();
        if message.starts_with(b"break") {
            back.send_reset(h2::Reason::INTERNAL_ERROR);
            return;
        }
        let _ = back.send_data(message, false);
    }
    let sent = body.trailers().await.ok().flatten();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-bytes", count.into());
    if let Some(te) = te {
        trailers.insert("x-te", te);
    }
    if let Some(value) = sent.as_ref().and_then(|sent| sent.get("x-sum")) {
        trailers.insert("x-sum", value.clone());
    }
    let _ = back.send_trailers(trailers);
}

const CALL: [(&str, &str); 2] = [("te", "trailers"), ("content-type", "application/grpc")];

#[test]
fn a_call_to_an_origin_of_http_2_goes_message_by_message_and_ends_with_its_trailers() {
    let origin = CallOrigin::start();
    let node = origin.node();
    let mut client = Frames::open(node.http());
    let stream = client.request("POST", "/pkg.Service/Chat", &CALL, false);
    for n in 0..5_u64 {
        client.send_data(stream, b"message", false);
        assert!(
            client.wait_for_body(stream, 7 * (n + 1)),
            "message {n} waits for something"
        );
    }
    client.send_fields(stream, &[("x-sum", "35")], true);
    let answer = client.finish(stream).expect(200);
    assert_eq!(
        (answer.text(), answer.field("content-type")),
        ("message".repeat(5), "application/grpc")
    );
    let trailers = answer.trailers.expect("trailers came");
    assert_eq!(
        (trailers.get("grpc-status"), trailers.get("x-bytes")),
        (Some("0"), Some("35"))
    );
    assert_eq!(
        (trailers.get("x-te"), trailers.get("x-sum")),
        (Some("trailers"), Some("35"))
    );
}

#[test]
fn calls_at_once_share_nothing_and_a_broken_one_is_a_reset() {
    let origin = CallOrigin::start();
    let node = origin.node();
    let mut client = Frames::open(node.http());
    let streams: Vec<_> = (0..50)
        .map(|n| {
            let stream = client.request("POST", "/pkg.Service/Unary", &CALL, false);
            client.send_data(stream, format!("call {n}").as_bytes(), true);
            stream
        })
        .collect();
    let broken = client.request("POST", "/pkg.Service/Unary", &CALL, false);
    client.send_data(broken, b"break", true);
    for (n, stream) in streams.into_iter().enumerate() {
        let answer = client.finish(stream).expect(200);
        assert_eq!(answer.text(), format!("call {n}"));
        assert_eq!(answer.trailers.unwrap().get("grpc-status"), Some("0"));
    }
    let answer = client.finish(broken);
    assert!(
        !answer.complete && answer.reset != Some(code::NO_ERROR) || answer.status == 502,
        "{answer:?}"
    );
}

#[test]
fn an_upload_that_its_client_cancels_is_cancelled_at_the_origin() {
    let origin = Origin::builder()
        .bodies(Bodies::Count)
        .start(|_| Reply::ok("x"));
    let node = in_front_of(&origin);
    let mut client = Frames::open(node.http());
    let stream = client.request("POST", "/", &CALL, false);
    client.send_data(stream, b"hello", false);
    let came = || origin.bytes_received() == 5;
    assert!(eventually(Duration::from_secs(5), came));
    client.reset(stream, code::CANCEL);
    let gone = || origin.open_connections() == 0;
    assert!(eventually(Duration::from_secs(5), gone));
    assert!(!origin.requests()[0].body_complete);
}

#[test]
fn trailers_of_http_1_pass_both_ways() {
    let origin = Origin::start(|visit| {
        let sum = visit.trailers.get("x-sum").unwrap_or("none").to_owned();
        Reply::ok(&visit.body).trailer("X-Back", &sum)
    });
    let node = in_front_of(&origin);
    let request = Request::post("/", "")
        .chunked(["hel", "lo"])
        .trailer("X-Sum", "5");
    let answer = request
        .clone()
        .field("TE", "trailers")
        .send(node.http())
        .expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.trailers.get("x-back")),
        ("hello", Some("5"))
    );
    // Who does not take trailers gets none.
    let answer = request.send(node.http()).expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.trailers.len()),
        ("hello", 0)
    );
    assert!(origin.faults().is_empty());
}

#[test]
fn trailers_that_could_change_the_request_stay_here() {
    let origin = Origin::start(|visit| Reply::ok(&visit.body));
    let node = in_front_of(&origin);
    let forbidden = [
        ("Content-Length", "7"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "other.test"),
        ("Connection", "close"),
        ("Trailer", "x"),
        ("Authorization", "Basic eA=="),
        ("X-Forwarded-For", "9.9.9.9"),
        ("Content-Type", "text/html"),
        ("Cache-Control", "no-store"),
        ("TE", "trailers"),
    ];
    for (name, value) in forbidden {
        let request = Request::post("/", "")
            .chunked(["hello"])
            .trailer(name, value)
            .trailer("X-Fine", "1");
        let mut client = node.connect();
        client.send(&request);
        client.receive().expect(200);
        client.exchange(&Request::post("/", "next")).expect(200);
    }
    for visit in origin.requests() {
        for (name, _) in forbidden {
            assert!(
                !visit.trailers.has(name),
                "{name} passed: {:?}",
                visit.trailers
            );
        }
    }
    assert!(origin.faults().is_empty());
}
