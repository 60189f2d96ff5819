//! Conversations: events that trickle, requests and responses that flow at the same time (gRPC), and
//! ends that come one direction at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use edge_origin::{Body, BoxError, Error, Interim};
use h2::Reason;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use crate::http2::{Turn, clear};
use crate::script::{SHORT, at, client, count, fed, get, origin, put, read, read_head, until};

const EVENTS: [&str; 3] = ["data: 1\n\n", "data: 2\n\n", ": quiet\n\n"];

async fn chunk(body: &mut Body) -> Bytes {
    let frame = body.frame().await.unwrap().unwrap();
    frame.into_data().unwrap()
}

fn ok() -> HeaderMap {
    [("grpc-status".parse().unwrap(), "0".parse().unwrap())]
        .into_iter()
        .collect()
}

/// A request of unknown length, and the feed of its body.
fn call() -> (mpsc::Sender<Result<Bytes, BoxError>>, Request<Body>) {
    let (feed, body) = fed();
    let request = Request::post("/echo.Echo/Talk")
        .header("host", "a.example")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    (feed, request)
}

#[tokio::test]
async fn over_http1_every_event_is_delivered_before_the_next_is_sent() {
    for chunked in [true, false] {
        let heard = Arc::new(Notify::new());
        let next = heard.clone();
        let port = origin(move |_, mut stream| {
            let next = next.clone();
            async move {
                read_head(&mut stream).await;
                let head: &[u8] = match chunked {
                    true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    false => b"HTTP/1.1 200 OK\r\n\r\n",
                };
                stream.write_all(head).await.unwrap();
                for event in EVENTS {
                    next.notified().await;
                    let sent = match chunked {
                        true => format!("{:x}\r\n{event}\r\n", event.len()),
                        false => event.to_owned(),
                    };
                    stream.write_all(sent.as_bytes()).await.unwrap();
                }
                next.notified().await;
                if chunked {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            }
        })
        .await;
        let mut body = client()
            .send(&at(port), get("/"))
            .await
            .unwrap()
            .into_body();
        for event in EVENTS {
            heard.notify_one();
            assert_eq!(chunk(&mut body).await, event);
        }
        heard.notify_one();
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn over_http2_every_event_is_delivered_before_the_next_is_sent() {
    let heard = Arc::new(Notify::new());
    let next = heard.clone();
    let play = move |(_, mut reply): Turn| {
        let next = next.clone();
        async move {
            let mut down = reply.send_response(Response::new(()), false).unwrap();
            for event in EVENTS {
                next.notified().await;
                down.send_data(event.into(), false).unwrap();
            }
            next.notified().await;
            down.send_data(Bytes::new(), true).unwrap();
        }
    };
    let origin = clear(play).await;
    let mut body = client().send(&origin, get("/")).await.unwrap().into_body();
    for event in EVENTS {
        heard.notify_one();
        assert_eq!(chunk(&mut body).await, event);
    }
    heard.notify_one();
    let end = body.frame().await;
    assert!(end.is_none_or(|frame| frame.unwrap().into_data().unwrap().is_empty()));
}

#[tokio::test]
async fn a_call_goes_back_and_forth_for_as_long_as_the_client_likes() {
    let play = |(request, mut reply): Turn| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut up = request.into_body();
        let mut down = reply.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = up.data().await {
            up.flow_control().release_capacity(data.len()).unwrap();
            down.send_data(data, false).unwrap();
        }
        down.send_trailers(ok()).unwrap();
    };
    let (client, origin) = (client(), clear(play).await);
    let (feed, request) = call();
    let mut body = client.send(&origin, request).await.unwrap().into_body();
    for message in ["one", "two", "three"] {
        feed.send(Ok(message.into())).await.unwrap();
        assert_eq!(chunk(&mut body).await, message);
        // Longer than any deadline of this origin: it is the client's turn.
        let quiet = tokio::time::timeout(SHORT * 2, body.frame()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
    drop(feed);
    let end = body.frame().await.unwrap().unwrap();
    assert_eq!(end.into_trailers().unwrap(), ok());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_request_flows_on_while_nobody_reads_its_response() {
    const SENT: usize = 64;
    let came = Arc::new(AtomicUsize::new(0));
    let seen = came.clone();
    let h2 = clear(move |(request, mut reply): Turn| {
        let seen = seen.clone();
        async move {
            let mut up = request.into_body();
            let mut down = reply.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = up.data().await {
                up.flow_control().release_capacity(data.len()).unwrap();
                seen.fetch_add(data.len(), Ordering::SeqCst);
            }
            down.send_data("ok".into(), true).unwrap();
        }
    })
    .await;
    let seen = came.clone();
    let http1 = at(origin(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut all = Vec::new();
            while !all.ends_with(b"\r\n0\r\n\r\n") {
                all.push(stream.read_u8().await.unwrap());
            }
            let data = all.iter().filter(|&&byte| byte == b'x').count();
            seen.fetch_add(data, Ordering::SeqCst);
            stream.write_all(b"ok").await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await);
    for origin in [h2, http1] {
        came.store(0, Ordering::SeqCst);
        let client = client();
        let (feed, request) = call();
        let response = client.send(&origin, request).await.unwrap();
        for _ in 0..SENT {
            feed.send(Ok(vec![b'x'; 1000].into())).await.unwrap();
        }
        drop(feed);
        until("the whole request has come", || {
            came.load(Ordering::SeqCst) == SENT * 1000
        })
        .await;
        assert_eq!(read(response).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_request_that_breaks_resets_the_call_also_while_nobody_reads() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let noted = reasons.clone();
    let origin = clear(move |(request, mut reply): Turn| {
        let noted = noted.clone();
        async move {
            let mut up = request.into_body();
            let _down = reply.send_response(Response::new(()), false).unwrap();
            let error = up.data().await.unwrap().unwrap_err();
            noted.lock().push(error.reason());
        }
    })
    .await;
    let client = client();
    let (feed, request) = call();
    let response = client.send(&origin, request).await.unwrap();
    feed.send(Err("the client left".into())).await.unwrap();
    until("the origin is told", || !reasons.lock().is_empty()).await;
    assert_eq!(*reasons.lock(), [Some(Reason::CANCEL)]);
    let error = read(response).await.unwrap_err();
    assert!(matches!(error, Error::RequestBody { .. }), "{error}");
}

#[tokio::test]
async fn an_origin_that_resets_a_call_ends_its_request() {
    let origin = clear(|(request, mut reply): Turn| async move {
        let mut down = reply.send_response(Response::new(()), false).unwrap();
        let mut up = request.into_body();
        up.data().await.unwrap().unwrap();
        down.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let client = client();
    let (feed, request) = call();
    let response = client.send(&origin, request).await.unwrap();
    feed.send(Ok("one".into())).await.unwrap();
    let error = read(response).await.unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    feed.closed().await;
}

#[tokio::test]
async fn a_response_that_is_dropped_ends_the_call_in_both_directions() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = ended.clone();
    let origin = clear(move |(request, mut reply): Turn| {
        let seen = seen.clone();
        async move {
            let _down = reply.send_response(Response::new(()), false).unwrap();
            let end = request.into_body().data().await.unwrap();
            seen.store(1 + usize::from(end.is_ok()), Ordering::SeqCst);
        }
    })
    .await;
    let client = client();
    let (feed, request) = call();
    drop(client.send(&origin, request).await.unwrap());
    feed.closed().await;
    until("the stream is reset", || ended.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_response_of_trailers_only_is_a_head_and_no_body() {
    let origin = clear(|(_request, mut reply): Turn| async move {
        let mut head = Response::new(());
        *head.headers_mut() = ok();
        reply.send_response(head, true).unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let client = client();
    let (feed, request) = call();
    let response = client.send(&origin, request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "0");
    assert!(http_body::Body::is_end_stream(response.body()));
    let body = response.into_body().collect().await.unwrap();
    assert!(body.trailers().is_none() && body.to_bytes().is_empty());
    feed.closed().await;
}

#[tokio::test]
async fn a_call_the_origin_ends_early_is_heard_to_its_trailers() {
    // As grpc-go does: all is said, and the rest of the request is not wanted.
    let origin = clear(|(_request, mut reply): Turn| async move {
        let mut down = reply.send_response(Response::new(()), false).unwrap();
        down.send_data("enough".into(), false).unwrap();
        down.send_trailers(ok()).unwrap();
        tokio::task::yield_now().await;
        reply.send_reset(Reason::NO_ERROR);
    })
    .await;
    let client = client();
    let (feed, request) = call();
    let response = client.send(&origin, request).await.unwrap();
    // The reset has come as well before anybody reads.
    tokio::time::sleep(SHORT / 2).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&ok()));
    assert_eq!(body.to_bytes(), "enough");
    feed.closed().await;
}

#[tokio::test]
async fn interim_responses_over_http2_are_skipped() {
    let origin = clear(|(_, mut reply): Turn| async move {
        for _ in 0..3 {
            let hint = Response::builder().status(103).body(()).unwrap();
            reply.send_informational(hint).unwrap();
        }
        let mut down = reply.send_response(Response::new(()), false).unwrap();
        down.send_data("ok".into(), true).unwrap();
    })
    .await;
    let (hints, mut seen) = mpsc::channel(9);
    let mut request = get("/");
    request.extensions_mut().insert(Interim(hints));
    let response = client().send(&origin, request).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    assert!(seen.recv().await.is_none());
}

#[tokio::test]
async fn an_origin_that_half_closes_behind_its_response_has_said_it_all() {
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ] {
        let port = origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            let (head, body) = reply.split_at(reply.len() - 3);
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read(&mut [0; 9]).await;
        })
        .await;
        let (client, origin) = (client(), at(port));
        for _ in 0..3 {
            let response = client.send(&origin, get("/")).await.unwrap();
            assert_eq!(read(response).await.unwrap(), "hello");
            // Its end may come a moment later, and must not be met by the next request.
            tokio::time::sleep(SHORT / 10).await;
        }
        assert_eq!(count(&client.counters().opened), 3);
    }
}

#[tokio::test]
async fn an_origin_that_half_closes_while_the_request_is_still_coming_is_heard_too() {
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let port = origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            while stream.read(&mut [0; 9]).await.is_ok_and(|count| count > 0) {}
        })
        .await;
        let (feed, body) = fed();
        let client = client();
        let response = client.send(&at(port), put(body)).await.unwrap();
        feed.send(Ok("four".into())).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "hello");
        // The rest is of no use to anybody.
        feed.closed().await;
        assert_eq!(count(&client.counters().idle), 0);
    }
}
