//! What to send of an object: RFC 9110, section 13 (conditional requests, in
//! the order of 13.2.2) and section 14 (one range; several are ignored).
//! Pure: headers and what is known about the object in, a verdict out.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, Method};

use crate::row::Info;
use crate::span::Span;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 200.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    NoSuchRange,
}

/// For GET and HEAD.
pub(crate) fn judge(method: &Method, headers: &HeaderMap, info: &Info) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, &info.etag, Weak::No) {
            return Verdict::PreconditionFailed;
        }
    } else if date(headers, IF_UNMODIFIED_SINCE).is_some_and(|since| info.last_modified > since) {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if lists(headers, IF_NONE_MATCH, &info.etag, Weak::Yes) {
            return Verdict::NotModified;
        }
    } else if date(headers, IF_MODIFIED_SINCE).is_some_and(|since| info.last_modified <= since) {
        return Verdict::NotModified;
    }
    // Ranges mean something for GET only (section 14.2).
    let range = headers.get(RANGE).filter(|_| method == Method::GET);
    let span = range.and_then(|range| Span::parse(range.to_str().ok()?));
    match span {
        Some(span) if range_applies(headers, info) => match span.resolve(info.size) {
            Some(range) => Verdict::Part(range),
            None => Verdict::NoSuchRange,
        },
        _ => Verdict::Whole,
    }
}

/// `If-Range` (section 13.1.5): a strong entity tag or the exact date.
fn range_applies(headers: &HeaderMap, info: &Info) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(etag) => etag == info.etag,
        None => httpdate::parse_http_date(value).is_ok_and(|date| date == info.last_modified),
    }
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// May a weak tag match?
#[derive(Clone, Copy, PartialEq)]
enum Weak {
    Yes,
    No,
}

/// Does a list of entity tags (or `*`) name this one?
fn lists(headers: &HeaderMap, name: HeaderName, etag: &str, weak: Weak) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.trim() == "*" || tags(list).any(|tag| tag.matches(etag, weak)))
}

struct Tag<'a> {
    opaque: &'a str,
    weak: bool,
}

impl Tag<'_> {
    fn matches(&self, etag: &str, weak: Weak) -> bool {
        self.opaque == etag && (!self.weak || weak == Weak::Yes)
    }
}

/// The tags of a list, up to the first thing that is none.
fn tags(list: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (opaque, after) = opened.split_once('"')?;
        rest = after;
        Some(Tag { opaque, weak })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const EXACTLY: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    fn info() -> Info {
        Info {
            etag: "abc".into(),
            size: 10,
            last_modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            content_type: None,
            cache_control: None,
            content_encoding: None,
            metadata: Vec::new(),
        }
    }

    #[test]
    fn conditions_are_weighed_in_the_order_of_the_rfc() {
        use Verdict::*;
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Whole),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x,y\", \"abc\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"abd\"")], Whole),
            (&[("if-none-match", "abc")], Whole),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")],
                NotModified,
            ),
            (&[("if-modified-since", EXACTLY)], NotModified),
            (&[("if-modified-since", BEFORE)], Whole),
            (&[("if-modified-since", "yesterday")], Whole),
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", EXACTLY)],
                Whole,
            ),
            (&[("if-match", "\"abc\"")], Whole),
            (&[("if-match", "W/\"abc\"")], PreconditionFailed),
            (&[("if-match", "*")], Whole),
            (&[("if-match", "\"x\"")], PreconditionFailed),
            (&[("if-unmodified-since", BEFORE)], PreconditionFailed),
            (&[("if-unmodified-since", EXACTLY)], Whole),
            (
                &[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)],
                Whole,
            ),
            (&[("range", "bytes=2-3")], Part(2..4)),
            (&[("range", "bytes=10-")], NoSuchRange),
            (&[("range", "bytes=0-1,4-5")], Whole),
            (
                &[("range", "bytes=2-3"), ("if-range", "\"abc\"")],
                Part(2..4),
            ),
            (&[("range", "bytes=2-3"), ("if-range", "W/\"abc\"")], Whole),
            (&[("range", "bytes=2-3"), ("if-range", "\"x\"")], Whole),
            (&[("range", "bytes=2-3"), ("if-range", EXACTLY)], Part(2..4)),
            (&[("range", "bytes=2-3"), ("if-range", BEFORE)], Whole),
            (
                &[("range", "bytes=2-3"), ("if-none-match", "\"abc\"")],
                NotModified,
            ),
        ];
        for (headers, want) in cases {
            let mut all = HeaderMap::new();
            for (name, value) in headers.iter() {
                all.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            assert_eq!(judge(&Method::GET, &all, &info()), *want, "{headers:?}");
        }
    }

    #[test]
    fn head_ignores_ranges() {
        let headers = HeaderMap::from_iter([(RANGE, "bytes=2-3".parse().unwrap())]);
        assert_eq!(judge(&Method::HEAD, &headers, &info()), Verdict::Whole);
    }
}
