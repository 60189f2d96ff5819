//! One connection to an origin, shared by who writes the request and who reads the response.
//!
//! Pingora's HTTP/1 session owns its stream and borrows itself whole for every call, so with it alone
//! a response cannot be heard while a write of the request is stuck. Two handles of one `Line` can:
//! the session reads from one, [`upload`](crate::upload) writes to the other, in the same task, so
//! the lock is never contended. The line also knows what passed on it, which decides whether a
//! request may be sent again, and stops a response head that grows without end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
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
    /// Bytes that came for the current request.
    received: u64,
    /// How many more bytes may be read while the head is incomplete.
    head_left: Option<usize>,
    head_too_large: bool,
}

impl Line {
    pub(crate) fn new(wire: Wire) -> Self {
        let state = State {
            wire,
            sent: 0,
            received: 0,
            head_left: None,
            head_too_large: false,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A new request begins; the heads of its response may take `head_max` bytes.
    pub(crate) fn begin(&self, head_max: usize) {
        let mut state = self.0.lock();
        state.sent = 0;
        state.received = 0;
        state.head_left = Some(head_max);
        state.head_too_large = false;
    }

    /// The head is complete: reading is no longer limited.
    pub(crate) fn head_done(&self) {
        self.0.lock().head_left = None;
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

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.head_left == Some(0) {
            state.head_too_large = true;
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the response head is too large",
            )));
        }
        let before = buffer.filled().len();
        ready!(state.poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        state.received += read as u64;
        if let Some(left) = &mut state.head_left {
            *left = left.saturating_sub(read);
        }
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
