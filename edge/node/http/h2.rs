//! Our own HTTP/2 loop over the `h2` crate. RFC 9113.
//!
//! The same head type, the same `serve`, the same reply as HTTP/1. A request is
//! first served inside the accept loop; what answers at once, a hit, costs no
//! task. What must wait becomes a task of its own, so that one stream never
//! waits for another. Every wait on the client has a deadline: HTTP/2 has none
//! of its own.

use super::front::{Finished, Serve, Terms};
use super::head::{Fault, Framing, Head, length_of};
use super::refuse;
use super::reply::{Body, BoxError, Peer, Reply, Request, Streamed};
use super::upload::Spoilt;
use super::write::Sent;
use ::h2::server::{Builder, SendResponse};
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;

/// Streams a client may have open at once.
const STREAMS_MAX: u32 = 128;

/// What a client may send ahead on one stream, and on all of them together.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// What may wait to be sent on one stream.
const SEND_BUFFER: usize = 256 * 1024;

/// How long a connection that was told to go may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Interim replies of one request that may wait to be written.
const INTERIMS: usize = 4;

/// Fields that belong to a connection of HTTP/1 (RFC 9113, section 8.2.2).
const FORBIDDEN: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Runs one connection to its end.
pub(crate) async fn run<IO, S>(
    io: IO,
    peer: Peer,
    terms: Terms,
    service: Arc<S>,
    mut draining: watch::Receiver<bool>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Serve,
{
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(terms.limits.head_bytes).unwrap_or(u32::MAX));
    let greeting = builder.handshake::<_, Bytes>(io);
    let Ok(Ok(mut connection)) = tokio::time::timeout(terms.header_deadline, greeting).await else {
        return;
    };
    let streams = Arc::new(Streams::default());
    let mut leaving = false;
    let mut idle = pin!(tokio::time::sleep(terms.idle));
    loop {
        let told = async {
            let _ = draining.wait_for(|draining| *draining).await;
        };
        let accepted = tokio::select! {
            biased;
            accepted = connection.accept() => accepted,
            () = told, if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                continue;
            }
            () = &mut idle => {
                let now = tokio::time::Instant::now();
                let next = streams.idle_until(now, terms.idle);
                if next <= now {
                    if leaving {
                        return;
                    }
                    leaving = true;
                    connection.graceful_shutdown();
                }
                idle.as_mut().reset(next.max(now + GOODBYE));
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let stream = Stream {
            peer: peer.clone(),
            terms,
            service: Arc::clone(&service),
            respond,
            _open: Open::one(&streams),
        };
        start(stream.run(request));
    }
}

/// Runs a future as far as it goes, and the rest of it as a task.
fn start(future: impl Future<Output = ()> + Send + 'static) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    // A first poll outside of its task is safe: the task polls it again before
    // anything can be missed.
    if future.as_mut().poll(&mut context).is_pending() {
        tokio::spawn(future);
    }
}

/// The streams of a connection: how many are open, and when the last one ended.
#[derive(Default)]
struct Streams(Mutex<(usize, Option<tokio::time::Instant>)>);

impl Streams {
    /// When the connection will have been idle for long enough, if nothing comes.
    fn idle_until(&self, now: tokio::time::Instant, idle: Duration) -> tokio::time::Instant {
        match *self.0.lock() {
            (0, Some(ended)) => ended + idle,
            (0, None) => now,
            _ => now + idle,
        }
    }
}

/// An open stream.
struct Open(Arc<Streams>);

impl Open {
    fn one(streams: &Arc<Streams>) -> Open {
        streams.0.lock().0 += 1;
        Open(Arc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut streams = self.0.0.lock();
        streams.0 -= 1;
        streams.1 = Some(tokio::time::Instant::now());
    }
}

/// One request and its reply.
struct Stream<S> {
    peer: Peer,
    terms: Terms,
    service: Arc<S>,
    respond: SendResponse<Bytes>,
    _open: Open,
}

impl<S: Serve> Stream<S> {
    async fn run(mut self, request: http::Request<RecvStream>) {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let ends = body.is_end_stream();
        let head = match judge(parts, ends, &self.terms) {
            Ok(head) => Arc::new(head),
            Err(fault) => {
                let mut reply = refuse::fault(fault);
                let sent = self.reply(&mut reply, &Method::GET).await;
                self.report(None, &reply, sent, began, Duration::ZERO);
                return;
            }
        };
        let body = (!ends).then(|| Streamed::new(Incoming::new(body, &head, &self.terms)));
        let (interim, mut interims) = mpsc::channel(INTERIMS);
        let request = Request {
            head: Arc::clone(&head),
            body,
            peer: self.peer.clone(),
            interim,
        };
        let mut reply = {
            let service = Arc::clone(&self.service);
            let mut serving = pin!(service.serve(request));
            loop {
                tokio::select! {
                    biased;
                    Some(interim) = interims.recv() => self.interim(interim),
                    reply = &mut serving => break reply,
                    _ = poll_fn(|context| self.respond.poll_reset(context)) => {
                        let (reply, served) = (refuse::client_left(), began.elapsed());
                        self.report(Some(&head), &reply, Sent::NOTHING, began, served);
                        return;
                    }
                }
            }
        };
        // Some may have come in the same step as the reply.
        while let Ok(interim) = interims.try_recv() {
            self.interim(interim);
        }
        let served = began.elapsed();
        let sent = self.reply(&mut reply, &head.method).await;
        self.report(Some(&head), &reply, sent, began, served);
    }

    fn interim(&mut self, interim: Response<()>) {
        // Fails only when the stream is gone, which the reply will find out.
        let _ = self.respond.send_informational(interim);
    }

    fn report(
        &self,
        head: Option<&Head>,
        reply: &Reply,
        sent: Sent,
        began: Instant,
        served: Duration,
    ) {
        self.service.finished(&Finished {
            head,
            client: reply.facts.client.unwrap_or(self.peer.address.ip()),
            reply,
            sent,
            began,
            served,
        });
    }

    async fn reply(&mut self, reply: &mut Reply, method: &Method) -> Sent {
        let mut sent = Sent {
            bytes: 0,
            complete: false,
        };
        let bodiless = method == Method::HEAD
            || matches!(
                reply.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = if bodiless {
            reply.length
        } else {
            reply.body.bytes_left()
        };
        let ends = bodiless || length == Some(0);
        let Ok(mut stream) = self.respond.send_response(head(reply, length), ends) else {
            return sent;
        };
        if ends {
            sent.complete = true;
            return sent;
        }
        match pour(
            &mut stream,
            &mut reply.body,
            self.terms.body_idle,
            &mut sent.bytes,
        )
        .await
        {
            Ok(()) => sent.complete = true,
            Err(Stopped::Client) => stream.send_reset(Reason::CANCEL),
            Err(Stopped::Body(error)) => {
                log::debug!("a reply was cut short: {error}");
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        sent
    }
}

/// The head of a reply, with the fields that describe its framing set here.
fn head(reply: &Reply, length: Option<u64>) -> Response<()> {
    let mut fields = match &reply.stored {
        Some(stored) => stored.fields.clone(),
        None => HeaderMap::with_capacity(reply.fields.len() + 2),
    };
    for name in reply.fields.keys() {
        fields.remove(name);
        for value in reply.fields.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    for name in FORBIDDEN {
        fields.remove(name);
    }
    fields.remove(CONTENT_LENGTH);
    if let Some(bytes) = length
        && !matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
    {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
    {
        fields.insert(DATE, date);
    }
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = fields;
    response
}

/// Why a reply stopped.
enum Stopped {
    /// The client takes nothing more, or has reset the stream.
    Client,
    /// The body broke.
    Body(BoxError),
}

/// The body, as fast as the client opens its window.
async fn pour(
    stream: &mut SendStream<Bytes>,
    body: &mut Body,
    idle: Duration,
    sent: &mut u64,
) -> Result<(), Stopped> {
    let mut left = body.bytes_left();
    loop {
        let next = tokio::select! {
            biased;
            next = body.next() => next.map_err(Stopped::Body)?,
            _ = poll_fn(|context| stream.poll_reset(context)) => return Err(Stopped::Client),
        };
        let Some(mut bytes) = next else {
            if left.is_some_and(|left| left > 0) {
                return Err(Stopped::Body("the body is shorter than announced".into()));
            }
            return match body.take_trailers() {
                Some(trailers) => stream.send_trailers(trailers),
                None => stream.send_data(Bytes::new(), true),
            }
            .map_err(|_| Stopped::Client);
        };
        if let Some(left) = &mut left {
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| Stopped::Body("the body is longer than announced".into()))?;
        }
        *sent += bytes.len() as u64;
        while !bytes.is_empty() {
            let capacity = room(stream, bytes.len(), idle).await?;
            let piece = bytes.split_to(capacity.min(bytes.len()));
            let last = left == Some(0) && bytes.is_empty();
            stream.send_data(piece, last).map_err(|_| Stopped::Client)?;
            if last {
                return Ok(());
            }
        }
    }
}

/// Waits until the client's window takes something.
async fn room(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    idle: Duration,
) -> Result<usize, Stopped> {
    stream.reserve_capacity(wanted);
    loop {
        let capacity = stream.capacity();
        if capacity > 0 {
            return Ok(capacity);
        }
        let more = poll_fn(|context| stream.poll_capacity(context));
        match tokio::time::timeout(idle, more).await {
            Ok(Some(Ok(_))) => {}
            _ => return Err(Stopped::Client),
        }
    }
}

/// Makes a checked head of what `h2` has already found well-formed.
fn judge(parts: http::request::Parts, ends: bool, terms: &Terms) -> Result<Head, Fault> {
    let mut fields = parts.headers;
    if FORBIDDEN.iter().any(|name| fields.contains_key(*name)) {
        return Err(Fault::Bad("a connection field in HTTP/2"));
    }
    if fields.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Fault::Bad("more than one Content-Length"));
    }
    join_cookies(&mut fields);
    let length = match fields.get(CONTENT_LENGTH) {
        Some(value) => {
            Some(length_of(value.as_bytes()).ok_or(Fault::Bad("Content-Length is not a number"))?)
        }
        None => None,
    };
    let framing = match (ends, length) {
        (true, _) | (false, Some(0)) => Framing::None,
        (false, Some(bytes)) => Framing::Length(bytes),
        (false, None) => Framing::Chunked,
    };
    Head::from_h2(&parts.method, &parts.uri, fields, framing, &terms.limits)
}

/// Cookie crumbs become one field before anything that thinks in HTTP/1 sees
/// them (RFC 9113, section 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let name = http::header::COOKIE;
    if fields.get_all(&name).iter().count() < 2 {
        return;
    }
    let crumbs: Vec<&[u8]> = fields
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = crumbs.join(&b"; "[..]);
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        fields.insert(name, value);
    }
}

/// A request body: gives the window back as it is read, within a size and a
/// deadline between pieces.
struct Incoming {
    stream: RecvStream,
    /// Bytes that may still come.
    left: u64,
    announced: Option<u64>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    data_ended: bool,
}

impl Incoming {
    fn new(stream: RecvStream, head: &Head, terms: &Terms) -> Incoming {
        Incoming {
            stream,
            left: terms.limits.body_bytes,
            announced: match head.framing {
                Framing::Length(bytes) => Some(bytes),
                _ => None,
            },
            idle: terms.body_idle,
            timer: None,
            data_ended: false,
        }
    }

    fn taken(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, Spoilt> {
        self.timer = None;
        let length = bytes.len();
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or(Spoilt::TooLarge)?;
        if let Some(announced) = &mut self.announced {
            *announced = announced.saturating_sub(length as u64);
        }
        // Fails only when the stream is gone, which the next poll will say.
        let _ = self.stream.flow_control().release_capacity(length);
        Ok(Frame::data(bytes))
    }

    fn timed_out(&mut self, context: &mut Context<'_>) -> bool {
        let idle = self.idle;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        timer.as_mut().poll(context).is_ready()
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.data_ended {
            match self.stream.poll_data(context) {
                Poll::Ready(Some(Ok(bytes))) => {
                    return Poll::Ready(Some(self.taken(bytes).map_err(Into::into)));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Spoilt::Left.into()))),
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending if self.timed_out(context) => {
                    return Poll::Ready(Some(Err(Spoilt::TimedOut.into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(context)) {
            Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(None) => None,
            Err(_) => Some(Err(Spoilt::Left.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
