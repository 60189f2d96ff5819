//! One request over one HTTP/1 connection. The request's body is written and the response read at
//! the same time, so an answer given early is heard at once. The connection is kept only if both
//! ended as they should; dropping the exchange at any point closes it.
//!
//! Pingora's session reads the head (its reads resume after being dropped, which the deadlines rely
//! on). The request is written by us, because its writes neither resume nor run beside a read, and
//! the body is read by us, because it loses trailers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use http::{Response, StatusCode};
use http_body::Frame;
use pingora_core::ErrorType;
use pingora_core::protocols::http::v1::client::HttpSession;
use tokio::io::AsyncWriteExt;

use crate::client::{Failed, Shared};
use crate::download::{Broken, Download, Part};
use crate::error::{Error, Place, told};
use crate::head::{Delimited, HEAD_MAX, Judged, judge};
use crate::incoming::{self, Next};
use crate::line::Conn;
use crate::origin::{Key, Origin};
use crate::request::Ask;
use crate::upgrade::Upgraded;
use crate::upload::{self, Fault, Sending};
use crate::{Body, sweep};

/// The most interim responses before a final one.
const INTERIM_MAX: usize = 16;

/// An exchange under way; it becomes the response's body.
pub(crate) struct Http1 {
    conn: Conn,
    session: HttpSession,
    sending: Sending,
    /// Once the head is here.
    download: Option<Download>,
    /// It asked for an upgrade: whatever the answer, the connection is not kept.
    upgrades: bool,
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
        download: None,
        upgrades: ask.upgrade().is_some(),
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
            heads += self.read_head().await?;
            let head = self
                .session
                .resp_header()
                .ok_or_else(|| self.refused("it has no head"))?;
            let raw = self.session.get_headers_raw_bytes();
            let judged =
                judge(&raw, head, ask.method(), ask.upgrade()).map_err(|why| self.refused(why))?;
            let status = judged.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
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
    fn settle(&mut self, judged: Judged, heads: usize) -> Result<Judged, Error> {
        if self.conn.line.heads_done() != heads {
            return Err(self.refused("its head ends in two places"));
        }
        self.keep = judged.keep;
        let status = judged.response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(judged);
        }
        if !status.is_success() {
            // The origin has made up its mind without the rest.
            self.sending
                .give_up("the origin answered before the request ended");
        }
        let ahead = self.conn.line.take_ahead();
        self.download = Some(Download::new(&judged, ahead));
        Ok(judged)
    }

    fn into_response(mut self: Box<Self>, judged: Judged) -> Response<Body> {
        let mut response = judged.response;
        let Some(download) = &mut self.download else {
            let upgraded = Upgraded::new(self.conn.line.clone());
            response.extensions_mut().insert(upgraded);
            return response.map(|()| incoming::empty());
        };
        if !self.sending.is_going()
            && let Some(body) = download.whole()
        {
            incoming::Exchange::finish(self);
            return response.map(|()| match body.is_empty() {
                true => incoming::empty(),
                false => incoming::whole(body),
            });
        }
        if judged.delimited == Delimited::Nothing {
            return response.map(|()| incoming::empty());
        }
        self.sending.detach();
        response.map(|()| incoming::streaming(self, judged.length))
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

    fn body_fault(&self, broken: Broken) -> Error {
        match broken {
            Broken::Cut(why) => Error::Truncated {
                at: self.at.clone(),
                why,
            },
            Broken::Malformed(why) => self.refused(why),
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
            Read(Result<Part, Broken>),
            Fault(Fault),
            Elapsed,
        }
        let Self {
            conn,
            download: Some(download),
            sending,
            ..
        } = self
        else {
            return Ok(Next::End);
        };
        let Conn { line, deadline } = conn;
        deadline.set(limit);
        let outcome = poll_fn(|cx| {
            let was_going = sending.is_going();
            if let Err(fault) = sending.poll(cx) {
                return Poll::Ready(Outcome::Fault(fault));
            }
            if let Poll::Ready(read) = download.poll(line, cx) {
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
        .await;
        match outcome {
            Outcome::Read(Ok(Part::Data(data))) if download.is_done() => {
                Ok(Next::Last(Frame::data(data)))
            }
            Outcome::Read(Ok(Part::Data(data))) => Ok(Next::Frame(Frame::data(data))),
            Outcome::Read(Ok(Part::End(trailers))) if trailers.is_empty() => Ok(Next::End),
            Outcome::Read(Ok(Part::End(trailers))) => Ok(Next::Last(Frame::trailers(trailers))),
            Outcome::Read(Err(broken)) => Err(self.body_fault(broken)),
            Outcome::Fault(fault) => Err(self.upload_fault(fault)),
            Outcome::Elapsed => Err(Error::BodyTimeout {
                at: self.at.clone(),
                limit,
            }),
        }
    }

    fn finish(self: Box<Self>) {
        let Self {
            conn,
            mut session,
            sending,
            download,
            upgrades,
            key,
            origin,
            shared,
            keep,
            ..
        } = *self;
        session.respect_keepalive();
        let ended = download.is_some_and(|download| download.is_clean())
            && matches!(sending, Sending::Done);
        if upgrades || !ended || !session.will_keepalive() {
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
