//! A stored response: what its head says (`Meta`), and its body.
//!
//! A `Meta` exists from the moment a head is accepted, so that clients can be
//! served while the body still streams; an `Entry` is a `Meta` with a complete
//! body.

use crate::body::{Fragments, taken, weight};
use crate::directives::Directives;
use crate::freshness::{Now, Terms};
use crate::key::Key;
use crate::ledger::Charge;
use crate::marks::ANY_TAG;
use crate::stamp::Stamp;
use crate::validate;
use crate::vary::Variance;
use bytes::Bytes;
use http::header::{AGE, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How many purge tags of one response are told apart; one with more counts as
/// carrying every tag.
const TAGS_MAX: usize = 128;

/// What an entry weighs beside its body, key and fields: the structs, their
/// allocations and its row in the memory tier. Measured, by the test
/// `what_a_stored_object_weighs`, with the allocator that the node uses.
const ENTRY_BYTES: u64 = 1024;

/// What one field takes in a `HeaderMap` beside its name and value.
const FIELD_BYTES: usize = 104;

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
    /// For its bytes, as long as anybody holds it.
    charge: Option<Charge>,
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
    pub(crate) fn new(arrival: Arrival<'_>, fields: &HeaderMap) -> Meta {
        let terms = Terms::of(arrival.status, fields, arrival.asked, arrival.got);
        let tags = tags(fields, arrival.tags);
        let variance = Variance::of(arrival.request, fields);
        Meta {
            key: arrival.key.clone(),
            status: arrival.status,
            fields: compact(&storable(fields)),
            terms,
            arrived: arrival.got.wall,
            stamp: arrival.stamp,
            host: arrival.host.into(),
            target: arrival.target.into(),
            variance,
            tags,
            checked: AtomicU64::new(arrival.stamp.0),
            charge: None,
        }
    }

    /// This head as a 304 with `update` leaves it (RFC 9111, section 3.2).
    /// Freshness is worked out anew from the updated fields.
    pub(crate) fn refreshed(&self, arrival: Arrival<'_>, update: &HeaderMap) -> Meta {
        let mut fields = validate::refresh(&self.fields, &end_to_end(update));
        // Age and Date of the 304 count, not those of the stored response.
        if let Some(age) = update.get(AGE) {
            fields.insert(AGE, age.clone());
        }
        Meta::new(
            Arrival {
                status: self.status,
                ..arrival
            },
            &fields,
        )
    }

    /// Counts its bytes for as long as it lives.
    pub(crate) fn hold(&mut self, charge: Charge) {
        self.charge = Some(charge);
    }

    /// About how many bytes it takes, for the budget.
    pub(crate) fn bytes(&self) -> u64 {
        let table = self.fields.capacity() * FIELD_BYTES;
        let index = (self.fields.capacity() * 4 / 3).next_power_of_two() * 4;
        let names: usize = self.fields.keys().map(|name| name.as_str().len()).sum();
        let values: usize = self.fields.values().map(HeaderValue::len).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 32).sum();
        let own = self.host.len() + self.target.len() + self.key.bytes();
        let rest = index + names + tags + own + self.variance.bytes();
        ENTRY_BYTES + taken(table as u64) + taken(values as u64) + rest as u64
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
        self.meta.bytes() + weight(self.body.len())
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

/// The fields that are not about one connection.
fn end_to_end(fields: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut fields = fields.clone();
    for name in named.iter().map(String::as_str).chain(HOP_BY_HOP) {
        fields.remove(name);
    }
    fields
}

/// Drops what a shared cache must not keep (RFC 9111, section 3.1) and `Age`,
/// which is counted anew for every use.
fn storable(fields: &HeaderMap) -> HeaderMap {
    let said = Directives::read(fields);
    let mut fields = end_to_end(fields);
    for name in said.private_fields.iter().chain(&said.no_cache_fields) {
        fields.remove(name.as_str());
    }
    fields.remove(AGE);
    fields
}

/// The same fields in a map of just the right size, their values in one buffer
/// of their own: as they came they are slices of the read buffer, and one field
/// kept would keep all of it.
fn compact(fields: &HeaderMap) -> HeaderMap {
    let bytes = fields.values().map(HeaderValue::len).sum();
    let mut values = Vec::with_capacity(bytes);
    for value in fields.values() {
        values.extend_from_slice(value.as_bytes());
    }
    let mut values = Bytes::from(values);
    let mut map = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in fields {
        let copy = HeaderValue::from_maybe_shared(values.split_to(value.len()));
        map.append(name.clone(), copy.unwrap_or_else(|_| value.clone()));
    }
    map
}

/// Purge tags: `Surrogate-Key` separates with spaces, `Cache-Tag` with commas.
/// A tag from outside cannot begin with NUL, which marks those of the node.
fn tags(fields: &HeaderMap, inner: Vec<String>) -> Box<[Box<str>]> {
    let listed = |name: &'static str, separator: fn(char) -> bool| {
        fields
            .get_all(HeaderName::from_static(name))
            .iter()
            .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
            .flat_map(move |line| line.split(separator))
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
    };
    let mut all = inner.into_iter().map(String::into_boxed_str).chain(
        listed("surrogate-key", |c| c == ' ')
            .chain(listed("cache-tag", |c| c == ','))
            .map(Box::from),
    );
    let mut tags: Vec<Box<str>> = all.by_ref().take(TAGS_MAX).collect();
    if all.next().is_some() {
        tags.push(ANY_TAG.into());
    }
    tags.into()
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
        let got = storable(&map(&[
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

    #[test]
    fn a_response_with_too_many_tags_counts_as_carrying_every_tag() {
        let line = |count: usize| {
            let all: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
            map(&[("surrogate-key", all.join(" ").as_str())])
        };
        let got = tags(&line(TAGS_MAX), Vec::new());
        assert_eq!((got.len(), &*got[TAGS_MAX - 1]), (TAGS_MAX, "t127"));
        let got = tags(&line(TAGS_MAX + 1), Vec::new());
        assert_eq!(got.len(), TAGS_MAX + 1);
        assert_eq!(&*got[TAGS_MAX], ANY_TAG);
    }

    #[test]
    fn kept_fields_share_one_buffer_of_their_own() {
        let read = Bytes::from("x".repeat(4096));
        let mut fields = HeaderMap::new();
        for name in ["x-a", "x-b"] {
            let value = HeaderValue::from_maybe_shared(read.slice(..10)).unwrap();
            fields.append(name.parse::<HeaderName>().unwrap(), value.clone());
            fields.append(name.parse::<HeaderName>().unwrap(), value);
        }
        let got = compact(&fields);
        assert_eq!(got, fields);
        let first = got["x-a"].as_bytes().as_ptr();
        let apart = got["x-b"].as_bytes().as_ptr() as usize - first as usize;
        assert!(first != read.as_ptr() && apart < 40);
    }
}
