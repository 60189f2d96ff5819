//! A raw HTTP/2 client (RFC 9113): writes any frame a test wants, reads frames into answers. Takes
//! its part in flow control and answers SETTINGS and PING, unless the test holds it back.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::fields::{Fields, from_latin1};
use crate::frame::{Frame, flag, kind};
use crate::hpack;
use crate::pattern::crc_append;
use crate::response::Interim;

/// What every client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a wait for a frame lasts, unless the test says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a peer may send before it must wait (RFC 9113, section 6.5.2).
const WINDOW: u32 = 65_535;

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 0 until the final head has come.
    pub status: u16,
    /// The fields of the final head, without `:status`.
    pub fields: Fields,
    /// The 1xx heads that came before.
    pub interim: Vec<Interim>,
    /// The body, empty when only counted.
    pub body: Vec<u8>,
    /// How many body bytes came.
    pub body_len: u64,
    /// CRC-32C of the body bytes that came.
    pub body_crc: u32,
    /// The fields behind the body.
    pub trailers: Option<Fields>,
    /// END_STREAM came.
    pub complete: bool,
    /// RST_STREAM came, with this code.
    pub reset: Option<u32>,
}

/// An open connection.
pub struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    patience: Duration,
    /// Windows are given back as data comes.
    generous: bool,
    keep_bodies: bool,
    next_stream: u32,
    answers: BTreeMap<u32, Answer>,
    /// A head whose CONTINUATION is still to come.
    head: Option<(Frame, Vec<u8>)>,
    /// What we may still send: on the connection, on streams, on new streams.
    window: i64,
    windows: HashMap<u32, i64>,
    first_window: i64,
    goaway: Vec<(u32, u32)>,
    pongs: usize,
    settings: HashMap<u16, u32>,
    closed: bool,
}

