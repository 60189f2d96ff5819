//! URLs as operators write them, brought into the form everything is stored
//! under: the same one `http/target.rs` brings requests into.

use crate::http::head::Fault;
use crate::http::target;
use std::borrow::Cow;

/// A URL taken apart and not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Host and port.
    pub(super) authority: &'a str,
    /// Path and query, at least `/`.
    pub(super) target: Cow<'a, str>,
}

impl Parts<'_> {
    /// Takes an `http` or `https` URL apart. The error says what it is instead.
    pub(super) fn of(text: &str) -> Result<Parts<'_>, &'static str> {
        const WANTED: &str = "not a URL that begins with http:// or https://";
        let (scheme, rest) = text.split_once("://").ok_or(WANTED)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err(WANTED),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        Ok(Parts {
            scheme,
            authority,
            target: match target.starts_with('/') {
                true => Cow::Borrowed(target),
                false => Cow::Owned(format!("/{target}")),
            },
        })
    }

    /// The port that goes without saying.
    pub(super) fn own_port(&self) -> u16 {
        match self.scheme {
            "https" => 443,
            _ => 80,
        }
    }
}

/// A normalised URL. The scheme has done its work: it said which port goes
/// without saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: String,
    /// Path and query.
    pub(super) target: String,
    path_length: usize,
}

impl Url {
    /// Reads a URL. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Url, &'static str> {
        let parts = Parts::of(text)?;
        let (path, query) = match parts.target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (&*parts.target, None),
        };
        let host = target::normal_host(parts.authority.as_bytes(), parts.own_port());
        let normal = target::normal(path.as_bytes(), query).map_err(Fault::words)?;
        Ok(Url {
            host: host.map_err(Fault::words)?,
            target: normal.0,
            path_length: normal.1,
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.target[..self.path_length]
    }

    pub(super) fn has_query(&self) -> bool {
        self.target.len() > self.path_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_brought_into_the_form_of_requests() {
        for (given, wanted) in [
            ("http://example.com/a", Some(("example.com", "/a"))),
            (
                "HTTP://Example.COM:80/%41//b?q=%41",
                Some(("example.com", "/A/b?q=%41")),
            ),
            ("http://example.com:443", Some(("example.com:443", "/"))),
            ("https://example.com:443?x", Some(("example.com", "/?x"))),
            ("https://[::1]:80/", Some(("[::1]:80", "/"))),
            ("example.com/a", None),
            ("ftp://example.com/a", None),
            ("/a", None),
            ("", None),
            ("http://", None),
            ("http:///a", None),
            ("http://user@example.com/", None),
            ("http://example.com/a#b", None),
            ("http://example.com#b", None),
            ("http://example.com/a b", None),
            ("http://example.com/../a", None),
            ("http://example.com/%zz", None),
        ] {
            let got = Url::parse(given).ok();
            let got = got.as_ref().map(|url| (&*url.host, &*url.target));
            assert_eq!(got, wanted, "{given}");
        }
    }
}
