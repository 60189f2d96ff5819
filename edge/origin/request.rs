//! A request on its way out: its head settled once, its body framed, and whether it may be sent a
//! second time. The caller has removed hop-by-hop fields but those of an upgrade and `TE`; framing
//! and connection are decided here alone.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_http::RequestHeader;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::origin::Origin;
use crate::settings::Protocol;
use crate::{Body, upgrade};

/// A request extension: where interim responses go (103 and other 1xx but 100, which is swallowed).
/// Sent without waiting; one that does not fit is dropped, as all are without this extension, and
/// those of HTTP/2 origins, which Pingora's session does not show.
#[derive(Clone, Debug)]
pub struct Interim(pub mpsc::Sender<Response<()>>);

/// How the request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

/// A request and how far it has got.
pub(crate) struct Ask {
    head: RequestHeader,
    pub(crate) framing: Framing,
    /// Taken when it is first polled; from then on the request cannot be sent again.
    pub(crate) body: Option<Body>,
    pub(crate) interim: Option<Interim>,
    upgrades: bool,
    wire: Option<Bytes>,
}

impl Ask {
    pub(crate) fn new(origin: &Origin, request: Request<Body>) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let framing = settle(origin, &mut parts, &body).map_err(|why| Error::RequestBody {
            at: origin.place(&origin.servers[0], None),
            source: why.into(),
        })?;
        let upgrades = settle_connection(&mut parts.headers, framing);
        let interim = parts.extensions.remove::<Interim>();
        let body = (framing != Framing::Nothing).then_some(body);
        Ok(Self {
            head: parts.into(),
            framing,
            body,
            interim,
            upgrades,
            wire: None,
        })
    }

    /// The head, if it asks for an upgrade.
    pub(crate) fn upgrade(&self) -> Option<&HeaderMap> {
        self.upgrades.then_some(&self.head.headers)
    }

    /// The version to speak: only HTTP/1.1 has upgrades.
    pub(crate) fn protocol(&self, origin: &Origin) -> Protocol {
        match self.upgrades {
            true => Protocol::Http1,
            false => origin.settings.protocol,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    /// Whether the body, if any, is untouched.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.is_some() || self.framing == Framing::Nothing
    }

    /// Whether doing it twice is doing it once (RFC 9110, section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        let method = self.method();
        method.is_idempotent()
    }

    /// The head as HTTP/1.1 writes it.
    pub(crate) fn wire(&mut self) -> Result<Bytes, String> {
        if let Some(wire) = &self.wire {
            return Ok(wire.clone());
        }
        let mut wire = http_req_header_to_wire(&self.head)
            .ok_or_else(|| format!("{:?} cannot be a request target", self.head.uri))?;
        let coding = match self.framing {
            Framing::Chunked => "Transfer-Encoding: chunked\r\n",
            _ => "",
        };
        // RFC 9110, sections 7.8 and 10.1.4: both are named as fields of this connection.
        let connection = match (self.upgrades, self.head.headers.contains_key(TE)) {
            (false, false) => "",
            (true, false) => "Connection: Upgrade\r\n",
            (false, true) => "Connection: TE\r\n",
            (true, true) => "Connection: Upgrade, TE\r\n",
        };
        if !coding.is_empty() || !connection.is_empty() {
            wire.truncate(wire.len() - 2);
            for part in [coding, connection, "\r\n"] {
                wire.extend_from_slice(part.as_bytes());
            }
        }
        Ok(self.wire.insert(wire.freeze()).clone())
    }

    /// The head as HTTP/2 wants it: absolute, and the host in the URI alone.
    pub(crate) fn absolute(&self, secure: bool) -> Result<RequestHeader, String> {
        let mut head = self.head.clone();
        let host = head.remove_header(&HOST).ok_or("the request has no Host")?;
        let authority = Authority::try_from(host.as_bytes())
            .map_err(|_| format!("{host:?} cannot be a host"))?;
        let mut uri = head.uri.clone().into_parts();
        uri.scheme = Some(if secure {
            http::uri::Scheme::HTTPS
        } else {
            http::uri::Scheme::HTTP
        });
        uri.authority = Some(authority);
        head.set_uri(Uri::from_parts(uri).map_err(|error| format!("{:?}: {error}", head.uri))?);
        head.set_version(Version::HTTP_2);
        Ok(head)
    }
}

/// Settles target, host and framing of the head; the error says what contradicts what.
fn settle(origin: &Origin, parts: &mut Parts, body: &Body) -> Result<Framing, String> {
    parts.version = Version::HTTP_11;
    if parts.uri.authority().is_some() || parts.uri.path_and_query().is_none() {
        let target = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = target.into();
    }
    if let Some(host) = &origin.settings.host {
        parts.headers.insert(HOST, host.clone());
    } else if !parts.headers.contains_key(HOST) {
        parts
            .headers
            .insert(HOST, origin.servers[0].authority.clone());
    }
    parts.headers.remove(TRANSFER_ENCODING);
    // The body is sent at once, so there is nothing to wait for; a 100 is swallowed anyway.
    parts.headers.remove(EXPECT);

    let announced = announced(parts)?;
    let exact = if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact()
    };
    let length = match (announced, exact) {
        (Some(announced), Some(exact)) if announced != exact => {
            return Err(format!(
                "Content-Length says {announced} bytes, the body has {exact}"
            ));
        }
        (announced, exact) => announced.or(exact),
    };
    match length {
        None => Ok(Framing::Chunked),
        Some(0) => {
            // RFC 9110, section 8.6: methods that expect a body say that there is none.
            if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
                parts
                    .headers
                    .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Ok(Framing::Nothing)
        }
        Some(length) => {
            parts.headers.insert(CONTENT_LENGTH, length.into());
            Ok(Framing::Length(length))
        }
    }
}

