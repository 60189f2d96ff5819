//! Which bytes of a body a request wants. RFC 9110, section 14.
//!
//! One range is served; a request for several gets the whole body, which
//! section 14.2 allows. A range that cannot be read is ignored.

use crate::validate::{http_time, strong_match};
use http::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method};

/// The outcome of looking at `Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The whole body.
    Whole,
    /// The bytes `first..=last`.
    Part {
        /// First byte, counted from 0.
        first: u64,
        /// Last byte, inclusive.
        last: u64,
    },
    /// Nothing of it lies in the body: 416.
    Unsatisfiable,
}

/// Chooses the range of a 200 with `response` fields and `bytes` of body.
pub fn choose(method: &Method, request: &HeaderMap, response: &HeaderMap, bytes: u64) -> Range {
    if method != Method::GET {
        return Range::Whole;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Range::Whole;
    };
    let Ok(line) = line.to_str() else {
        return Range::Whole;
    };
    if !if_range_holds(request, response) {
        return Range::Whole;
    }
    parse(line, bytes)
}

fn parse(line: &str, bytes: u64) -> Range {
    let Some((unit, set)) = line.split_once('=') else {
        return Range::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Range::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Range::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => {
            if first >= bytes {
                return Range::Unsatisfiable;
            }
            Range::Part {
                first,
                last: last.min(bytes - 1),
            }
        }
        (Some(first), None) if last.is_empty() => {
            if first >= bytes {
                return Range::Unsatisfiable;
            }
            Range::Part {
                first,
                last: bytes - 1,
            }
        }
        (None, Some(suffix)) if first.is_empty() => {
            if suffix == 0 || bytes == 0 {
                return Range::Unsatisfiable;
            }
            Range::Part {
                first: bytes.saturating_sub(suffix),
                last: bytes - 1,
            }
        }
        _ => Range::Whole,
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a u64 holds lie past the end of any body.
    Some(text.parse().unwrap_or(u64::MAX))
}

/// `If-Range` (section 13.1.5): a strong match of tags, or an exact date.
fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    let bytes = condition.as_bytes();
    if bytes.starts_with(b"\"") || bytes.starts_with(b"W/") {
        return response
            .get(ETAG)
            .is_some_and(|tag| strong_match(tag.as_bytes(), bytes));
    }
    match (
        http_time(condition),
        response.get(LAST_MODIFIED).and_then(http_time),
    ) {
        (Some(asked), Some(modified)) => asked == modified,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, last: u64) -> Range {
        Range::Part { first, last }
    }

    #[test]
    fn every_form_of_a_single_range() {
        for (line, wanted) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=5-", part(5, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=8-99999999999999999999999", part(8, 9)),
            ("Bytes=1-2", part(1, 2)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=10-11", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-2", Range::Whole),
            ("bytes=a-2", Range::Whole),
            ("bytes=1-2,4-5", Range::Whole),
            ("bytes=", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("items=0-1", Range::Whole),
            ("0-1", Range::Whole),
        ] {
            assert_eq!(parse(line, 10), wanted, "{line}");
        }
        assert_eq!(parse("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(parse("bytes=-1", 0), Range::Unsatisfiable);
    }

    #[test]
    fn if_range_wants_a_strong_match() {
        let mut response = HeaderMap::new();
        response.insert(ETAG, "\"a\"".parse().unwrap());
        response.insert(
            LAST_MODIFIED,
            "Sun, 06 Nov 1994 12:00:00 GMT".parse().unwrap(),
        );
        for (condition, holds) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("Sun, 06 Nov 1994 12:00:00 GMT", true),
            ("Sun, 06 Nov 1994 12:00:01 GMT", false),
            ("rubbish", false),
        ] {
            let mut request = HeaderMap::new();
            request.insert(RANGE, "bytes=0-1".parse().unwrap());
            request.insert(IF_RANGE, condition.parse().unwrap());
            let got = choose(&Method::GET, &request, &response, 10);
            assert_eq!(got == part(0, 1), holds, "{condition}");
        }
    }
}
