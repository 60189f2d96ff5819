//! One client connection, blocking: sends requests or raw bytes, reads responses, also bit by
//! bit. Every read gives up after a while, so a broken node fails a test and never hangs it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::parse::{Parser, Stop};
use crate::request::Request;
use crate::response::{NoResponse, Response};
use crate::tls::{self, Agreed, Tls};

/// An open connection to a node, kept alive as long as both sides like.
pub struct Connection {
    wire: Wire,
    timeout: Duration,
    /// What was asked and not yet answered: the method, and whether the body is kept.
    asked: VecDeque<(String, bool)>,
    reading: Option<Parser>,
    /// What came after the last response.
    early: Vec<u8>,
    stopped: Option<Stop>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How long a read waits for the next byte, unless the test says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// GETs the path over a new connection. Panics if there is no response.
#[track_caller]
pub fn get(from: SocketAddr, path: &str) -> Response {
    Request::get(path).send(from)
}

/// Sends these bytes over a new connection and reads one response.
pub fn send_raw(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Response, NoResponse> {
    Request::raw(bytes).try_send(to)
}

impl Connection {
    /// Connects. Panics if nobody listens.
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        Self::try_open(to).unwrap_or_else(|why| panic!("cannot connect to {to}: {why:?}"))
    }

    /// Connects, or says why not.
    pub fn try_open(to: SocketAddr) -> Result<Self, NoResponse> {
        Self::dial(to, None, None).map_err(|error| NoResponse::NotConnected(error.to_string()))
    }

    /// Connects from this source address, for example another one of 127.0.0.0/8.
    #[track_caller]
    pub fn open_from(source: IpAddr, to: SocketAddr) -> Self {
        Self::dial(to, Some(source), None)
            .unwrap_or_else(|error| panic!("{source} cannot connect to {to}: {error}"))
    }

    /// Connects with a receive buffer of about this many bytes, so that a client that does not
    /// read holds its peer back soon.
    #[track_caller]
    pub fn open_narrow(to: SocketAddr, receive_bytes: usize) -> Self {
        Self::dial(to, None, Some(receive_bytes))
            .unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"))
    }

    /// Connects with TLS, trusting this authority only. Panics if the handshake fails.
    #[track_caller]
    pub fn open_tls(to: SocketAddr, name: &str, authority_pem: &str) -> Self {
        Tls::trusting(authority_pem).connect(to, name)
    }

    /// The same connection, with TLS from here on. What was sent before stays before it.
    pub(crate) fn secured(mut self, session: ClientConnection) -> io::Result<Self> {
        let Wire::Plain(stream) = self.wire else {
            return Err(io::Error::other("the connection has TLS already"));
        };
        stream.set_read_timeout(Some(self.timeout))?;
        let mut tls = StreamOwned::new(session, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        self.wire = Wire::Tls(Box::new(tls));
        Ok(self)
    }

    /// What was agreed on in the TLS handshake. Panics on a plain connection.
    #[track_caller]
    pub fn agreed(&self) -> Agreed {
        match &self.wire {
            Wire::Tls(tls) => tls::agreed(tls),
            Wire::Plain(_) => panic!("the connection has no TLS"),
        }
    }

    fn dial(
        to: SocketAddr,
        source: Option<IpAddr>,
        receive_bytes: Option<usize>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self {
            wire: Wire::Plain(socket.into()),
            timeout: PATIENCE,
            asked: VecDeque::new(),
            reading: None,
            early: Vec::new(),
            stopped: None,
        })
    }

    /// Reads wait this long for the next byte from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Our own address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket()
            .local_addr()
            .expect("a connected socket has an address")
    }

    /// Sends a request. Stops early when the response is complete or the peer is gone: what
    /// comes back tells.
    pub fn send(&mut self, request: &Request) {
        self.send_head(request);
        self.send_body(request);
    }

    /// Sends only the head of a request, for example to wait for `100 Continue`.
    pub fn send_head(&mut self, request: &Request) {
        self.asked
            .push_back((request.method().to_owned(), request.keeps_body()));
        let _ = self.write(&request.head_bytes());
    }

    /// Sends the body that belongs to a head sent before.
    pub fn send_body(&mut self, request: &Request) {
        for piece in request.body_pieces() {
            if self.is_answered() || !matches!(self.write(&piece), Ok(true)) {
                return;
            }
        }
    }

