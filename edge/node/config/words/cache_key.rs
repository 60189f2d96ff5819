//! Words of the cache rules: query parameters, headers and cookies that make
//! a key, and what makes a request bypass the cache.

use http::HeaderName;
use serde_json::{Value as Json, json};

use super::{Why, Word};

/// Longest name of a query parameter or a cookie.
const NAME_MAX: usize = 256;

/// The name of a query parameter, or the start of one when it ends in `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QueryName {
    /// This name.
    Exact(String),
    /// Every name that starts with this.
    Prefix(String),
}

impl QueryName {
    /// Does the name fit? Compared as it stands in the URL.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(whole) => name == whole,
            Self::Prefix(start) => name.starts_with(start.as_str()),
        }
    }
}

impl Word for QueryName {
    const WANTS: &'static str = "the name of a query parameter";

    fn parse(text: &str) -> Result<Self, Why> {
        let (name, prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err("a star stands only at the end".into());
        }
        if text.is_empty() || !parameter(name) {
            return Err(Why::default());
        }
        Ok(match prefix {
            true => Self::Prefix(name.to_owned()),
            false => Self::Exact(name.to_owned()),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Exact(whole) => whole.clone(),
            Self::Prefix(start) => format!("{start}*"),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[^*&=#]*\\*?$", "minLength": 1 })
    }
}

fn parameter(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
    name.len() <= NAME_MAX && name.bytes().all(plain)
}

impl Word for HeaderName {
    const WANTS: &'static str = "the name of a header";

    fn parse(text: &str) -> Result<Self, Why> {
        text.parse().map_err(|_| Why::default())
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" })
    }
}

/// The name of a cookie, RFC 6265 section 4.1.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CookieName(pub String);

impl Word for CookieName {
    const WANTS: &'static str = "the name of a cookie";

    fn parse(text: &str) -> Result<Self, Why> {
        // A cookie's name and a header's name are both the `token` of HTTP,
        // but a cookie's keeps its case.
        match text.len() <= NAME_MAX && text.parse::<HeaderName>().is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(Why::default()),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn schema() -> Json {
        <HeaderName as Word>::schema()
    }
}

/// A request that carries this is not answered from the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// `header:authorization`
    Header(HeaderName),
    /// `cookie:session`
    Cookie(String),
    /// `query:nocache`
    Query(String),
}

impl Word for Bypass {
    const WANTS: &'static str = "header:name, cookie:name or query:name";

    fn parse(text: &str) -> Result<Self, Why> {
        match text.split_once(':') {
            Some(("header", name)) => HeaderName::parse(name).map(Self::Header),
            Some(("cookie", name)) => CookieName::parse(name).map(|name| Self::Cookie(name.0)),
            Some(("query", name)) if !name.is_empty() && parameter(name) => {
                Ok(Self::Query(name.to_owned()))
            }
            _ => Err(Why::default()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(header|cookie|query):.+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_name_may_end_in_a_star() {
        let utm = QueryName::parse("utm_*").unwrap();
        assert!(utm.matches("utm_source") && utm.matches("utm_") && !utm.matches("utm"));
        assert!(QueryName::parse("*").unwrap().matches("anything"));
        for text in ["", "a*b", "a=b", "a&b", "a b"] {
            assert!(QueryName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bypass_names_a_header_a_cookie_or_a_query_parameter() {
        for text in ["header:authorization", "cookie:PHPSESSID", "query:nocache"] {
            assert_eq!(Bypass::parse(text).unwrap().text(), text);
        }
        assert_eq!(Bypass::parse("header:X-A").unwrap().text(), "header:x-a");
        for text in [
            "",
            "authorization",
            "header:",
            "cookie:a b",
            "query:",
            "path:/a",
        ] {
            assert!(Bypass::parse(text).is_err(), "{text}");
        }
    }
}
