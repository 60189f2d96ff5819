//! Percent-escapes of paths and queries, taken off once (RFC 3986, section 2.1).

use super::answer::Refused;

/// `None` for a broken escape or for bytes that are no UTF-8. A plus sign is a
/// plus sign.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => out.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The parameters of a query as (name, value), in order.
pub(super) fn parameters(query: Option<&str>) -> Result<Vec<(String, String)>, Refused> {
    let pairs = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(name)
                .zip(decode(value))
                .ok_or_else(|| Refused::bad(format!("{pair:?} is not properly percent-encoded")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_off_once() {
        for (given, wanted) in [
            ("a%20b%2520", Some("a b%20")),
            ("a%2Fb/c", Some("a/b/c")),
            ("%C3%bc", Some("ü")),
            ("a+b", Some("a+b")),
            ("", Some("")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%FF", None),
        ] {
            assert_eq!(decode(given).as_deref(), wanted, "{given}");
        }
    }

    #[test]
    fn parameters_keep_their_order_and_may_repeat() {
        let got = parameters(Some("a=1&b&&a=%26%3D=")).unwrap();
        let wanted = [("a", "1"), ("b", ""), ("a", "&==")];
        assert!(
            got.iter()
                .map(|(name, value)| (&**name, &**value))
                .eq(wanted),
            "{got:?}"
        );
        assert!(parameters(None).unwrap().is_empty());
        let refused = parameters(Some("url=%zz")).unwrap_err();
        assert!(refused.error.contains("url=%zz"), "{}", refused.error);
    }
}
