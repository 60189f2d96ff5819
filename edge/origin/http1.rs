//! One request over one HTTP/1 connection. The request's body is written and the response read at
//! the same time, so an answer given early is heard at once. The connection is kept only if both
//! ended as they should; dropping the exchange at any point closes it.
//!
//! Pingora's session reads (its reads resume after being dropped, which the deadlines rely on); the
//! request is written by us, because its writes neither resume nor run beside a read.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body::Frame;
use pingora_core::ErrorType;
use pingora_core::protocols::http::v1::client::HttpSession;
use tokio::io::AsyncWriteExt;

use crate::client::{Failed, Shared};
use crate::error::{Error, Place, told};
use crate::head::{Delimited, HEAD_MAX, Judged, judge};
use crate::incoming::{self, Next};
use crate::line::Conn;
use crate::origin::{Key, Origin};
use crate::request::Ask;
use crate::upload::{self, Fault, Sending};
use crate::{Body, sweep};

/// The most interim responses before a final one.
const INTERIM_MAX: usize = 16;

/// An exchange under way; it becomes the response's body.
pub(crate) struct Http1 {
    conn: Conn,
    session: HttpSession,
    sending: Sending,
    /// Read along with the head.
    first: Option<Bytes>,
    key: Key,
    at: Place,
    origin: Arc<Origin>,
    shared: Arc<Shared>,
    keep: Option<std::time::Duration>,
}

/// Sends the request and reads the response's head. `kept` says that the connection served another
/// request before, so that its death before the first byte may be no fault of this one.
pub(crate) async fn exchange(
    conn: Conn,
    kept: bool,
    ask: &mut Ask,
    key: Key,
    at: Place,
    origin: &Arc<Origin>,
    shared: &Arc<Shared>,
) -> Result<Response<Body>, Failed> {
    let session = HttpSession::new(Box::new(conn.line.clone()));
    let mut exchange = Box::new(Http1 {
        conn,
        session,
        sending: Sending::Done,
        first: None,
        key,
        at,
        origin: origin.clone(),
        shared: shared.clone(),
        keep: None,
    });
    match exchange.run(ask).await {
        Ok(judged) => Ok(exchange.into_response(judged)),
        Err(error) => {
            let line = &exchange.conn.line;
            // Nothing came back. Bytes the system never took had no effect, whatever the method.
            let dead =
                kept && line.received() == 0 && matches!(error, Error::ClosedBeforeHead { .. });
            let resend = dead && ask.is_whole() && (line.sent() == 0 || ask.is_idempotent());
            Err(Failed { error, resend })
        }
    }
}

impl Http1 {
    async fn run(&mut self, ask: &mut Ask) -> Result<Judged, Error> {
        self.write_head(ask).await?;
        if let Some(body) = ask.body.take() {
            let line = self.conn.line.clone();
            let send = upload::send(line, body, ask.framing, self.origin.settings.write_timeout);
            self.sending = Sending::Going(Box::pin(send));
        }
        // One deadline for all heads: interim responses do not move it, or they could forever.
        self.conn
            .deadline
            .set(self.origin.settings.first_byte_timeout);
        let mut heads = 0;
        for _ in 0..=INTERIM_MAX {
            heads += self.read_head().await? as u64;
            let head = self
                .session
                .resp_header()
                .ok_or_else(|| self.refused("it has no head"))?;
            let judged = judge(&self.session.get_headers_raw_bytes(), head, ask.method())
                .map_err(|why| self.refused(why))?;
            let status = judged.response.status();
            if !status.is_informational() {
                return self.settle(judged, heads);
            }
            if let Some(interim) = &ask.interim
                && status != 100
            {
                // Who does not keep up misses hints, nothing else.
                let _ = interim.0.try_send(judged.response);
            }
        }
        Err(self.refused(format!("more than {INTERIM_MAX} interim responses came")))
    }

