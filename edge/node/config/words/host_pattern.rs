//! Which hosts a site answers: `example.com`, `*.example.com`, or `*` for all.
//! Matching them against a request is the router's business.

use serde_json::{Value as Json, json};

use super::{Why, Word};

/// Longest host name, RFC 1035 section 2.3.4.
const HOST_MAX: usize = 253;

/// A pattern over the host of a request. Lower case, without a port or a final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: every host no other site takes.
    Any,
    /// This host and no other.
    Exact(String),
    /// `*.example.com`, held as `example.com`: every host below it, not the host itself.
    Wildcard(String),
}

impl Word for HostPattern {
    const WANTS: &'static str = "a host name";

    fn parse(text: &str) -> Result<Self, Why> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(suffix) => host(suffix).map(Self::Wildcard),
            None => host(text).map(Self::Exact),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "*".into(),
            Self::Exact(name) => name.clone(),
            Self::Wildcard(suffix) => format!("*.{suffix}"),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(\\*|(\\*\\.)?[A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])$" })
    }
}

/// A host without a port: lower case, no final dot. Also used for origins.
pub fn host(text: &str) -> Result<String, Why> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: std::net::Ipv6Addr = inner.parse().map_err(|_| Why::default())?;
        return Ok(format!("[{address}]"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.contains("://") || name.contains('/') {
        return Err("only the host, no scheme and no path".into());
    }
    if name.contains(':') {
        return Err("a host has no port".into());
    }
    if name.contains('*') {
        return Err("a star stands alone or for the first label, as in \"*.example.com\"".into());
    }
    if !name.is_ascii() {
        return Err("write names outside ASCII in their xn-- form".into());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    match name.len() <= HOST_MAX && name.split('.').all(label) {
        true => Ok(name),
        false => Err(Why::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_in_lower_case_without_a_final_dot() {
        let exact = |name: &str| HostPattern::Exact(name.into());
        let table = [
            ("*", HostPattern::Any),
            ("Example.COM.", exact("example.com")),
            ("*.Example.com", HostPattern::Wildcard("example.com".into())),
            ("localhost", exact("localhost")),
            ("127.0.0.1", exact("127.0.0.1")),
            ("[0:0::1]", exact("[::1]")),
            ("xn--bcher-kva.example", exact("xn--bcher-kva.example")),
        ];
        for (text, expected) in table {
            assert_eq!(HostPattern::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_host_nobody_can_ask_for_is_explained() {
        let star = "a star stands alone or for the first label, as in \"*.example.com\"";
        let table = [
            ("example.com:80", "a host has no port"),
            ("http://example.com", "only the host, no scheme and no path"),
            ("example.com/a", "only the host, no scheme and no path"),
            ("www.*.com", star),
            ("*example.com", star),
            (
                "bücher.example",
                "write names outside ASCII in their xn-- form",
            ),
            ("", ""),
            ("a..b", ""),
            ("[::g]", ""),
        ];
        for (text, why) in table {
            assert_eq!(HostPattern::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
