//! Response heads: what is refused, and what comes before the final one.

use edge_origin::{Error, Interim};
use tokio::sync::mpsc;

use crate::script::{always, at, client, count, get, read};

#[tokio::test]
async fn a_dangerous_head_is_refused_and_its_connection_closed() {
    let fields = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X: y\r\n".repeat(300)
    );
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70 << 10));
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        Box::leak(fields.into_boxed_str()),
        Box::leak(large.into_boxed_str()),
    ] {
        let client = client();
        let shown = &reply[..reply.len().min(80)];
        let error = client
            .send(&at(always(reply).await), get("/"))
            .await
            .expect_err(shown);
        assert!(
            matches!(error, Error::BadResponse { .. }),
            "{shown:?}: {error}"
        );
        assert_eq!(error.proxy_status(), "http_protocol_error");
        assert_eq!(count(&client.counters().idle), 0);
    }
}

#[tokio::test]
async fn a_head_of_just_under_64_kib_is_fine() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n",
        "y".repeat(60 << 10)
    );
    let response = client()
        .send(
            &at(always(Box::leak(reply.into_boxed_str())).await),
            get("/"),
        )
        .await
        .unwrap();
    assert_eq!(response.headers()["x"].len(), 60 << 10);
}

#[tokio::test]
async fn interim_responses_reach_who_asks_for_them_except_100() {
    let reply = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n\
                 HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (client, origin) = (client(), at(always(reply).await));
    let (hints, mut seen) = mpsc::channel(1);
    let mut request = get("/");
    request.extensions_mut().insert(Interim(hints));
    assert_eq!(
        read(client.send(&origin, request).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
    let hint = seen.recv().await.unwrap();
    assert_eq!(
        (hint.status().as_u16(), &hint.headers()["link"]),
        (103, &"</a>".parse().unwrap())
    );
    assert_eq!(hint.headers().len(), 1);
    // The second did not fit, and nobody waited for room.
    assert!(seen.recv().await.is_none());
    // Without the extension they are dropped; the connection is still good.
    assert_eq!(
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
    assert_eq!(count(&client.counters().opened), 1);
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_refused() {
    let reply = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50);
    let error = client()
        .send(
            &at(always(Box::leak(reply.into_boxed_str())).await),
            get("/"),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, Error::BadResponse { .. }), "{error}");
}
