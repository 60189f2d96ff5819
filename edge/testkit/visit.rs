//! A request as the origin saw it.

use bytes::Bytes;

use crate::fields::{Fields, is_token, latin1};
use crate::framing::{Framing, declared};

/// One request that reached the origin. Recorded when its head has come; the body and its counts
/// grow after that.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The how manieth request of this origin, from 1.
    pub number: usize,
    /// The how manieth connection of this origin carried it, from 1.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The target as it stood there.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The fields in order, their case kept.
    pub fields: Fields,
    /// The head's bytes, up to and with the empty line.
    pub head: Bytes,
    /// The body, decoded from chunks; empty when the origin only counts.
    pub body: Bytes,
    /// How many body bytes came so far.
    pub body_len: u64,
    /// CRC-32C of the body bytes that came.
    pub body_crc: u32,
    /// Has the body come to its end?
    pub body_complete: bool,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
}

impl Visit {
    /// The first value of this field, empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_default()
    }

    /// Is there such a field?
    pub fn has(&self, name: &str) -> bool {
        self.fields.has(name)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, empty when there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first and last byte of a `Range: bytes=first-last`, as far as given.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (first, last) = self
            .field("range")
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads a head strictly: what a node sends must never need to be guessed at.
    pub(crate) fn parse(head: &[u8], connection: usize) -> Result<(Self, Framing), String> {
        let line_end = head
            .windows(2)
            .position(|two| two == b"\r\n")
            .ok_or("no CRLF")?;
        let line = latin1(&head[..line_end]);
        let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("bad request line {line:?}"));
        };
        let known = version == "HTTP/1.1" || version == "HTTP/1.0";
        if !known || method.is_empty() || !method.bytes().all(is_token) || target.is_empty() {
            return Err(format!("bad request line {line:?}"));
        }
        let fields = Fields::parse(&head[line_end + 2..head.len() - 2])?;
        if version == "HTTP/1.1" && fields.all("host").count() != 1 {
            return Err("not exactly one Host".into());
        }
        let framing = declared(&fields)?.unwrap_or(Framing::Nothing);
        let visit = Self {
            number: 0,
            connection,
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            fields,
            head: Bytes::copy_from_slice(head),
            body: Bytes::new(),
            body_len: 0,
            body_crc: 0,
            body_complete: false,
            trailers: Fields::new(),
        };
        Ok((visit, framing))
    }

    /// Would the connection stay open after this request by its own wish?
    pub(crate) fn keeps_alive(&self) -> bool {
        let http11 = self.version == "HTTP/1.1";
        !self.fields.lists("connection", "close")
            && (http11 || self.fields.lists("connection", "keep-alive"))
    }
}
