//! The rules for bucket names, object keys and stored header values.
//! Bucket names follow the S3 rules for general purpose buckets.

use std::net::Ipv4Addr;

use http::{HeaderName, HeaderValue};

use crate::error::Error;

/// Longest key, in bytes of UTF-8; the S3 limit.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// Longest stored header value, in bytes.
const FIELD_BYTES_MAX: usize = 1024;

pub(crate) fn check_bucket(name: &str) -> Result<(), Error> {
    let why = if !(3..=63).contains(&name.len()) {
        "it must have 3 to 63 characters"
    } else if !name.bytes().all(is_bucket_byte) {
        "only a-z, 0-9, `-` and `.` are allowed"
    } else if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
        "it must begin and end with a letter or a digit"
    } else if name.contains("..") {
        "two dots may not follow each other"
    } else if name.parse::<Ipv4Addr>().is_ok() {
        "it may not look like an IP address"
    } else if name.starts_with("xn--") || name.ends_with("-s3alias") {
        "the prefix `xn--` and the suffix `-s3alias` are reserved"
    } else {
        return Ok(());
    };
    Err(Error::BadBucketName {
        name: name.chars().take(80).collect(),
        why,
    })
}

fn is_bucket_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::BadKey("it is empty")),
        1..=KEY_BYTES_MAX => Ok(()),
        _ => Err(Error::BadKey("it is longer than 1024 bytes")),
    }
}

/// A value that will be sent as a header one day.
pub(crate) fn check_field(field: &str, value: &str) -> Result<(), Error> {
    let why = if value.len() > FIELD_BYTES_MAX {
        "it is longer than 1024 bytes"
    } else if HeaderValue::from_bytes(value.as_bytes()).is_err() {
        "control characters are not allowed"
    } else {
        return Ok(());
    };
    Err(Error::BadField {
        field: field.to_owned(),
        why,
    })
}

pub(crate) fn check_metadata_name(name: &str) -> Result<(), Error> {
    if HeaderName::from_bytes(name.as_bytes()).is_ok_and(|parsed| parsed.as_str() == name) {
        return Ok(());
    }
    Err(Error::BadField {
        field: name.chars().take(80).collect(),
        why: "a metadata name is a header name in small letters",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_s3_rules() {
        let cases = [
            ("www", true),
            ("my.site-1", true),
            ("1a2", true),
            ("ab", false),
            ("a".repeat(64).as_str(), false),
            ("Www", false),
            ("a_b_c", false),
            ("-abc", false),
            ("abc-", false),
            (".abc", false),
            ("a..b", false),
            ("10.0.0.1", false),
            ("xn--abc", false),
            ("abc-s3alias", false),
            ("bücket", false),
            ("", false),
            ("a/b", false),
        ]
        .map(|(name, good)| (name.to_owned(), good));
        for (name, good) in cases {
            assert_eq!(check_bucket(&name).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn keys_are_one_to_1024_bytes() {
        assert!(check_key("").is_err());
        assert!(check_key("a").is_ok());
        assert!(check_key(&"k".repeat(1024)).is_ok());
        assert!(check_key(&"ü".repeat(513)).is_err());
    }

    #[test]
    fn fields_must_be_sendable_as_headers() {
        assert!(check_field("content-type", "text/html; charset=utf-8").is_ok());
        assert!(check_field("content-type", "a\r\nset-cookie: x").is_err());
        assert!(check_field("content-type", &"x".repeat(1025)).is_err());
        assert!(check_metadata_name("owner-id").is_ok());
        assert!(check_metadata_name("Owner").is_err());
        assert!(check_metadata_name("a b").is_err());
        assert!(check_metadata_name("").is_err());
    }
}
