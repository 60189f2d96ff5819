//! What is to be done with a request, before anybody is asked: its site, its
//! route, its key, and whether the cache has a say.
//!
//! `serve` and `explain` both start here, so they cannot disagree.

use super::head::Head;
use super::reply::Peer;
use super::sites::{Live, Route, Site};
use crate::config::{Bypass, QueryKeep, QueryRule};
use edge_cache::{Key, KeyParts, Secret, Why};
use http::header::COOKIE;
use http::{HeaderMap, Method};
use std::borrow::Cow;
use std::sync::Arc;

/// A request's way, decided.
pub(crate) struct Plan {
    pub(crate) site: Arc<Site>,
    route: usize,
    pub(crate) key: Key,
    /// Why the cache is not asked, if it is not.
    pub(crate) pass: Option<Why>,
}

impl Plan {
    pub(crate) fn route(&self) -> &Route {
        &self.site.routes[self.route]
    }
}

/// Decides. `None` when no site answers for the host.
pub(crate) fn plan(live: &Live, secret: &Secret, head: &Head, peer: &Peer) -> Option<Plan> {
    let site = live.site(&head.host)?;
    let route = site.route(head.path())?;
    let rules = &site.routes[route].cache;
    let query = keyed_query(&rules.query, head.query());
    let extras = extras(head, &rules.key_headers, &rules.key_cookies);
    let extras: Vec<(&str, &str)> = extras
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let key = Key::new(
        secret,
        &KeyParts {
            scheme: peer.scheme,
            host: &head.host,
            path: head.path(),
            query: query.as_deref(),
            extras: &extras,
        },
    );
    Some(Plan {
        site: Arc::clone(site),
        route,
        key,
        pass: passes(&site.routes[route], head),
    })
}

/// Why this request goes around the cache, whatever is stored.
fn passes(route: &Route, head: &Head) -> Option<Why> {
    if !route.cache.enabled {
        return Some(Why::Off);
    }
    if head.upgrade {
        return Some(Why::Upgrade);
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return Some(Why::Method);
    }
    if head.framing != super::head::Framing::None {
        return Some(Why::RequestBody);
    }
    let bypassed = route.cache.bypass.iter().any(|bypass| match bypass {
        Bypass::Header(name) => head.fields.contains_key(name),
        Bypass::Cookie(name) => cookie(&head.fields, name).is_some(),
        Bypass::Query(name) => head
            .query()
            .is_some_and(|query| query.split('&').any(|pair| name_of(pair) == name)),
    });
    bypassed.then_some(Why::Bypass)
}

/// The part of the query that belongs to the key.
fn keyed_query<'a>(rule: &QueryRule, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let query = query?;
    if matches!(rule.keep, QueryKeep::All) && !rule.sort {
        return Some(Cow::Borrowed(query));
    }
    let mut pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| match &rule.keep {
            QueryKeep::All => true,
            QueryKeep::Except(names) => !names.iter().any(|name| name.matches(name_of(pair))),
            QueryKeep::Only(names) => names.iter().any(|name| name.matches(name_of(pair))),
        })
        .collect();
    if rule.sort {
        // Stable: the order of values under one name means something.
        pairs.sort_by_key(|pair| name_of(pair));
    }
    // Nothing left is the URL without a query: only ignored parameters differ.
    (!pairs.is_empty()).then(|| Cow::Owned(pairs.join("&")))
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

fn extras(head: &Head, headers: &[http::HeaderName], cookies: &[String]) -> Vec<(String, String)> {
    let of_headers = headers.iter().map(|name| {
        let lines: Vec<Cow<'_, str>> = head
            .fields
            .get_all(name)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        (format!("header:{name}"), lines.join(","))
    });
    let of_cookies = cookies.iter().map(|name| {
        let value = cookie(&head.fields, name).unwrap_or_default();
        (format!("cookie:{name}"), value)
    });
    of_headers.chain(of_cookies).collect()
}

/// The value of the first cookie of this name.
fn cookie(fields: &HeaderMap, name: &str) -> Option<String> {
    fields
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
            (given.trim() == name).then(|| value.trim().to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QueryName;

    fn names(list: &[&str]) -> Vec<QueryName> {
        list.iter()
            .map(|name| match name.strip_suffix('*') {
                Some(start) => QueryName::Prefix(start.into()),
                None => QueryName::Exact((*name).into()),
            })
            .collect()
    }

    #[test]
    fn only_the_keyed_part_of_a_query_counts() {
        let except = || QueryKeep::Except(names(&["utm_*", "x"]));
        for (keep, sort, query, wanted) in [
            (QueryKeep::All, false, "b=1&a=2", Some("b=1&a=2")),
            (QueryKeep::All, true, "b=1&a=2&b=0", Some("a=2&b=1&b=0")),
            (except(), false, "utm_source=m&a=1&x", Some("a=1")),
            (except(), false, "utm_source=m", None),
            (
                QueryKeep::Only(names(&["id"])),
                false,
                "id=1&z=2",
                Some("id=1"),
            ),
            (QueryKeep::Only(names(&[])), false, "id=1", None),
            (QueryKeep::All, false, "", Some("")),
        ] {
            let rule = QueryRule { keep, sort };
            assert_eq!(
                keyed_query(&rule, Some(query)).as_deref(),
                wanted,
                "{query}"
            );
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, "a=1; session=x=y; b".parse().unwrap());
        assert_eq!(cookie(&fields, "session").as_deref(), Some("x=y"));
        assert_eq!(cookie(&fields, "b").as_deref(), Some(""));
        assert_eq!(cookie(&fields, "sess"), None);
    }
}
