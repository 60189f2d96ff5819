//! Takes the chunked coding off a response's body and keeps its trailers (Pingora's session throws
//! them away). RFC 9112, section 7.1.
//!
//! Strict where two recipients could disagree: sizes are 1 to 15 hex digits, lines end in CRLF, and
//! a trailer is a well-formed field on one line. Extensions are skipped within a bound.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::head::{FIELDS_MAX, HEAD_MAX};
use crate::trailers;

/// The most bytes of a size line, extensions included.
const SIZE_LINE_MAX: usize = 4096;

/// Decodes one body.
pub(crate) struct Decoder {
    at: At,
    trailers: HeaderMap,
}

enum At {
    Size,
    Data(u64),
    /// The CRLF behind the data of a chunk.
    DataEnd,
    /// Bytes and fields of the trailer section so far, those dropped included.
    Trailers {
        bytes: usize,
        fields: usize,
    },
    End,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// More bytes must be read first.
    Partial,
    /// The body is complete, with these trailers; what is left in the buffer comes after it.
    End(HeaderMap),
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size,
            trailers: HeaderMap::new(),
        }
    }

    /// Takes what it can from the front of `buffer`. Not called again after an error.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match &mut self.at {
                At::Size => {
                    let Some(line) = line(buffer, SIZE_LINE_MAX)? else {
                        return Ok(Piece::Partial);
                    };
                    self.at = match size(&line)? {
                        0 => At::Trailers {
                            bytes: 0,
                            fields: 0,
                        },
                        size => At::Data(size),
                    };
                }
                At::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Piece::Partial);
                    }
                    let take = usize::try_from(*left).map_or(buffer.len(), |n| n.min(buffer.len()));
                    *left -= take as u64;
                    if *left == 0 {
                        self.at = At::DataEnd;
                    }
                    return Ok(Piece::Data(buffer.split_to(take).freeze()));
                }
                At::DataEnd => match buffer.as_ref() {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::Partial),
                    _ => return Err("a chunk is longer than its size says"),
                },
                At::Trailers { bytes, fields } => {
                    let Some(line) = line(buffer, HEAD_MAX - *bytes)? else {
                        return Ok(Piece::Partial);
                    };
                    if line.is_empty() {
                        self.at = At::End;
                        continue;
                    }
                    *bytes += line.len() + 2;
                    *fields += 1;
                    if *fields > FIELDS_MAX {
                        return Err("it has too many trailers");
                    }
                    let (name, value) = field(&line)?;
                    if trailers::may_trail(&name) {
                        self.trailers.append(name, value);
                    }
                }
                At::End => return Ok(Piece::End(std::mem::take(&mut self.trailers))),
            }
        }
    }
}

/// A line without its CRLF, taken from the buffer; with its CRLF it may take `max` bytes.
fn line(buffer: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, &'static str> {
    let Some(lf) = buffer.iter().take(max).position(|&byte| byte == b'\n') else {
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
    Ok(Some(line))
}

/// Spaces behind the digits are let pass: old servers pad their sizes, and there is one reading.
fn size(line: &[u8]) -> Result<u64, &'static str> {
    let count = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, rest) = line.split_at(count);
    let printable = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let sound = matches!(rest.trim_ascii_start(), [] | [b';', ..]) && rest.iter().all(printable);
    if !sound || !(1..=15).contains(&count) {
        return Err("a chunk's size is not a number");
    }
    Ok(digits.iter().fold(0, |sum, &digit| {
        sum << 4 | u64::from((digit as char).to_digit(16).unwrap_or_default())
    }))
}

fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    const MALFORMED: &str = "a trailer is malformed";
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, value) = line.split_at(colon.ok_or(MALFORMED)?);
    let name = HeaderName::from_bytes(name).map_err(|_| MALFORMED)?;
    let value = HeaderValue::from_bytes(value[1..].trim_ascii()).map_err(|_| MALFORMED)?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decoded = (Vec<u8>, HeaderMap, Vec<u8>);

    /// Decodes in steps of `step` bytes: the data, the trailers and what is left over. `Ok(None)`
    /// when the end never came.
    fn decode(text: &[u8], step: usize) -> Result<Option<Decoded>, &'static str> {
        let mut decoder = Decoder::new();
        let (mut buffer, mut data, mut trailers) = (BytesMut::new(), Vec::new(), None);
        for part in text.chunks(step) {
            buffer.extend_from_slice(part);
            while trailers.is_none() {
                match decoder.next(&mut buffer)? {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Partial => break,
                    Piece::End(map) => trailers = Some(map),
                }
            }
        }
        Ok(trailers.map(|trailers| (data, trailers, buffer.to_vec())))
    }

    #[test]
    fn a_body_decodes_alike_however_it_is_split() {
        let text =
            b"5;name=\"v\"\r\nhello\r\n00A  \r\n, world!!!\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\
                     X-Sum:  2\t\r\n\r\nHTTP/1.1";
        for step in 1..text.len() {
            let (data, trailers, left) = decode(text, step).unwrap().unwrap();
            assert_eq!(data, b"hello, world!!!");
            let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
            assert_eq!(sums, ["1", "2"]);
            assert_eq!(trailers.len(), 2);
            assert_eq!(left, b"HTTP/1.1");
        }
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        for text in [
            "5\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhellX0\r\n\r\n",
            "g\r\n\r\n",
            "\r\n",
            ";x\r\n",
            "1000000000000000\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5\r\r\nhello\r\n0\r\n\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\nbad : trailer\r\n\r\n",
            "0\r\nX-A: 1\r\n folded\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nX-A: \0\r\n\r\n",
            "0\r\nX-A: a\rb\r\n\r\n",
            "0\r\n\n",
        ] {
            decode(text.as_bytes(), text.len()).expect_err(text);
        }
    }

    #[test]
    fn lines_and_trailers_have_bounds() {
        let size = format!("5;{}\r\n", "a".repeat(SIZE_LINE_MAX));
        let large = format!("0\r\nX: {}\r\n\r\n", "a".repeat(HEAD_MAX));
        let sum = format!(
            "0\r\n{}\r\n",
            "X: aaaaaaaaaaaaaaaaaaa\r\n".repeat(FIELDS_MAX + 1)
        );
        for text in [size, large, sum] {
            assert!(decode(text.as_bytes(), 1000).is_err(), "{}", &text[..9]);
        }
    }

    #[test]
    fn a_cut_body_never_ends() {
        let text = b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n";
        for end in 1..text.len() {
            assert_eq!(decode(&text[..end], 1), Ok(None));
        }
    }
}
