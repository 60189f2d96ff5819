//! One connection to an origin, shared by who writes the request and who reads the response.
//!
//! Pingora's HTTP/1 session owns its stream and borrows itself whole for every call, so with it alone
//! a response cannot be heard while a write of the request is stuck. Several handles of one `Line`
//! can: the session reads heads from one, [`download`](crate::download) the body,
//! [`upload`](crate::upload) writes to another. All are in one task until the response's head is
//! there, so the lock is contended only by an upload that outlives it.
//!
//! The session is given heads and nothing more: what came behind the last one would be lost to its
//! own reading of bodies, and stays here. The line also knows what passed on it, which decides
//! whether a request may be sent again, and stops a head that grows without end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::tls::ClientTlsStream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::deadline::Deadline;

/// An HTTP/1 connection and its timer, as they are kept between requests.
pub(crate) struct Conn {
    pub(crate) line: Line,
    pub(crate) deadline: Deadline,
}

/// A handle of one connection.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<State>>);

/// What a connection runs on.
pub(crate) enum Wire {
    Plain(Stream),
    Tls(Box<ClientTlsStream<Stream>>),
}

struct State {
    wire: Wire,
    /// Bytes the system took from us for the current request.
    sent: u64,
    /// Bytes that came for the current request while its response's heads were read.
    received: u64,
    /// While heads are read; afterwards reading is not limited.
    heads: Option<Heads>,
    head_too_large: bool,
    /// Read from the wire behind the end of a head, and not yet asked for.
    ahead: BytesMut,
}

/// The heads of a response on their way to the session.
struct Heads {
    given: usize,
    max: usize,
    at: At,
}

/// Where in a head the next byte is.
enum At {
    /// Before its first line; empty lines there do not end it.
    Start,
    Line,
    Lf,
    LfCr,
}

impl Line {
    pub(crate) fn new(wire: Wire) -> Self {
        let state = State {
            wire,
            sent: 0,
            received: 0,
            heads: None,
            head_too_large: false,
            ahead: BytesMut::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A new request begins; the heads of its response may take `head_max` bytes.
    pub(crate) fn begin(&self, head_max: usize) {
        let mut state = self.0.lock();
        state.sent = 0;
        state.received = 0;
        state.heads = Some(Heads {
            given: 0,
            max: head_max,
            at: At::Start,
        });
        state.head_too_large = false;
    }

    /// The last head is complete: reading is no longer limited. Gives the bytes of all heads.
    pub(crate) fn heads_done(&self) -> usize {
        let heads = self.0.lock().heads.take();
        heads.map_or(0, |heads| heads.given)
    }

    /// What came behind the last head; what is left here is read before the wire is.
    pub(crate) fn take_ahead(&self) -> BytesMut {
        std::mem::take(&mut self.0.lock().ahead)
    }

    pub(crate) fn head_too_large(&self) -> bool {
        self.0.lock().head_too_large
    }

    pub(crate) fn sent(&self) -> u64 {
        self.0.lock().sent
    }

    pub(crate) fn received(&self) -> u64 {
        self.0.lock().received
    }

    /// Whether an idle connection is still open with nothing to read: an end, an error or bytes
    /// nobody asked for all mean it must not be used again.
    pub(crate) async fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        let look = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut byte);
            Poll::Ready(self.0.lock().poll_read(cx, &mut buffer).is_pending())
        });
        // Tokio's budget also answers "pending", which would pass for alive.
        tokio::task::unconstrained(look).await
    }
}

impl State {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Reads up to the end of a head; what is behind it waits in `ahead`.
    fn poll_heads(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            ready!(self.poll_read(cx, buffer))?;
            self.received += (buffer.filled().len() - before) as u64;
        } else {
            take(&mut self.ahead, buffer);
        }
        let Some(heads) = &mut self.heads else {
            return Poll::Ready(Ok(()));
        };
        let fresh = &buffer.filled()[before..];
        let end = heads.end(fresh).unwrap_or(fresh.len());
        heads.given += end;
        if end < fresh.len() {
            let rest = BytesMut::from(&fresh[end..]);
            let later = std::mem::replace(&mut self.ahead, rest);
            self.ahead.unsplit(later);
            buffer.set_filled(before + end);
        }
        Poll::Ready(Ok(()))
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream as &mut (dyn AsyncWrite + Send + Unpin)),
            Wire::Tls(stream) => Pin::new(stream.as_mut() as &mut (dyn AsyncWrite + Send + Unpin)),
        }
    }

    fn stream(&self) -> &Stream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Heads {
    /// How many of these bytes are up to and with the empty line that ends a head, if it is there.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            self.at = match (&self.at, byte) {
                (At::Start, b'\r' | b'\n') => At::Start,
                (At::Lf | At::LfCr, b'\n') => {
                    self.at = At::Start;
                    return Some(index + 1);
                }
                (At::Lf, b'\r') => At::LfCr,
                (_, b'\n') => At::Lf,
                _ => At::Line,
            };
        }
        None
    }
}

/// Moves what fits.
fn take(from: &mut BytesMut, buffer: &mut ReadBuf<'_>) {
    let count = from.len().min(buffer.remaining());
    buffer.put_slice(&from[..count]);
    from.advance(count);
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if let Some(heads) = &state.heads {
            if heads.given >= heads.max {
                state.head_too_large = true;
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the response head is too large",
                )));
            }
            return state.poll_heads(cx, buffer);
        }
        if state.ahead.is_empty() {
            return state.poll_read(cx, buffer);
        }
        take(&mut state.ahead, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let written = ready!(state.writer().poll_write(cx, bytes))?;
        state.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let written = ready!(state.writer().poll_write_vectored(cx, slices))?;
        state.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().writer().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().writer().poll_shutdown(cx)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

// What Pingora asks of a stream.

#[async_trait]
impl Shutdown for Line {
    async fn shutdown(&mut self) {
        // Whoever closes has no use for the other side's opinion.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Line {
    fn id(&self) -> UniqueIDType {
        self.0.lock().stream().id()
    }
}

impl Ssl for Line {}

impl Peek for Line {}

impl GetTimingDigest for Line {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Line {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Line {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.lock().stream().get_socket_digest()
    }
}
