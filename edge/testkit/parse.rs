//! Reads one response from bytes pushed in, strictly (RFC 9112) and without I/O. The blocking
//! connection and the crowd both lean on it.

use crate::fields::{Fields, head_end, latin1};
use crate::framing::{Decoder, Framing, declared};
use crate::response::{Ended, Interim, NoResponse, Response};

/// A response being read.
pub(crate) struct Parser {
    method: String,
    keep: bool,
    buffer: Vec<u8>,
    interim: Vec<Interim>,
    head: Option<(String, u16, String, Fields)>,
    body: Decoder,
    ended: Ended,
}

/// What stopped the bytes from coming.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Closed,
    Reset,
    TimedOut,
}

/// A head longer than this is an error.
const HEAD_BYTES_MAX: usize = 1 << 20;

impl Parser {
    /// Expects the response to a request of this method; `early` came before it was expected.
    pub fn new(method: &str, keep: bool, early: Vec<u8>) -> Self {
        let mut parser = Self {
            method: method.to_owned(),
            keep,
            buffer: early,
            interim: Vec::new(),
            head: None,
            body: Decoder::new(Framing::Nothing, keep),
            ended: Ended::Not,
        };
        parser.advance();
        parser
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.advance();
    }

    /// Takes note that nothing more comes.
    pub fn stop(&mut self, stop: Stop) {
        if self.is_done() {
            return;
        }
        let until_close = self.head.is_some() && self.body.framing == Framing::Close;
        self.ended = match stop {
            Stop::Closed if until_close => Ended::Close,
            Stop::Closed => Ended::Cut,
            Stop::Reset => Ended::Reset,
            Stop::TimedOut => Ended::TimedOut,
        };
    }

    /// Has the message ended, one way or another?
    pub fn is_done(&self) -> bool {
        self.ended != Ended::Not
    }

    /// How many 1xx responses came so far.
    pub fn interim_count(&self) -> usize {
        self.interim.len()
    }

    /// Has the final head come?
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// How many body bytes came so far.
    pub fn body_len(&self) -> u64 {
        self.body.len
    }

    /// The response as far as it came, or why there is none, and the bytes that came after it.
    pub fn finish(self) -> (Result<Response, NoResponse>, Vec<u8>) {
        let Some((version, status, reason, fields)) = self.head else {
            let why = match self.ended {
                Ended::Reset => NoResponse::Reset,
                Ended::Malformed(why) => NoResponse::Malformed(why),
                Ended::Cut if self.buffer.is_empty() => NoResponse::Closed,
                Ended::Cut => NoResponse::Cut,
                _ => NoResponse::TimedOut,
            };
            return (Err(why), Vec::new());
        };
        let proper = [Ended::Bodiless, Ended::Length, Ended::Chunked, Ended::Close];
        let response = Response {
            version,
            status,
            reason,
            fields,
            complete: proper.contains(&self.ended),
            ended: self.ended,
            body: self.body.kept,
            body_len: self.body.len,
            body_crc: self.body.crc,
            trailers: self.body.trailers,
            interim: self.interim,
        };
        (Ok(response), self.buffer)
    }

    fn advance(&mut self) {
        if self.is_done() {
            return;
        }
        if let Err(why) = self.try_advance() {
            self.ended = Ended::Malformed(why);
        }
    }

    fn try_advance(&mut self) -> Result<(), String> {
        while self.head.is_none() {
            let Some(end) = head_end(&self.buffer) else {
                let too_long = self.buffer.len() > HEAD_BYTES_MAX;
                return if too_long {
                    Err("head without end".into())
                } else {
                    Ok(())
                };
            };
            let block: Vec<u8> = self.buffer.drain(..end).collect();
            self.head(&block)?;
        }
        if self.body.feed(&mut self.buffer)? {
            self.ended = match self.body.framing {
                Framing::Nothing => Ended::Bodiless,
                Framing::Chunked => Ended::Chunked,
                Framing::Length(_) | Framing::Close => Ended::Length,
            };
        }
        Ok(())
    }

