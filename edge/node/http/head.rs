//! Judges a request head, once. RFC 9112, sections 2 to 6; RFC 9110, section 7.
//!
//! What comes out is a `Head` that cannot be wrong: everything behind it routes,
//! keys and forwards what was checked here and never looks at the bytes again.
//! Where the RFC lets a recipient be lenient and two recipients could disagree,
//! the request is refused.

use super::target;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use std::sync::Arc;

/// The limits a head is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the whole head.
    pub(crate) head_bytes: usize,
    /// Bytes of the request target.
    pub(crate) target_bytes: usize,
    /// Number of fields.
    pub(crate) fields: usize,
    /// Bytes of a body.
    pub(crate) body_bytes: u64,
    /// The port that goes without saying in `Host`.
    pub(crate) own_port: u16,
}

/// How the end of a request body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A checked request head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Normalised; empty only on HTTP/1.0 without a host.
    pub(crate) host: String,
    /// Normalised path and query.
    pub(crate) target: String,
    path_length: usize,
    /// All fields, without `Host` and those that `Connection` names; hop-by-hop ones that the node
    /// reads are still there.
    pub(crate) fields: HeaderMap,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// `Expect: 100-continue`
    pub(crate) expects_continue: bool,
    /// `Connection: upgrade` with an `Upgrade`: another protocol may follow.
    pub(crate) upgrade: bool,
    /// `TE: trailers`
    pub(crate) takes_trailers: bool,
}

impl Head {
    pub(crate) fn path(&self) -> &str {
        &self.target[..self.path_length]
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.target.get(self.path_length + 1..)
    }

    /// Judges a head that came over HTTP/2 by the same rules. Its framing is
    /// the protocol's; names and values have been checked by the codec.
    pub(crate) fn from_h2(
        method: &Method,
        uri: &http::Uri,
        mut fields: HeaderMap,
        framing: Framing,
        limits: &Limits,
    ) -> Result<Head, Fault> {
        let method = judge_method(method.as_str().as_bytes())?;
        if fields.len() > limits.fields {
            return Err(Fault::HeadTooLarge);
        }
        let path = uri
            .path_and_query()
            .map_or("", |target| target.as_str())
            .as_bytes();
        if path.len() > limits.target_bytes {
            return Err(Fault::TargetTooLong);
        }
        if uri
            .scheme_str()
            .is_some_and(|scheme| scheme != "http" && scheme != "https")
        {
            return Err(Fault::Bad(":scheme is neither http nor https"));
        }
        if path.first() != Some(&b'/') && path != b"*" {
            return Err(Fault::Bad(":path is not a path"));
        }
        if fields.get_all(HOST).iter().count() > 1 {
            return Err(Fault::Bad("more than one Host"));
        }
        let (_, path, query) = split_target(path, &method)?;
        let authority = uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        // Either names the host; both must name the same.
        let host = judge_host(fields.remove(HOST), authority, Version::HTTP_2, limits)?;
        if host.is_empty() {
            return Err(Fault::Bad("neither :authority nor Host"));
        }
        let (target, path_length) = match path {
            b"*" => ("*".to_owned(), 1),
            path => target::normal(path, query)?,
        };
        if matches!(framing, Framing::Length(bytes) if bytes > limits.body_bytes) {
            return Err(Fault::BodyTooLarge);
        }
        Ok(Head {
            keep_alive: true,
            expects_continue: false,
            upgrade: false,
            takes_trailers: lists(&fields, &TE, "trailers"),
            version: Version::HTTP_2,
            method,
            host,
            target,
            path_length,
            fields,
            framing,
        })
    }
}

/// Why a head is refused. The connection is closed after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Malformed, and how.
    Bad(&'static str),
    TargetTooLong,
    HeadTooLarge,
    BodyTooLarge,
    /// A transfer coding other than chunked.
    Coding,
    /// A method that makes no sense here.
    Method,
    Version,
    Expectation,
}

impl Fault {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Fault::Bad(_) => StatusCode::BAD_REQUEST,
            Fault::TargetTooLong => StatusCode::URI_TOO_LONG,
            Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Fault::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Coding => StatusCode::NOT_IMPLEMENTED,
            Fault::Method => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Fault::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Fault::Bad(how) => how,
            Fault::TargetTooLong => "the request target is too long",
            Fault::HeadTooLarge => "the request head is too large",
            Fault::BodyTooLarge => "the request body is too large",
            Fault::Coding => "only the chunked transfer coding is understood",
            Fault::Method => "this method is not served here",
            Fault::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Fault::Expectation => "only 100-continue can be expected",
        }
    }
}

/// What a buffer holds.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A head, and how many bytes it took.
    Head(Arc<Head>, usize),
    /// Not all of it yet.
    Partial,
}

