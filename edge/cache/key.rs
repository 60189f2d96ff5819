//! Under which key a response is kept.
//!
//! A key is made of scheme, host, path and query and whatever the route adds,
//! each part length-prefixed so that no two different lists of parts spell the
//! same key. It is hashed to 128 bits with a secret, and the full key is
//! compared on a hit: a stranger can neither steer hashes together nor be
//! served somebody else's object if two ever met.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::Arc;

/// The secret that keys the hash: 128 bits, kept in the data directory.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 16]);

/// The parts of a key, already normalised by the caller.
#[derive(Debug, Clone, Copy)]
pub struct KeyParts<'a> {
    /// `http` or `https`: a page over one may differ from the other.
    pub scheme: &'a str,
    /// Host with port if not the scheme's own, lower case.
    pub host: &'a str,
    /// Normalised path, beginning with `/`.
    pub path: &'a str,
    /// The query as the route keys it, without `?`.
    pub query: Option<&'a str>,
    /// What the route adds: (name, value) of headers, cookies or classes.
    pub extras: &'a [(&'a str, &'a str)],
}

/// A cache key: the hash that finds, and the full form that proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    hash: u128,
    full: Arc<[u8]>,
}

impl Key {
    /// Builds the key of `parts`. The hash depends on `secret`.
    pub fn new(secret: &Secret, parts: &KeyParts<'_>) -> Key {
        let mut full = Vec::with_capacity(parts.host.len() + parts.path.len() + 48);
        let mut put = |part: &str| {
            full.extend_from_slice(&(part.len() as u32).to_le_bytes());
            full.extend_from_slice(part.as_bytes());
        };
        put(parts.scheme);
        put(parts.host);
        put(parts.path);
        match parts.query {
            Some(query) => {
                put("?");
                put(query);
            }
            None => put(""),
        }
        for (name, value) in parts.extras {
            put(name);
            put(value);
        }
        let mut hasher = SipHasher13::new_with_key(&secret.0);
        hasher.write(&full);
        Key {
            hash: hasher.finish128().as_u128(),
            full: full.into(),
        }
    }

    /// The 128-bit hash.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// The length of the full key in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.full.len()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: KeyParts<'_>) -> Key {
        Key::new(&Secret([7; 16]), &parts)
    }

    const PLAIN: KeyParts<'static> = KeyParts {
        scheme: "http",
        host: "a",
        path: "/b",
        query: None,
        extras: &[],
    };

    #[test]
    fn parts_do_not_run_into_each_other() {
        let keys = [
            key(PLAIN),
            key(KeyParts {
                host: "a/",
                path: "b",
                ..PLAIN
            }),
            key(KeyParts {
                query: Some(""),
                ..PLAIN
            }),
            key(KeyParts {
                query: Some("b"),
                path: "/",
                ..PLAIN
            }),
            key(KeyParts {
                scheme: "https",
                ..PLAIN
            }),
            key(KeyParts {
                extras: &[("x", "")],
                ..PLAIN
            }),
            key(KeyParts {
                extras: &[("", "x")],
                ..PLAIN
            }),
        ];
        for (i, one) in keys.iter().enumerate() {
            for other in &keys[i + 1..] {
                assert_ne!(one, other);
                assert_ne!(one.hash(), other.hash());
            }
        }
    }

    #[test]
    fn the_hash_depends_on_the_secret() {
        let other = Key::new(&Secret([8; 16]), &PLAIN);
        assert_ne!(other.hash(), key(PLAIN).hash());
    }
}
