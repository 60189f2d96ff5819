//! Which of several stored responses under one key fits a request. RFC 9111,
//! section 4.1.
//!
//! A variance keeps the request fields that the response named, as the request
//! had them: lines joined, whitespace around commas dropped. Two requests match
//! when all of these are equal.

use http::header::{GetAll, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// How many field names of a `Vary` are looked at; a longer list varies on
/// nearly everything, and is treated as `*`.
const NAMES_MAX: usize = 16;

/// The request fields a stored response was chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Variance(Vec<(HeaderName, String)>);

impl Variance {
    /// The variance of a response to `request`.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap) -> Variance {
        let mut names: Vec<HeaderName> = members(response.get_all(VARY))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Variance(
            names
                .into_iter()
                .map(|name| {
                    let value = normal(request, &name);
                    (name, value)
                })
                .collect(),
        )
    }

    /// Whether a response with this variance fits `request`.
    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        self.0
            .iter()
            .all(|(name, value)| normal(request, name) == *value)
    }

    /// Whether two requests would be given the same variant, as far as this
    /// variance tells.
    pub(crate) fn agree(&self, one: &HeaderMap, other: &HeaderMap) -> bool {
        self.0
            .iter()
            .all(|(name, _)| normal(one, name) == normal(other, name))
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum()
    }
}

/// `Vary: *` in any of its spellings, or a list too long to follow.
pub(crate) fn is_star(lines: GetAll<'_, HeaderValue>) -> bool {
    let mut count = 0;
    members(lines).any(|name| {
        count += 1;
        name == "*" || count > NAMES_MAX
    })
}

fn members<'a>(lines: GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a str> {
    lines
        .into_iter()
        .map(|line| line.to_str().unwrap_or("*"))
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// All lines of a field joined, without the whitespace that means nothing.
/// A missing field and an empty one differ: `\0` cannot stand in a value.
fn normal(request: &HeaderMap, name: &HeaderName) -> String {
    let mut joined = String::new();
    let mut lines = request.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return "\0".to_owned();
    }
    for line in lines {
        let text = String::from_utf8_lossy(line.as_bytes());
        for member in text.split(',').map(str::trim) {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(member);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn star_is_seen_in_every_spelling() {
        for lines in [&["*"][..], &["accept, *"], &["accept", " * "], &[",*,"]] {
            let headers = map(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>());
            assert!(is_star(headers.get_all(VARY)), "{lines:?}");
        }
        assert!(!is_star(map(&[("vary", "x-star*")]).get_all(VARY)));
    }

    #[test]
    fn requests_match_when_every_named_field_is_equal() {
        let got = map(&[
            ("vary", "Accept-Language"),
            ("vary", "X-A, accept-language"),
        ]);
        let asked = map(&[("accept-language", "en,  fr"), ("x-a", "1")]);
        let variance = Variance::of(&asked, &got);
        assert!(variance.fits(&map(&[
            ("accept-language", "en"),
            ("accept-language", "fr"),
            ("x-a", "1")
        ])));
        assert!(!variance.fits(&map(&[("accept-language", "fr, en"), ("x-a", "1")])));
        assert!(!variance.fits(&map(&[("accept-language", "en, fr")])));
    }

    #[test]
    fn an_absent_field_is_not_an_empty_one() {
        let variance = Variance::of(&map(&[]), &map(&[("vary", "x-a")]));
        assert!(variance.fits(&map(&[])));
        assert!(!variance.fits(&map(&[("x-a", "")])));
    }
}