/// Leaves `Upgrade` for an upgrade and `TE: trailers` for who wants trailers, and nothing else about
/// the connection. Says whether it is an upgrade; one with a body is not: the body would have to end
/// before the new protocol begins, and a server may ignore an upgrade at any time.
fn settle_connection(headers: &mut HeaderMap, framing: Framing) -> bool {
    if let Some(te) = headers.get(TE) {
        let wants = te.as_bytes().split(|&byte| byte == b',').any(|coding| {
            let name = coding.split(|&byte| byte == b';').next();
            name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        });
        match wants {
            true => headers.insert(TE, HeaderValue::from_static("trailers")),
            false => headers.remove(TE),
        };
    }
    if !headers.contains_key(UPGRADE) && !headers.contains_key(CONNECTION) {
        return false;
    }
    let upgrades = framing == Framing::Nothing && upgrade::is_asked(headers);
    headers.remove(CONNECTION);
    if !upgrades {
        headers.remove(UPGRADE);
        headers.remove(HeaderName::from_static("http2-settings"));
    }
    upgrades
}

fn announced(parts: &Parts) -> Result<Option<u64>, String> {
    let mut values = parts.headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(format!("{value:?} is not one Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    use super::*;
    use crate::settings::{OriginSettings, Scheme, Server};

    fn origin(host: Option<&'static str>) -> Origin {
        Origin::new(OriginSettings {
            servers: vec![Server {
                scheme: Scheme::Http,
                host: "::1".into(),
                port: 8080,
            }],
            host: host.map(HeaderValue::from_static),
            ..OriginSettings::default()
        })
        .unwrap()
    }

    fn none() -> Body {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    }

    fn full(text: &'static str) -> Body {
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed_unsync()
    }

    fn unsized_body() -> Body {
        StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, crate::BoxError>,
        >())
        .boxed_unsync()
    }

    fn wire(
        origin: &Origin,
        method: Method,
        fields: &[(&'static str, &'static str)],
        body: Body,
    ) -> String {
        let mut request = Request::builder().method(method).uri("/a?b=c");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut ask = Ask::new(origin, request.body(body).unwrap()).unwrap();
        String::from_utf8(ask.wire().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_head_says_how_its_body_is_framed_and_nothing_else_does() {
        let host = ("host", "a.example");
        for (method, fields, body, expected) in [
            (
                Method::GET,
                vec![host],
                none(),
                "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n",
            ),
            (
                Method::POST,
                vec![host],
                none(),
                "POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                Method::PUT,
                vec![
                    host,
                    ("transfer-encoding", "chunked"),
                    ("expect", "100-continue"),
                ],
                full("four"),
                "PUT /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\n",
            ),
            (
                Method::PUT,
                vec![host, ("content-length", "9")],
                unsized_body(),
                "PUT /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\n",
            ),
            (
                Method::PUT,
                vec![host],
                unsized_body(),
                "PUT /a?b=c HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                Method::PUT,
                vec![host, ("te", "trailers")],
                unsized_body(),
                "PUT /a?b=c HTTP/1.1\r\nHost: a.example\r\nte: trailers\r\n\
                 Transfer-Encoding: chunked\r\nConnection: TE\r\n\r\n",
            ),
        ] {
            assert_eq!(wire(&origin(None), method, &fields, body), expected);
        }
    }

    #[test]
    fn of_the_connection_only_an_upgrade_and_trailers_are_said() {
        let host = ("host", "a.example");
        let upgrade = ("connection", "keep-alive, upgrade");
        for (fields, body, expected) in [
            (
                vec![host, upgrade, ("upgrade", "websocket")],
                none(),
                "upgrade: websocket\r\nConnection: Upgrade\r\n",
            ),
            (
                vec![
                    host,
                    upgrade,
                    ("upgrade", "websocket"),
                    ("te", "gzip;q=1, Trailers"),
                ],
                none(),
                "te: trailers\r\nupgrade: websocket\r\nConnection: Upgrade, TE\r\n",
            ),
            (vec![host, ("te", "gzip")], none(), ""),
            (vec![host, ("upgrade", "websocket")], none(), ""),
            (
                vec![host, upgrade, ("upgrade", "h2c"), ("http2-settings", "AA")],
                none(),
                "",
            ),
            (
                vec![host, upgrade, ("upgrade", "websocket")],
                full("four"),
                "Content-Length: 4\r\n",
            ),
        ] {
            let wire = wire(&origin(None), Method::GET, &fields, body);
            let head = format!("GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n{expected}\r\n");
            assert_eq!(wire, head, "{fields:?}");
        }
    }

    #[test]
    fn host_is_the_requests_own_unless_the_origin_sets_one() {
        let fields = [("host", "a.example")];
        assert!(wire(&origin(None), Method::GET, &fields, none()).contains("Host: a.example\r\n"));
        assert!(
            wire(&origin(Some("b.example")), Method::GET, &fields, none())
                .contains("Host: b.example\r\n")
        );
        assert!(wire(&origin(None), Method::GET, &[], none()).contains("Host: [::1]:8080\r\n"));
    }

    #[test]
    fn a_body_that_contradicts_its_length_is_refused_before_anything_is_sent() {
        for (value, body) in [
            ("5", full("four")),
            ("5", none()),
            ("4, 4", full("four")),
            ("-4", full("four")),
        ] {
            let request = Request::put("/")
                .header("content-length", value)
                .body(body)
                .unwrap();
            assert!(
                matches!(
                    Ask::new(&origin(None), request),
                    Err(Error::RequestBody { .. })
                ),
                "{value}"
            );
        }
    }
}
