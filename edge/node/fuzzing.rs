//! Doors to the parsers of what strangers send, for fuzzing and nothing else: no part of any
//! promise. Bytes in, and what was made of them out; what must hold is in `tests/fuzz/holds.rs`.

use crate::http::chunked::{Decoder, Piece};
use crate::http::head::{self, Limits, Parsed};
use ::http::Version;
use bytes::BytesMut;

/// What a buffer was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The beginning of a head.
    Partial,
    /// No head, answered with this status.
    Refused(u16),
    /// A head of so many bytes, and how we would write it again.
    Whole {
        /// Bytes it took.
        taken: usize,
        /// The same head in its one form.
        again: Vec<u8>,
    },
}

/// Looks for a request head, with the limits a node has by default.
pub fn head(bytes: &[u8]) -> Head {
    let limits = Limits {
        head_bytes: 64 * 1024,
        target_bytes: 16 * 1024,
        fields: 128,
        body_bytes: 5 << 30,
        own_port: 80,
    };
    match head::parse(bytes, &limits) {
        Ok(Parsed::Partial) => Head::Partial,
        Err(fault) => Head::Refused(fault.status().as_u16()),
        Ok(Parsed::Head(head, taken)) => Head::Whole {
            taken,
            again: written(&head),
        },
    }
}

fn written(head: &head::Head) -> Vec<u8> {
    let version = match head.version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut out = format!("{} {} HTTP/{version}\r\n", head.method, head.target).into_bytes();
    if !head.host.is_empty() {
        out.extend_from_slice(format!("host: {}\r\n", head.host).as_bytes());
    }
    for (name, value) in &head.fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// What a chunked body was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunked {
    /// The bytes of the body, as far as they came.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
}

/// How a chunked body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    Partial,
    /// It broke its framing.
    Malformed,
    /// Properly; so many bytes of input are left, and so many trailer fields came.
    Proper {
        /// Bytes of what follows the body.
        left: usize,
        /// Fields behind the body.
        trailers: usize,
    },
}

/// Decodes a chunked body that arrives in these pieces.
pub fn chunked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Chunked {
    let mut decoder = Decoder::new();
    let mut buffer = BytesMut::new();
    let mut body = Vec::new();
    let mut ended = false;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !ended {
            match decoder.next(&mut buffer) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::Partial) => break,
                Ok(Piece::End) => ended = true,
                Err(_) => {
                    return Chunked {
                        body,
                        end: End::Malformed,
                    };
                }
            }
        }
    }
    let end = match ended {
        false => End::Partial,
        true => End::Proper {
            left: buffer.len(),
            trailers: decoder.take_trailers().map_or(0, |trailers| trailers.len()),
        },
    };
    Chunked { body, end }
}
