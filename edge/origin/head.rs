//! Judges the head of a response before anyone acts on it. Pingora's parser is lenient (folded
//! lines, both framings at once, an HTTP/1.0 chunked body); a shared cache is where leniency becomes
//! response smuggling, so what RFC 9112 calls malformed or ambiguous is refused here, not repaired.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use pingora_http::ResponseHeader;

use crate::upgrade;

/// The most bytes a response's head may have, interim heads included.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// The most fields a response's head may have. Pingora's HTTP/1 parser has the same bound.
pub(crate) const FIELDS_MAX: usize = 256;

/// A response extension: how the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimited {
    /// There is no body: HEAD, 101, 204, 304.
    Nothing,
    /// By Content-Length: a clean end proves that nothing is missing.
    Length,
    /// By the last chunk: likewise.
    Chunked,
    /// By the end of the connection: a clean end proves nothing, and the body must not be stored.
    Close,
    /// By HTTP/2: a clean end proves that nothing is missing.
    H2,
}

/// A head that passed, without hop-by-hop fields.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) response: Response<()>,
    pub(crate) delimited: Delimited,
    /// The body's length, if it is announced.
    pub(crate) length: Option<u64>,
    /// How long the server says it keeps the connection.
    pub(crate) keep: Option<Duration>,
}

/// Judges an HTTP/1 head, interim or final, by its bytes and its parsed form. `asked` is the head of
/// a request for an upgrade, whose 101 is final.
pub(crate) fn judge(
    raw: &[u8],
    head: &ResponseHeader,
    method: &Method,
    asked: Option<&HeaderMap>,
) -> Result<Judged, String> {
    let seen = scan(raw)?;
    if let Some(asked) = asked
        && head.status == StatusCode::SWITCHING_PROTOCOLS
    {
        return judge_upgrade(seen, head, asked);
    }
    let status = status(head.status)?;
    let announced = announced(&head.headers)?;
    if seen.coding {
        if seen.length {
            return Err("it has both Content-Length and Transfer-Encoding".to_owned());
        }
        if head.version != Version::HTTP_11 {
            return Err(format!("it has Transfer-Encoding in {:?}", head.version));
        }
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let first = codings
            .next()
            .map(|coding| coding.as_bytes())
            .unwrap_or_default();
        if codings.next().is_some() || !first.eq_ignore_ascii_case(b"chunked") {
            return Err("its Transfer-Encoding is not exactly \"chunked\"".to_owned());
        }
    }
    let (delimited, length) = if method == Method::HEAD || no_body(status) {
        (Delimited::Nothing, None)
    } else if seen.coding {
        (Delimited::Chunked, None)
    } else if let Some(length) = announced {
        (Delimited::Length, Some(length))
    } else {
        (Delimited::Close, None)
    };
    let keep = keep(&head.headers);
    let response = response(status, head.version, &head.headers, announced, delimited);
    Ok(Judged {
        response,
        delimited,
        length,
        keep,
    })
}

/// Judges a 101. The bytes behind it are the new protocol's, so nothing about them may be in doubt.
fn judge_upgrade(seen: Seen, head: &ResponseHeader, asked: &HeaderMap) -> Result<Judged, String> {
    if seen.length || seen.coding || head.version != Version::HTTP_11 {
        return Err("it switches protocols, and frames a body or is not HTTP/1.1".to_owned());
    }
    if !upgrade::is_granted(asked, &head.headers) {
        return Err("it switches protocols, but not to what was asked for".to_owned());
    }
    let delimited = Delimited::Nothing;
    let mut response = response(head.status, head.version, &head.headers, None, delimited);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    for protocol in head.headers.get_all(UPGRADE) {
        headers.append(UPGRADE, protocol.clone());
    }
    Ok(Judged {
        response,
        delimited,
        length: None,
        keep: None,
    })
}

/// Judges an HTTP/2 head.
pub(crate) fn judge_h2(head: &ResponseHeader, method: &Method) -> Result<Judged, String> {
    let status = status(head.status)?;
    // As RFC 9113, section 6.5.2, counts.
    let size: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    if size > HEAD_MAX {
        return Err(format!("its head is larger than {HEAD_MAX} bytes"));
    }
    if head.headers.len() > FIELDS_MAX {
        return Err(format!("it has more than {FIELDS_MAX} fields"));
    }
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        if head.headers.contains_key(&name) {
            return Err(format!("it has {name:?}, which HTTP/2 forbids"));
        }
    }
    let announced = announced(&head.headers)?;
    let nothing = method == Method::HEAD || no_body(status);
    let delimited = if nothing {
        Delimited::Nothing
    } else {
        Delimited::H2
    };
    let response = response(status, Version::HTTP_2, &head.headers, announced, delimited);
    Ok(Judged {
        response,
        delimited,
        length: announced.filter(|_| !nothing),
        keep: None,
    })
}

struct Seen {
    length: bool,
    coding: bool,
}

/// What the parsed form no longer shows: folded lines, stray control bytes, a dropped length.
fn scan(raw: &[u8]) -> Result<Seen, String> {
    if raw.len() > HEAD_MAX {
        return Err(format!("its head is larger than {HEAD_MAX} bytes"));
    }
    let mut seen = Seen {
        length: false,
        coding: false,
    };
    for (number, line) in raw.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if number > 0 && matches!(line.first(), Some(b' ' | b'\t')) {
            return Err("a field is folded over several lines".to_owned());
        }
        if line
            .iter()
            .any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            return Err("a field holds a control byte".to_owned());
        }
        let name = line
            .split(|&byte| byte == b':')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        seen.length |= name.eq_ignore_ascii_case(b"content-length");
        seen.coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
    }
    Ok(seen)
}

