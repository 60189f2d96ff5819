//! Which fields may follow a body. What frames, routes, authenticates or steers a message must have
//! been known before its content; a recipient that merges a late one into the head can be fooled, so
//! these are dropped, from requests and responses alike (RFC 9110, section 6.5.1).

use http::header::*;

use crate::head::{FIELDS_MAX, HEAD_MAX};

const FORBIDDEN: [HeaderName; 43] = [
    // Framing and connection.
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    // Routing, and who asked.
    FORWARDED,
    HOST,
    VIA,
    HeaderName::from_static("cdn-loop"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    // Authentication.
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    SET_COOKIE,
    WWW_AUTHENTICATE,
    // What modifies a request.
    EXPECT,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    MAX_FORWARDS,
    RANGE,
    // What a cache or client does with a response.
    AGE,
    CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    DATE,
    EXPIRES,
    LOCATION,
    PRAGMA,
    RETRY_AFTER,
    VARY,
    WARNING,
    // How the content is read.
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
];

/// Whether a field may follow a body.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    !FORBIDDEN.contains(name)
}

/// The trailers that may go on; the others are dropped.
pub(crate) fn settle(mut trailers: HeaderMap) -> HeaderMap {
    for name in FORBIDDEN {
        trailers.remove(name);
    }
    trailers
}

/// The same for trailers that HTTP/2 decoded, which have the bounds of a head.
pub(crate) fn judge_h2(trailers: HeaderMap) -> Result<HeaderMap, String> {
    let size: usize = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    if size > HEAD_MAX || trailers.len() > FIELDS_MAX {
        return Err(format!(
            "its trailers are more than {HEAD_MAX} bytes or {FIELDS_MAX} fields"
        ));
    }
    Ok(settle(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_wait_for_the_end_may_trail() {
        let mut trailers = HeaderMap::new();
        for name in ["content-length", "host", "set-cookie", "x-forwarded-for"] {
            trailers.append(name, HeaderValue::from_static("1"));
        }
        for name in ["grpc-status", "server-timing", "content-digest"] {
            trailers.append(name, HeaderValue::from_static("1"));
            assert!(may_trail(&HeaderName::from_static(name)));
        }
        let kept = settle(trailers);
        assert_eq!(kept.len(), 3);
        assert!(kept.keys().all(may_trail));
    }
}