/// Looks for a head at the start of `buffer`.
pub(crate) fn parse(buffer: &[u8], limits: &Limits) -> Result<Parsed, Fault> {
    // One empty line before a request is forgiven (RFC 9112, section 2.2).
    let skipped = match buffer {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] | [] => return Ok(Parsed::Partial),
        _ => 0,
    };
    let bytes = &buffer[skipped..];
    if bytes.first().is_some_and(|byte| !is_token(*byte)) {
        return Err(Fault::Bad("not an HTTP request"));
    }
    let window = &bytes[..bytes.len().min(limits.head_bytes)];
    let Some(end) = find_end(window)? else {
        if bytes.len() < limits.head_bytes {
            // A request line that is too long already need not be waited for.
            if !window.contains(&b'\n') && window.len() > limits.target_bytes + 64 {
                return Err(Fault::TargetTooLong);
            }
            return Ok(Parsed::Partial);
        }
        return Err(if window.contains(&b'\n') {
            Fault::HeadTooLarge
        } else {
            Fault::TargetTooLong
        });
    };
    let head = judge(&window[..end], limits)?;
    Ok(Parsed::Head(Arc::new(head), skipped + end))
}

/// The end of the head, behind its empty line. A line that ends in a bare LF,
/// and a CR that ends no line, are refused as soon as they are seen.
fn find_end(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let mut line = 0;
    while let Some(offset) = bytes[line..].iter().position(|byte| *byte == b'\n') {
        let lf = line + offset;
        if lf == line || bytes[lf - 1] != b'\r' {
            return Err(Fault::Bad("a line ends in a bare LF"));
        }
        if lf - 1 == line {
            return Ok(Some(lf + 1));
        }
        if bytes[line..lf - 1].contains(&b'\r') {
            return Err(Fault::Bad("a bare CR"));
        }
        line = lf + 1;
    }
    Ok(None)
}

fn judge(bytes: &[u8], limits: &Limits) -> Result<Head, Fault> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| &line[..line.len().saturating_sub(1)]);
    let line = lines.next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(given), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault::Bad(
            "the request line is not `method target version`",
        ));
    };
    let version = judge_version(version)?;
    let method = judge_method(method)?;
    if given.len() > limits.target_bytes {
        return Err(Fault::TargetTooLong);
    }
    let (fields, host) = judge_fields(lines, limits)?;
    let (authority, path, query) = split_target(given, &method)?;
    let host = judge_host(host, authority, version, limits)?;
    let (target, path_length) = match path {
        b"*" => ("*".to_owned(), 1),
        path => target::normal(path, query)?,
    };
    // What is named there stays here: nobody may read other names in it than we.
    if fields
        .get_all(CONNECTION)
        .iter()
        .any(|value| value.to_str().is_err())
    {
        return Err(Fault::Bad("Connection is not ASCII"));
    }
    let framing = judge_framing(&fields, version)?;
    if matches!(framing, Framing::Length(bytes) if bytes > limits.body_bytes) {
        return Err(Fault::BodyTooLarge);
    }
    let mut head = Head {
        keep_alive: judge_keep_alive(&fields, version),
        expects_continue: judge_expectation(&fields, version)?,
        upgrade: framing == Framing::None
            && version == Version::HTTP_11
            && lists(&fields, &CONNECTION, "upgrade")
            && fields.get_all(UPGRADE).iter().count() == 1,
        takes_trailers: lists(&fields, &TE, "trailers"),
        method,
        version,
        host,
        target,
        path_length,
        fields,
        framing,
    };
    drop_named(&mut head.fields);
    Ok(head)
}

/// Takes out the fields that `Connection` names. They are meant for us alone, so the origin will
/// not see them, and nothing may be keyed, chosen or decided by what its answer does not depend
/// on (RFC 9110, section 7.6.1). Those this node reads itself stay, and `forward` drops them.
fn drop_named(fields: &mut HeaderMap) {
    let ours = |name: &HeaderName| {
        [CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
            || name.as_str().starts_with("x-forwarded-")
    };
    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !ours(name))
        .collect();
    for name in named {
        fields.remove(name);
    }
}

fn judge_version(word: &[u8]) -> Result<Version, Fault> {
    match word {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match (major, minor) {
                // A higher minor version is spoken to as 1.1.
                (b'1', _) => Ok(Version::HTTP_11),
                _ => Err(Fault::Version),
            }
        }
        _ => Err(Fault::Bad(
            "the request line is not `method target version`",
        )),
    }
}

