//! A response as the client saw it, and why there was none.

use std::fmt;

use crate::fields::Fields;

/// A final response, its body as far as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: String,
    /// The fields in order, their case kept.
    pub fields: Fields,
    /// The body, decoded from chunks; empty when only counted.
    pub body: Vec<u8>,
    /// How many body bytes came.
    pub body_len: u64,
    /// CRC-32C of the body bytes that came.
    pub body_crc: u32,
    /// Did the message end properly by its own framing? A close-delimited body that ends with an
    /// orderly close counts as complete; `ended` tells it apart.
    pub complete: bool,
    /// How the message ended.
    pub ended: Ended,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
    /// The 1xx responses that came before, in order.
    pub interim: Vec<Interim>,
}

/// A 1xx response.
#[derive(Clone, Debug)]
pub struct Interim {
    /// 100 to 199, not 101.
    pub status: u16,
    /// Its fields.
    pub fields: Fields,
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Still under way.
    Not,
    /// There was no body to come.
    Bodiless,
    /// All bytes of its content-length came.
    Length,
    /// The last chunk and the trailers came.
    Chunked,
    /// It had no framing and the peer closed in order.
    Close,
    /// The peer closed in order before the framing said so.
    Cut,
    /// The peer reset the connection, or ended TLS without saying so.
    Reset,
    /// Nothing came for too long.
    TimedOut,
    /// The peer broke the protocol.
    Malformed(String),
}

/// Why there is no response at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// The peer closed in order before a byte of it.
    Closed,
    /// The peer closed in order inside the head.
    Cut,
    /// The peer reset the connection.
    Reset,
    /// Nothing, or not all of the head, came in time.
    TimedOut,
    /// What came is not a response.
    Malformed(String),
    /// The connection could not be opened.
    NotConnected(String),
}

impl Response {
    /// The first value of this field, empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_default()
    }

    /// All values of this field, in order.
    pub fn fields_all(&self, name: &str) -> Vec<&str> {
        self.fields.all(name).collect()
    }

    /// Is there such a field?
    pub fn has(&self, name: &str) -> bool {
        self.fields.has(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless the status is this one and the message complete; shows the response if not.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(
            self.status == status && self.complete,
            "expected a complete {status}, got {self}"
        );
        self
    }
}

impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(500).collect();
        write!(
            out,
            "{} {} {:?}, {} body bytes, ended {:?}, fields {:#?}\n{text}",
            self.version, self.status, self.reason, self.body_len, self.ended, self.fields
        )
    }
}
