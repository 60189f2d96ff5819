//! Which paths a route answers: `/a` exactly, `/a/*` by what comes first,
//! `*.jpg` by what comes last. There are no other stars.

use serde_json::{Value as Json, json};

use super::{Why, Word};

/// Longest pattern, in bytes.
const PATTERN_MAX: usize = 1024;

/// A pattern over the path of a request, query excluded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path and no other.
    Exact(String),
    /// Every path that starts with this.
    Prefix(String),
    /// Every path that ends with this.
    Suffix(String),
}

impl PathPattern {
    /// `/*`, which takes every path.
    pub fn any() -> Self {
        Self::Prefix("/".into())
    }

    /// Does the path fit? Compared byte by byte, upper and lower case apart.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(whole) => path == whole,
            Self::Prefix(start) => path.starts_with(start.as_str()),
            Self::Suffix(end) => path.ends_with(end.as_str()),
        }
    }

    /// Takes every path that `other` takes, so a later route with `other` is never reached.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(mine), Self::Exact(theirs)) => mine == theirs,
            (Self::Prefix(mine), Self::Exact(theirs) | Self::Prefix(theirs)) => {
                theirs.starts_with(mine.as_str())
            }
            (Self::Suffix(mine), Self::Exact(theirs) | Self::Suffix(theirs)) => {
                theirs.ends_with(mine.as_str())
            }
            (Self::Prefix(mine), Self::Suffix(_)) => mine == "/",
            _ => false,
        }
    }
}

impl Word for PathPattern {
    const WANTS: &'static str = "a path pattern";

    fn parse(text: &str) -> Result<Self, Why> {
        if text.len() > PATTERN_MAX {
            return Err("that is too long".into());
        }
        if text == "*" {
            return Err("every path is \"/*\"".into());
        }
        if text.contains(['?', '#']) {
            return Err("a pattern sees the path only, no query".into());
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("write spaces and letters outside ASCII as %XX".into());
        }
        let (pattern, rest) = if let Some(end) = text.strip_prefix('*') {
            (Self::Suffix(end.to_owned()), end)
        } else if let Some(start) = text.strip_suffix('*') {
            (Self::Prefix(start.to_owned()), start)
        } else {
            (Self::Exact(text.to_owned()), text)
        };
        if rest.contains('*') {
            return Err("a star stands only at the end or at the start".into());
        }
        if !matches!(pattern, Self::Suffix(_)) && !rest.starts_with('/') {
            return Err("a path starts with /".into());
        }
        Ok(pattern)
    }

    fn text(&self) -> String {
        match self {
            Self::Exact(whole) => whole.clone(),
            Self::Prefix(start) => format!("{start}*"),
            Self::Suffix(end) => format!("*{end}"),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(/[^*?#]*\\*?|\\*[^*?#]+)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_by_its_start_its_end_or_whole() {
        let table = [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/static/*", "/static/", true),
            ("/static/*", "/static/x/y", true),
            ("/static/*", "/static", false),
            ("/static*", "/static", true),
            ("/static*", "/statics", true),
            ("/*", "/", true),
            ("/*", "*", false),
            ("*.jpg", "/a/b.jpg", true),
            ("*.jpg", "/.jpg", true),
            ("*.jpg", "/a.jpg/b", false),
            ("*/feed", "/blog/feed", true),
        ];
        for (pattern, path, fits) in table {
            assert_eq!(
                PathPattern::parse(pattern).unwrap().matches(path),
                fits,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_pattern_that_takes_all_of_another_covers_it() {
        let table = [
            ("/*", "/a", true),
            ("/*", "/a/*", true),
            ("/*", "*.jpg", true),
            ("/a/*", "*.jpg", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/b/*", "/a/*", false),
            ("*.jpg", "/x.jpg", true),
            ("*.jpg", "*.min.jpg", true),
            ("*.jpg", "/a/*", false),
            ("/a", "/a", true),
            ("/a", "/a*", false),
        ];
        for (first, second, covered) in table {
            let (mine, theirs) = (
                PathPattern::parse(first).unwrap(),
                PathPattern::parse(second).unwrap(),
            );
            assert_eq!(mine.covers(&theirs), covered, "{first} {second}");
        }
    }

    #[test]
    fn a_pattern_we_cannot_match_is_explained() {
        let table = [
            ("*", "every path is \"/*\""),
            ("/a/*/b", "a star stands only at the end or at the start"),
            ("*a*", "a star stands only at the end or at the start"),
            ("static/*", "a path starts with /"),
            ("", "a path starts with /"),
            ("/a?b=c", "a pattern sees the path only, no query"),
            ("/a b", "write spaces and letters outside ASCII as %XX"),
        ];
        for (text, why) in table {
            assert_eq!(PathPattern::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
