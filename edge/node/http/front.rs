//! Our HTTP/1 connection loop: reads a head, judges it once, has it served, and
//! writes the reply.
//!
//! A head has one deadline, however slowly it drips; between requests the
//! connection waits for its idle time and holds no buffer. What follows a
//! request in the buffer is the next request: pipelining needs nothing else.

use super::head::{self, Framing, Head, Limits, Parsed};
use super::refuse;
use super::reply::{Body, Interim, Peer, Reply, Request, Streamed};
use super::rewind::Rewound;
use super::tunnel;
use super::upload;
use super::write::{self, Asked, Sent};
use bytes::BytesMut;
use http::Version;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

/// The first read of a request.
const READ_BYTES: usize = 8 * 1024;

/// How long a connection that has not asked anything yet is waited for while the
/// node drains: its first request may be on its way.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What is read and thrown away after a last reply, so that the client gets to
/// see it before the connection is reset.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// What is read of further requests while one is served, in small steps: many
/// connections may be waiting at once.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
const AHEAD_READ_BYTES: usize = 1024;

/// Interim replies of one request that may wait to be written.
const INTERIMS: usize = 8;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Times and sizes of one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) header_deadline: Duration,
    pub(crate) idle: Duration,
    pub(crate) body_idle: Duration,
}

/// What answers requests.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Answers one request.
    fn serve(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Told about every reply once it has gone out.
    fn finished(&self, finished: &Finished<'_>);
}

/// A request and what became of it.
pub(crate) struct Finished<'a> {
    /// `None` when the head could not be read.
    pub(crate) head: Option<&'a Head>,
    /// Who the request is from, behind proxies we trust.
    pub(crate) client: IpAddr,
    pub(crate) reply: &'a Reply,
    pub(crate) sent: Sent,
    pub(crate) began: Instant,
    /// From the head to the start of the reply.
    pub(crate) served: Duration,
}

/// How a connection is to be left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All that was promised has been sent.
    Closed,
    /// A reply broke off: a reset, so that it cannot look like an end.
    Reset,
    /// The client speaks HTTP/2 by prior knowledge; these bytes were its first.
    Http2(BytesMut),
}

/// Runs one connection to its end.
pub(crate) async fn run<IO, S>(
    io: &mut IO,
    peer: Peer,
    terms: &Terms,
    service: &S,
    mut draining: watch::Receiver<bool>,
) -> Ending
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Serve,
{
    let mut buffer = BytesMut::new();
    let (interim, mut interims) = mpsc::channel(INTERIMS);
    let mut first = true;
    loop {
        let is_first = std::mem::take(&mut first);
        let head = match next_head(io, &mut buffer, terms, &mut draining, is_first).await {
            Next::Head(head) => head,
            Next::End => return Ending::Closed,
            Next::Http2 => return Ending::Http2(buffer),
            Next::Refused(reply) => {
                turn_away(io, *reply, peer, terms, service).await;
                return Ending::Closed;
            }
        };
        let exchange = Exchange {
            head,
            peer: peer.clone(),
            terms,
            service,
            interim: &interim,
            began: Instant::now(),
        };
        // What came too late for an earlier request is for nobody.
        while interims.try_recv().is_ok() {}
        let after = if exchange.head.framing == Framing::None {
            exchange
                .run(io, &mut buffer, &mut interims, &draining)
                .await
        } else {
            exchange
                .run_with_body(io, &mut buffer, &mut interims, &draining)
                .await
        };
        match after {
            After::Next => {}
            After::Close => {
                linger(io).await;
                return Ending::Closed;
            }
            After::Closed => return Ending::Closed,
            After::Reset => return Ending::Reset,
        }
    }
}

/// What becomes of the connection after a reply.
enum After {
    Next,
    Close,
    /// Both sides have ended already.
    Closed,
    Reset,
}

enum Next {
    Head(Arc<Head>),
    Http2,
    End,
    Refused(Box<Reply>),
}

