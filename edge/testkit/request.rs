//! A request as the client will write it: well-formed by default, any bytes on demand.

use std::net::SocketAddr;

use crate::connection::Connection;
use crate::fields::{Fields, from_latin1};
use crate::pattern::pattern_from;
use crate::response::{NoResponse, Response};

/// A request to be sent, once or many times.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    version: String,
    host: Option<String>,
    fields: Fields,
    trailers: Fields,
    body: Body,
    keep_body: bool,
}

#[derive(Clone, Debug)]
enum Body {
    Nothing,
    Bytes(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
    Pattern {
        len: u64,
        seed: u64,
        chunked: bool,
    },
    /// Not a request in our sense: these bytes and nothing else.
    Raw(Vec<u8>),
}

impl Request {
    /// The `Host` unless another is set.
    pub const HOST: &str = "edge.test";

    /// A request of any method for any target.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            host: Some(Self::HOST.to_owned()),
            fields: Fields::new(),
            trailers: Fields::new(),
            body: Body::Nothing,
            keep_body: true,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A HEAD.
    pub fn head(target: &str) -> Self {
        Self::new("HEAD", target)
    }

    /// A POST with this body and its length.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// A PUT with this body and its length.
    pub fn put(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new("PUT", target).body(body)
    }

    /// These bytes and nothing else, whatever they are. The answer is read as that to the method
    /// that stands first in them.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let first = bytes
            .split(|byte| !byte.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        let mut request = Self::new(&String::from_utf8_lossy(first), "");
        request.body = Body::Raw(bytes.to_vec());
        request
    }

    /// Another `Host`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// No `Host` at all.
    pub fn without_host(mut self) -> Self {
        self.host = None;
        self
    }

    /// One more field. A content-length or transfer-encoding given here replaces ours.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.add(name, value);
        self
    }

    /// Another version, for example `HTTP/1.0`.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// This body, with its length.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::Bytes(body.as_ref().to_vec());
        self
    }

    /// This body, each piece one chunk.
    pub fn chunked<B: AsRef<[u8]>>(mut self, pieces: impl IntoIterator<Item = B>) -> Self {
        self.body = Body::Chunks(
            pieces
                .into_iter()
                .map(|piece| piece.as_ref().to_vec())
                .collect(),
        );
        self
    }

    /// The pattern with this seed as body, with its length, made while it is sent.
    pub fn pattern(mut self, len: u64, seed: u64) -> Self {
        self.body = Body::Pattern {
            len,
            seed,
            chunked: false,
        };
        self
    }

    /// The pattern with this seed as body, in chunks of 64 KiB, made while it is sent.
    pub fn pattern_chunked(mut self, len: u64, seed: u64) -> Self {
        self.body = Body::Pattern {
            len,
            seed,
            chunked: true,
        };
        self
    }

    /// A trailer field after the chunks.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.add(name, value);
        self
    }

    /// The response's body is only counted and summed, not kept.
    pub fn count_body(mut self) -> Self {
        self.keep_body = false;
        self
    }

    /// Sends it over a new connection and reads the response. Panics if there is none.
    #[track_caller]
    pub fn send(&self, to: SocketAddr) -> Response {
        let (method, target) = (&self.method, &self.target);
        self.try_send(to)
            .unwrap_or_else(|why| panic!("no response to {method} {target}: {why:?}"))
    }

    /// Sends it over a new connection and reads the response, or says why there is none.
    pub fn try_send(&self, to: SocketAddr) -> Result<Response, NoResponse> {
        let mut connection = Connection::try_open(to)?;
        connection.send(self);
        connection.try_receive()
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn keeps_body(&self) -> bool {
        self.keep_body
    }

    /// The head in wire form, up to and with the empty line.
    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        if matches!(self.body, Body::Raw(_)) {
            return Vec::new();
        }
        let mut out = from_latin1(&format!(
            "{} {} {}\r\n",
            self.method, self.target, self.version
        ));
        let mut first = Fields::new();
        if let Some(host) = &self.host {
            first.add("Host", host);
        }
        first.write(&mut out);
        self.fields.write(&mut out);
        self.framing().write(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The field that frames the body, unless the test wrote its own.
    fn framing(&self) -> Fields {
        let mut framing = Fields::new();
        if self.fields.has("content-length") || self.fields.has("transfer-encoding") {
            return framing;
        }
        match &self.body {
            Body::Nothing | Body::Raw(_) => {}
            Body::Bytes(bytes) => framing.add("Content-Length", bytes.len().to_string()),
            Body::Pattern {
                len,
                chunked: false,
                ..
            } => framing.add("Content-Length", len.to_string()),
            Body::Chunks(_) | Body::Pattern { .. } => framing.add("Transfer-Encoding", "chunked"),
        }
        framing
    }

    /// The body in wire form, piece by piece.
    pub(crate) fn body_pieces(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        match &self.body {
            Body::Nothing => Box::new(std::iter::empty()),
            Body::Bytes(bytes) | Body::Raw(bytes) => Box::new(std::iter::once(bytes.clone())),
            Body::Chunks(pieces) => {
                let chunks = pieces.iter().map(|piece| chunk(piece));
                Box::new(chunks.chain(std::iter::once(self.last_chunk())))
            }
            &Body::Pattern { len, seed, chunked } => {
                let pieces = (0..len.div_ceil(1 << 16)).map(move |index| {
                    let start = index << 16;
                    pattern_from(start, (len - start).min(1 << 16) as usize, seed)
                });
                if !chunked {
                    return Box::new(pieces);
                }
                Box::new(
                    pieces
                        .map(|piece| chunk(&piece))
                        .chain(std::iter::once(self.last_chunk())),
                )
            }
        }
    }

    fn last_chunk(&self) -> Vec<u8> {
        let mut out = b"0\r\n".to_vec();
        self.trailers.write(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// One chunk in wire form.
pub(crate) fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", piece.len()).into_bytes();
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
    out
}