fn judge_method(word: &[u8]) -> Result<Method, Fault> {
    if word.is_empty() || word.len() > 64 || !word.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::Bad("the method is not a token"));
    }
    match word {
        b"CONNECT" | b"TRACE" => Err(Fault::Method),
        word => Method::from_bytes(word).map_err(|_| Fault::Bad("the method is not a token")),
    }
}

/// `(authority, path, query)` of an origin-form, absolute-form or `*`.
type Target<'a> = (Option<&'a [u8]>, &'a [u8], Option<&'a [u8]>);

fn split_target<'a>(given: &'a [u8], method: &Method) -> Result<Target<'a>, Fault> {
    if given == b"*" {
        if method == Method::OPTIONS {
            return Ok((None, given, None));
        }
        return Err(Fault::Bad("`*` is a target of OPTIONS only"));
    }
    let (authority, rest) = if given.first() == Some(&b'/') {
        (None, given)
    } else {
        let lower = given.get(..8).unwrap_or(given).to_ascii_lowercase();
        let skip = match lower.as_slice() {
            [b'h', b't', b't', b'p', b':', b'/', b'/', ..] => 7,
            b"https://" => 8,
            _ => return Err(Fault::Bad("the target is neither a path nor an http URI")),
        };
        let rest = &given[skip..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        (Some(&rest[..end]), &rest[end..])
    };
    let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let path = if path.is_empty() { b"/" } else { path };
    Ok((authority, path, query))
}

fn judge_fields<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<(HeaderMap, Option<HeaderValue>), Fault> {
    let mut fields = HeaderMap::with_capacity(16);
    let mut host = None;
    let mut count = 0;
    for line in lines {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.fields {
            return Err(Fault::HeadTooLarge);
        }
        let (name, value) = judge_field(line)?;
        if name == HOST {
            if host.replace(value).is_some() {
                return Err(Fault::Bad("more than one Host"));
            }
        } else {
            fields.append(name, value);
        }
    }
    Ok((fields, host))
}

fn judge_field(line: &[u8]) -> Result<(HeaderName, HeaderValue), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Fault::Bad("a folded field line"));
    }
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Fault::Bad("a field line without a colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::Bad("a field name is not a token"));
    }
    let name =
        HeaderName::from_bytes(name).map_err(|_| Fault::Bad("a field name is not a token"))?;
    let value = trim(value);
    if value
        .iter()
        .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
    {
        return Err(Fault::Bad("a control byte in a field value"));
    }
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| Fault::Bad("a control byte in a field value"))?;
    Ok((name, value))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn judge_host(
    field: Option<HeaderValue>,
    authority: Option<&[u8]>,
    version: Version,
    limits: &Limits,
) -> Result<String, Fault> {
    let named = match &field {
        Some(value) => Some(target::normal_host(value.as_bytes(), limits.own_port)?),
        None if version == Version::HTTP_11 => return Err(Fault::Bad("no Host")),
        None => None,
    };
    match authority {
        None => Ok(named.unwrap_or_default()),
        Some(authority) => {
            let wanted = target::normal_host(authority, limits.own_port)?;
            if named.is_some_and(|named| named != wanted) {
                return Err(Fault::Bad(
                    "Host and the request target name different hosts",
                ));
            }
            Ok(wanted)
        }
    }
}

/// RFC 9112, section 6, without its leniency.
fn judge_framing(fields: &HeaderMap, version: Version) -> Result<Framing, Fault> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let (coding, length) = (codings.next(), lengths.next());
    if codings.next().is_some() {
        return Err(Fault::Bad("more than one Transfer-Encoding"));
    }
    if lengths.next().is_some() {
        return Err(Fault::Bad("more than one Content-Length"));
    }
    match (coding, length) {
        (Some(_), Some(_)) => Err(Fault::Bad("both Transfer-Encoding and Content-Length")),
        (Some(_), None) if version == Version::HTTP_10 => {
            Err(Fault::Bad("Transfer-Encoding in HTTP/1.0"))
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        (Some(_), None) => Err(Fault::Coding),
        (None, Some(length)) => match length_of(length.as_bytes()) {
            Some(0) => Ok(Framing::None),
            Some(bytes) => Ok(Framing::Length(bytes)),
            None => Err(Fault::Bad("Content-Length is not a number")),
        },
        (None, None) => Ok(Framing::None),
    }
}

/// Digits only; at most 18, which no body exceeds.
pub(super) fn length_of(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn judge_keep_alive(fields: &HeaderMap, version: Version) -> bool {
    let close = lists(fields, &CONNECTION, "close");
    if version == Version::HTTP_11 {
        !close
    } else {
        lists(fields, &CONNECTION, "keep-alive") && !close
    }
}

/// Whether a list field has this member, whatever its case.
fn lists(fields: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    fields
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case(wanted))
}

