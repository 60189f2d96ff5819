//! What we say to an origin on behalf of a client. RFC 9110, section 7.6.
//!
//! End-to-end fields go on as they came; what belongs to the connection, and
//! what is named in `Connection`, stays here. What a client claims about itself
//! (`X-Forwarded-*`, `Forwarded`) is replaced unless its peer is trusted.

use super::head::Head;
use super::reply::{Peer, Streamed};
use super::request_id::RequestIds;
use crate::config::Prefix;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body_util::BodyExt as _;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The real client of a request, behind proxies we trust.
pub(crate) fn client(head: &Head, peer: &Peer, trusted: &[Prefix]) -> IpAddr {
    let address = peer.address.ip();
    if trusted.is_empty() {
        return address.to_canonical();
    }
    let lines: Vec<&str> = head
        .fields
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    edge_guard::behind_proxies(address, lines.into_iter(), |address| {
        trusted.iter().any(|prefix| prefix.contains(address))
    })
}

/// Who forwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From<'a> {
    /// Peers whose word counts.
    pub(crate) trusted: &'a [Prefix],
    /// This node, among all that may stand in a row.
    pub(crate) node_id: &'a str,
    pub(crate) ids: &'a RequestIds,
}

/// Whether this node has forwarded the request before (RFC 8586).
pub(crate) fn loops(head: &Head, node_id: &str) -> bool {
    head.fields
        .get_all(CDN_LOOP)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| {
            member
                .split(';')
                .any(|part| part.trim().strip_prefix("id=") == Some(node_id))
        })
}

/// Lets the fields through that ask for another protocol, or for trailers.
pub(crate) fn keep_protocol(head: &Head, fields: &mut HeaderMap) {
    if head.upgrade
        && let Some(protocol) = head.fields.get(UPGRADE)
    {
        fields.insert(UPGRADE, protocol.clone());
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if head.takes_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The fields an origin gets for this request.
pub(crate) fn fields(head: &Head, peer: &Peer, from: &From<'_>) -> HeaderMap {
    let trusted = from.trusted;
    let mut fields = head.fields.clone();
    drop_connection_fields(&mut fields);
    for name in [EXPECT, CONTENT_LENGTH, FORWARDED] {
        fields.remove(name);
    }
    if let Ok(host) = HeaderValue::from_str(&head.host)
        && !host.is_empty()
    {
        fields.insert(HOST, host);
    }
    let address = peer.address.ip().to_canonical();
    let believed = trusted.iter().any(|prefix| prefix.contains(address));
    let mut chain = String::new();
    if believed {
        for line in fields.get_all(X_FORWARDED_FOR) {
            if let Ok(line) = line.to_str() {
                chain.push_str(line);
                chain.push_str(", ");
            }
        }
    }
    chain.push_str(&address.to_string());
    set(&mut fields, X_FORWARDED_FOR, &chain);
    if !(believed && fields.contains_key(&X_FORWARDED_PROTO)) {
        set(&mut fields, X_FORWARDED_PROTO, peer.scheme);
    }
    if !(believed && fields.contains_key(&X_FORWARDED_HOST)) {
        set(&mut fields, X_FORWARDED_HOST, &head.host);
    }
    let version = match head.version {
        Version::HTTP_10 => "1.0 edge",
        Version::HTTP_2 => "2.0 edge",
        _ => "1.1 edge",
    };
    fields.append(VIA, HeaderValue::from_static(version));
    if !(believed && fields.contains_key(&X_REQUEST_ID)) {
        set(&mut fields, X_REQUEST_ID, &from.ids.next());
    }
    if let Ok(value) = HeaderValue::from_str(&format!("edge; id={}", from.node_id)) {
        fields.append(CDN_LOOP, value);
    }
    fields
}

fn set(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) if !value.is_empty() => drop(fields.insert(name, value)),
        _ => drop(fields.remove(name)),
    }
}

fn drop_connection_fields(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        fields.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
    ] {
        fields.remove(name);
    }
}

/// Conditions and ranges of the client. A fill asks for the whole, with the
/// cache's own conditions.
pub(crate) fn drop_conditions(fields: &mut HeaderMap) {
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        fields.remove(name);
    }
}

/// A request for an origin.
pub(crate) fn request(
    method: Method,
    target: &str,
    fields: HeaderMap,
    body: Option<Streamed>,
) -> Result<Request<Streamed>, http::Error> {
    let body = body.unwrap_or_else(|| {
        http_body_util::Empty::<Bytes>::new()
            .map_err(|never| match never {})
            .boxed_unsync()
    });
    let mut request = Request::builder().method(method).uri(target).body(body)?;
    *request.headers_mut() = fields;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::super::head::{self, Limits, Parsed};
    use super::*;
    use std::sync::Arc;

    fn parsed(text: &str) -> Arc<Head> {
        let limits = Limits {
            head_bytes: 4096,
            target_bytes: 1024,
            fields: 50,
            body_bytes: 10,
            own_port: 80,
        };
        match head::parse(text.as_bytes(), &limits) {
            Ok(Parsed::Head(head, _)) => head,
            other => panic!("{other:?}"),
        }
    }

    fn peer(address: &str) -> Peer {
        Peer {
            address: address.parse().unwrap(),
            scheme: "http",
            tls: None,
        }
    }

    #[test]
    fn a_request_that_has_been_here_is_known() {
        let head = parsed("GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: other, edge; id=n1; x\r\n\r\n");
        assert!(loops(&head, "n1"));
        assert!(!loops(&head, "n2"));
        assert!(!loops(&head, "n"));
    }

    #[test]
    fn connection_fields_and_claims_of_strangers_stay_here() {
        let head = parsed(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nTE: trailers\r\n\
             Keep-Alive: 5\r\nUpgrade: h2c\r\nX-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\n\
             X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-A: 1\r\n\r\n",
        );
        let from = From {
            trusted: &[],
            node_id: "n1",
            ids: &RequestIds::default(),
        };
        let got = fields(&head, &peer("192.0.2.1:5"), &from);
        let mut names: Vec<_> = got.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "cdn-loop",
                "host",
                "via",
                "x-a",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto",
                "x-request-id"
            ]
        );
        assert_eq!(got["cdn-loop"], "edge; id=n1");
        assert_eq!(got["x-forwarded-for"], "192.0.2.1");
        assert_eq!(got["x-forwarded-host"], "a");
        assert_eq!(got["x-forwarded-proto"], "http");
    }
}
