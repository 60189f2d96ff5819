//! `[site.cache]` and a route's `cache`: how responses are cached.
//!
//! Both are the same table. Each key a route writes replaces the site's, those
//! of `key` one by one; what it leaves out is the site's.

use std::time::Duration;

use http::HeaderName;

use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::sections::cache::check_object_max;
use crate::config::settings::{Bypass, CacheRules, QueryKeep, QueryName};
use crate::config::words::cache_key::CookieName;
use crate::config::words::size::Size;

section! {
    /// How responses are cached. On a route, each key replaces the site's.
    pub struct Table {
        /// False sends every request to the origin and keeps nothing. True when no one says.
        enabled: Option<bool>, example false;
        /// How long a response stays fresh, whatever it says itself. Without it the response
        /// decides.
        ttl: Option<Duration>, from "0s" to "365d", example "10m";
        /// What tells two requests for the same path apart.
        key: Key, example { query_ignore = ["utm_*"] };
        /// Requests that carry one of these are not answered from the cache and their
        /// responses are not kept.
        bypass: Option<Vec<Bypass>>, from 0 to 64,
            example ["header:authorization", "cookie:session", "query:nocache"];
        /// Largest body kept in memory, instead of `cache.object_max`. At most a quarter of
        /// `cache.memory`.
        object_max: Option<Size>, from "0B" to "4TiB", example "16MiB";
    }
}

section! {
    /// What tells two requests for the same path apart. By default the whole query does, in the
    /// order it came.
    pub struct Key {
        /// Query parameters that make no difference; a star at the end takes all that start so.
        query_ignore: Option<Vec<QueryName>>, from 0 to 256, example ["utm_*", "fbclid"];
        /// The only query parameters that make a difference; not together with `query_ignore`.
        query_only: Option<Vec<QueryName>>, from 0 to 256, example ["page", "lang"];
        /// Order of the parameters makes no difference. False when no one says.
        query_sort: Option<bool>, example true;
        /// Request headers that make a difference.
        headers: Option<Vec<HeaderName>>, from 0 to 64, example ["x-tenant"];
        /// Cookies that make a difference.
        cookies: Option<Vec<CookieName>>, from 0 to 64, example ["lang"];
    }
}

impl Table {
    /// These rules over others: a route's over its site's, a site's over the defaults.
    pub fn over(
        &self,
        base: &CacheRules,
        object_limit: Option<Size>,
        mistakes: &mut Mistakes,
    ) -> CacheRules {
        let key = &self.key;
        let mut rules = base.clone();
        if let Some(enabled) = self.enabled.value {
            rules.enabled = enabled;
        }
        if let Some(ttl) = self.ttl.value {
            rules.ttl = Some(ttl);
        }
        match (&key.query_ignore.value, &key.query_only.value) {
            (Some(_), Some(_)) => mistakes.add(
                &key.query_only.at,
                "`query_only` and `query_ignore` exclude each other; keep one of them",
            ),
            (Some(names), None) if names.is_empty() => rules.query.keep = QueryKeep::All,
            (Some(names), None) => rules.query.keep = QueryKeep::Except(names.clone()),
            (None, Some(names)) => rules.query.keep = QueryKeep::Only(names.clone()),
            (None, None) => {}
        }
        if let Some(sort) = key.query_sort.value {
            rules.query.sort = sort;
        }
        if let Some(headers) = &key.headers.value {
            rules.key_headers = headers.clone();
        }
        if let Some(cookies) = &key.cookies.value {
            rules.key_cookies = cookies.iter().map(|cookie| cookie.0.clone()).collect();
        }
        if let Some(bypass) = &self.bypass.value {
            rules.bypass = bypass.clone();
        }
        if let Some(size) = self.object_max.value {
            check_object_max(size, object_limit, &self.object_max.at, mistakes);
            rules.object_bytes_max = Some(size.0);
        }
        rules
    }

    /// Writes what holds where nobody said anything, so that printing shows it.
    pub fn complete(&mut self, rules: &CacheRules) {
        self.enabled.value = Some(rules.enabled);
        self.bypass.value = Some(rules.bypass.clone());
        let key = &mut self.key.value;
        if key.query_only.is_none() {
            key.query_ignore.value.get_or_insert_default();
        }
        key.query_sort.value = Some(rules.query.sort);
        key.headers.value.get_or_insert_default();
        key.cookies.value.get_or_insert_default();
    }
}
