//! Upgrades: when a connection becomes a tunnel, and that it loses nothing.

use std::sync::Arc;

use edge_origin::{
    Body, Error, Origin, OriginSettings, Protocol, Scheme, Server, Tls, Tunnel, Upgraded,
};
use edge_testkit::Authority;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::http2::{hello, serve};
use crate::script::{always, at, client, count, get, origin, read, read_head, settings};
use crate::tls::acceptor;

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n";

fn upgrade() -> Request<Body> {
    let mut request = get("/socket");
    let headers = request.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    request
}

fn tunnel(response: &Response<Body>) -> Tunnel {
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "WebSocket");
    assert_eq!(response.headers()["connection"], "upgrade");
    let upgraded = response.extensions().get::<Upgraded>().unwrap().clone();
    let tunnel = upgraded.take().unwrap();
    assert!(
        response
            .extensions()
            .get::<Upgraded>()
            .unwrap()
            .take()
            .is_none()
    );
    tunnel
}

/// Switches, says something at once, echoes until the end and says goodbye behind it.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(
        head.ends_with("upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        "{head}"
    );
    let switch = format!("{SWITCH}welcome");
    stream.write_all(switch.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        stream.write_all(&buffer[..count]).await.unwrap();
        stream.flush().await.unwrap();
    }
    stream.write_all(b"goodbye").await.unwrap();
    stream.shutdown().await.unwrap();
}

/// Plays the other side of [`echo`].
async fn converse(mut tunnel: Tunnel) {
    let mut welcome = [0; 7];
    tunnel.read_exact(&mut welcome).await.unwrap();
    assert_eq!(&welcome, b"welcome");
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = tokio::io::split(tunnel);
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut echoed = Vec::new();
    from.read_to_end(&mut echoed).await.unwrap();
    sending.await.unwrap();
    assert_eq!(echoed.len(), data.len() + 7);
    assert!(echoed.starts_with(&data) && echoed.ends_with(b"goodbye"));
}

#[tokio::test]
async fn a_granted_upgrade_is_a_tunnel_from_the_first_byte_to_both_ends() {
    for protocol in [Protocol::Auto, Protocol::Http1, Protocol::Http2] {
        let port = origin(|_, stream| echo(stream)).await;
        let settings = OriginSettings {
            protocol,
            ..settings(port)
        };
        let origin = Arc::new(Origin::new(settings).unwrap());
        let client = client();
        let response = client.send(&origin, upgrade()).await.unwrap();
        let tunnel = tunnel(&response);
        drop(response);
        converse(tunnel).await;
        assert_eq!(count(&client.counters().idle), 0);
    }
}

#[tokio::test]
async fn over_tls_only_http1_is_offered_for_an_upgrade() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.issue(&["127.0.0.1"]), &["h2", "http/1.1"]);
    let port = origin(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => serve(stream, hello).await,
                _ => echo(stream).await,
            }
        }
    })
    .await;
    for protocol in [Protocol::Auto, Protocol::Http2] {
        let servers = vec![Server {
            scheme: Scheme::Https,
            host: "127.0.0.1".into(),
            port,
        }];
        let tls = Tls {
            ca_pem: Some(authority.pem().into_bytes()),
            ..Tls::default()
        };
        let origin = Arc::new(
            Origin::new(OriginSettings {
                servers,
                tls,
                protocol,
                ..settings(port)
            })
            .unwrap(),
        );
        let client = client();
        // There is an HTTP/2 connection with room, and it must not be taken.
        for _ in 0..2 {
            let response = client.send(&origin, get("/")).await.unwrap();
            assert_eq!(read(response).await.unwrap(), "hello");
            let response = client.send(&origin, upgrade()).await.unwrap();
            converse(tunnel(&response)).await;
        }
        assert_eq!(count(&client.counters().opened), 3);
    }
}

#[tokio::test]
async fn nothing_is_lost_wherever_the_bytes_are_split() {
    let bytes = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{SWITCH}\r\n\r\nearly"
    );
    for split in 1..bytes.len() {
        let sent = bytes.clone();
        let port = origin(move |_, mut stream| {
            let sent = sent.clone();
            async move {
                stream.set_nodelay(true).unwrap();
                read_head(&mut stream).await;
                for part in [&sent[..split], &sent[split..]] {
                    stream.write_all(part.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        let response = client().send(&at(port), upgrade()).await.unwrap();
        let mut came = String::new();
        tunnel(&response).read_to_string(&mut came).await.unwrap();
        assert_eq!(came, "\r\n\r\nearly", "split at {split}");
    }
}

#[tokio::test]
async fn the_origins_end_leaves_the_other_direction_open() {
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(SWITCH.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "still here");
    })
    .await;
    let response = client().send(&at(port), upgrade()).await.unwrap();
    let mut tunnel = tunnel(&response);
    assert_eq!(tunnel.read(&mut [0; 9]).await.unwrap(), 0);
    tunnel.write_all(b"still here").await.unwrap();
    tunnel.flush().await.unwrap();
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut [0; 9]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tunnel_nobody_takes_is_closed() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let port = origin(move |_, mut stream| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(SWITCH.as_bytes()).await.unwrap();
            told.send(stream.read(&mut [0; 1]).await.is_ok())
                .await
                .unwrap();
        }
    })
    .await;
    drop(client().send(&at(port), upgrade()).await.unwrap());
    assert_eq!(ended.recv().await, Some(true));
}

#[tokio::test]
async fn any_other_answer_is_an_ordinary_response_on_a_connection_that_is_not_kept() {
    for (reply, status) in [
        (
            "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nok",
            426,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
        ),
    ] {
        let client = client();
        let response = client
            .send(&at(always(reply).await), upgrade())
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<Upgraded>().is_none());
        assert_eq!(read(response).await.unwrap(), "ok");
        assert_eq!(count(&client.counters().idle), 0);
    }
}

#[tokio::test]
async fn a_101_that_grants_something_else_is_refused() {
    for fields in [
        "",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: h2c\r\nConnection: upgrade\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let reply = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        let port = always(Box::leak(reply.into_boxed_str())).await;
        let error = client().send(&at(port), upgrade()).await.expect_err(fields);
        assert!(
            matches!(error, Error::BadResponse { .. }),
            "{fields:?}: {error}"
        );
    }
}
