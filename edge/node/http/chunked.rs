//! Takes the chunked coding off a request body. RFC 9112, section 7.1.
//!
//! Strict where two recipients could disagree: sizes are 1 to 15 hex digits and
//! nothing else, lines end in CRLF, extensions are skipped within a bound, and
//! trailers are checked like fields. Which of them may go on is not for here.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of a size line with its extensions, and of all trailers together.
const LINE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    /// The CRLF behind the data of a chunk.
    DataEnd,
    Trailers {
        taken: usize,
    },
    End,
}

/// Decodes one body.
#[derive(Debug)]
pub(crate) struct Decoder {
    at: At,
    trailers: HeaderMap,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// More bytes must be read first.
    Partial,
    /// The body is complete; what is left in the buffer comes after it.
    End,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder {
            at: At::Size,
            trailers: HeaderMap::new(),
        }
    }

    /// The fields behind the body, once it has come to its end; none are `None`.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        (!self.trailers.is_empty()).then(|| std::mem::take(&mut self.trailers))
    }

    /// Takes what it can from the front of `buffer`.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match self.at {
                At::Size => {
                    let Some(line) = line(buffer, LINE_BYTES_MAX)? else {
                        return Ok(Piece::Partial);
                    };
                    self.at = match size(&line)? {
                        0 => At::Trailers { taken: 0 },
                        size => At::Data(size),
                    };
                }
                At::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Piece::Partial);
                    }
                    let take = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    let data = buffer.split_to(take).freeze();
                    self.at = match left - take as u64 {
                        0 => At::DataEnd,
                        left => At::Data(left),
                    };
                    return Ok(Piece::Data(data));
                }
                At::DataEnd => match buffer.as_ref() {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::Partial),
                    _ => return Err("a chunk is longer than its size says"),
                },
                At::Trailers { taken } => {
                    let Some(line) = line(buffer, LINE_BYTES_MAX - taken)? else {
                        return Ok(Piece::Partial);
                    };
                    if line.is_empty() {
                        self.at = At::End;
                        continue;
                    }
                    let (name, value) = trailer(&line)?;
                    self.trailers.append(name, value);
                    let taken = taken + line.len() + 2;
                    if taken >= LINE_BYTES_MAX {
                        return Err("the trailers are too large");
                    }
                    self.at = At::Trailers { taken };
                }
                At::End => return Ok(Piece::End),
            }
        }
    }
}

/// A line without its CRLF, taken from the buffer.
fn line(buffer: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, &'static str> {
    let Some(lf) = buffer.iter().take(max).position(|byte| *byte == b'\n') else {
        if buffer.len() >= max {
            return Err("a line of the chunked coding is too long");
        }
        return Ok(None);
    };
    if lf == 0 || buffer[lf - 1] != b'\r' {
        return Err("a line of the chunked coding ends in a bare LF");
    }
    let mut line = buffer.split_to(lf + 1);
    line.truncate(lf - 1);
    if line.contains(&b'\r') {
        return Err("a bare CR in the chunked coding");
    }
    Ok(Some(line))
}

fn size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits == 0 || digits > 15 {
        return Err("a chunk size is not a number");
    }
    match &line[digits..] {
        [] => {}
        [b';', extension @ ..] if extension.iter().all(|byte| printable(*byte)) => {}
        _ => return Err("a chunk size is not a number"),
    }
    Ok(line[..digits].iter().fold(0, |sum, digit| {
        sum << 4 | u64::from((*digit as char).to_digit(16).unwrap_or_default())
    }))
}

fn trailer(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    // A line without a colon has a name of no bytes, which is none.
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (name, value) = line.split_at(colon);
    let name = HeaderName::from_bytes(name).map_err(|_| "a malformed trailer")?;
    if !value.iter().all(|byte| printable(*byte)) {
        return Err("a malformed trailer");
    }
    let value =
        HeaderValue::from_bytes(value[1..].trim_ascii()).map_err(|_| "a malformed trailer")?;
    Ok((name, value))
}

fn printable(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in steps of `step` bytes; gives the data and what is left over.
    fn decode(text: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let mut decoder = Decoder::new();
        let mut buffer = BytesMut::new();
        let mut data = Vec::new();
        let mut ended = false;
        for part in text.chunks(step) {
            buffer.extend_from_slice(part);
            while !ended {
                match decoder.next(&mut buffer)? {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Partial => break,
                    Piece::End => ended = true,
                }
            }
        }
        if ended {
            Ok((data, buffer.to_vec()))
        } else {
            Err("partial")
        }
    }

    #[test]
    fn a_body_decodes_alike_however_it_is_split() {
        let text = b"5;name=\"v\"\r\nhello\r\n00A\r\n, world!!!\r\n0\r\nX-Sum: 1\r\n\r\nGET /next";
        for step in 1..text.len() {
            let (data, left) = decode(text, step).unwrap();
            assert_eq!(data, b"hello, world!!!");
            assert_eq!(left, b"GET /next");
        }
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        for text in [
            "5\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhellX0\r\n\r\n",
            "g\r\n\r\n",
            "\r\n",
            ";x\r\n",
            "1000000000000000\r\n",
            "ffffffffffffffff1\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\nX-A: \0\r\n\r\n",
            "0\r\n\n",
        ] {
            let got = decode(text.as_bytes(), text.len());
            assert!(got.is_err() && got != Err("partial"), "{text:?} {got:?}");
        }
        let long = format!("5;{}\r\n", "a".repeat(5000));
        assert!(decode(long.as_bytes(), 100).is_err());
    }

    #[test]
    fn trailers_are_kept_for_whoever_wants_them() {
        let mut decoder = Decoder::new();
        let mut buffer = BytesMut::from("0\r\nX-A:  1\t\r\nx-a: 2\r\nX-Empty:\r\n\r\n");
        assert_eq!(decoder.next(&mut buffer), Ok(Piece::End));
        let trailers = decoder.take_trailers().unwrap();
        let all: Vec<_> = trailers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(all, [("x-a", "1"), ("x-a", "2"), ("x-empty", "")]);
        assert_eq!(decoder.take_trailers(), None);
    }

    #[test]
    fn a_cut_body_never_ends() {
        let text = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 1..text.len() {
            assert_eq!(decode(&text[..end], 1), Err("partial"));
        }
    }
}
