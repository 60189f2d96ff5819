//! Every error becomes a reply here, and nowhere else.
//!
//! Replies say what happened in one plain sentence, never where: addresses and
//! names of origins are for the log. `Proxy-Status` (RFC 9209) carries the kind
//! of error for whoever operates the client side.

use super::head::Fault;
use super::reply::{Body, Facts, Outcome, Reply};
use super::upload::Spoilt;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use std::error::Error as StdError;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// A reply of the node's own: a status and a sentence, never to be cached.
pub(crate) fn page(status: StatusCode, words: &str) -> Reply {
    let mut reply = Reply::new(status);
    let title = status.canonical_reason().unwrap_or("Error");
    let text = format!("{} {title}\n{words}\n", status.as_u16());
    reply.body = Body::Bytes(Bytes::from(text));
    reply.fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    reply
        .fields
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A head that was refused.
pub(crate) fn fault(fault: Fault) -> Reply {
    let mut reply = page(fault.status(), fault.words());
    if fault == Fault::Method {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        reply.fields.insert(http::header::ALLOW, allowed);
    }
    reply.facts.reason = Some("malformed-request");
    reply
}

/// A head that did not come in time.
pub(crate) fn head_timeout() -> Reply {
    let mut reply = page(
        StatusCode::REQUEST_TIMEOUT,
        "the request did not come in time",
    );
    reply.facts.reason = Some("head-timeout");
    reply
}

/// The client left while it waited: for the log, under the status that nginx
/// has made known for it.
pub(crate) fn client_left() -> Reply {
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    let mut reply = Reply::new(status);
    reply.facts.reason = Some("client-left");
    reply
}

/// No site answers for the host.
pub(crate) fn no_site() -> Reply {
    let mut reply = page(
        StatusCode::MISDIRECTED_REQUEST,
        "no site of this server answers for this host",
    );
    reply.facts.reason = Some("no-site");
    reply
}

/// The request has been forwarded by this very node before (RFC 8586).
pub(crate) fn looped() -> Reply {
    let mut reply = page(
        StatusCode::LOOP_DETECTED,
        "this request has come back to where it was forwarded",
    );
    reply.facts.reason = Some("loop");
    reply
}

/// The request belongs on another connection.
pub(crate) fn misdirected(words: &str, reason: &'static str) -> Reply {
    let mut reply = page(StatusCode::MISDIRECTED_REQUEST, words);
    reply.facts.reason = Some(reason);
    reply
}

/// The origin could not be asked, or gave no usable answer. An error that is
/// the client's own, a body that broke, is answered as such.
pub(crate) fn origin(error: &(dyn StdError + 'static)) -> Reply {
    if let Some(spoilt) = cause::<Spoilt>(error) {
        return spoilt_body(*spoilt);
    }
    let known = cause::<edge_origin::Error>(error);
    let (status, kind, reason) = match known {
        Some(error) => (error.status(), error.proxy_status(), error.reason()),
        None => (StatusCode::BAD_GATEWAY, "proxy_internal_error", "internal"),
    };
    let words = match status {
        StatusCode::GATEWAY_TIMEOUT => "the origin of this site did not answer in time",
        _ => "the origin of this site could not be asked or gave no usable answer",
    };
    let mut reply = page(status, words);
    if let Ok(value) = HeaderValue::from_str(&format!("edge; error={kind}")) {
        reply.fields.insert(PROXY_STATUS, value);
    }
    reply.facts = Facts {
        outcome: Outcome::Error,
        reason: Some(reason),
        ..Facts::default()
    };
    reply
}

fn spoilt_body(spoilt: Spoilt) -> Reply {
    let status = match spoilt {
        Spoilt::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Spoilt::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Spoilt::Malformed(_) | Spoilt::Left => StatusCode::BAD_REQUEST,
    };
    let mut reply = page(status, &spoilt.to_string());
    reply.facts.reason = Some("request-body");
    reply
}

/// The first error of this type in a chain of causes.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
