//! A part of an object, as asked for: RFC 9110, section 14.1.2.
//! Pure arithmetic; whether a range applies at all is decided in `conditions.rs`.

use std::ops::Range;

/// The part of an object a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From this offset to the end.
    From(u64),
    /// From the first to the last offset, both included.
    FromTo(u64, u64),
    /// The last so many bytes.
    Last(u64),
}

impl Span {
    /// The offsets this means for an object of `size` bytes; `None` when there
    /// is no byte in it.
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Span::From(first) => first..size,
            Span::FromTo(first, last) => first..size.min(last.saturating_add(1)),
            Span::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }

    /// Reads a `Range` header. `None` for what a server may ignore: another
    /// unit, bad syntax, or more than one range.
    pub fn parse(header: &str) -> Option<Span> {
        let (unit, set) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(Span::FromTo(first, last)),
            (Some(first), None) if last.is_empty() => Some(Span::From(first)),
            (None, Some(count)) if first.is_empty() => Some(Span::Last(count)),
            _ => None,
        }
    }
}

/// Digits only; a number too large for us is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers_are_read_or_ignored() {
        let cases = [
            ("bytes=0-0", Some(Span::FromTo(0, 0))),
            ("bytes=5-", Some(Span::From(5))),
            ("bytes=-5", Some(Span::Last(5))),
            ("Bytes= 1-2 ", Some(Span::FromTo(1, 2))),
            (
                "bytes=0-99999999999999999999999",
                Some(Span::FromTo(0, u64::MAX)),
            ),
            ("bytes=2-1", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("lines=0-1", None),
            ("0-1", None),
        ];
        for (header, want) in cases {
            assert_eq!(Span::parse(header), want, "{header}");
        }
    }

    #[test]
    fn spans_resolve_against_the_size() {
        let cases = [
            (Span::From(0), 10, Some(0..10)),
            (Span::From(9), 10, Some(9..10)),
            (Span::From(10), 10, None),
            (Span::FromTo(2, 4), 10, Some(2..5)),
            (Span::FromTo(2, u64::MAX), 10, Some(2..10)),
            (Span::FromTo(10, 20), 10, None),
            (Span::Last(3), 10, Some(7..10)),
            (Span::Last(30), 10, Some(0..10)),
            (Span::Last(0), 10, None),
            (Span::From(0), 0, None),
        ];
        for (span, size, want) in cases {
            assert_eq!(span.resolve(size), want, "{span:?} of {size}");
        }
    }
}