impl Frames {
    /// Connects, says the preface and default settings.
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        Self::open_with(to, WINDOW, None)
    }

    /// Connects with this window for each stream, and a receive buffer of about so many bytes.
    #[track_caller]
    pub fn open_with(to: SocketAddr, window: u32, receive_bytes: Option<usize>) -> Self {
        let mut frames = Self::dial(to, receive_bytes);
        frames.write(PREFACE);
        let mut settings = Vec::new();
        // No dynamic table, no pushes, this window.
        for (name, value) in [(1_u16, 0_u32), (2, 0), (4, window)] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frames.send(kind::SETTINGS, 0, 0, &settings);
        frames
    }

    /// Connects and says nothing.
    #[track_caller]
    pub fn dial(to: SocketAddr, receive_bytes: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes).expect("a buffer size");
        }
        socket
            .connect_timeout(&to.into(), PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"));
        socket.set_tcp_nodelay(true).expect("a TCP socket");
        Self {
            stream: socket.into(),
            buffer: Vec::new(),
            patience: PATIENCE,
            generous: true,
            keep_bodies: true,
            next_stream: 1,
            answers: BTreeMap::new(),
            head: None,
            window: i64::from(WINDOW),
            windows: HashMap::new(),
            first_window: i64::from(WINDOW),
            goaway: Vec::new(),
            pongs: 0,
            settings: HashMap::new(),
            closed: false,
        }
    }

    /// Gives no window back from now on: what is sent to us must wait for `open_window`.
    pub fn hold_windows(&mut self) {
        self.generous = false;
    }

    /// Bodies are counted and summed from now on, not kept.
    pub fn count_bodies(&mut self) {
        self.keep_bodies = false;
    }

    /// Waits last this long from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends these bytes as they are; the peer may be gone already.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends one frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(payload);
        self.write(&out);
    }

    /// The number for the next stream of ours.
    pub fn new_stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Sends a head, exactly these fields, on this stream.
    pub fn send_fields(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            hpack::write(&mut block, &from_latin1(name), &from_latin1(value));
        }
        let end = if end { flag::END_STREAM } else { 0 };
        let mut pieces = block.chunks(16_384);
        let first = pieces.next().unwrap_or_default();
        let more = block.len() > first.len();
        let flags = end | if more { 0 } else { flag::END_HEADERS };
        self.send(kind::HEADERS, flags, stream, first);
        let mut pieces = pieces.peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_some() {
                0
            } else {
                flag::END_HEADERS
            };
            self.send(kind::CONTINUATION, flags, stream, piece);
        }
    }

    /// Begins a request on a new stream: the four pseudo-fields, then these.
    pub fn request(&mut self, method: &str, path: &str, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.new_stream();
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "edge.test"),
            (":path", path),
        ];
        all.extend_from_slice(fields);
        self.send_fields(stream, &all, end);
        stream
    }

    /// GETs this path and waits for the whole answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let stream = self.request("GET", path, &[], true);
        self.finish(stream)
    }

    /// Sends body bytes as the windows allow. False when the stream ended before they were taken.
    pub fn send_data(&mut self, stream: u32, bytes: &[u8], end: bool) -> bool {
        let mut left = bytes;
        loop {
            let first = self.first_window;
            let window = *self.windows.entry(stream).or_insert(first);
            let room = window.min(self.window).clamp(0, 16_384) as usize;
            if room == 0 && !left.is_empty() {
                if self.seen(stream).is_some_and(Answer::is_over) || !self.pump() {
                    return false;
                }
                continue;
            }
            let (piece, rest) = left.split_at(room.min(left.len()));
            left = rest;
            let last = left.is_empty();
            let flags = if last && end { flag::END_STREAM } else { 0 };
            self.window -= piece.len() as i64;
            *self.windows.entry(stream).or_insert(first) -= piece.len() as i64;
            self.send(kind::DATA, flags, stream, piece);
            if last {
                return true;
            }
        }
    }

    /// Ends a stream of ours.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// Lets the peer send so many bytes more; stream 0 is the connection.
    pub fn open_window(&mut self, stream: u32, bytes: u32) {
        self.send(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// What has come on this stream so far.
    pub fn answer(&self, stream: u32) -> Answer {
        self.answers.get(&stream).cloned().unwrap_or_default()
    }

    /// Waits until this stream is over, one way or another. Panics if it never is.
    #[track_caller]
    pub fn finish(&mut self, stream: u32) -> Answer {
        let over = self.wait(|frames| frames.seen(stream).is_some_and(Answer::is_over));
        let answer = self.answers.remove(&stream).unwrap_or_default();
        assert!(
            over,
            "stream {stream} did not end: {answer:?}, GOAWAY {:?}",
            self.goaway
        );
        answer
    }

    /// Waits until this much body has come on the stream. False when it never did.
    pub fn wait_for_body(&mut self, stream: u32, bytes: u64) -> bool {
        self.wait(|frames| {
            frames
                .seen(stream)
                .is_some_and(|answer| answer.body_len >= bytes)
        })
    }

    /// Waits until the final head has come on the stream. False when it never did.
    pub fn wait_for_head(&mut self, stream: u32) -> bool {
        self.wait(|frames| frames.seen(stream).is_some_and(|answer| answer.status > 0))
    }

    /// Waits for a GOAWAY and returns its last stream and its code.
    #[track_caller]
    pub fn wait_for_goaway(&mut self) -> (u32, u32) {
        assert!(
            self.wait(|frames| !frames.goaway.is_empty()),
            "no GOAWAY came"
        );
        self.goaway[0]
    }

    /// All GOAWAYs so far: last stream and code.
    pub fn goaways(&self) -> &[(u32, u32)] {
        &self.goaway
    }

    /// Does the peer close within this time? Frames that come are kept.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.closed && Instant::now() < until {
            self.pump_within(until.saturating_duration_since(Instant::now()));
        }
        self.closed
    }

    /// Reads what comes for this long, for tests that show that nothing comes.
    pub fn listen_for(&mut self, time: Duration) {
        self.closes_within(time);
    }

    /// Sends a PING and waits for its answer: everything sent before has then been read.
    #[track_caller]
    pub fn ping(&mut self) {
        let wanted = self.pongs + 1;
        self.send(kind::PING, 0, 0, b"testping");
        assert!(
            self.wait(|frames| frames.pongs >= wanted),
            "no PING came back"
        );
    }

    /// A setting of the peer.
    pub fn setting(&self, name: u16) -> Option<u32> {
        self.settings.get(&name).copied()
    }

    /// Says that nothing more will be sent, and still reads.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn seen(&self, stream: u32) -> Option<&Answer> {
        self.answers.get(&stream)
    }

    /// Reads until it holds. False when the peer closed or took too long.
    fn wait(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + self.patience;
        while !holds(self) {
            if Instant::now() > until || !self.pump() {
                return holds(self);
            }
        }
        true
    }

    /// One read, and the frames in it. False when nothing more comes.
    fn pump(&mut self) -> bool {
        self.pump_within(self.patience)
    }

    fn pump_within(&mut self, time: Duration) -> bool {
        if self.closed {
            return false;
        }
        let time = time.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(time))
            .expect("a timeout is never zero");
        let mut bytes = [0; 1 << 16];
        match self.stream.read(&mut bytes) {
            Ok(count) if count > 0 => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            _ => {
                self.closed = true;
                return false;
            }
        }
        let mut at = 0;
        while let Some(frame) = Frame::parse(&self.buffer[at..]) {
            at += 9 + frame.payload.len();
            self.took(frame);
        }
        self.buffer.drain(..at);
        true
    }

    fn took(&mut self, frame: Frame) {
        match frame.kind {
            kind::DATA => self.data(frame),
            kind::HEADERS | kind::CONTINUATION => self.head(frame),
            kind::RST_STREAM => {
                self.answers.entry(frame.stream).or_default().reset = Some(frame.number(0));
            }
            kind::SETTINGS if frame.flags & flag::ACK == 0 => {
                for setting in frame.payload.chunks_exact(6) {
                    let name = u16::from_be_bytes([setting[0], setting[1]]);
                    let value =
                        u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    self.settings.insert(name, value);
                    if name == 4 {
                        let change = i64::from(value) - self.first_window;
                        self.first_window += change;
                        self.windows
                            .values_mut()
                            .for_each(|window| *window += change);
                    }
                }
                self.send(kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if frame.flags & flag::ACK == 0 => {
                self.send(kind::PING, flag::ACK, 0, &frame.payload);
            }
            kind::PING => self.pongs += 1,
            kind::GOAWAY => self.goaway.push((frame.number(0), frame.number(4))),
            kind::WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.number(0)),
            kind::WINDOW_UPDATE => {
                let first = self.first_window;
                *self.windows.entry(frame.stream).or_insert(first) += i64::from(frame.number(0));
            }
            _ => {}
        }
    }

    fn data(&mut self, frame: Frame) {
        assert_eq!(frame.flags & flag::PADDED, 0, "padding, which nobody needs");
        let bytes = &frame.payload;
        let answer = self.answers.entry(frame.stream).or_default();
        answer.body_crc = crc_append(answer.body_crc, bytes);
        answer.body_len += bytes.len() as u64;
        if self.keep_bodies {
            answer.body.extend_from_slice(bytes);
        }
        answer.complete |= frame.flags & flag::END_STREAM != 0;
        let over = answer.is_over();
        let count = bytes.len() as u32;
        if self.generous && count > 0 {
            self.open_window(0, count);
            if !over {
                self.open_window(frame.stream, count);
            }
        }
    }

    fn head(&mut self, frame: Frame) {
        let (first, mut block) = match self.head.take() {
            Some(begun) => begun,
            None => (frame.clone(), Vec::new()),
        };
        block.extend_from_slice(&frame.payload);
        if frame.flags & flag::END_HEADERS == 0 {
            self.head = Some((first, block));
            return;
        }
        let mut status = None;
        let mut fields = Fields::new();
        let decoded = hpack::read(&block).unwrap_or_else(|why| panic!("a bad head came: {why}"));
        for (name, value) in decoded {
            match name.as_str() {
                ":status" => status = value.parse().ok(),
                _ => fields.add(name, value),
            }
        }
        let answer = self.answers.entry(first.stream).or_default();
        match status {
            Some(status) if status < 200 => answer.interim.push(Interim { status, fields }),
            Some(status) => (answer.status, answer.fields) = (status, fields),
            None => answer.trailers = Some(fields),
        }
        answer.complete |= first.flags & flag::END_STREAM != 0;
    }
}

impl Answer {
    /// Has the stream ended, one way or another?
    pub fn is_over(&self) -> bool {
        self.complete || self.reset.is_some()
    }

    /// The first value of this field, empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless the status is this one and the answer complete; shows it if not.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(
            self.status == status && self.complete && self.reset.is_none(),
            "expected a complete {status}, got {self:?}"
        );
        self
    }
}
