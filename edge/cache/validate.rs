//! Conditional requests: those of clients against stored responses, and ours
//! to the origin. RFC 9110, section 13; RFC 9111, sections 3.2 and 4.3.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::SystemTime;

/// What the preconditions of a request say about a 200 we could send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Send it.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates a client's conditions in the order of RFC 9110, section 13.2.2.
pub fn precondition(method: &Method, request: &HeaderMap, response: &HeaderMap) -> Precondition {
    let tag = response.get(ETAG).map(HeaderValue::as_bytes);
    let modified = response.get(LAST_MODIFIED).and_then(http_time);
    if request.contains_key(IF_MATCH) {
        if !any_tag(request, &IF_MATCH, |given| {
            tag.is_some_and(|tag| strong_match(tag, given))
        }) {
            return Precondition::Failed;
        }
    } else if let (Some(since), Some(modified)) =
        (one_time(request, &IF_UNMODIFIED_SINCE), modified)
        && modified > since
    {
        return Precondition::Failed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let matched = any_tag(request, &IF_NONE_MATCH, |given| {
            tag.is_some_and(|tag| weak_match(tag, given))
        });
        return match (matched, method == Method::GET || method == Method::HEAD) {
            (false, _) => Precondition::Proceed,
            (true, true) => Precondition::NotModified,
            (true, false) => Precondition::Failed,
        };
    }
    if (method == Method::GET || method == Method::HEAD)
        && let (Some(since), Some(modified)) = (one_time(request, &IF_MODIFIED_SINCE), modified)
        && modified <= since
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// The conditions we send to the origin to validate a stored response
/// (RFC 9111, section 4.3.1). Empty when it has no validator.
pub fn validators(stored: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut conditions = Vec::new();
    if let Some(tag) = stored.get(ETAG) {
        conditions.push((IF_NONE_MATCH, tag.clone()));
    }
    if let Some(modified) = stored.get(LAST_MODIFIED)
        && http_time(modified).is_some()
    {
        conditions.push((IF_MODIFIED_SINCE, modified.clone()));
    }
    conditions
}

/// Updates stored fields from a 304 (RFC 9111, section 3.2): every field it
/// carries replaces the stored one, except those that describe the body we
/// hold or the connection it came over.
pub(crate) fn refresh(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let keeps = |name: &HeaderName| {
        [
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_RANGE,
            TRANSFER_ENCODING,
            CONNECTION,
        ]
        .contains(name)
    };
    let mut fields = stored.clone();
    for name in update.keys().filter(|name| !keeps(name)) {
        fields.remove(name);
        for value in update.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// Whether a 304 speaks of the response we hold (section 4.3.4): a tag it
/// carries must be ours.
pub(crate) fn speaks_of(stored: &HeaderMap, update: &HeaderMap) -> bool {
    match (update.get(ETAG), stored.get(ETAG)) {
        (Some(said), Some(held)) => weak_match(said.as_bytes(), held.as_bytes()),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Strong comparison (RFC 9110, section 8.8.3.2).
pub(crate) fn strong_match(a: &[u8], b: &[u8]) -> bool {
    !a.starts_with(b"W/") && !b.starts_with(b"W/") && a == b
}

fn weak_match(a: &[u8], b: &[u8]) -> bool {
    opaque(a) == opaque(b)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether `*` or any tag of a list field satisfies `wanted`.
fn any_tag(request: &HeaderMap, name: &HeaderName, wanted: impl Fn(&[u8]) -> bool) -> bool {
    request
        .get_all(name)
        .iter()
        .flat_map(|line| Tags(line.as_bytes()))
        .any(|tag| tag == b"*" || wanted(tag))
}

/// The members of a list of entity tags; commas inside quotes belong to a tag.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let mut quoted = false;
            let end = self.0.iter().position(|byte| {
                if *byte == b'"' {
                    quoted = !quoted;
                }
                *byte == b',' && !quoted
            });
            let (item, rest, last) = match end {
                Some(at) => (&self.0[..at], &self.0[at + 1..], false),
                None => (self.0, &self.0[self.0.len()..], true),
            };
            self.0 = rest;
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
            if last {
                return None;
            }
        }
    }
}

fn one_time(request: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    crate::freshness::http_date(request, name.clone())
}

/// A date field's value in any of the three forms.
pub(crate) fn http_time(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 12:00:01 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 11:59:59 GMT";

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn conditions_in_the_order_of_the_rfc() {
        use Precondition::{Failed, NotModified, Proceed};
        let response = map(&[("etag", "\"a\""), ("last-modified", NOON)]);
        for (request, wanted) in [
            (&[][..], Proceed),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\", \"a\"")], NotModified),
            (
                &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
                NotModified,
            ),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b,\\\"a\"")], Proceed),
            (&[("if-none-match", "a")], Proceed),
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", LATER)],
                Proceed,
            ),
            (&[("if-modified-since", NOON)], NotModified),
            (&[("if-modified-since", LATER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (
                &[("if-modified-since", "Sunday, 06-Nov-94 12:00:00 GMT")],
                NotModified,
            ),
            (&[("if-modified-since", "rubbish")], Proceed),
            (&[("if-match", "\"a\"")], Proceed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"b\"")], Failed),
            (
                &[("if-match", "\"a\""), ("if-none-match", "\"a\"")],
                NotModified,
            ),
            (&[("if-unmodified-since", NOON)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
        ] {
            assert_eq!(
                precondition(&Method::GET, &map(request), &response),
                wanted,
                "{request:?}"
            );
        }
    }

    #[test]
    fn a_304_updates_what_it_carries_and_nothing_about_the_body() {
        let stored = map(&[
            ("content-length", "5"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-b", "old"),
            ("etag", "\"a\""),
        ]);
        let update = map(&[
            ("content-length", "0"),
            ("x-a", "3"),
            ("cache-control", "max-age=9"),
        ]);
        let got = refresh(&stored, &update);
        assert_eq!(got["content-length"], "5");
        assert_eq!(got.get_all("x-a").iter().collect::<Vec<_>>(), ["3"]);
        assert_eq!(got["x-b"], "old");
        assert_eq!(got["cache-control"], "max-age=9");
    }

    #[test]
    fn a_304_with_somebody_elses_tag_is_not_ours() {
        let stored = map(&[("etag", "\"a\"")]);
        assert!(speaks_of(&stored, &map(&[("etag", "W/\"a\"")])));
        assert!(speaks_of(&stored, &map(&[])));
        assert!(!speaks_of(&stored, &map(&[("etag", "\"b\"")])));
    }
}