fn status(status: StatusCode) -> Result<StatusCode, String> {
    match status.as_u16() {
        101 => Err("it switches protocols, which nobody asked for".to_owned()),
        100..=599 => Ok(status),
        other => Err(format!("{other} is no status")),
    }
}

fn no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The one length all Content-Length values agree on (RFC 9110, section 8.6).
fn announced(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|&byte| byte == b',') {
            let part = part.trim_ascii();
            let number = std::str::from_utf8(part)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| format!("{value:?} is no Content-Length"))?;
            if *length.get_or_insert(number) != number {
                return Err("it has two different Content-Lengths".to_owned());
            }
        }
    }
    Ok(length)
}

fn response(
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    length: Option<u64>,
    delimited: Delimited,
) -> Response<()> {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    match length {
        // RFC 9110, section 8.6: these have no length to speak of.
        _ if status == StatusCode::NO_CONTENT || status.is_informational() => {
            headers.remove(CONTENT_LENGTH);
        }
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        None => {}
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(delimited);
    response
}

/// Fields about this connection mean nothing beyond it (RFC 9110, section 7.6.1). Content-Length
/// stays even if `Connection` names it: it is what the body is checked against.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// `Keep-Alive: timeout=5`: the server closes then, so we must have stopped using it before.
fn keep(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    let keep = Duration::from_secs(seconds.trim().parse().ok()?);
    Some(keep.saturating_sub(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the parser hands it over: Pingora drops a length beside a coding.
    fn judged(fields: &str, status: u16, method: Method) -> Result<Judged, String> {
        let raw = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let mut head = ResponseHeader::build(status, None).unwrap();
        head.set_version(Version::HTTP_11);
        for line in fields.lines().filter(|line| !line.starts_with(' ')) {
            let (name, value) = line.split_once(':').unwrap();
            if let Ok(value) = HeaderValue::from_bytes(value.trim().as_bytes()) {
                head.append_header(name.trim().to_owned(), value).unwrap();
            }
        }
        if head.headers.contains_key(TRANSFER_ENCODING) {
            head.remove_header(&CONTENT_LENGTH);
        }
        judge(raw.as_bytes(), &head, &method, None)
    }

    #[test]
    fn ambiguous_and_malformed_heads_are_refused() {
        for (fields, status, expected) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                200,
                "both",
            ),
            (
                "content-length : 5\r\ntransfer-encoding: chunked\r\n",
                200,
                "both",
            ),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                200,
                "two different",
            ),
            ("Content-Length: 5, 6\r\n", 200, "two different"),
            ("Content-Length: +5\r\n", 200, "no Content-Length"),
            (
                "Content-Length: 99999999999999999999\r\n",
                200,
                "no Content-Length",
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", 200, "not exactly"),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                200,
                "not exactly",
            ),
            ("X: a\r\n b\r\n", 200, "folded"),
            ("X: a\u{1}b\r\n", 200, "control byte"),
            ("X: a\rb\r\n", 200, "control byte"),
            ("X: y\r\n", 101, "switches protocols"),
            ("X: y\r\n", 600, "no status"),
        ] {
            let why = judged(fields, status, Method::GET).expect_err(fields);
            assert!(why.contains(expected), "{fields:?}: {why}");
        }
    }

    #[test]
    fn the_end_of_the_body_is_known_from_the_head() {
        use Delimited::*;
        for (fields, status, method, delimited, length) in [
            ("Content-Length: 5\r\n", 200, Method::GET, Length, Some(5)),
            (
                "Content-Length: 5, 5\r\nContent-Length: 5\r\n",
                200,
                Method::GET,
                Length,
                Some(5),
            ),
            (
                "Transfer-Encoding: Chunked\r\n",
                200,
                Method::GET,
                Chunked,
                None,
            ),
            ("X: y\r\n", 200, Method::GET, Close, None),
            ("Content-Length: 5\r\n", 200, Method::HEAD, Nothing, None),
            ("Content-Length: 5\r\n", 304, Method::GET, Nothing, None),
            ("Content-Length: 5\r\n", 204, Method::GET, Nothing, None),
        ] {
            let judged = judged(fields, status, method).expect(fields);
            assert_eq!(
                (judged.delimited, judged.length),
                (delimited, length),
                "{fields:?}"
            );
            let kept = judged
                .response
                .headers()
                .get_all(CONTENT_LENGTH)
                .iter()
                .count();
            assert_eq!(
                kept,
                usize::from(fields.contains("Length") && status != 204),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn fields_about_the_connection_end_here() {
        let fields =
            "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5, max=3\r\nX-End: 1\r\n";
        let judged = judged(fields, 200, Method::GET).unwrap();
        let names: Vec<_> = judged
            .response
            .headers()
            .keys()
            .map(HeaderName::as_str)
            .collect();
        assert_eq!(names, ["x-end"]);
        assert_eq!(judged.keep, Some(Duration::from_secs(4)));
    }
}
