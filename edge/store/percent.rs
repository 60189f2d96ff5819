//! Percent-encoding of paths: RFC 3986, section 2.1.

/// `None` for a broken escape or for bytes that are no UTF-8.
pub(crate) fn decode(path: &str) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push((high << 4 | low) as u8);
    }
    String::from_utf8(out).ok()
}

/// A key as a path, with its leading slash. A slash that begins the key is
/// escaped: `//host` would send a browser to another site.
pub(crate) fn encode(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 8);
    out.push('/');
    for (n, b) in key.bytes().enumerate() {
        match b {
            b'/' if n > 0 => out.push('/'),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            _ => {
                let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
                out.extend(['%', digit(b >> 4), digit(b)]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode("a%20b%2520").as_deref(), Some("a b%20"));
        assert_eq!(decode("%C3%BC").as_deref(), Some("ü"));
        for bad in ["%", "%2", "%zz", "%FF", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn encoding_never_leaves_the_site() {
        assert_eq!(encode("a b/ü"), "/a%20b/%C3%BC");
        assert_eq!(encode("/evil.example/x"), "/%2Fevil.example/x");
        assert_eq!(encode("\\evil"), "/%5Cevil");
    }
}
