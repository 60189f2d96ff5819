//! Response bodies: how they end, and that they are only read when somebody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use edge_origin::{Delimited, Error};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::script::{at, client, count, get, origin, read, read_head, until};

/// An origin that writes these parts, flushed one by one, and closes.
async fn once(parts: &'static [&'static str]) -> u16 {
    origin(move |_, mut stream| async move {
        read_head(&mut stream).await;
        for part in parts {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_that_was_cut_short_is_never_a_clean_end() {
    for parts in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"][..],
        &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "four"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nfour"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n"],
        &[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
            "0\r\n",
        ],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n5"],
    ] {
        let client = client();
        let response = client.send(&at(once(parts).await), get("/")).await.unwrap();
        let error = read(response).await.expect_err("the body is cut short");
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{parts:?}: {error}"
        );
        assert_eq!(count(&client.counters().idle), 0);
        assert!(
            client
                .counters()
                .errors()
                .any(|(reason, count)| (reason, count) == ("truncated", 1))
        );
    }
}

#[tokio::test]
async fn broken_chunks_are_refused() {
    for body in [
        "zz\r\nfour\r\n0\r\n\r\n",
        "4\r\nfourXX0\r\n\r\n",
        "-4\r\nfour\r\n0\r\n\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let parts: &'static [&'static str] = Box::leak(Box::new([head, body]));
        let response = client()
            .send(&at(once(parts).await), get("/"))
            .await
            .unwrap();
        let error = read(response).await.expect_err("the chunk is broken");
        assert!(
            matches!(error, Error::BadResponse { .. }),
            "{body:?}: {error}"
        );
    }
}

#[tokio::test]
async fn the_caller_is_told_how_the_end_is_known() {
    for (reply, delimited, length) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Delimited::Length,
            Some(2),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Delimited::Chunked,
            None,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nok", Delimited::Close, None),
        ("HTTP/1.0 200 OK\r\n\r\nok", Delimited::Close, None),
    ] {
        let parts: &'static [&'static str] = Box::leak(Box::new([reply]));
        let response = client()
            .send(&at(once(parts).await), get("/"))
            .await
            .unwrap();
        assert_eq!(response.extensions().get(), Some(&delimited), "{reply:?}");
        assert_eq!(response.body().size_hint().exact(), length);
        assert!(!response.headers().contains_key("transfer-encoding"));
        assert_eq!(read(response).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole_in_every_framing() {
    let data: Bytes = (0..3_000_000u32)
        .map(|n| (n % 251) as u8)
        .collect::<Vec<_>>()
        .into();
    for chunked in [false, true] {
        let sent = data.clone();
        let port = origin(move |_, mut stream| {
            let data = sent.clone();
            async move {
                read_head(&mut stream).await;
                if !chunked {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(&data).await.unwrap();
                    return;
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await
                    .unwrap();
                for (number, chunk) in data.chunks(12_345).enumerate() {
                    let head = format!("{:x};note={number}\r\n", chunk.len());
                    stream
                        .write_all(&[head.as_bytes(), chunk, b"\r\n"].concat())
                        .await
                        .unwrap();
                }
                stream.write_all(b"0\r\nX-Sum: 1\r\n\r\n").await.unwrap();
            }
        })
        .await;
        let response = client().send(&at(port), get("/")).await.unwrap();
        let body = read(response).await.unwrap();
        assert!(
            body == data,
            "{} of {} bytes, chunked: {chunked}",
            body.len(),
            data.len()
        );
    }
}

#[tokio::test]
async fn an_origin_stalls_while_nobody_reads() {
    const TOTAL: usize = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let seen = written.clone();
    let port = origin(move |_, mut stream| {
        let written = seen.clone();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let block = vec![7; 1 << 16];
            while written.load(Ordering::SeqCst) < TOTAL && stream.write_all(&block).await.is_ok() {
                written.fetch_add(block.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let mut response = client().send(&at(port), get("/")).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    let mut before = usize::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // What the kernel's buffers take, on both sides.
    assert!(before < TOTAL / 2, "the origin got rid of {before} bytes");
    let rest = read(response).await.unwrap();
    assert!(rest.len() > TOTAL / 2);
    until("the origin wrote everything", || {
        written.load(Ordering::SeqCst) == TOTAL
    })
    .await;
}

#[tokio::test]
async fn dropping_a_body_closes_the_connection() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = ended.clone();
    let port = origin(move |_, mut stream| {
        let ended = seen.clone();
        async move {
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
                .await
                .unwrap();
            let _ = stream.read(&mut [0; 1]).await;
            ended.store(1, Ordering::SeqCst);
        }
    })
    .await;
    let client = client();
    let mut response = client.send(&at(port), get("/")).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(9));
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    drop(response);
    until("the origin sees the end", || {
        ended.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(count(&client.counters().idle), 0);
}
