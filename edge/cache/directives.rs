//! Reads `Cache-Control` of a response. RFC 9111, section 5.2.2; RFC 5861; RFC 8246.
//!
//! Lenient about what can be read in one way only, and conservative where a
//! value cannot be read: a malformed number of seconds counts as 0, two that
//! differ count as the smaller (section 4.2.1: in doubt, stale).

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// The largest number of seconds kept: larger ones and overflows mean this
/// (RFC 9111, section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// The directives of a response's `Cache-Control`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache` without field names: validate before each use.
    pub no_cache: bool,
    /// Fields named by `no-cache="…"`: not to be reused without validation.
    pub no_cache_fields: Vec<String>,
    /// `private` without field names.
    pub private: bool,
    /// Fields named by `private="…"`: not for a shared cache.
    pub private_fields: Vec<String>,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `max-age`, seconds.
    pub max_age: Option<u64>,
    /// `s-maxage`, seconds.
    pub s_maxage: Option<u64>,
}

impl Directives {
    /// Reads every `Cache-Control` line of `headers`.
    pub fn read(headers: &HeaderMap) -> Directives {
        let mut all = Directives::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for item in Items(line.as_bytes()) {
                all.take(item);
            }
        }
        all
    }

    fn take(&mut self, item: &[u8]) {
        let (name, value) = match item.iter().position(|byte| *byte == b'=') {
            Some(at) => (&item[..at], Some(&item[at + 1..])),
            None => (item, None),
        };
        let mut lower = [0_u8; 24];
        let name = name.trim_ascii();
        let Some(lower) = lower.get_mut(..name.len()) else {
            return; // Longer than any directive we know.
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"no-store" => self.no_store = true,
            b"no-cache" => match fields(value) {
                Some(names) => self.no_cache_fields.extend(names),
                None => self.no_cache = true,
            },
            b"private" => match fields(value) {
                Some(names) => self.private_fields.extend(names),
                None => self.private = true,
            },
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"max-age" => self.max_age = Some(smaller(self.max_age, seconds(value))),
            b"s-maxage" => self.s_maxage = Some(smaller(self.s_maxage, seconds(value))),
            _ => {}
        }
    }
}

fn smaller(before: Option<u64>, now: u64) -> u64 {
    before.map_or(now, |before| before.min(now))
}

/// Digits only, possibly quoted; anything else is 0.
fn seconds(value: Option<&[u8]>) -> u64 {
    let Some(value) = value.map(unquote) else {
        return 0;
    };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    value.iter().fold(0_u64, |sum, digit| {
        (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)
    })
}

/// Field names of `private="a, b"`; `None` when there are none, so that an
/// empty or malformed list means the directive without a list.
fn fields(value: Option<&[u8]>) -> Option<Vec<String>> {
    let text = std::str::from_utf8(unquote(value?)).ok()?;
    let names: Vec<String> = text
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let sound = names
        .iter()
        .all(|name| http::HeaderName::from_bytes(name.as_bytes()).is_ok());
    (sound && !names.is_empty()).then_some(names)
}

fn unquote(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// Splits a list at commas that are not inside a quoted string.
pub(crate) struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let mut quoted = false;
            let mut escaped = false;
            let end = self.0.iter().position(|byte| {
                if escaped {
                    escaped = false;
                    return false;
                }
                match byte {
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b',' => return !quoted,
                    _ => {}
                }
                false
            });
            let (item, rest) = match end {
                Some(at) => (&self.0[..at], &self.0[at + 1..]),
                None => (self.0, &self.0[self.0.len()..]),
            };
            self.0 = rest;
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        Directives::read(&headers)
    }

    #[test]
    fn seconds_are_read_or_count_as_none_left() {
        for (line, wanted) in [
            ("max-age=60", 60),
            ("MAX-AGE=60", 60),
            ("max-age=\"60\"", 60),
            (" max-age = 60 ", 60),
            ("max-age=060", 60),
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age='60'", 0),
            ("max-age=60s", 0),
            ("max-age=60, max-age=30", 30),
            ("max-age=99999999999999999999999", SECONDS_MAX),
        ] {
            assert_eq!(read(&[line]).max_age, Some(wanted), "{line}");
        }
    }

    #[test]
    fn quoted_commas_do_not_split_and_lines_add_up() {
        let got = read(&[
            r#"x="a, no-store", private="set-cookie, x-user""#,
            "s-maxage=5",
        ]);
        assert!(!got.no_store && !got.private);
        assert_eq!(got.private_fields, ["set-cookie", "x-user"]);
        assert_eq!(got.s_maxage, Some(5));
    }

    #[test]
    fn a_list_that_names_nothing_means_the_whole_response() {
        assert!(read(&["private=\"\""]).private);
        assert!(read(&["no-cache=\"a b\""]).no_cache);
        assert!(read(&["no-cache"]).no_cache);
    }
}
