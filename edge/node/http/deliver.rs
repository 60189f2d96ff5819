//! Turns what was found into a reply: conditions, ranges, `Age`, `Cache-Status`.
//!
//! The same for a stored response and for one that is still arriving: both are
//! a head and a body that can be read from any offset.

use super::head::Head;
use super::refuse;
use super::reply::{Body, Facts, Outcome, Reply, Streamed};
use edge_cache::{
    CacheStatus, Entry, Forwarded, Meta, Now, Precondition, Range, Reader, Rules, choose_range,
    precondition,
};
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, HeaderName,
};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Delivers a stored response.
pub(crate) fn stored(
    entry: &Arc<Entry>,
    status: CacheStatus,
    outcome: Outcome,
    head: &Head,
    now: Now,
) -> Reply {
    let bytes = entry.body.len();
    let body = |at, end| Body::Stored {
        body: Arc::clone(&entry.body),
        at,
        end,
    };
    let mut reply = respond(&entry.meta, Some(bytes), head, body);
    let age = entry.meta.terms.age(now);
    finish(&mut reply, Some(age), status, outcome);
    reply
}

/// Delivers a response whose body is still arriving.
pub(crate) fn live(
    meta: &Arc<Meta>,
    reader: Reader,
    status: CacheStatus,
    outcome: Outcome,
    head: &Head,
    now: Now,
) -> Reply {
    let bytes = reader.announced();
    let body = |at, end| Body::Live {
        reader,
        at,
        end: bytes.map(|_| end),
    };
    let mut reply = respond(meta, bytes, head, body);
    // What has just been fetched has an age only if it came from another cache.
    let age = meta.terms.age(now);
    finish(
        &mut reply,
        (age >= Duration::from_secs(1)).then_some(age),
        status,
        outcome,
    );
    reply
}

/// Delivers an answer that goes around the cache.
pub(crate) fn passed(
    response: Response<Streamed>,
    status: CacheStatus,
    outcome: Outcome,
    head: &Head,
) -> Reply {
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return switched(parts, status);
    }
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut reply = Reply::new(parts.status);
    reply.fields = parts.headers;
    reply.length = announced;
    if head.method != Method::HEAD && !body.is_end_stream() {
        reply.body = Body::streamed(body);
    }
    finish(&mut reply, None, status, outcome);
    reply
}

/// The origin agreed to speak another protocol.
fn switched(parts: http::response::Parts, status: CacheStatus) -> Reply {
    let tunnel = parts
        .extensions
        .get::<edge_origin::Upgraded>()
        .and_then(edge_origin::Upgraded::take);
    let Some(tunnel) = tunnel else {
        return refuse::page(
            StatusCode::BAD_GATEWAY,
            "the origin switched protocols unasked",
        );
    };
    let mut reply = Reply::new(parts.status);
    reply.fields = parts.headers;
    reply.body = Body::Tunnel(tunnel);
    finish(&mut reply, None, status, Outcome::Pass);
    reply
}

/// What a client is given of a response with `bytes` of body.
fn respond(
    meta: &Arc<Meta>,
    bytes: Option<u64>,
    head: &Head,
    body: impl FnOnce(u64, u64) -> Body,
) -> Reply {
    let mut reply = Reply::new(meta.status);
    reply.stored = Some(Arc::clone(meta));
    if meta.status != StatusCode::OK {
        reply.body = body(0, bytes.unwrap_or(u64::MAX));
        return shown(reply, head);
    }
    match precondition(&head.method, &head.fields, &meta.fields) {
        Precondition::Proceed => {}
        Precondition::NotModified => return not_modified(meta),
        Precondition::Failed => {
            return refuse::page(
                StatusCode::PRECONDITION_FAILED,
                "a condition of the request failed",
            );
        }
    }
    // The length of a body that is still arriving may be unknown; then it has
    // no ranges yet.
    let range = match bytes {
        Some(bytes) => choose_range(&head.method, &head.fields, &meta.fields, bytes),
        None => Range::Whole,
    };
    match range {
        Range::Whole => {
            if bytes.is_some() && !meta.fields.contains_key(ACCEPT_RANGES) {
                reply
                    .fields
                    .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            reply.body = body(0, bytes.unwrap_or(u64::MAX));
        }
        Range::Part { first, last } => {
            reply.status = StatusCode::PARTIAL_CONTENT;
            content_range(
                &mut reply,
                &format!("bytes {first}-{last}/{}", bytes.unwrap_or(0)),
            );
            reply.body = body(first, last + 1);
        }
        Range::Unsatisfiable => {
            reply = refuse::page(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the range lies outside of the body",
            );
            content_range(&mut reply, &format!("bytes */{}", bytes.unwrap_or(0)));
        }
    }
    shown(reply, head)
}

fn shown(mut reply: Reply, head: &Head) -> Reply {
    if head.method == Method::HEAD {
        reply.without_body();
    }
    reply
}

fn content_range(reply: &mut Reply, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        reply.fields.insert(CONTENT_RANGE, value);
    }
}

/// A 304 carries what a cache may want to update, and nothing that describes a
/// body it does not have (RFC 9110, section 15.4.5).
fn not_modified(meta: &Meta) -> Reply {
    let mut reply = Reply::new(StatusCode::NOT_MODIFIED);
    reply.fields = meta.fields.clone();
    for name in [
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_RANGE,
    ] {
        reply.fields.remove(name);
    }
    reply
}

fn finish(reply: &mut Reply, age: Option<Duration>, status: CacheStatus, outcome: Outcome) {
    if let Some(age) = age {
        reply.fields.insert(AGE, HeaderValue::from(age.as_secs()));
    }
    // A cache before us may have said its part: ours comes behind it.
    if let Some(stored) = &reply.stored
        && !reply.fields.contains_key(CACHE_STATUS)
    {
        for before in stored.fields.get_all(CACHE_STATUS) {
            reply.fields.append(CACHE_STATUS, before.clone());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&status.to_string()) {
        reply.fields.append(CACHE_STATUS, value);
    }
    reply.facts.outcome = outcome;
}

/// `Cache-Status` of an answer that was fetched into the cache.
pub(crate) fn fetched(
    why: Forwarded,
    meta: &Meta,
    rules: &Rules,
    kept: bool,
    now: Now,
) -> CacheStatus {
    let (lifetime, _) = meta.terms.lifetime(rules);
    let left = lifetime.as_secs() as i64 - meta.terms.age(now).as_secs() as i64;
    CacheStatus {
        forwarded_status: Some(meta.status),
        stored: kept,
        ttl: kept.then_some(left),
        ..CacheStatus::forwarded(why)
    }
}

/// Adds what the node knows about the request.
pub(crate) fn about(mut reply: Reply, facts: Facts) -> Reply {
    reply.facts = Facts {
        outcome: reply.facts.outcome,
        reason: reply.facts.reason.or(facts.reason),
        ..facts
    };
    reply
}
