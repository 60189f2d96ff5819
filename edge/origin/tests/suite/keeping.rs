//! Connections: kept, found dead, swept, and given up for another server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use edge_origin::{Client, Error, Origin, OriginSettings, Settings};
use http::{Method, Request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::script::{
    SHORT, always, at, client, count, full, get, no_body, origin, read, read_head, server,
    settings, until,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (client, origin) = (client(), at(always(OK).await));
    for _ in 0..5 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(
        (
            count(&client.counters().opened),
            count(&client.counters().reused)
        ),
        (1, 4)
    );
    assert_eq!(count(&client.counters().idle), 1);
}

#[tokio::test]
async fn chunked_head_and_empty_responses_keep_the_connection_too() {
    let port = origin(|_, mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let reply = match head.split(' ').nth(1).unwrap() {
                "/chunked" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                }
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (client, origin) = (client(), at(port));
    for (method, path, expected) in [
        (Method::GET, "/chunked", "ok"),
        (Method::HEAD, "/head", ""),
        (Method::GET, "/204", ""),
        (Method::GET, "/304", ""),
        (Method::GET, "/0", ""),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(no_body())
            .unwrap();
        assert_eq!(
            read(client.send(&origin, request).await.unwrap())
                .await
                .unwrap(),
            expected,
            "{path}"
        );
    }
    assert_eq!(count(&client.counters().opened), 1);
}

#[tokio::test]
async fn a_connection_the_server_closes_or_speaks_on_is_not_used_again() {
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let (client, origin) = (client(), at(always(reply).await));
        for _ in 0..3 {
            let body = read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap();
            assert_ne!(body, "evil");
        }
        assert_eq!(
            (
                count(&client.counters().opened),
                count(&client.counters().reused)
            ),
            (3, 0),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_come_while_a_connection_is_idle_never_become_a_response() {
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            .await;
        read_head(&mut stream).await;
    })
    .await;
    let (client, origin) = (client(), at(port));
    read(client.send(&origin, get("/")).await.unwrap())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
    assert_eq!(count(&client.counters().opened), 2);
}

/// Connection 0 answers once and dies on the second request; later ones are sound.
async fn dies_on_reuse(requests: Arc<AtomicUsize>) -> u16 {
    origin(move |number, mut stream| {
        let requests = requests.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                if requests.fetch_add(1, Ordering::SeqCst) > 0 && number == 0 {
                    return;
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_is_sent_again_once_when_a_kept_connection_dies_before_the_first_byte() {
    let requests = Arc::new(AtomicUsize::new(0));
    let (client, origin) = (client(), at(dies_on_reuse(requests.clone()).await));
    for _ in 0..2 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(count(&client.counters().retries), 1);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_again() {
    for request in [
        Request::post("/").body(no_body()).unwrap(),
        Request::put("/").body(full("data")).unwrap(),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let (client, origin) = (client(), at(dies_on_reuse(requests.clone()).await));
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap();
        let error = client.send(&origin, request).await.unwrap_err();
        assert!(matches!(error, Error::ClosedBeforeHead { .. }), "{error}");
        assert_eq!(
            (
                requests.load(Ordering::SeqCst),
                count(&client.counters().retries)
            ),
            (2, 0)
        );
    }
}

#[tokio::test]
async fn a_new_connection_that_dies_is_an_error_and_not_a_loop() {
    let port = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let client = client();
    let error = client.send(&at(port), get("/")).await.unwrap_err();
    assert!(matches!(error, Error::ClosedBeforeHead { .. }), "{error}");
    assert_eq!(
        (
            count(&client.counters().opened),
            count(&client.counters().retries)
        ),
        (1, 0)
    );
    assert!(
        client
            .counters()
            .errors()
            .any(|(reason, count)| (reason, count) == ("closed_before_head", 1))
    );
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_refuses() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refuses = dead.local_addr().unwrap().port();
    drop(dead);
    let servers = vec![server(refuses), server(always(OK).await)];
    let origin = Origin::new(OriginSettings {
        servers,
        ..settings(0)
    })
    .unwrap();
    let (client, origin) = (client(), Arc::new(origin));
    for _ in 0..4 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(count(&client.counters().failovers), 2);
    let error = client.send(&at(refuses), get("/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectRefused { .. }), "{error}");
}

#[tokio::test]
async fn servers_take_turns() {
    let hits: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut servers = Vec::new();
    for hits in &hits {
        let hits = hits.clone();
        let port = origin(move |_, mut stream| {
            let hits = hits.clone();
            async move {
                while read_head(&mut stream).await.is_some() {
                    hits.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        servers.push(server(port));
    }
    let origin = Arc::new(
        Origin::new(OriginSettings {
            servers,
            ..settings(0)
        })
        .unwrap(),
    );
    let client = client();
    for _ in 0..9 {
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap();
    }
    assert!(hits.iter().all(|hits| hits.load(Ordering::SeqCst) == 3));
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_without_any_traffic() {
    let closed = Arc::new(AtomicUsize::new(0));
    let seen = closed.clone();
    let port = origin(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            seen.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let client = Client::new(Settings {
        sweep_every: SHORT / 4,
        ..Settings::default()
    })
    .unwrap();
    let origin = Arc::new(
        Origin::new(OriginSettings {
            idle_timeout: SHORT,
            ..settings(port)
        })
        .unwrap(),
    );
    for round in 1..=2 {
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap();
        assert_eq!(count(&client.counters().idle), 1);
        until("the idle connection is closed", || {
            closed.load(Ordering::SeqCst) == round
        })
        .await;
        assert_eq!(count(&client.counters().idle), 0);
    }
    assert_eq!(count(&client.counters().opened), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_are_shared_among_threads_and_never_mixed_up() {
    let port = origin(|_, mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let path = head.split(' ').nth(1).unwrap();
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            );
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (client, origin) = (client(), at(port));
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (client, origin) = (client.clone(), origin.clone());
            tokio::spawn(async move {
                for round in 0..50 {
                    let path = format!("/{task}/{round}");
                    assert_eq!(
                        read(client.send(&origin, get(&path)).await.unwrap())
                            .await
                            .unwrap(),
                        path
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (opened, reused) = (
        count(&client.counters().opened),
        count(&client.counters().reused),
    );
    assert_eq!(opened + reused, 800);
    assert!(
        opened <= 16 && count(&client.counters().idle) <= 16,
        "{opened}"
    );
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    for (keep_idle, keep_idle_total, expected) in [(2, 100, 2), (100, 3, 3), (0, 100, 0)] {
        let client = Client::new(Settings {
            keep_idle_total,
            ..Settings::default()
        })
        .unwrap();
        let port = always(OK).await;
        let origin = Arc::new(
            Origin::new(OriginSettings {
                keep_idle,
                ..settings(port)
            })
            .unwrap(),
        );
        let sent = (0..5).map(|_| client.send(&origin, get("/")));
        let responses = futures_util::future::join_all(sent).await;
        drop(
            futures_util::future::join_all(
                responses
                    .into_iter()
                    .map(|response| read(response.unwrap())),
            )
            .await,
        );
        assert_eq!(count(&client.counters().idle), expected);
    }
}