    async fn write_head(&mut self, ask: &mut Ask) -> Result<(), Error> {
        let wire = ask.wire().map_err(|why| self.request_fault(why.into()))?;
        let Conn { line, deadline } = &mut self.conn;
        line.begin(HEAD_MAX);
        let limit = self.origin.settings.write_timeout;
        let write = async {
            line.write_all(&wire).await?;
            line.flush().await
        };
        match deadline.bound(limit, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.closed(format!("writing the request: {error}"))),
            Err(_) => Err(Error::WriteTimeout {
                at: self.at.clone(),
                limit,
            }),
        }
    }

    /// The size of the next head, the request's body being sent meanwhile.
    async fn read_head(&mut self) -> Result<usize, Error> {
        let limit = self.origin.settings.first_byte_timeout;
        let Self {
            conn,
            session,
            sending,
            ..
        } = self;
        let deadline = &mut conn.deadline;
        enum Outcome {
            Read(Result<usize, Box<pingora_core::Error>>),
            Fault(Fault),
            Elapsed,
        }
        let outcome = {
            let mut reading = pin!(session.read_response());
            poll_fn(|cx| {
                let was_going = sending.is_going();
                if let Err(fault) = sending.poll(cx) {
                    return Poll::Ready(Outcome::Fault(fault));
                }
                if was_going && !sending.is_going() {
                    deadline.set(limit);
                }
                if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                    return Poll::Ready(Outcome::Read(read));
                }
                if sending.is_going() {
                    // The origin waits for the client; the write has its own limit.
                    return Poll::Pending;
                }
                deadline.poll(cx).map(|()| Outcome::Elapsed)
            })
            .await
        };
        match outcome {
            Outcome::Read(Ok(size)) => Ok(size),
            Outcome::Read(Err(error)) => Err(self.head_fault(&error)),
            Outcome::Fault(fault) => Err(self.upload_fault(fault)),
            Outcome::Elapsed => Err(Error::FirstByteTimeout {
                at: self.at.clone(),
                limit,
            }),
        }
    }

    /// The final head is here.
    fn settle(&mut self, judged: Judged, heads: u64) -> Result<Judged, Error> {
        self.conn.line.head_done();
        self.keep = judged.keep;
        let status = judged.response.status();
        if !status.is_success() {
            // The origin has made up its mind without the rest.
            self.sending
                .give_up("the origin answered before the request ended");
        }
        let arrived = self.conn.line.received() > heads;
        match judged.delimited {
            // Bytes after a response that has none are somebody's mistake: never read as a response.
            Delimited::Nothing if arrived => {
                self.sending = Sending::GivenUp("bytes follow the head".to_owned())
            }
            // What came with the head is handed over without another look at the socket.
            Delimited::Length if arrived && judged.length != Some(0) => {
                match self.session.read_body_bytes().now_or_never() {
                    Some(Ok(first)) => self.first = first,
                    Some(Err(error)) => return Err(self.body_fault(&error)),
                    None => {}
                }
            }
            _ => {}
        }
        Ok(judged)
    }

    fn into_response(mut self: Box<Self>, judged: Judged) -> Response<Body> {
        // The session does not know about HEAD: it never saw the request.
        let nothing = judged.delimited == Delimited::Nothing;
        let done = nothing || self.session.is_body_done();
        if done && !self.sending.is_going() {
            let first = self.first.take();
            incoming::Exchange::finish(self);
            return judged
                .response
                .map(|()| first.map_or_else(incoming::empty, incoming::whole));
        }
        if nothing {
            return judged.response.map(|()| incoming::empty());
        }
        judged
            .response
            .map(|()| incoming::streaming(self, judged.length))
    }

    fn head_fault(&self, error: &pingora_core::Error) -> Error {
        if self.conn.line.head_too_large() {
            return self.refused(format!("its head is larger than {HEAD_MAX} bytes"));
        }
        match (error.etype(), &self.sending) {
            (ErrorType::ConnectionClosed | ErrorType::ReadError, Sending::GivenUp(why)) => {
                self.closed(format!("while the request was sent: {why}"))
            }
            (ErrorType::ConnectionClosed | ErrorType::ReadError, _) => self.closed(told(error)),
            _ => self.refused(told(error)),
        }
    }

    fn body_fault(&self, error: &pingora_core::Error) -> Error {
        match error.etype() {
            ErrorType::ConnectionClosed | ErrorType::ReadError => Error::Truncated {
                at: self.at.clone(),
                why: told(error),
            },
            _ => self.refused(told(error)),
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

    fn request_fault(&self, source: crate::BoxError) -> Error {
        Error::RequestBody {
            at: self.at.clone(),
            source,
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
}

impl incoming::Exchange for Http1 {
    async fn next(&mut self) -> Result<Next, Error> {
        let limit = self.origin.settings.between_bytes_timeout;
        enum Outcome {
            Read(Result<Option<Bytes>, Box<pingora_core::Error>>),
            Fault(Fault),
            Elapsed,
        }
        loop {
            let chunk = match self.first.take() {
                Some(first) => Some(first),
                None => {
                    let Self {
                        conn,
                        session,
                        sending,
                        ..
                    } = self;
                    conn.deadline.set(limit);
                    let outcome = {
                        let mut reading = pin!(session.read_body_bytes());
                        poll_fn(|cx| {
                            if let Err(fault) = sending.poll(cx) {
                                return Poll::Ready(Outcome::Fault(fault));
                            }
                            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                                return Poll::Ready(Outcome::Read(read));
                            }
                            conn.deadline.poll(cx).map(|()| Outcome::Elapsed)
                        })
                        .await
                    };
                    match outcome {
                        Outcome::Read(Ok(chunk)) => chunk,
                        Outcome::Read(Err(error)) => return Err(self.body_fault(&error)),
                        Outcome::Fault(fault) => return Err(self.upload_fault(fault)),
                        Outcome::Elapsed => {
                            return Err(Error::BodyTimeout {
                                at: self.at.clone(),
                                limit,
                            });
                        }
                    }
                }
            };
            let done = self.session.is_body_done();
            match chunk {
                // Half a chunk's head yields nothing yet.
                Some(chunk) if chunk.is_empty() && !done => {}
                Some(chunk) if done => return Ok(Next::Last(Frame::data(chunk))),
                Some(chunk) => return Ok(Next::Frame(Frame::data(chunk))),
                None => return Ok(Next::End),
            }
        }
    }

    fn finish(self: Box<Self>) {
        let Self {
            conn,
            mut session,
            sending,
            key,
            origin,
            shared,
            keep,
            ..
        } = *self;
        session.respect_keepalive();
        if !matches!(sending, Sending::Done) || !session.will_keepalive() {
            return;
        }
        // The session holds the line's other handle.
        drop(session);
        let settings = &origin.settings;
        let idle = keep.map_or(settings.idle_timeout, |keep| {
            keep.min(settings.idle_timeout)
        });
        if shared
            .kept
            .put(key, conn, settings.keep_idle, Instant::now() + idle)
        {
            sweep::soon(&shared);
        }
    }

    fn failed(&self, error: &Error) {
        self.shared.counters.error(error);
    }
}
