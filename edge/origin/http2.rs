//! One request over an HTTP/2 stream. As over HTTP/1, the request's body is sent and the response
//! read at the same time, and every wait has a deadline of ours: Pingora's session has none.
//! Dropping the exchange resets the stream. Interim responses are not passed on: the h2 crate has
//! them (`ResponseFuture::poll_informational`), but Pingora's session keeps that future to itself.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use pingora_core::ErrorType;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;

use crate::client::{Failed, Shared};
use crate::deadline::Deadline;
use crate::error::{Error, Place, told};
use crate::head::{Delimited, Judged, judge_h2};
use crate::incoming::{self, Next};
use crate::origin::Origin;
use crate::request::{Ask, Framing};
use crate::upload::{Fault, Sending};
use crate::{Body, BoxError, trailers};

/// An exchange under way; it becomes the response's body.
pub(crate) struct Http2 {
    session: Http2Session,
    deadline: Deadline,
    sending: Sending,
    /// Bytes still to come, if announced.
    left: Option<u64>,
    at: Place,
    origin: Arc<Origin>,
    shared: Arc<Shared>,
}

/// Sends the request and reads the response's head. `kept` as for HTTP/1.
pub(crate) async fn exchange(
    session: Http2Session,
    kept: bool,
    ask: &mut Ask,
    secure: bool,
    at: Place,
    origin: &Arc<Origin>,
    shared: &Arc<Shared>,
) -> Result<Response<Body>, Failed> {
    let mut exchange = Box::new(Http2 {
        session,
        deadline: Deadline::new(),
        sending: Sending::Done,
        left: None,
        at,
        origin: origin.clone(),
        shared: shared.clone(),
    });
    match exchange.run(ask, secure).await {
        Ok(judged) => Ok(exchange.into_response(judged)),
        Err((error, untouched)) => {
            let dead = kept && matches!(error, Error::ClosedBeforeHead { .. });
            let resend = dead && ask.is_whole() && (untouched || ask.is_idempotent());
            Err(Failed { error, resend })
        }
    }
}

/// An error, and whether the server said that it did nothing with the request.
type Fail = (Error, bool);

impl Http2 {
    async fn run(&mut self, ask: &mut Ask, secure: bool) -> Result<Judged, Fail> {
        let refused = |why: String| {
            (
                Error::RequestBody {
                    at: self.at.clone(),
                    source: why.into(),
                },
                true,
            )
        };
        let head = ask.absolute(secure).map_err(refused)?;
        let ends = ask.framing == Framing::Nothing;
        self.session
            .write_request_header(Box::new(head), ends)
            .map_err(|error| self.head_fault(&error))?;
        if let Some(body) = ask.body.take() {
            let Some(writer) = self.session.take_request_body_writer() else {
                return Err((self.closed("the stream takes no body"), false));
            };
            let framing = ask.framing;
            let limit = self.origin.settings.write_timeout;
            self.sending = Sending::Going(Box::pin(send(writer, body, framing, limit)));
        }
        self.read_head().await?;
        let head = self
            .session
            .response_header()
            .ok_or_else(|| (self.refused("it has no head"), false))?;
        let judged = judge_h2(head, ask.method()).map_err(|why| (self.refused(why), false))?;
        if !judged.response.status().is_success() {
            self.sending
                .give_up("the origin answered before the request ended");
        }
        self.left = judged.length;
        Ok(judged)
    }

    async fn read_head(&mut self) -> Result<(), Fail> {
        let limit = self.origin.settings.first_byte_timeout;
        let Self {
            session,
            sending,
            deadline,
            ..
        } = self;
        deadline.set(limit);
        enum Outcome {
            Read(Result<(), Box<pingora_core::Error>>),
            Fault(Fault),
            Elapsed,
        }
        let outcome = {
            let mut reading = pin!(session.read_response_header());
            poll_fn(|cx| {
                let was_going = sending.is_going();
                if let Err(fault) = sending.poll(cx) {
                    return Poll::Ready(Outcome::Fault(fault));
                }
                if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                    return Poll::Ready(Outcome::Read(read));
                }
                if sending.is_going() {
                    return Poll::Pending;
                }
                if was_going {
                    deadline.set(limit);
                }
                deadline.poll(cx).map(|()| Outcome::Elapsed)
            })
            .await
        };
        match outcome {
            Outcome::Read(Ok(())) => Ok(()),
            Outcome::Read(Err(error)) => Err(self.head_fault(&error)),
            Outcome::Fault(fault) => Err((self.upload_fault(fault), false)),
            Outcome::Elapsed => Err((
                Error::FirstByteTimeout {
                    at: self.at.clone(),
                    limit,
                },
                false,
            )),
        }
    }

    fn into_response(mut self: Box<Self>, judged: Judged) -> Response<Body> {
        // A stream that ended with its head has no body, and says so: what is only
        // trailers in gRPC stays a head without one.
        let ended = self.session.response_finished() && judged.length.unwrap_or(0) == 0;
        if judged.delimited == Delimited::Nothing || ended {
            return judged.response.map(|()| incoming::empty());
        }
        self.sending.detach();
        judged
            .response
            .map(|()| incoming::streaming(self, judged.length))
    }

    /// Pingora marks what the server declared undone (REFUSED_STREAM, a graceful GOAWAY) for retry.
    fn head_fault(&self, error: &pingora_core::Error) -> Fail {
        let untouched = matches!(error.retry, pingora_core::RetryType::Decided(true))
            && !matches!(error.etype(), ErrorType::InvalidH2 | ErrorType::H2Downgrade);
        let why = told(error);
        match error.etype() {
            ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 | ErrorType::H2Downgrade => {
                (self.refused(why), false)
            }
            _ => (self.closed(why), untouched),
        }
    }

    fn upload_fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Body(source) => Error::RequestBody {
                at: self.at.clone(),
                source,
            },
            Fault::Write(why) => self.closed(why),
            Fault::Stuck => Error::WriteTimeout {
                at: self.at.clone(),
                limit: self.origin.settings.write_timeout,
            },
        }
    }

    fn closed(&self, why: impl Into<String>) -> Error {
        Error::ClosedBeforeHead {
            at: self.at.clone(),
            why: why.into(),
        }
    }

    fn refused(&self, why: impl Into<String>) -> Error {
        Error::BadResponse {
            at: self.at.clone(),
            why: why.into(),
        }
    }

    fn truncated(&self, why: impl Into<String>) -> Error {
        Error::Truncated {
            at: self.at.clone(),
            why: why.into(),
        }
    }
}

