//! Requests with a body: framed as known, aborted when the client leaves, and the origin heard at
//! any time.

use std::sync::Arc;

use bytes::Bytes;
use edge_origin::Error;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::script::{at, client, count, fed, full, origin, put, read, read_head, until};

/// Notes every byte of every request, answers once the bytes end in `until`, and notes the end.
async fn noting(until: &'static str) -> (u16, Arc<Mutex<String>>) {
    let noted = Arc::new(Mutex::new(String::new()));
    let notes = noted.clone();
    let port = origin(move |_, mut stream| {
        let notes = notes.clone();
        async move {
            while let Ok(byte) = stream.read_u8().await {
                notes.lock().push(byte as char);
                if notes.lock().ends_with(until) {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            }
            notes.lock().push_str("<end>");
        }
    })
    .await;
    (port, noted)
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_with_it_and_the_connection_kept() {
    let (port, noted) = noting("four").await;
    let (client, origin) = (client(), at(port));
    for _ in 0..2 {
        assert_eq!(
            read(client.send(&origin, put(full("four"))).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(count(&client.counters().reused), 1);
    let request = "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nfour";
    assert_eq!(*noted.lock(), request.repeat(2));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks_with_its_trailers() {
    let (port, noted) = noting("\r\n0\r\nx-sum: 7\r\n\r\n").await;
    let trailers = [("x-sum".parse().unwrap(), "7".parse().unwrap())]
        .into_iter()
        .collect();
    let frames = [
        Ok::<_, edge_origin::BoxError>(Frame::data(Bytes::from("hello"))),
        Ok(Frame::data(Bytes::new())),
        Ok(Frame::data(Bytes::from(" world, how are you?"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let (client, origin) = (client(), at(port));
    assert_eq!(
        read(client.send(&origin, put(body)).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
    let sent = noted.lock().split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(
        sent,
        "5\r\nhello\r\n14\r\n world, how are you?\r\n0\r\nx-sum: 7\r\n\r\n"
    );
    assert_eq!(count(&client.counters().idle), 1);
}

#[tokio::test]
async fn a_client_that_leaves_mid_upload_aborts_it_and_never_ends_it_cleanly() {
    for announced in [None, Some("9")] {
        let (port, noted) = noting("never").await;
        let (feed, body) = fed();
        let mut request = put(body);
        if let Some(length) = announced {
            request
                .headers_mut()
                .insert("content-length", length.parse().unwrap());
        }
        tokio::spawn(async move {
            feed.send(Ok("four".into())).await.unwrap();
            feed.send(Err("the client left".into())).await.unwrap();
        });
        let error = client().send(&at(port), request).await.unwrap_err();
        assert!(
            matches!(&error, Error::RequestBody { source, .. } if source.to_string() == "the client left")
        );
        until("the origin sees the end", || {
            noted.lock().ends_with("<end>")
        })
        .await;
        assert!(
            noted.lock().contains("four") && !noted.lock().contains("0\r\n\r\n"),
            "{}",
            noted.lock()
        );
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_aborts_the_upload() {
    for parts in [&["four"][..], &["four", "four", "four"]] {
        let (port, noted) = noting("never").await;
        let (feed, body) = fed();
        let mut request = put(body);
        request
            .headers_mut()
            .insert("content-length", "9".parse().unwrap());
        tokio::spawn(async move {
            for part in parts {
                let _ = feed.send(Ok((*part).into())).await;
            }
        });
        let error = client().send(&at(port), request).await.unwrap_err();
        assert!(matches!(error, Error::RequestBody { .. }), "{error}");
        until("the origin sees the end", || {
            noted.lock().ends_with("<end>")
        })
        .await;
    }
}

#[tokio::test]
async fn an_origin_that_answers_early_is_heard_at_once() {
    // It reads nothing more, so the upload is stuck for good when the answer comes.
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\n413")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let client = client();
    let response = client
        .send(&at(port), put(full(vec![0; 64 << 20])))
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(read(response).await.unwrap(), "413");
    assert_eq!(
        count(&client.counters().idle),
        0,
        "the rest of the upload is missing on this connection"
    );
}

#[tokio::test]
async fn an_origin_that_answers_early_and_closes_is_heard_too() {
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\n413",
            )
            .await
            .unwrap();
    })
    .await;
    let (feed, body) = fed();
    tokio::spawn(async move { while feed.send(Ok(vec![0; 1 << 16].into())).await.is_ok() {} });
    let response = client().send(&at(port), put(body)).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(read(response).await.unwrap(), "413");
}

#[tokio::test]
async fn a_response_streams_while_its_request_does() {
    // An echo, byte for byte, head first.
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..8 {
            let byte = stream.read_u8().await.unwrap();
            stream.write_all(&[byte]).await.unwrap();
        }
        read_head(&mut stream).await;
    })
    .await;
    let (feed, body) = fed();
    let request = Request::post("/")
        .header("content-length", "8")
        .body(body)
        .unwrap();
    let client = client();
    let mut response = client.send(&at(port), request).await.unwrap();
    for part in ["1234", "5678"] {
        feed.send(Ok(part.into())).await.unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < 4 {
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            echoed.extend_from_slice(frame.data_ref().unwrap());
        }
        assert_eq!(echoed, part.as_bytes());
    }
    drop(feed);
    assert!(response.body_mut().frame().await.is_none());
    // Both directions ended as they should.
    assert_eq!(count(&client.counters().idle), 1);
}
