//! A stored response: what its head says (`Meta`), and its body.
//!
//! A `Meta` exists from the moment a head is accepted, so that clients can be
//! served while the body still streams; an `Entry` is a `Meta` with a complete
//! body.

use crate::body::Fragments;
use crate::directives::Directives;
use crate::freshness::{Now, Terms};
use crate::key::Key;
use crate::stamp::Stamp;
use crate::validate;
use crate::vary::Variance;
use http::header::{AGE, CONNECTION};
use http::{HeaderMap, HeaderName, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How many purge tags of one response are heeded; the rest is dropped.
const TAGS_MAX: usize = 128;

/// What an entry weighs beside its body, key and fields: the structs, their
/// allocations and its row in the memory tier, measured and rounded up.
const ENTRY_BYTES: u64 = 1024;

/// The head of a stored response, and what decides about its use.
#[derive(Debug)]
pub struct Meta {
    /// The key it is stored under.
    pub key: Key,
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end fields, without `Age` and what a shared cache must drop.
    pub fields: HeaderMap,
    /// Lifetime and age.
    pub terms: Terms,
    /// When it arrived, on the wall clock.
    pub arrived: SystemTime,
    /// When its fetch began, in the order of purges.
    pub stamp: Stamp,
    /// Host it was asked for.
    pub host: Box<str>,
    /// Path and query it was asked for.
    pub target: Box<str>,
    pub(crate) variance: Variance,
    pub(crate) tags: Box<[Box<str>]>,
    checked: AtomicU64,
}

/// A complete stored response.
#[derive(Debug)]
pub struct Entry {
    /// Its head.
    pub meta: Arc<Meta>,
    /// Its body.
    pub body: Arc<Fragments>,
}

/// What a `Meta` is made from.
pub(crate) struct Arrival<'a> {
    pub(crate) key: &'a Key,
    pub(crate) host: &'a str,
    pub(crate) target: &'a str,
    pub(crate) request: &'a HeaderMap,
    pub(crate) stamp: Stamp,
    pub(crate) asked: Now,
    pub(crate) got: Now,
    pub(crate) status: StatusCode,
    pub(crate) tags: Vec<String>,
}

impl Meta {
    /// Makes the head of a response that has just arrived with `fields`.
    pub(crate) fn new(arrival: Arrival<'_>, fields: HeaderMap) -> Meta {
        let terms = Terms::of(arrival.status, &fields, arrival.asked, arrival.got);
        let tags = tags(&fields, arrival.tags);
        let variance = Variance::of(arrival.request, &fields);
        Meta {
            key: arrival.key.clone(),
            status: arrival.status,
            fields: storable(fields),
            terms,
            arrived: arrival.got.wall,
            stamp: arrival.stamp,
            host: arrival.host.into(),
            target: arrival.target.into(),
            variance,
            tags,
            checked: AtomicU64::new(arrival.stamp.0),
        }
    }

    /// This head as a 304 with `update` leaves it (RFC 9111, section 3.2).
    /// Freshness is worked out anew from the updated fields.
    pub(crate) fn refreshed(&self, arrival: Arrival<'_>, update: &HeaderMap) -> Meta {
        let mut fields = validate::refresh(&self.fields, update);
        // Age and Date of the 304 count, not those of the stored response.
        if let Some(age) = update.get(AGE) {
            fields.insert(AGE, age.clone());
        }
        Meta::new(
            Arrival {
                status: self.status,
                ..arrival
            },
            fields,
        )
    }

    /// About how many bytes it takes, for the budget.
    pub(crate) fn bytes(&self) -> u64 {
        let fields: usize = self
            .fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 80)
            .sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        let names = self.host.len() + self.target.len() + self.key.bytes();
        ENTRY_BYTES + (fields + tags + names + self.variance.bytes()) as u64
    }

    /// The purge mark up to which this entry has been found clean.
    pub(crate) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    pub(crate) fn found_clean(&self, latest: u64) {
        self.checked.fetch_max(latest, Ordering::Relaxed);
    }
}

impl Entry {
    pub(crate) fn bytes(&self) -> u64 {
        self.meta.bytes() + self.body.len()
    }
}

/// Fields that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Drops what a shared cache must not keep (RFC 9111, section 3.1) and `Age`,
/// which is counted anew for every use.
fn storable(mut fields: HeaderMap) -> HeaderMap {
    let said = Directives::read(&fields);
    let named: Vec<String> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .chain(said.private_fields)
        .chain(said.no_cache_fields)
        .collect();
    for name in named {
        fields.remove(name.as_str());
    }
    for name in HOP_BY_HOP {
        fields.remove(name);
    }
    fields.remove(AGE);
    fields
}

/// Purge tags: `Surrogate-Key` separates with spaces, `Cache-Tag` with commas.
/// A tag from outside cannot begin with NUL, which marks those of the node.
fn tags(fields: &HeaderMap, inner: Vec<String>) -> Box<[Box<str>]> {
    let listed = |name: &'static str, separator: fn(char) -> bool| {
        fields
            .get_all(HeaderName::from_static(name))
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(move |line| line.split(separator))
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
    };
    inner
        .into_iter()
        .map(String::into_boxed_str)
        .chain(
            listed("surrogate-key", |c| c == ' ')
                .chain(listed("cache-tag", |c| c == ','))
                .map(Box::from),
        )
        .take(TAGS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn connection_private_and_age_fields_are_not_kept() {
        let got = storable(map(&[
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("age", "7"),
            ("cache-control", "private=\"x-user\", no-cache=\"x-once\""),
            ("x-user", "me"),
            ("x-once", "1"),
            ("x-stays", "1"),
        ]));
        let names: Vec<_> = got.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["cache-control", "x-stays"]);
    }

    #[test]
    fn tags_come_from_both_fields() {
        let got = tags(
            &map(&[("surrogate-key", "a  b"), ("cache-tag", "c d, e")]),
            vec!["\0store:www".into()],
        );
        let got: Vec<&str> = got.iter().map(AsRef::as_ref).collect();
        assert_eq!(got, ["\0store:www", "a", "b", "c d", "e"]);
    }
}