/// Waits for the next head: idle first, then against the head's deadline.
async fn next_head<IO: AsyncRead + Unpin>(
    io: &mut IO,
    buffer: &mut BytesMut,
    terms: &Terms,
    draining: &mut watch::Receiver<bool>,
    first: bool,
) -> Next {
    if buffer.is_empty() {
        // Connections that wait hold no buffer.
        *buffer = BytesMut::new();
        let mut bytes = [0_u8; READ_BYTES];
        let read = tokio::time::timeout(terms.idle, io.read(&mut bytes));
        let drained = async {
            // The sender lives as long as the node; if it were gone, the node
            // would be leaving too.
            let _ = draining.wait_for(|draining| *draining).await;
            if first {
                tokio::time::sleep(FIRST_REQUEST).await;
            }
        };
        tokio::select! {
            biased;
            got = read => match got {
                Ok(Ok(n)) if n > 0 => buffer.extend_from_slice(&bytes[..n]),
                _ => return Next::End,
            },
            () = drained => return Next::End,
        }
    }
    if let Some(next) = look(buffer, terms, first) {
        return next;
    }
    let rest = rest_of_head(io, buffer, terms, first);
    match tokio::time::timeout(terms.header_deadline, rest).await {
        Ok(next) => next,
        Err(_) => Next::Refused(Box::new(refuse::head_timeout())),
    }
}

/// What the buffer holds, if it is enough to tell.
fn look(buffer: &mut BytesMut, terms: &Terms, first: bool) -> Option<Next> {
    if first && buffer.starts_with(b"PRI ") {
        if buffer.starts_with(PREFACE) {
            return Some(Next::Http2);
        }
        if PREFACE.starts_with(buffer) {
            return None;
        }
    }
    match head::parse(buffer, &terms.limits) {
        Ok(Parsed::Head(head, taken)) => {
            drop(buffer.split_to(taken));
            Some(Next::Head(head))
        }
        Ok(Parsed::Partial) => None,
        Err(fault) => Some(Next::Refused(Box::new(refuse::fault(fault)))),
    }
}

async fn rest_of_head<IO: AsyncRead + Unpin>(
    io: &mut IO,
    buffer: &mut BytesMut,
    terms: &Terms,
    first: bool,
) -> Next {
    loop {
        buffer.reserve(READ_BYTES);
        match io.read_buf(buffer).await {
            Ok(0) | Err(_) => return Next::End,
            Ok(_) => {}
        }
        if let Some(next) = look(buffer, terms, first) {
            return next;
        }
    }
}

/// One request and its reply.
struct Exchange<'a, S> {
    head: Arc<Head>,
    peer: Peer,
    terms: &'a Terms,
    service: &'a S,
    interim: &'a Interim,
    began: Instant,
}

