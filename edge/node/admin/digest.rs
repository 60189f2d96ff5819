//! `Content-MD5`: sixteen bytes in base64 (RFC 1864).

/// `None` when it is not exactly that.
pub(super) fn content_md5(text: &str) -> Option<[u8; 16]> {
    let digits = text.trim().strip_suffix("==")?.as_bytes();
    if digits.len() != 22 {
        return None;
    }
    // 22 digits of 6 bits: 16 bytes, and 4 bits that must be zero.
    let mut bits = 0_u128;
    let (last, all_but_last) = digits.split_last()?;
    for digit in all_but_last {
        bits = bits << 6 | u128::from(value(*digit)?);
    }
    let last = value(*last)?;
    if last & 0b1111 != 0 {
        return None;
    }
    Some((bits << 2 | u128::from(last >> 4)).to_be_bytes())
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_or_refused() {
        for (text, hex) in [
            (
                "1B2M2Y8AsgTpgAmY7PhCfg==",
                Some("d41d8cd98f00b204e9800998ecf8427e"),
            ),
            (
                " XUFAKrxLKna5cZ2REBfFkg== ",
                Some("5d41402abc4b2a76b9719d911017c592"),
            ),
            (
                "AAAAAAAAAAAAAAAAAAAAAA==",
                Some("00000000000000000000000000000000"),
            ),
            (
                "/////////////////////w==",
                Some("ffffffffffffffffffffffffffffffff"),
            ),
            ("/////////////////////x==", None),
            ("1B2M2Y8AsgTpgAmY7PhCfg=", None),
            ("1B2M2Y8AsgTpgAmY7PhCf===", None),
            ("1B2M2Y8AsgTpgAmY7Ph_fg==", None),
            ("d41d8cd98f00b204e9800998ecf8427e", None),
            ("", None),
        ] {
            assert_eq!(content_md5(text).map(hex::encode).as_deref(), hex, "{text}");
        }
    }
}
