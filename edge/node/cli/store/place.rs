//! Places as they are written on the command line: `store://bucket/key`.

use std::fmt;
use std::str::FromStr;

/// A place in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Never empty; whether it follows the rules is known to the store.
    pub(super) bucket: String,
    /// A key, the beginning of keys, or empty for the bucket as a whole.
    pub(super) key: String,
}

/// A bucket; `store://` may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket(pub(super) String);

const SCHEME: &str = "store://";

impl Place {
    /// Is this meant to be a place in the store?
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The key as that of a folder: empty, or with a slash at its end.
    pub(super) fn folder(&self) -> String {
        match self.key.as_str() {
            "" => String::new(),
            key if key.ends_with('/') => key.to_owned(),
            key => format!("{key}/"),
        }
    }

    /// What stands behind the last slash of the key; `None` when that is nothing, or would lead
    /// out of the folder it is put into.
    pub(super) fn file_name(&self) -> Option<&str> {
        let name = self.key.rsplit('/').next()?;
        (!matches!(name, "" | "." | "..") && !name.contains('\0')).then_some(name)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let wants = || "write it as store://BUCKET/KEY".to_owned();
        let rest = text.strip_prefix(SCHEME).ok_or_else(wants)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wants());
        }
        Ok(Place {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match self.key.as_str() {
            "" => Ok(()),
            key => write!(f, "/{key}"),
        }
    }
}

impl FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Bucket, String> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let name = name.strip_suffix('/').unwrap_or(name);
        match name.is_empty() || name.contains('/') {
            true => Err("write it as store://BUCKET".to_owned()),
            false => Ok(Bucket(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for (text, bucket, key) in [
            ("store://www", "www", ""),
            ("store://www/", "www", ""),
            ("store://www/a/b c", "www", "a/b c"),
            ("store://www//a", "www", "/a"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!((&*place.bucket, &*place.key), (bucket, key), "{text}");
            assert_eq!(
                place.to_string().trim_end_matches('/'),
                text.trim_end_matches('/')
            );
        }
        for text in ["store://", "store:///a", "www/a", "s3://www/a", ""] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bucket_needs_no_scheme() {
        for text in ["www", "store://www", "store://www/"] {
            assert_eq!(text.parse(), Ok(Bucket("www".into())));
        }
        for text in ["", "store://", "www/a", "/"] {
            assert!(text.parse::<Bucket>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_name_never_leads_out_of_its_folder() {
        let name = |key: &str| {
            let bucket = "www".to_owned();
            let place = Place {
                bucket,
                key: key.to_owned(),
            };
            place.file_name().map(str::to_owned)
        };
        assert_eq!(name("a/b.txt").as_deref(), Some("b.txt"));
        assert_eq!(name("b.txt").as_deref(), Some("b.txt"));
        for key in ["", "a/", "..", "a/..", "a/.", "a/\0"] {
            assert_eq!(name(key), None, "{key:?}");
        }
    }
}
