//! HTTP/2 origins, over TLS and in the clear.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use edge_origin::{Delimited, Error, Origin, OriginSettings, Protocol, Scheme, Server, Tls};
use edge_testkit::Authority;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::script::{SHORT, client, count, fed, full, get, origin, put, read, settings, until};
use crate::tls::acceptor;

pub type Turn = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves one connection, a task per stream.
pub async fn serve<F, P>(io: impl AsyncRead + AsyncWrite + Unpin, play: P)
where
    F: Future<Output = ()> + Send + 'static,
    P: Fn(Turn) -> F,
{
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok(turn)) = connection.accept().await {
        tokio::spawn(play(turn));
    }
}

/// An h2c origin.
pub async fn clear<F, P>(play: P) -> Arc<Origin>
where
    F: Future<Output = ()> + Send + 'static,
    P: Fn(Turn) -> F + Clone + Send + Sync + 'static,
{
    let port = origin(move |_, stream| {
        let play = play.clone();
        async move { serve(stream, play).await }
    })
    .await;
    let hurried = OriginSettings {
        protocol: Protocol::Http2,
        first_byte_timeout: SHORT,
        between_bytes_timeout: SHORT,
        write_timeout: SHORT,
        ..settings(port)
    };
    Arc::new(Origin::new(hurried).unwrap())
}

pub async fn hello((request, mut reply): Turn) {
    let seen = format!(
        "{} {} {:?}",
        request.method(),
        request.uri(),
        request.headers().get("host")
    );
    let mut body = reply
        .send_response(
            Response::builder().header("x-seen", seen).body(()).unwrap(),
            false,
        )
        .unwrap();
    body.send_data("hel".into(), false).unwrap();
    body.send_data("lo".into(), false).unwrap();
    let trailers: HeaderMap = [("x-sum".parse().unwrap(), "7".parse().unwrap())]
        .into_iter()
        .collect();
    body.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn over_tls_h2_is_taken_when_offered_and_many_requests_share_a_connection() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.issue(&["127.0.0.1"]), &["h2", "http/1.1"]);
    let port = origin(move |_, stream| {
        let acceptor = acceptor.clone();
        async move { serve(acceptor.accept(stream).await.unwrap(), hello).await }
    })
    .await;
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
            ..settings(port)
        })
        .unwrap(),
    );
    let client = client();
    let response = client.send(&origin, get("/a?b")).await.unwrap();
    assert_eq!(
        response.headers()["x-seen"],
        "GET https://a.example/a?b None"
    );
    assert_eq!(response.extensions().get(), Some(&Delimited::H2));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
    assert_eq!(body.to_bytes(), "hello");
    let sent = (0..20).map(|_| client.send(&origin, get("/")));
    for response in futures_util::future::join_all(sent).await {
        assert_eq!(read(response.unwrap()).await.unwrap(), "hello");
    }
    assert_eq!(
        (
            count(&client.counters().opened),
            count(&client.counters().reused)
        ),
        (1, 20)
    );
}

#[tokio::test]
async fn in_the_clear_it_is_spoken_with_prior_knowledge() {
    let response = client().send(&clear(hello).await, get("/")).await.unwrap();
    assert_eq!(response.headers()["x-seen"], "GET http://a.example/ None");
    assert_eq!(read(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_body_goes_up_and_the_answer_may_come_first() {
    let echo = |(request, mut reply): Turn| async move {
        let mut up = request.into_body();
        let mut down = reply.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = up.data().await {
            up.flow_control().release_capacity(data.len()).unwrap();
            down.send_data(data, false).unwrap();
        }
        down.send_data(Bytes::new(), true).unwrap();
    };
    let origin = clear(echo).await;
    let data = vec![7; 3 << 20];
    assert_eq!(
        read(
            client()
                .send(&origin, put(full(data.clone())))
                .await
                .unwrap()
        )
        .await
        .unwrap(),
        data
    );
    let refuse = |(_, mut reply): Turn| async move {
        let too_large = Response::builder().status(413).body(()).unwrap();
        reply.send_response(too_large, true).unwrap();
        std::future::pending::<()>().await;
    };
    let response = client()
        .send(&clear(refuse).await, put(full(data)))
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_client_that_leaves_mid_upload_resets_the_stream() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let noted = ends.clone();
    let origin = clear(move |(request, _reply): Turn| {
        let noted = noted.clone();
        async move {
            let mut up = request.into_body();
            loop {
                match up.data().await {
                    Some(Ok(data)) => up.flow_control().release_capacity(data.len()).unwrap(),
                    Some(Err(error)) => return noted.lock().push(error.is_reset()),
                    None => return noted.lock().push(false),
                }
            }
        }
    })
    .await;
    let (feed, body) = fed();
    tokio::spawn(async move {
        feed.send(Ok("four".into())).await.unwrap();
        feed.send(Err("the client left".into())).await.unwrap();
    });
    let error = client().send(&origin, put(body)).await.unwrap_err();
    assert!(matches!(error, Error::RequestBody { .. }), "{error}");
    until("the stream ends", || !ends.lock().is_empty()).await;
    assert_eq!(*ends.lock(), [true]);
}

#[tokio::test]
async fn every_wait_has_its_limit() {
    let silent = clear(|turn: Turn| async move {
        std::future::pending::<()>().await;
        drop(turn);
    })
    .await;
    let error = client().send(&silent, get("/")).await.unwrap_err();
    assert!(matches!(error, Error::FirstByteTimeout { .. }), "{error}");
    let error = client()
        .send(&silent, put(full(vec![0; 1 << 20])))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WriteTimeout { .. }), "{error}");
    let stops = clear(|(_, mut reply): Turn| async move {
        let mut body = reply.send_response(Response::new(()), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let response = client().send(&stops, get("/")).await.unwrap();
    let error = read(response).await.unwrap_err();
    assert!(matches!(error, Error::BodyTimeout { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_reset_or_short_is_not_a_clean_end() {
    for reset in [true, false] {
        let origin = clear(move |(_, mut reply): Turn| async move {
            let head = Response::builder()
                .header("content-length", "9")
                .body(())
                .unwrap();
            let mut body = reply.send_response(head, false).unwrap();
            body.send_data("four".into(), !reset).unwrap();
            if reset {
                tokio::time::sleep(SHORT / 4).await;
                body.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        })
        .await;
        let response = client().send(&origin, get("/")).await.unwrap();
        let error = read(response).await.unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_went_away_is_replaced_without_the_caller_noticing() {
    // Every connection serves one request and says goodbye.
    let port = origin(|_, stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        if let Some(Ok(turn)) = connection.accept().await {
            hello(turn).await;
        }
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    })
    .await;
    let settings = OriginSettings {
        protocol: Protocol::Http2,
        ..settings(port)
    };
    let (client, origin) = (client(), Arc::new(Origin::new(settings).unwrap()));
    for _ in 0..3 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "hello"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_it_is_an_error() {
    let port = crate::script::always("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let settings = OriginSettings {
        protocol: Protocol::Http2,
        first_byte_timeout: SHORT,
        ..settings(port)
    };
    let error = client()
        .send(&Arc::new(Origin::new(settings).unwrap()), get("/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::ClosedBeforeHead { .. } | Error::BadResponse { .. }
        ),
        "{error}"
    );
}
