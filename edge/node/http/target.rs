//! What a request is for, brought into one form before anything is decided.
//!
//! The rule, for HTTP/1 and h2 alike: percent-escapes of unreserved characters
//! are decoded and the others written in upper case, bytes that may not stand in
//! a URI are escaped, repeated slashes become one, and dot segments are resolved
//! (RFC 3986, sections 5.2.4 and 6.2.2). `%2F` stays what it is, a character of
//! a segment. Refused are malformed escapes, NUL in any spelling, control bytes,
//! fragments, and paths that climb above the root. What comes out is what is
//! routed, keyed and forwarded. A query is only escaped where it must be.

use super::head::Fault;

/// Normalises `path` (beginning with `/`) with its query, as `(target, path length)`.
pub(crate) fn normal(path: &[u8], query: Option<&[u8]>) -> Result<(String, usize), Fault> {
    let mut target = if path.iter().all(|byte| PLAIN[usize::from(*byte)]) && !has_specials(path) {
        String::from_utf8_lossy(path).into_owned()
    } else {
        resolve(&unescape(path)?)?
    };
    let path_length = target.len();
    if let Some(query) = query {
        target.push('?');
        escape_query(query, &mut target)?;
    }
    Ok((target, path_length))
}

/// Normalises a host with optional port, without the scheme's own port. An
/// empty result is never returned.
pub(crate) fn normal_host(given: &[u8], own_port: u16) -> Result<String, Fault> {
    let text = std::str::from_utf8(given).map_err(|_| Fault::Bad("Host is not ASCII"))?;
    let (name, port) = if text.starts_with('[') {
        let end = text
            .find(']')
            .ok_or(Fault::Bad("Host has no closing bracket"))?;
        (&text[..=end], &text[end + 1..])
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let sound = if let Some(v6) = name.strip_prefix('[') {
        v6.trim_end_matches(']')
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
    } else {
        name.len() <= 255
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !sound || name.is_empty() {
        return Err(Fault::Bad("Host is not a host name"));
    }
    let mut host = name.to_ascii_lowercase();
    if let Some(digits) = port.strip_prefix(':') {
        if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::Bad("Host has a malformed port"));
        }
        if !digits.is_empty() {
            let port: u16 = digits
                .parse()
                .map_err(|_| Fault::Bad("Host has a malformed port"))?;
            if port != own_port {
                host.push(':');
                host.push_str(&port.to_string());
            }
        }
    } else if !port.is_empty() {
        return Err(Fault::Bad("Host has something behind its bracket"));
    }
    Ok(host)
}

/// Bytes of a path that need no thought: unreserved, sub-delims, `:`, `@`, `/`.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/";
    let mut i = 0;
    while i < plain.len() {
        table[plain[i] as usize] = true;
        i += 1;
    }
    table
};

fn has_specials(path: &[u8]) -> bool {
    path.windows(2)
        .any(|two| two[0] == b'/' && matches!(two[1], b'/' | b'.'))
}

/// Decodes what needs no escape, escapes what does.
fn unescape(path: &[u8]) -> Result<String, Fault> {
    let mut out = String::with_capacity(path.len() + 8);
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        at += 1;
        match *byte {
            b'%' => {
                let value = path
                    .get(at..at + 2)
                    .and_then(|two| Some(hex(two[0])? << 4 | hex(two[1])?))
                    .ok_or(Fault::Bad("malformed percent-escape in the path"))?;
                at += 2;
                match value {
                    0 => return Err(Fault::Bad("NUL in the path")),
                    value if unreserved(value) => out.push(value as char),
                    value => push_escape(&mut out, value),
                }
            }
            0x00..=0x20 | 0x7f => return Err(Fault::Bad("control byte or space in the path")),
            b'#' => return Err(Fault::Bad("fragment in the request target")),
            byte if PLAIN[usize::from(byte)] => out.push(byte as char),
            byte => push_escape(&mut out, byte),
        }
    }
    Ok(out)
}

/// Merges slashes and resolves `.` and `..`.
fn resolve(path: &str) -> Result<String, Fault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop()
                    .ok_or(Fault::Bad("the path climbs above its root"))?;
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        out.push('/');
    }
    Ok(out)
}

fn escape_query(query: &[u8], out: &mut String) -> Result<(), Fault> {
    for byte in query {
        match *byte {
            0x00..=0x20 | 0x7f => return Err(Fault::Bad("control byte or space in the query")),
            b'#' => return Err(Fault::Bad("fragment in the request target")),
            b'?' | b'%' => out.push(*byte as char),
            byte if PLAIN[usize::from(byte)] => out.push(byte as char),
            byte => push_escape(out, byte),
        }
    }
    Ok(())
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)] as char);
    out.push(DIGITS[usize::from(byte & 15)] as char);
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_into_one_form() {
        for (given, wanted) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("//a///b//", Some("/a/b/")),
            ("/a/./b/../c", Some("/a/c")),
            ("/a/..", Some("/")),
            ("/a/.", Some("/a/")),
            ("/%2e%2E/x", None),
            ("/a/%2e%2e/x", Some("/x")),
            ("/..", None),
            ("/a/../../b", None),
            ("/.hidden/...", Some("/.hidden/...")),
            ("/%41%7e%2f%3f", Some("/A~%2F%3F")),
            ("/%c3%a9", Some("/%C3%A9")),
            ("/é", Some("/%C3%A9")),
            ("/a\\b|{}", Some("/a%5Cb%7C%7B%7D")),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%00", None),
            ("/a#b", None),
            ("/a\tb", None),
            ("/a;p=1,2'(x)*$&+=:@!", Some("/a;p=1,2'(x)*$&+=:@!")),
        ] {
            let got = normal(given.as_bytes(), None)
                .ok()
                .map(|(target, _)| target);
            assert_eq!(got.as_deref(), wanted, "{given}");
        }
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        for given in ["/a/%2F%25/é?x", "//a/./b", "/%7E/%5c/"] {
            let (once, _) = normal(given.as_bytes(), None).unwrap_or_default();
            let (twice, _) = normal(once.as_bytes(), None).unwrap_or_default();
            assert_eq!(once, twice);
        }
    }

    #[test]
    fn queries_are_escaped_and_otherwise_left_alone() {
        let got = normal(b"/a", Some(b"b=%zz&c=//../\"\xc3?"));
        assert_eq!(got.unwrap_or_default().0, "/a?b=%zz&c=//../%22%C3?");
        assert!(normal(b"/a", Some(b"b#c")).is_err());
    }

    #[test]
    fn hosts_come_into_one_form() {
        for (given, wanted) in [
            ("Example.COM", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("example.com:80", Some("example.com")),
            ("example.com:", Some("example.com")),
            ("example.com:8080", Some("example.com:8080")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]:81", Some("[::1]:81")),
            ("127.0.0.1:09", Some("127.0.0.1:9")),
            ("", None),
            (".", None),
            (":80", None),
            ("a b", None),
            ("u@h", None),
            ("h:8a", None),
            ("h:99999", None),
            ("h:1:2", None),
            ("[::1", None),
            ("[::g]", None),
            ("[::1]x", None),
            ("h/x", None),
            ("exa%6dple.com", None),
        ] {
            let got = normal_host(given.as_bytes(), 80).ok();
            assert_eq!(got.as_deref(), wanted, "{given}");
        }
    }
}
