//! Decodes a message body by its framing (RFC 9112, section 6), strictly and without I/O: bytes
//! are pushed in, the body is kept or only counted. Shared by the client, which reads responses,
//! and the origin, which reads requests.

use crate::fields::{Fields, head_end};

/// What delimits a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    Close,
}

/// A body being read.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    pub framing: Framing,
    pub trailers: Fields,
    pub kept: Vec<u8>,
    pub len: u64,
    pub crc: u32,
    keep: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Data(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// A line with a chunk size, or a trailer block, is never longer than this.
const LINE_BYTES_MAX: usize = 64 * 1024;

impl Decoder {
    /// A body not yet read; `keep` says whether its bytes are held or only counted.
    pub fn new(framing: Framing, keep: bool) -> Self {
        let state = match framing {
            Framing::Nothing | Framing::Length(0) => State::Done,
            Framing::Length(len) => State::Data(len),
            Framing::Chunked => State::Size,
            Framing::Close => State::UntilClose,
        };
        Self {
            framing,
            trailers: Fields::new(),
            kept: Vec::new(),
            len: 0,
            crc: 0,
            keep,
            state,
        }
    }

    /// Takes from the buffer what belongs to the body. True when the body is at its end; what is
    /// left in the buffer then belongs to the next message.
    pub fn feed(&mut self, buffer: &mut Vec<u8>) -> Result<bool, String> {
        let mut at = 0;
        let result = loop {
            match self.step(&buffer[at..]) {
                Ok(Some(used)) => at += used,
                Ok(None) => break Ok(self.is_done()),
                Err(why) => break Err(why),
            }
        };
        buffer.drain(..at);
        result
    }

    /// Is the body at its end?
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// One step: how many bytes it used, or `None` when it is done or needs more.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        match self.state {
            State::Done => Ok(None),
            State::Data(left) => Ok(self.take(bytes, left, State::Data, State::Done)),
            State::Chunk(left) => Ok(self.take(bytes, left, State::Chunk, State::ChunkEnd)),
            State::UntilClose => Ok(self.take(bytes, u64::MAX, |_| State::UntilClose, State::Done)),
            State::Size => {
                let Some(line) = line(bytes)? else {
                    return Ok(None);
                };
                let size = chunk_size(line)?;
                self.state = if size == 0 {
                    State::Trailers
                } else {
                    State::Chunk(size)
                };
                Ok(Some(line.len() + 2))
            }
            State::ChunkEnd => {
                let wanted = &b"\r\n"[..bytes.len().min(2)];
                if !bytes.starts_with(wanted) {
                    return Err("chunk does not end with CRLF".into());
                }
                if wanted.len() < 2 {
                    return Ok(None);
                }
                self.state = State::Size;
                Ok(Some(2))
            }
            State::Trailers => self.trailers(bytes),
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        left: u64,
        more: impl Fn(u64) -> State,
        then: State,
    ) -> Option<usize> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let taken = &bytes[..count];
        self.len += count as u64;
        self.crc = crc32c::crc32c_append(self.crc, taken);
        if self.keep {
            self.kept.extend_from_slice(taken);
        }
        let left = left - count as u64;
        self.state = if left == 0 { then } else { more(left) };
        (count > 0).then_some(count)
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let used = if bytes.starts_with(b"\r\n") {
            2
        } else if let Some(end) = head_end(bytes) {
            self.trailers = Fields::parse(&bytes[..end - 2])?;
            end
        } else if bytes.len() > LINE_BYTES_MAX {
            return Err("trailers without end".into());
        } else {
            return Ok(None);
        };
        self.state = State::Done;
        Ok(Some(used))
    }
}

/// The framing these fields declare: `None` when they declare none. RFC 9112, section 6.3, with
/// every ambiguity an error.
pub(crate) fn declared(fields: &Fields) -> Result<Option<Framing>, String> {
    let codings: Vec<&str> = fields.all("transfer-encoding").collect();
    let lengths: Vec<&str> = fields.all("content-length").collect();
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length
                .parse()
                .map_err(|_| format!("bad content-length {length:?}"))?;
            Ok(Some(Framing::Length(length)))
        }
        _ => Err(format!(
            "ambiguous framing: {codings:?} and content-length {lengths:?}"
        )),
    }
}

/// The bytes before the first CRLF, if it has come.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some(&bytes[..end - 1])),
        Some(_) => Err("chunk size line ends with a bare LF".into()),
        None if bytes.len() > LINE_BYTES_MAX => Err("chunk size line without end".into()),
        None => Ok(None),
    }
}

/// Hexadecimal digits, then nothing or `;` and extensions.
fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(line);
    let digits = text.split(';').next().unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("bad chunk size {text:?}"));
    }
    u64::from_str_radix(digits, 16).map_err(|_| format!("chunk size {text:?} too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_cut_into_reads() {
        let wire = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nX-Sum: 8\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let mut decoder = Decoder::new(Framing::Chunked, true);
            let mut buffer = Vec::new();
            for piece in wire.chunks(step) {
                buffer.extend_from_slice(piece);
                decoder.feed(&mut buffer).unwrap();
            }
            assert!(decoder.is_done());
            assert_eq!(
                (&decoder.kept[..], &buffer[..]),
                (&b"abcdefgh"[..], &b"NEXT"[..])
            );
            assert_eq!(decoder.trailers.get("x-sum"), Some("8"));
        }
    }

    #[test]
    fn sloppy_chunks_are_refused() {
        for bad in [
            "g\r\n",
            "\r\n",
            "3\nabc",
            "3\r\nabcX",
            " 3\r\n",
            "11111111111111111\r\n",
            "-1\r\n",
        ] {
            let mut decoder = Decoder::new(Framing::Chunked, true);
            assert!(
                decoder.feed(&mut bad.as_bytes().to_vec()).is_err(),
                "{bad:?} passed"
            );
        }
    }

    #[test]
    fn two_framings_at_once_are_refused() {
        for bad in [
            &b"content-length: 1\r\ntransfer-encoding: chunked\r\n"[..],
            b"content-length: 1\r\ncontent-length: 1\r\n",
            b"content-length: +1\r\n",
            b"transfer-encoding: gzip, chunked\r\n",
        ] {
            assert!(declared(&Fields::parse(bad).unwrap()).is_err());
        }
    }
}