impl<S: Serve> Exchange<'_, S> {
    /// A request without a body.
    async fn run<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        buffer: &mut BytesMut,
        interims: &mut mpsc::Receiver<http::Response<()>>,
        draining: &watch::Receiver<bool>,
    ) -> After {
        let mut serving = std::pin::pin!(self.service.serve(self.request(None)));
        let mut watching = true;
        let mut reply = loop {
            tokio::select! {
                biased;
                Some(interim) = interims.recv() => {
                    if !self.write_interim(io, &interim).await {
                        return After::Reset;
                    }
                }
                reply = &mut serving => break reply,
                came = read_ahead(io, buffer), if watching => match came {
                    Ok(0) => watching = false, // It asks no more, and may still listen.
                    Ok(_) => watching = buffer.len() < AHEAD_BYTES_MAX,
                    Err(_) => {
                        self.report(&refuse::client_left(), Sent::NOTHING, self.began.elapsed());
                        return After::Reset;
                    }
                },
            }
        };
        if !self.write_interims(io, interims).await {
            return After::Reset;
        }
        let served = self.began.elapsed();
        let asked = self.asked(!*draining.borrow());
        let (mut sent, keep) = write::write(io, &mut reply, asked).await;
        if sent.complete && matches!(reply.body, Body::Tunnel(_)) {
            if let Body::Tunnel(tunnel) = std::mem::replace(&mut reply.body, Body::Empty) {
                let early = std::mem::take(buffer);
                sent.bytes = tunnel::run(Rewound::new(early, io), tunnel).await;
            }
            self.report(&reply, sent, served);
            return After::Closed;
        }
        self.report(&reply, sent, served);
        after(sent, keep)
    }

    /// HTTP/1.0 knows no interim replies.
    async fn write_interim<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        interim: &http::Response<()>,
    ) -> bool {
        self.head.version == Version::HTTP_10
            || write::interim(io, interim, self.terms.body_idle).await
    }

    /// Interim replies that came in the same step as the reply.
    async fn write_interims<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        interims: &mut mpsc::Receiver<http::Response<()>>,
    ) -> bool {
        while let Ok(interim) = interims.try_recv() {
            if !self.write_interim(io, &interim).await {
                return false;
            }
        }
        true
    }

    /// A request with a body: the body is read while the request is served and
    /// the reply written, so that neither can wait for the other.
    async fn run_with_body<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        buffer: &mut BytesMut,
        interims: &mut mpsc::Receiver<http::Response<()>>,
        draining: &watch::Receiver<bool>,
    ) -> After {
        let (pump, body) = upload::channel(
            self.head.framing,
            self.terms.limits.body_bytes,
            self.terms.body_idle,
        );
        let wanted = Arc::clone(&pump.wanted);
        let mut continue_due = self.head.expects_continue;
        let (mut reading, mut writing) = tokio::io::split(io);
        let mut pumping = std::pin::pin!(pump.run(&mut reading, buffer));
        let mut serving = std::pin::pin!(self.service.serve(self.request(Some(body))));
        let mut pumped = None;
        let mut reply = loop {
            tokio::select! {
                biased;
                Some(interim) = interims.recv() => {
                    if !self.write_interim(&mut writing, &interim).await {
                        return After::Reset;
                    }
                }
                reply = &mut serving => break reply,
                () = wanted.notified(), if continue_due => {
                    continue_due = false;
                    let mut go_on = http::Response::new(());
                    *go_on.status_mut() = http::StatusCode::CONTINUE;
                    if !self.write_interim(&mut writing, &go_on).await {
                        return After::Reset;
                    }
                }
                complete = &mut pumping, if pumped.is_none() => pumped = Some(complete),
            }
        };
        if !self.write_interims(&mut writing, interims).await {
            return After::Reset;
        }
        let served = self.began.elapsed();
        if pumped.is_none() {
            // All of it may be there already.
            pumped = tokio::select! {
                biased;
                complete = &mut pumping => Some(complete),
                () = std::future::ready(()) => None,
            };
        }
        let asked = self.asked(pumped == Some(true) && !*draining.borrow());
        let (sent, keep) = {
            let mut replying = std::pin::pin!(write::write(&mut writing, &mut reply, asked));
            loop {
                tokio::select! {
                    biased;
                    done = &mut replying => break done,
                    complete = &mut pumping, if pumped.is_none() => pumped = Some(complete),
                }
            }
        };
        self.report(&reply, sent, served);
        after(sent, keep)
    }

    fn request(&self, body: Option<Streamed>) -> Request {
        Request {
            head: Arc::clone(&self.head),
            body,
            peer: self.peer.clone(),
            interim: self.interim.clone(),
        }
    }

    fn asked(&self, keep_alive: bool) -> Asked<'_> {
        Asked {
            method: &self.head.method,
            version: self.head.version,
            keep_alive: keep_alive && self.head.keep_alive,
            takes_trailers: self.head.takes_trailers,
            idle: self.terms.body_idle,
        }
    }

    fn report(&self, reply: &Reply, sent: Sent, served: Duration) {
        self.service.finished(&Finished {
            head: Some(&self.head),
            client: reply.facts.client.unwrap_or(self.peer.address.ip()),
            reply,
            sent,
            began: self.began,
            served,
        });
    }
}

/// Reads what comes while a request is served: the next request, or the news
/// that nobody waits for the reply any more.
async fn read_ahead(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    buffer.reserve(AHEAD_READ_BYTES);
    io.read_buf(buffer).await
}

fn after(sent: Sent, keep: bool) -> After {
    match (sent.complete, keep) {
        (true, true) => After::Next,
        (true, false) => After::Close,
        (false, _) => After::Reset,
    }
}

/// A head that could not be read, or did not come in time.
async fn turn_away<IO: AsyncRead + AsyncWrite + Unpin, S: Serve>(
    io: &mut IO,
    mut reply: Reply,
    peer: Peer,
    terms: &Terms,
    service: &S,
) {
    let began = Instant::now();
    let asked = Asked {
        method: &http::Method::GET,
        version: Version::HTTP_11,
        keep_alive: false,
        takes_trailers: false,
        idle: terms.body_idle,
    };
    let (sent, _) = write::write(io, &mut reply, asked).await;
    service.finished(&Finished {
        head: None,
        client: peer.address.ip(),
        reply: &reply,
        sent,
        began,
        served: Duration::ZERO,
    });
    linger(io).await;
}

/// Closes our half and reads on for a moment, so that what we sent is not lost
/// to a reset (RFC 9112, section 9.6).
async fn linger<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO) {
    if io.shutdown().await.is_err() {
        return;
    }
    let mut left = LINGER_BYTES_MAX;
    let mut sink = [0_u8; 4096];
    let drained = async {
        while let Ok(n) = io.read(&mut sink).await {
            if n == 0 || n >= left {
                return;
            }
            left -= n;
        }
    };
    // Either way the connection ends here.
    let _ = tokio::time::timeout(LINGER, drained).await;
}
