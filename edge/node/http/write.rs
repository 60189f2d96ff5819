//! Writes a reply as HTTP/1. RFC 9112, sections 2, 4 and 6.
//!
//! The head and the first bytes of the body leave in one vectored write. How
//! the end of the body is told is decided here and nowhere else: a length where
//! it is known, chunks where the client knows them, the end of the connection
//! otherwise.

use super::reply::{Body, Reply};
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use std::io;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// How a reply went out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Bytes of body.
    pub(crate) bytes: u64,
    /// The whole reply left; otherwise the connection must not be used again.
    pub(crate) complete: bool,
}

impl Sent {
    /// Not a byte went out.
    pub(crate) const NOTHING: Sent = Sent {
        bytes: 0,
        complete: false,
    };
}

/// What the connection needs to know about the request it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    /// The connection can be used again as far as the request goes.
    pub(crate) keep_alive: bool,
    /// The client takes trailers.
    pub(crate) takes_trailers: bool,
    /// The longest wait for the client to take more.
    pub(crate) idle: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    Close,
}

/// Writes `reply`; the second value is whether the connection may be kept.
pub(crate) async fn write(
    io: &mut (impl AsyncWrite + Unpin),
    reply: &mut Reply,
    asked: Asked<'_>,
) -> (Sent, bool) {
    let framing = framing(reply, asked);
    let keep = asked.keep_alive && framing != Framing::Close;
    let head = head(reply, asked, framing, keep);
    let mut sent = Sent {
        bytes: 0,
        complete: false,
    };
    let bodiless =
        matches!(framing, Framing::Nothing | Framing::Length(0)) || asked.method == Method::HEAD;
    let done = if bodiless {
        write_all(io, head, asked.idle).await
    } else {
        stream(io, head, &mut reply.body, framing, asked, &mut sent.bytes).await
    };
    sent.complete = done.is_ok();
    (sent, keep && sent.complete)
}

fn framing(reply: &Reply, asked: Asked<'_>) -> Framing {
    if reply.status.is_informational()
        || matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
    {
        return Framing::Nothing;
    }
    if asked.method == Method::HEAD {
        return reply.length.map_or(Framing::Nothing, Framing::Length);
    }
    match reply.body.bytes_left() {
        Some(bytes) => Framing::Length(bytes),
        None if asked.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::Close,
    }
}

