//! Trailers: they arrive, they go on, and those that could fool somebody do neither.

use std::sync::Arc;

use bytes::Bytes;
use edge_origin::{Body, BoxError, Delimited, Error};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;

use crate::http2::{Turn, clear};
use crate::script::{always, at, client, count, get, origin, put, read, read_head};

fn trailers(names: &[&'static str]) -> HeaderMap {
    let one = |name: &&'static str| (name.parse().unwrap(), "1".parse().unwrap());
    names.iter().map(one).collect()
}

/// A body of one chunk, then trailers.
fn trailed(data: &'static str, names: &[&'static str]) -> Body {
    let frames = [
        Ok::<_, BoxError>(Frame::data(Bytes::from(data))),
        Ok(Frame::trailers(trailers(names))),
    ];
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn those_behind_chunks_are_delivered_and_the_connection_is_kept() {
    let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 7\r\nHost: evil.example\r\nX-Sum: 8\r\nSet-Cookie: a=b\r\n\r\n";
    let (client, origin) = (client(), at(always(reply).await));
    for _ in 0..2 {
        let response = client.send(&origin, get("/")).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&Delimited::Chunked));
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
        assert_eq!(sums, ["7", "8"]);
        assert_eq!(trailers.len(), 2);
        assert_eq!(body.to_bytes(), "ok");
    }
    let counters = client.counters();
    assert_eq!((count(&counters.opened), count(&counters.idle)), (1, 1));
}

#[tokio::test]
async fn a_section_with_nothing_allowed_is_none() {
    let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n";
    let response = client()
        .send(&at(always(reply).await), get("/"))
        .await
        .unwrap();
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .trailers()
            .is_none()
    );
}

#[tokio::test]
async fn malformed_ones_are_refused_and_a_cut_section_is_no_end() {
    for (section, cut) in [
        ("X Sum: 7\r\n\r\n", false),
        ("X-Sum: 7\r\n 8\r\n\r\n", false),
        ("X-Sum: 7\n\r\n", false),
        ("X-Sum: 7\r\n", true),
    ] {
        let port = origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
            let reply = format!("{head}{section}");
            stream.write_all(reply.as_bytes()).await.unwrap();
        })
        .await;
        let response = client().send(&at(port), get("/")).await.unwrap();
        match read(response).await {
            Err(Error::Truncated { .. }) if cut => {}
            Err(Error::BadResponse { .. }) if !cut => {}
            other => panic!("{section:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn over_http2_the_forbidden_are_dropped_in_both_directions() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let play = move |(request, mut reply): Turn| {
        let noted = noted.clone();
        async move {
            let te = request.headers().get("te").cloned();
            let mut up = request.into_body();
            while let Some(Ok(data)) = up.data().await {
                up.flow_control().release_capacity(data.len()).unwrap();
            }
            let came = up.trailers().await.unwrap();
            noted.lock().push((te, came));
            let mut down = reply.send_response(Response::new(()), false).unwrap();
            down.send_trailers(trailers(&["x-sum", "set-cookie"]))
                .unwrap();
        }
    };
    let origin = clear(play).await;
    for length in [None, Some("4")] {
        let mut request = put(trailed("four", &["x-sum", "host", "authorization"]));
        request
            .headers_mut()
            .insert("te", "trailers".parse().unwrap());
        if let Some(length) = length {
            request
                .headers_mut()
                .insert("content-length", length.parse().unwrap());
        }
        let response = client().send(&origin, request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers(&["x-sum"])));
        let (te, came) = seen.lock().pop().unwrap();
        assert_eq!(te.unwrap(), "trailers");
        assert_eq!(came, Some(trailers(&["x-sum"])));
    }
}

#[tokio::test]
async fn over_http1_those_of_a_request_follow_its_chunks() {
    let noted = Arc::new(Mutex::new(String::new()));
    let notes = noted.clone();
    let port = origin(move |_, mut stream| {
        let notes = notes.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            let body = read_head(&mut stream).await.unwrap();
            *notes.lock() = head + &body;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
    })
    .await;
    let mut request = put(trailed("four", &["x-sum", "host", "transfer-encoding"]));
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let response = client().send(&at(port), request).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    let noted = noted.lock();
    assert!(noted.contains("\r\nte: trailers\r\n") && noted.contains("\r\nConnection: TE\r\n"));
    assert!(
        noted.ends_with("\r\n\r\n4\r\nfour\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{noted}"
    );
}