    fn head(&mut self, block: &[u8]) -> Result<(), String> {
        let line_end = block
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("the head ends with CRLF")
            + 2;
        let (version, status, reason) = status_line(&latin1(&block[..line_end - 2]))?;
        let fields = Fields::parse(&block[line_end..block.len() - 2])?;
        if (100..200).contains(&status) && status != 101 {
            self.interim.push(Interim { status, fields });
            return Ok(());
        }
        let tunnel = status == 101 || (self.method == "CONNECT" && status < 300);
        let framing = if self.method == "HEAD" || tunnel || matches!(status, 204 | 304) {
            Framing::Nothing
        } else {
            declared(&fields)?.unwrap_or(Framing::Close)
        };
        self.body = Decoder::new(framing, self.keep);
        self.head = Some((version, status, reason, fields));
        Ok(())
    }
}

/// `HTTP/1.1 200 OK`, the reason possibly empty but its space there.
fn status_line(line: &str) -> Result<(String, u16, String), String> {
    let bad = || format!("bad status line {line:?}");
    let (version, rest) = line.split_once(' ').ok_or_else(bad)?;
    let (status, reason) = rest.split_once(' ').ok_or_else(bad)?;
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status: u16 = status.parse().map_err(|_| bad())?;
    let known = version == "HTTP/1.1" || version == "HTTP/1.0";
    if !known || !digits || !(100..600).contains(&status) || reason.contains(['\r', '\n', '\0']) {
        return Err(bad());
    }
    Ok((version.to_owned(), status, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, wire: &str, stop: Option<Stop>) -> Result<Response, NoResponse> {
        let mut parser = Parser::new(method, true, Vec::new());
        parser.push(wire.as_bytes());
        if let Some(stop) = stop {
            parser.stop(stop);
        }
        parser.finish().0
    }

    #[test]
    fn each_framing_ends_in_its_own_way() {
        let cases = [
            (
                "GET",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
                Ended::Length,
                "ab",
            ),
            (
                "HEAD",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                Ended::Bodiless,
                "",
            ),
            (
                "GET",
                "HTTP/1.1 304 \r\nContent-Length: 2\r\n\r\n",
                Ended::Bodiless,
                "",
            ),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                Ended::Chunked,
                "a",
            ),
            ("GET", "HTTP/1.0 200 OK\r\n\r\nabc", Ended::Close, "abc"),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                Ended::Cut,
                "ab",
            ),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Ended::Length,
                "",
            ),
        ];
        for (method, wire, ended, body) in cases {
            let response = parse(method, wire, Some(Stop::Closed)).unwrap();
            assert_eq!(
                (response.text().as_str(), &response.ended),
                (body, &ended),
                "{wire:?}"
            );
            assert_eq!(response.complete, ended != Ended::Cut);
        }
    }

    #[test]
    fn interim_responses_come_before_the_final_one() {
        let wire = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let response = parse("GET", wire, None).unwrap();
        assert_eq!(response.status, 204);
        assert_eq!(response.interim[0].fields.get("link"), Some("</a>"));
    }

    #[test]
    fn no_response_says_why() {
        assert_eq!(
            parse("GET", "", Some(Stop::Closed)).unwrap_err(),
            NoResponse::Closed
        );
        assert_eq!(
            parse("GET", "HTTP/1.1 2", Some(Stop::Closed)).unwrap_err(),
            NoResponse::Cut
        );
        assert_eq!(
            parse("GET", "", Some(Stop::Reset)).unwrap_err(),
            NoResponse::Reset
        );
        for bad in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "junk\r\n\r\n",
        ] {
            assert!(
                matches!(parse("GET", bad, None), Err(NoResponse::Malformed(_))),
                "{bad:?}"
            );
        }
    }
}