fn head(reply: &Reply, asked: Asked<'_>, framing: Framing, keep: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(reply.status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut dated = false;
    if let Some(stored) = &reply.stored {
        for (name, value) in &stored.fields {
            if !framed_here(name) && !reply.fields.contains_key(name) {
                dated |= *name == DATE;
                field(&mut out, name, value);
            }
        }
    }
    for (name, value) in &reply.fields {
        if !framed_here(name) {
            dated |= *name == DATE;
            field(&mut out, name, value);
        }
    }
    if !dated {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Nothing | Framing::Close => {}
        Framing::Length(bytes) => {
            out.extend_from_slice(format!("content-length: {bytes}\r\n").as_bytes());
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    match (keep, asked.version) {
        _ if reply.status == StatusCode::SWITCHING_PROTOCOLS => {
            out.extend_from_slice(b"connection: upgrade\r\n");
        }
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

fn field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.reserve(name.as_str().len() + value.len() + 4);
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Fields that only this file may write.
fn framed_here(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION
}

async fn stream(
    io: &mut (impl AsyncWrite + Unpin),
    head: Bytes,
    body: &mut Body,
    framing: Framing,
    asked: Asked<'_>,
    sent: &mut u64,
) -> Result<(), Stopped> {
    let idle = asked.idle;
    let mut head = Some(head);
    let mut left = match framing {
        Framing::Length(bytes) => Some(bytes),
        _ => None,
    };
    loop {
        // A head need not wait for a body that is slow to start.
        let next = match head.take() {
            Some(head) => match ready(body.next()).await {
                Some(next) => {
                    let Some(bytes) = next.map_err(Stopped::Body)? else {
                        let end = ending(framing, asked, body);
                        write_all(io, head.chain(end), idle).await?;
                        return ended(left);
                    };
                    count(&bytes, &mut left, sent)?;
                    write_piece(io, head, bytes, framing, idle).await?;
                    continue;
                }
                None => {
                    write_all(io, head, idle).await?;
                    body.next().await
                }
            },
            None => body.next().await,
        };
        match next.map_err(Stopped::Body)? {
            Some(bytes) => {
                count(&bytes, &mut left, sent)?;
                write_piece(io, Bytes::new(), bytes, framing, idle).await?;
            }
            None => {
                write_all(io, ending(framing, asked, body), idle).await?;
                return ended(left);
            }
        }
        if left == Some(0) {
            return Ok(());
        }
    }
}

/// Why a reply stopped.
enum Stopped {
    /// The client takes nothing more.
    Client,
    /// The body broke.
    Body(super::reply::BoxError),
}

impl Stopped {
    fn log(&self) {
        if let Stopped::Body(error) = self {
            log::debug!("a reply was cut short: {error}");
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.log();
    }
}

/// The body ended; it must have been as long as announced.
fn ended(left: Option<u64>) -> Result<(), Stopped> {
    match left {
        None | Some(0) => Ok(()),
        Some(_) => Err(Stopped::Body("the body is shorter than announced".into())),
    }
}

fn count(bytes: &Bytes, left: &mut Option<u64>, sent: &mut u64) -> Result<(), Stopped> {
    *sent += bytes.len() as u64;
    if let Some(left) = left {
        *left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Stopped::Body("the body is longer than announced".into()))?;
    }
    Ok(())
}

async fn write_piece(
    io: &mut (impl AsyncWrite + Unpin),
    before: Bytes,
    bytes: Bytes,
    framing: Framing,
    idle: Duration,
) -> Result<(), Stopped> {
    if framing == Framing::Chunked {
        let size = Bytes::from(format!("{:x}\r\n", bytes.len()));
        let end = Bytes::from_static(b"\r\n");
        write_all(io, before.chain(size).chain(bytes).chain(end), idle).await
    } else {
        write_all(io, before.chain(bytes), idle).await
    }
}

/// What ends a body: for chunks the last one, with trailers if there are any
/// and the client takes them (RFC 9110, section 6.5.1).
fn ending(framing: Framing, asked: Asked<'_>, body: &mut Body) -> Bytes {
    if framing != Framing::Chunked {
        return Bytes::new();
    }
    match body.take_trailers() {
        Some(trailers) if asked.takes_trailers => {
            let mut out = BytesMut::from(&b"0\r\n"[..]);
            for (name, value) in &trailers {
                field(&mut out, name, value);
            }
            out.extend_from_slice(b"\r\n");
            out.freeze()
        }
        _ => Bytes::from_static(b"0\r\n\r\n"),
    }
}

/// Writes an interim reply (RFC 9110, section 15.2).
pub(crate) async fn interim(
    io: &mut (impl AsyncWrite + Unpin),
    reply: &http::Response<()>,
    idle: Duration,
) -> bool {
    let mut out = BytesMut::from(&b"HTTP/1.1 "[..]);
    out.extend_from_slice(reply.status().as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(reply.status().canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in reply.headers() {
        if !framed_here(name) {
            field(&mut out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    write_all(io, out, idle).await.is_ok()
}

/// Writes all of `bytes`, waiting at most `idle` between any two.
async fn write_all(
    io: &mut (impl AsyncWrite + Unpin),
    mut bytes: impl Buf,
    idle: Duration,
) -> Result<(), Stopped> {
    let done: io::Result<()> = async {
        while bytes.has_remaining() {
            let write = write_some(io, &mut bytes);
            let n = tokio::time::timeout(idle, write)
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        // A TLS stream may hold back what the client had no room for.
        tokio::time::timeout(idle, io.flush())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }
    .await;
    done.map_err(|_| Stopped::Client)
}

/// One vectored write.
async fn write_some(io: &mut (impl AsyncWrite + Unpin), bytes: &mut impl Buf) -> io::Result<usize> {
    let n = {
        let mut slices = [io::IoSlice::new(&[]); 8];
        let filled = bytes.chunks_vectored(&mut slices);
        io.write_vectored(&slices[..filled]).await?
    };
    bytes.advance(n);
    Ok(n)
}

/// The value of a future that is ready at once; otherwise it is dropped, which
/// loses nothing for the futures this is used with: they are cancel safe.
async fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
