//! The two ends of a test: an origin that does to each connection what the test says, and a client
//! with short deadlines.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edge_origin::{
    Body, BoxError, Client, Error, Origin, OriginSettings, Scheme, Server, Settings,
};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A deadline short enough to wait for.
pub const SHORT: Duration = Duration::from_millis(120);

/// Listens on a free port; every connection is handed to `play` with its number, from 0.
pub async fn origin<F, P>(play: P) -> u16
where
    F: Future<Output = ()> + Send + 'static,
    P: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(play(number, stream));
        }
    });
    port
}

/// An origin that answers every request on every connection with `reply`.
pub async fn always(reply: &'static str) -> u16 {
    origin(move |_, mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// The next head, up to and with its empty line, and not a byte more. `None` at the end.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

pub fn settings(port: u16) -> OriginSettings {
    OriginSettings {
        name: "app".into(),
        servers: vec![server(port)],
        ..OriginSettings::default()
    }
}

pub fn server(port: u16) -> Server {
    Server {
        scheme: Scheme::Http,
        host: "127.0.0.1".into(),
        port,
    }
}

pub fn at(port: u16) -> Arc<Origin> {
    Arc::new(Origin::new(settings(port)).unwrap())
}

pub fn client() -> Client {
    Client::new(Settings::default()).unwrap()
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "a.example")
        .body(no_body())
        .unwrap()
}

pub fn put(body: Body) -> Request<Body> {
    Request::put("/")
        .header("host", "a.example")
        .body(body)
        .unwrap()
}

pub fn no_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body fed by the test; its length is not known beforehand.
pub fn fed() -> (mpsc::Sender<Result<Bytes, BoxError>>, Body) {
    let (feed, mut eaten) = mpsc::channel::<Result<Bytes, BoxError>>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        eaten
            .poll_recv(cx)
            .map(|item| item.map(|data| data.map(Frame::data)))
    });
    (feed, StreamBody::new(frames).boxed_unsync())
}

/// The whole body, or the error it ended in.
pub async fn read(response: Response<Body>) -> Result<Bytes, Error> {
    match response.into_body().collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(*error.downcast::<Error>().expect("a body's error is ours")),
    }
}

pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Polls until `fact` holds; panics after ten seconds.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    for _ in 0..2000 {
        if fact() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}