impl incoming::Exchange for Http2 {
    async fn next(&mut self) -> Result<Next, Error> {
        let limit = self.origin.settings.between_bytes_timeout;
        let Self {
            session,
            sending,
            deadline,
            ..
        } = self;
        deadline.set(limit);
        enum Outcome {
            Read(Result<Option<Bytes>, Box<pingora_core::Error>>),
            Fault(Fault),
            Elapsed,
        }
        let outcome = {
            let mut reading = pin!(session.read_response_body());
            poll_fn(|cx| {
                let was_going = sending.is_going();
                if let Err(fault) = sending.poll(cx) {
                    return Poll::Ready(Outcome::Fault(fault));
                }
                if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                    return Poll::Ready(Outcome::Read(read));
                }
                if sending.is_going() {
                    // Both may be waiting for the client, as a conversation does.
                    return Poll::Pending;
                }
                if was_going {
                    deadline.set(limit);
                }
                deadline.poll(cx).map(|()| Outcome::Elapsed)
            })
            .await
        };
        let chunk = match outcome {
            Outcome::Read(Ok(chunk)) => chunk,
            Outcome::Read(Err(error)) => return Err(self.truncated(told(&error))),
            Outcome::Fault(fault) => return Err(self.upload_fault(fault)),
            Outcome::Elapsed => {
                return Err(Error::BodyTimeout {
                    at: self.at.clone(),
                    limit,
                });
            }
        };
        if let Some(chunk) = chunk {
            self.left = self
                .left
                .map(|left| left.saturating_sub(chunk.len() as u64));
            return Ok(Next::Frame(Frame::data(chunk)));
        }
        if let Some(left) = self.left.filter(|&left| left > 0) {
            return Err(self.truncated(format!("{left} bytes are missing")));
        }
        match self
            .deadline
            .bound(limit, self.session.read_trailers())
            .await
        {
            Ok(Ok(Some(trailers))) => {
                let trailers = trailers::judge_h2(trailers).map_err(|why| self.refused(why))?;
                Ok(match trailers.is_empty() {
                    true => Next::End,
                    false => Next::Last(Frame::trailers(trailers)),
                })
            }
            Ok(Ok(None)) => Ok(Next::End),
            Ok(Err(error)) => Err(self.truncated(told(&error))),
            Err(_) => Err(Error::BodyTimeout {
                at: self.at.clone(),
                limit,
            }),
        }
    }

    /// The stream's end is the session's drop; the connection is shared and stays.
    fn finish(self: Box<Self>) {}

    fn failed(&self, error: &Error) {
        self.shared.counters.error(error);
    }
}

/// Sends the body on its stream. Left unfinished, the stream is reset, never ended.
async fn send(
    mut writer: h2::SendStream<Bytes>,
    body: Body,
    framing: Framing,
    limit: Duration,
) -> Result<(), Fault> {
    let sent = write(&mut writer, body, framing, limit).await;
    if let Err(Fault::Body(_) | Fault::Stuck) = &sent {
        // Whoever reads the response may be long in asking for more; the origin learns it now.
        writer.send_reset(h2::Reason::CANCEL);
    }
    sent
}

async fn write(
    writer: &mut h2::SendStream<Bytes>,
    mut body: Body,
    framing: Framing,
    limit: Duration,
) -> Result<(), Fault> {
    let mut sent = 0;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(Fault::Body)?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                sent += data.len() as u64;
                // Even a body of known length may have trailers, so only its own word ends it.
                let ends = body.is_end_stream();
                match framing {
                    Framing::Length(length) if sent > length || (ends && sent < length) => {
                        return Err(wrong_length(sent, length));
                    }
                    _ => {}
                }
                let written = write_body(writer, data, ends, Some(limit)).await;
                written.map_err(|error| fault(&error))?;
                if ends {
                    return Ok(());
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    if let Framing::Length(length) = framing
        && sent < length
    {
        return Err(wrong_length(sent, length));
    }
    let trailers = trailers::settle(trailers);
    if trailers.is_empty() {
        let written = write_body(writer, Bytes::new(), true, Some(limit)).await;
        return written.map_err(|error| fault(&error));
    }
    writer
        .send_trailers(trailers)
        .map_err(|error| Fault::Write(error.to_string()))
}

fn wrong_length(sent: u64, length: u64) -> Fault {
    Fault::Body(BoxError::from(format!(
        "it has {sent} bytes, {length} were announced"
    )))
}

fn fault(error: &pingora_core::Error) -> Fault {
    match error.etype() {
        ErrorType::WriteTimedout => Fault::Stuck,
        _ => Fault::Write(told(error)),
    }
}
