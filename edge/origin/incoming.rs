//! A response's body as the caller holds it: chunks as they come, one at a time, each read only when
//! asked for, so a reader that stops holds the origin back. Ends in `None` only after the end the
//! head promised.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};

use crate::error::Error;
use crate::{Body, BoxError};

/// What an exchange yields next.
pub(crate) enum Next {
    /// A chunk or trailers; the exchange goes on.
    Frame(Frame<Bytes>),
    /// A chunk or trailers, and nothing after it.
    Last(Frame<Bytes>),
    End,
}

/// An exchange whose head has been delivered.
pub(crate) trait Exchange: Send + 'static {
    /// The next part of the body. Not called again after `Last`, `End` or an error.
    fn next(&mut self) -> impl Future<Output = Result<Next, Error>> + Send;

    /// The body ended as it should: the connection may serve another request.
    fn finish(self: Box<Self>);

    /// The body did not.
    fn failed(&self, error: &Error);
}

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all here.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is still coming; `length` is what is announced of it. Dropping it drops the exchange
/// and with it the connection (HTTP/1) or the stream (HTTP/2).
pub(crate) fn streaming<E: Exchange>(exchange: Box<E>, length: Option<u64>) -> Body {
    let frames = stream::try_unfold(Some(exchange), |exchange| async move {
        let Some(mut exchange) = exchange else {
            return Ok(None);
        };
        match exchange.next().await {
            Ok(Next::Frame(frame)) => Ok(Some((frame, Some(exchange)))),
            Ok(Next::Last(frame)) => {
                exchange.finish();
                Ok(Some((frame, None)))
            }
            Ok(Next::End) => {
                exchange.finish();
                Ok(None)
            }
            Err(error) => {
                exchange.failed(&error);
                Err(Box::new(error) as BoxError)
            }
        }
    });
    Incoming {
        frames: Box::pin(frames),
        left: length,
        ended: false,
    }
    .boxed_unsync()
}

struct Incoming {
    frames: Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>,
    /// Bytes still to come, if announced.
    left: Option<u64>,
    ended: bool,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.frames.as_mut().poll_next(cx));
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(length));
            }
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
