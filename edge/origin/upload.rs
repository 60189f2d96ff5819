//! Writes a request's body to an HTTP/1 line, while the response may already be read from it. Never
//! ends a body cleanly that did not end so itself: on any fault the connection must be dropped.

use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use crate::deadline::Deadline;
use crate::line::Line;
use crate::request::Framing;
use crate::{Body, BoxError, trailers};

/// Why a body was not sent whole.
pub(crate) enum Fault {
    /// It failed itself, or has another length than announced.
    Body(BoxError),
    /// The origin takes no more.
    Write(String),
    /// The origin takes no more, and does not say so.
    Stuck,
}

/// How far the body has got.
pub(crate) enum Sending {
    Going(Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>),
    /// All of it, or there is none.
    Done,
    /// The rest was given up and the response is still read; the connection ends with it.
    GivenUp(String),
}

impl Sending {
    /// Moves the body on. `Err` when the whole exchange must end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Self::Going(going) = self else {
            return Ok(());
        };
        match going.as_mut().poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => *self = Self::Done,
            // An origin that has heard enough answers and closes: hear the answer.
            Poll::Ready(Err(Fault::Write(why))) => *self = Self::GivenUp(why),
            Poll::Ready(Err(fault)) => return Err(fault),
        }
        Ok(())
    }

    pub(crate) fn is_going(&self) -> bool {
        matches!(self, Self::Going(_))
    }

    /// From now on the body moves on by itself, also while nobody reads the response: a client may
    /// send all it has before it listens. Dropping this still ends it.
    pub(crate) fn detach(&mut self) {
        if let Self::Going(going) = std::mem::replace(self, Self::Done) {
            *self = Self::Going(Box::pin(Detached(tokio::spawn(going))));
        }
    }

    pub(crate) fn give_up(&mut self, why: &str) {
        if self.is_going() {
            *self = Self::GivenUp(why.to_owned());
        }
    }
}

/// A body in a task of its own.
struct Detached(JoinHandle<Result<(), Fault>>);

impl Future for Detached {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(ended.unwrap_or_else(|error| Err(Fault::Body(error.into()))))
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the whole body; `limit` is the longest a write may make no progress. How long the body
/// itself may take is for who made it to say.
pub(crate) async fn send(
    line: Line,
    mut body: Body,
    framing: Framing,
    limit: Duration,
) -> Result<(), Fault> {
    let mut out = Out {
        line,
        deadline: Deadline::new(),
        limit,
    };
    let mut sent = 0;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(Fault::Body)?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                sent += data.len() as u64;
                match framing {
                    Framing::Chunked => out.chunk(data).await?,
                    Framing::Length(length) if sent > length => {
                        return Err(wrong_length(sent, length));
                    }
                    // That was all. The origin may answer before the body says that it has ended.
                    Framing::Length(length) if sent == length => return out.write(data).await,
                    _ => out.write(data).await?,
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    match framing {
        Framing::Chunked => out.write(last_chunk(trailers)).await,
        Framing::Length(length) if sent < length => Err(wrong_length(sent, length)),
        _ => Ok(()),
    }
}

fn wrong_length(sent: u64, length: u64) -> Fault {
    let relation = if sent > length { "more than" } else { "only" };
    Fault::Body(
        format!(
            "it has {relation} {} bytes, {length} were announced",
            sent.min(length)
        )
        .into(),
    )
}

fn last_chunk(trailers: Option<HeaderMap>) -> Bytes {
    let mut end = b"0\r\n".to_vec();
    for (name, value) in &trailers.map(trailers::settle).unwrap_or_default() {
        end.extend_from_slice(name.as_str().as_bytes());
        end.extend_from_slice(b": ");
        end.extend_from_slice(value.as_bytes());
        end.extend_from_slice(b"\r\n");
    }
    end.extend_from_slice(b"\r\n");
    end.into()
}

struct Out {
    line: Line,
    deadline: Deadline,
    limit: Duration,
}

impl Out {
    async fn chunk(&mut self, data: Bytes) -> Result<(), Fault> {
        let mut size = String::with_capacity(18);
        // Writing to a string cannot fail.
        let _ = write!(size, "{:x}\r\n", data.len());
        self.write(Bytes::from(size).chain(data).chain(&b"\r\n"[..]))
            .await
    }

    async fn write(&mut self, mut bytes: impl Buf) -> Result<(), Fault> {
        while bytes.has_remaining() {
            // One vectored write where the line can, so that a chunk is one packet.
            let mut slices = [std::io::IoSlice::new(&[]); 3];
            let count = bytes.chunks_vectored(&mut slices);
            let write = self.line.write_vectored(&slices[..count]);
            match self.deadline.bound(self.limit, write).await {
                Ok(Ok(0)) => return Err(Fault::Write("the connection takes no bytes".to_owned())),
                Ok(Ok(written)) => bytes.advance(written),
                Ok(Err(error)) => return Err(Fault::Write(error.to_string())),
                Err(_) => return Err(Fault::Stuck),
            }
        }
        match self.deadline.bound(self.limit, self.line.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::Write(error.to_string())),
            Err(_) => Err(Fault::Stuck),
        }
    }
}