fn judge_expectation(fields: &HeaderMap, version: Version) -> Result<bool, Fault> {
    // HTTP/1.0 knows no expectations (RFC 9110, section 10.1.1).
    if version == Version::HTTP_10 {
        return Ok(false);
    }
    let mut expected = fields.get_all(EXPECT).iter().peekable();
    let any = expected.peek().is_some();
    let known = expected.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    known.then_some(any).ok_or(Fault::Expectation)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head_bytes: 1024,
        target_bytes: 200,
        fields: 10,
        body_bytes: 1000,
        own_port: 80,
    };

    fn judged(text: &str) -> Result<Head, u16> {
        match parse(text.as_bytes(), &LIMITS) {
            Ok(Parsed::Head(head, taken)) => {
                assert_eq!(taken, text.len());
                Ok(Arc::into_inner(head).unwrap())
            }
            Ok(Parsed::Partial) => Err(0),
            Err(fault) => Err(fault.status().as_u16()),
        }
    }

    #[test]
    fn a_plain_head_is_taken_apart() {
        let head =
            judged("GET /a%41?q=1 HTTP/1.1\r\nHost: Example.com:80\r\nX-A:  b \r\n\r\n").unwrap();
        assert_eq!(
            (head.host.as_str(), head.path(), head.query()),
            ("example.com", "/aA", Some("q=1"))
        );
        assert_eq!(head.fields["x-a"], "b");
        assert!(head.keep_alive && !head.expects_continue && head.framing == Framing::None);
    }

    #[test]
    fn what_two_recipients_could_read_differently_is_refused() {
        let host = "Host: a\r\n";
        for (text, status) in [
            (format!("GET / HTTP/1.1\r\n{host}\r\n"), 200),
            (format!("\r\nGET / HTTP/1.1\r\n{host}\r\n"), 200),
            (format!("GET / HTTP/1.2\r\n{host}\r\n"), 200),
            ("GET / HTTP/1.0\r\n\r\n".into(), 200),
            (format!("GET http://a/x HTTP/1.1\r\n{host}\r\n"), 200),
            (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 200),
            (format!("BREW / HTTP/1.1\r\n{host}\r\n"), 200),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\n"),
                200,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: Chunked\r\n\r\n"),
                200,
            ),
            ("GET / HTTP/1.1\r\n\r\n".into(), 400),
            (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".into(), 400),
            (format!("GET http://b/ HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET http://u@a/ HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET ftp://a/ HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET a HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET * HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET / HTTP/1.1 \r\n{host}\r\n"), 400),
            (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET\t/ HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("G(T / HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET / http/1.1\r\n{host}\r\n"), 400),
            (format!("GET / HTTP/1.10\r\n{host}\r\n"), 400),
            (format!("GET /\r\n{host}\r\n"), 400),
            (format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
            (format!("GET / HTTP/0.9\r\n{host}\r\n"), 505),
            (format!("CONNECT a:1 HTTP/1.1\r\n{host}\r\n"), 405),
            (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405),
            (format!("GET / HTTP/1.1\n{host}\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X : a\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}: a\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n {host}\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\x7fb\r\n\r\n"), 400),
            (
                format!(
                    "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"),
                400,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 1001\r\n\r\n"),
                413,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"),
                501,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"),
                501,
            ),
            (
                format!(
                    "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                400,
            ),
            (
                format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
                400,
            ),
            (
                format!("GET / HTTP/1.1\r\n{host}Connection: é, close\r\n\r\n"),
                400,
            ),
            (format!("POST / HTTP/1.1\r\n{host}Expect: tea\r\n\r\n"), 417),
            (
                format!("POST / HTTP/1.1\r\n{host}Expect: 100-continue\r\nExpect: tea\r\n\r\n"),
                417,
            ),
            (
                format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(200)),
                414,
            ),
            (
                format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(10)),
                431,
            ),
            (
                format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(1024)),
                431,
            ),
            ("\x16\x03\x01".into(), 400),
        ] {
            let got = judged(text.trim_start_matches("\r\n")).map_or_else(|status| status, |_| 200);
            assert_eq!(got, status, "{text:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_good_head_is_partial() {
        let text = b"\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        for end in 0..text.len() {
            assert!(
                matches!(parse(&text[..end], &LIMITS), Ok(Parsed::Partial)),
                "{end}"
            );
        }
        assert!(matches!(parse(text, &LIMITS), Ok(Parsed::Head(_, n)) if n == text.len()));
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        for (version, connection, wanted) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: x, close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = judged(&format!(
                "GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n"
            ))
            .unwrap();
            assert_eq!(head.keep_alive, wanted, "{version} {connection}");
        }
    }
}
