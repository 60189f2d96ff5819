//! Where a site's content comes from, as written: a name in `[origins]`,
//! `http(s)://host[:port]`, or `store://bucket`.

use std::fmt;

use serde_json::{Value as Json, json};

use super::host_pattern::host;
use super::{Why, Word, choice};
use crate::config::value::is_name;

choice! {
    /// How an origin is spoken to.
    pub enum Protocol {
        /// HTTP/2 where TLS agrees on it, HTTP/1.1 otherwise.
        Auto = "auto",
        /// HTTP/1.1 always.
        Http1 = "http1",
        /// HTTP/2 always; without TLS from the first byte on (h2c).
        Http2 = "http2",
    }
}

/// One server: scheme, host and port, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginUrl {
    /// `https`.
    pub tls: bool,
    /// Lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl OriginUrl {
    fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// Host and port as they stand in a `Host` header: the usual port is left out.
    pub fn authority(&self) -> String {
        match self.port == Self::default_port(self.tls) {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Word for OriginUrl {
    const WANTS: &'static str = "http(s)://host[:port]";

    fn parse(text: &str) -> Result<Self, Why> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(Why::default()),
        };
        if rest.contains(['/', '?', '#']) {
            return Err("an origin has no path; the path of the request is used".into());
        }
        if rest.contains('@') {
            return Err("an origin has no user name".into());
        }
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (rest, None),
        };
        let port = match port {
            None => Self::default_port(tls),
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err("the port is not from 1 to 65535".into()),
                Ok(port) => port,
            },
        };
        let host = host(name)?;
        Ok(Self { tls, host, port })
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^https?://[^/?#@]+$" })
    }
}

/// A host with an optional port, to be sent as `Host` instead of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority(pub String);

impl Word for Authority {
    const WANTS: &'static str = "a host, with a port if it needs one";

    fn parse(text: &str) -> Result<Self, Why> {
        let url = OriginUrl::parse(&format!("http://{text}"))?;
        Ok(Self(url.authority()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A host name without a port, for TLS to ask for and to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(pub String);

impl Word for ServerName {
    const WANTS: &'static str = "a host name";

    fn parse(text: &str) -> Result<Self, Why> {
        host(text).map(Self)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// What a site or a route says about its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginWord {
    /// A name in `[origins]`; whether it is there is checked once all names are known.
    Name(String),
    /// A single server.
    Url(OriginUrl),
    /// A bucket of the bundled store.
    Bucket(String),
}

impl Word for OriginWord {
    const WANTS: &'static str = "an origin";

    fn parse(text: &str) -> Result<Self, Why> {
        match text.split_once("://") {
            None if is_name(text) => Ok(Self::Name(text.to_owned())),
            None => Err("a name in [origins], http(s)://host[:port] or store://bucket".into()),
            Some(("http" | "https", _)) => OriginUrl::parse(text).map(Self::Url),
            Some(("store", bucket)) => self::bucket(bucket).map(Self::Bucket),
            Some(_) => Err("the schemes are http, https and store".into()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Url(url) => url.to_string(),
            Self::Bucket(bucket) => format!("store://{bucket}"),
        }
    }

    fn schema() -> Json {
        let pattern = "^([A-Za-z0-9_-]{1,64}|https?://[^/?#@]+|store://[a-z0-9.-]{3,63})$";
        json!({ "type": "string", "pattern": pattern })
    }
}

/// The rules of S3 for bucket names, as far as they can be told from the name.
fn bucket(name: &str) -> Result<String, Why> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let bytes = name.as_bytes();
    let fits = (3..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| plain(*byte))
        && !name.contains("..");
    match fits {
        true => Ok(name.to_owned()),
        false => Err("a bucket name has 3 to 63 lower-case letters, digits, - and .".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_name_a_server_or_a_bucket() {
        let url = |tls, host: &str, port| {
            let host = host.into();
            OriginWord::Url(OriginUrl { tls, host, port })
        };
        let table = [
            ("app", OriginWord::Name("app".into()), "app"),
            (
                "http://10.0.0.1:8080",
                url(false, "10.0.0.1", 8080),
                "http://10.0.0.1:8080",
            ),
            (
                "https://B.example",
                url(true, "b.example", 443),
                "https://b.example",
            ),
            (
                "https://b.example:443",
                url(true, "b.example", 443),
                "https://b.example",
            ),
            (
                "http://b.example:443",
                url(false, "b.example", 443),
                "http://b.example:443",
            ),
            ("http://[::1]", url(false, "[::1]", 80), "http://[::1]"),
            (
                "http://[::1]:81",
                url(false, "[::1]", 81),
                "http://[::1]:81",
            ),
            (
                "store://www",
                OriginWord::Bucket("www".into()),
                "store://www",
            ),
        ];
        for (text, expected, printed) in table {
            let read = OriginWord::parse(text).unwrap();
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.text(), printed, "{text}");
        }
    }

    #[test]
    fn an_origin_we_cannot_reach_is_explained() {
        let no_path = "an origin has no path; the path of the request is used";
        let port = "the port is not from 1 to 65535";
        let table = [
            ("http://a/", no_path),
            ("http://a/b", no_path),
            ("http://u:p@a", "an origin has no user name"),
            ("http://a:0", port),
            ("http://a:99999", port),
            ("http://a:", port),
            ("ftp://a", "the schemes are http, https and store"),
            (
                "store://UP",
                "a bucket name has 3 to 63 lower-case letters, digits, - and .",
            ),
            (
                "store://a..b",
                "a bucket name has 3 to 63 lower-case letters, digits, - and .",
            ),
            (
                "a.b",
                "a name in [origins], http(s)://host[:port] or store://bucket",
            ),
            (
                "",
                "a name in [origins], http(s)://host[:port] or store://bucket",
            ),
            ("http://", ""),
        ];
        for (text, why) in table {
            assert_eq!(OriginWord::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
