//! Every stage has a limit, and missing it says which.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_origin::{Error, Origin, OriginSettings, Scheme, Server};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::script::{SHORT, client, fed, full, get, origin, put, read, read_head, settings};

fn hurried(port: u16) -> OriginSettings {
    OriginSettings {
        connect_timeout: SHORT,
        first_byte_timeout: SHORT,
        between_bytes_timeout: SHORT,
        write_timeout: SHORT,
        ..settings(port)
    }
}

fn made(settings: OriginSettings) -> Arc<Origin> {
    Arc::new(Origin::new(settings).unwrap())
}

async fn forever() {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_server_that_does_not_accept() {
    // A backlog filled up: the system drops further connection requests, and they are never answered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    let error = client()
        .send(&made(hurried(address.port())), get("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { .. }), "{error}");
    assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_server_that_does_not_finish_the_tls_handshake() {
    let port = origin(|_, stream| async move {
        forever().await;
        drop(stream);
    })
    .await;
    let mut settings = hurried(port);
    settings.servers = vec![Server {
        scheme: Scheme::Https,
        host: "127.0.0.1".into(),
        port,
    }];
    settings.tls.verify = false;
    let error = client().send(&made(settings), get("/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { .. }), "{error}");
}

#[tokio::test]
async fn a_response_that_does_not_begin_or_drips() {
    for drip in [false, true] {
        let port = origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            for byte in b"HTTP/1.1 200 OK\r\nX-Very-Slow: indeed it is\r\n" {
                if drip {
                    stream.write_all(&[*byte]).await.unwrap();
                    tokio::time::sleep(SHORT / 10).await;
                }
            }
            forever().await;
        })
        .await;
        let began = Instant::now();
        let error = client()
            .send(&made(hurried(port)), get("/"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::FirstByteTimeout { .. }), "{error}");
        // The limit is for the whole head, not for each read.
        assert!(began.elapsed() < SHORT * 4, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_body_that_stops_but_not_one_that_is_merely_slow() {
    for stops in [true, false] {
        let port = origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
                .await
                .unwrap();
            for byte in b"12345678" {
                stream.write_all(&[*byte]).await.unwrap();
                if stops && *byte == b'4' {
                    forever().await;
                }
                tokio::time::sleep(SHORT / 3).await;
            }
        })
        .await;
        let response = client().send(&made(hurried(port)), get("/")).await.unwrap();
        match read(response).await {
            Ok(body) => assert!(!stops && body == "12345678"),
            Err(error) => assert!(
                stops && matches!(error, Error::BodyTimeout { .. }),
                "{error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_request_the_origin_does_not_read() {
    let port = origin(|_, stream| async move {
        forever().await;
        drop(stream);
    })
    .await;
    let error = client()
        .send(&made(hurried(port)), put(full(vec![0; 32 << 20])))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WriteTimeout { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_is_slow_to_send_is_not_the_origins_fault() {
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        let mut rest = String::new();
        while !rest.ends_with("0\r\n\r\n") {
            rest.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap() as char);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        forever().await;
    })
    .await;
    let (feed, body) = fed();
    tokio::spawn(async move {
        for _ in 0..4 {
            tokio::time::sleep(SHORT / 2).await;
            feed.send(Ok("bit".into())).await.unwrap();
        }
    });
    let response = client()
        .send(&made(hurried(port)), put(body))
        .await
        .unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
}

#[tokio::test]
async fn each_attempt_has_its_own_limit_and_there_are_few() {
    // Never accepted and never answered, as above, four times over.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let https = Server {
        scheme: Scheme::Https,
        host: "127.0.0.1".into(),
        port,
    };
    let mut settings = OriginSettings {
        servers: vec![https; 9],
        ..hurried(port)
    };
    settings.connect_timeout = SHORT / 2;
    settings.tls.verify = false;
    let (client, began) = (client(), Instant::now());
    let error = client.send(&made(settings), get("/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { .. }), "{error}");
    assert!(began.elapsed() >= SHORT * 2 && began.elapsed() < SHORT * 2 + Duration::from_secs(2));
    assert_eq!(crate::script::count(&client.counters().failovers), 3);
}