    /// Sends these bytes as they are. Panics when the peer is gone.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send_raw(bytes)
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends these bytes as they are. They count as no request: the next response is read as
    /// that to a GET unless one was asked for with `send`.
    pub fn try_send_raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(bytes.as_ref()).map(drop)
    }

    /// Reads the next response to its end. Panics if there is none.
    #[track_caller]
    pub fn receive(&mut self) -> Response {
        self.try_receive()
            .unwrap_or_else(|why| panic!("no response: {why:?}"))
    }

    /// Reads the next response to its end, or says why there is none.
    pub fn try_receive(&mut self) -> Result<Response, NoResponse> {
        self.read_until(Parser::is_done);
        let mut parser = self.reading.take().expect("reading has begun");
        parser.stop(Stop::TimedOut);
        self.asked.pop_front();
        let (response, early) = parser.finish();
        self.early = early;
        response
    }

    /// Sends a request and reads its response. Panics if there is none.
    #[track_caller]
    pub fn exchange(&mut self, request: &Request) -> Response {
        self.send(request);
        self.receive()
    }

    /// Reads until the head of the response has come. False when it ended or timed out before.
    pub fn wait_for_head(&mut self) -> bool {
        self.read_until(Parser::has_head).has_head()
    }

    /// Reads until this many 1xx responses have come. False when it ended or timed out before.
    pub fn wait_for_interim(&mut self, count: usize) -> bool {
        self.read_until(|parser| parser.interim_count() >= count)
            .interim_count()
            >= count
    }

    /// Reads until this many body bytes have come. False when it ended or timed out before.
    pub fn wait_for_body(&mut self, bytes: u64) -> bool {
        self.read_until(|parser| parser.body_len() >= bytes)
            .body_len()
            >= bytes
    }

    /// Reads once, at most this many bytes off the wire; says how many body bytes came so far.
    /// For clients that read slowly.
    pub fn read_at_most(&mut self, bytes: usize) -> u64 {
        self.begin();
        self.read_once(bytes);
        self.reading.as_ref().map_or(0, Parser::body_len)
    }

    /// Does the peer close, in order or not, within this time? Bytes that come are kept.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        self.begin();
        while self.stopped.is_none() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            self.read_once_within(1 << 16, left.max(Duration::from_millis(1)));
        }
        self.stopped.is_some()
    }

    /// What came after the last response: after a 101 the first bytes of the other protocol.
    pub fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Reads exactly this many bytes as they are, for what follows a 101. Panics if fewer come.
    #[track_caller]
    pub fn read_raw(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = self.take_early();
        let mut buffer = vec![0; 1 << 16];
        self.socket()
            .set_read_timeout(Some(self.timeout))
            .expect("a timeout is never zero");
        while bytes.len() < count {
            match self.wire.read(&mut buffer) {
                Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
                other => panic!("{} of {count} bytes came, then {other:?}", bytes.len()),
            }
        }
        self.early = bytes.split_off(count);
        bytes
    }

    /// Says that we send nothing more, and still reads.
    pub fn finish_sending(&mut self) {
        if let Wire::Tls(tls) = &mut self.wire {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Leaves without a goodbye: the peer sees a reset.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(tls) => &tls.sock,
        }
    }

    fn begin(&mut self) {
        if self.reading.is_none() {
            let (method, keep) = self.asked.front().cloned().unwrap_or(("GET".into(), true));
            self.reading = Some(Parser::new(&method, keep, std::mem::take(&mut self.early)));
        }
    }

    fn read_until(&mut self, enough: impl Fn(&Parser) -> bool) -> &Parser {
        self.begin();
        loop {
            let parser = self.reading.as_mut().expect("reading has begun");
            if let Some(stop) = self.stopped {
                parser.stop(stop);
            }
            if parser.is_done() || enough(parser) {
                break;
            }
            if !self.read_once(1 << 16) {
                // Not for good: the test may open a gate and ask again.
                break;
            }
        }
        self.reading.as_ref().expect("reading has begun")
    }

    fn read_once(&mut self, at_most: usize) -> bool {
        self.read_once_within(at_most, self.timeout)
    }

    /// One read into the parser. False when nothing came in time.
    fn read_once_within(&mut self, at_most: usize, patience: Duration) -> bool {
        self.socket()
            .set_read_timeout(Some(patience))
            .expect("a timeout is never zero");
        let mut buffer = vec![0; at_most];
        let stop = match self.wire.read(&mut buffer) {
            Ok(0) => Stop::Closed,
            Ok(count) => {
                let parser = self.reading.as_mut().expect("reading has begun");
                parser.push(&buffer[..count]);
                return true;
            }
            Err(error) if is_timeout(&error) => return false,
            Err(_) => Stop::Reset,
        };
        self.stopped = Some(stop);
        true
    }

    /// Has a whole response come while we were still sending? Never waits.
    fn is_answered(&mut self) -> bool {
        let Wire::Plain(stream) = &self.wire else {
            return false;
        };
        let came = stream
            .set_nonblocking(true)
            .and_then(|()| stream.peek(&mut [0]));
        stream
            .set_nonblocking(false)
            .expect("a socket can be made blocking");
        if matches!(came, Ok(count) if count > 0) {
            self.begin();
            self.read_once(1 << 16);
        }
        self.reading.as_ref().is_some_and(Parser::is_done)
    }

    /// Writes it all. False when the response was complete before that. While the peer takes
    /// nothing, reads what it has to say, so that an early answer never locks both sides up.
    fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut at = 0;
        let mut progress = Instant::now();
        self.socket()
            .set_write_timeout(Some(Duration::from_millis(50)))?;
        while at < bytes.len() {
            match self.wire.write(&bytes[at..]) {
                Ok(count) if count > 0 => {
                    at += count;
                    progress = Instant::now();
                    continue;
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            self.begin();
            self.read_once_within(1 << 16, Duration::from_millis(1));
            if self.reading.as_ref().is_some_and(Parser::is_done) {
                return Ok(false);
            }
            if progress.elapsed() > self.timeout {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        loop {
            match self.wire.flush() {
                Err(error) if is_timeout(&error) && progress.elapsed() < self.timeout => {}
                other => return other.map(|()| true),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
