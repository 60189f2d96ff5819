//! `[[site]]`: a group of hosts, where their content comes from, and the
//! routes that make exceptions by path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::config::mistakes::{At, Mistakes};
use crate::config::nearest::nearest;
use crate::config::section::section;
use crate::config::sections::{cache_rules, origin, site_tls};
use crate::config::settings::{
    CacheRules, HostPattern, OriginConfig, OriginRef, PathPattern, Route, Site,
};
use crate::config::value::Given;
use crate::config::words::Word;
use crate::config::words::origin::OriginWord;
use crate::config::words::size::Size;

/// Routes of all sites together.
const ROUTES_TOTAL_MAX: usize = 100_000;

section! {
    /// A group of hosts served alike.
    pub struct Table {
        /// The hosts: "example.com", "*.example.com" for every host below it, "*" for every
        /// host no other site takes.
        hosts: Vec<Given<HostPattern>>, from 1 to 1000, example ["example.com"];
        /// Where the content comes from: a name in [origins], http(s)://host[:port], or
        /// store://bucket.
        origin: OriginWord, example "app";
        /// How responses are cached.
        cache: cache_rules::Table;
        /// What is asked of connections.
        tls: site_tls::Table;
        /// Exceptions by path. The first that matches decides.
        route: Vec<RouteTable> = [], from 0 to 1000;
    }
}

section! {
    /// An exception for some paths.
    pub struct RouteTable {
        /// "/a" is that path, "/a/*" every path that starts so, "*.jpg" every path that ends so.
        path: PathPattern, example "/static/*";
        /// Instead of the site's.
        origin: Option<OriginWord>, example "store://www";
        /// How responses are cached; each key replaces the site's.
        cache: cache_rules::Table, example { ttl = "30d" };
    }
}

/// What all sites share while they are built, one after the other.
pub struct Building<'a> {
    /// Names somebody wrote under `[origins]`, right or wrong.
    pub names: &'a BTreeSet<String>,
    /// Grows by the URLs that sites name directly.
    pub origins: &'a mut BTreeMap<String, OriginConfig>,
    /// See `cache::Table::object_limit`.
    pub object_limit: Option<Size>,
    /// The folder of the config file.
    pub base: &'a Path,
    /// Some address speaks TLS.
    pub https: bool,
    /// Hosts so far, and which site took them.
    pub hosts: HashMap<HostPattern, At>,
    /// Routes so far.
    pub routes: usize,
    /// What is wrong so far.
    pub mistakes: &'a mut Mistakes,
}

impl Table {
    /// Builds the site; writes the site's effective cache rules back for printing.
    pub fn settings(given: &mut Given<Self>, building: &mut Building<'_>) -> Site {
        let site = &mut given.value;
        site.claim_hosts(building);
        let origin = building.resolve(&site.origin.value, &site.origin.at);
        let limit = building.object_limit;
        let rules = site
            .cache
            .over(&CacheRules::default(), limit, building.mistakes);
        site.cache.value.complete(&rules);
        site.check_reach(building);

        let mut routes: Vec<Route> = Vec::with_capacity(site.route.len() + 1);
        for route in site.route.iter() {
            routes.push(Route {
                name: route.path.text(),
                path: route.path.value.clone(),
                origin: match &route.origin.value {
                    Some(word) => building.resolve(word, &route.origin.at),
                    None => origin.clone(),
                },
                cache: route.cache.over(&rules, limit, building.mistakes),
            });
        }
        let path = PathPattern::any();
        routes.push(Route {
            name: path.text(),
            path,
            origin,
            cache: rules,
        });
        let hosts: Vec<_> = site.hosts.iter().map(|host| host.value.clone()).collect();
        Site {
            name: hosts.first().map(Word::text).unwrap_or_default(),
            hosts,
            routes,
            tls: site
                .tls
                .settings(building.base, building.https, building.mistakes),
        }
    }

    fn claim_hosts(&self, building: &mut Building<'_>) {
        for host in self.hosts.iter() {
            match building.hosts.get(&host.value) {
                None => {
                    building.hosts.insert(host.value.clone(), host.at.clone());
                }
                Some(first) => {
                    let text = format!("the host {:?} is already taken at {first}", host.text());
                    building.mistakes.add(&host.at, text);
                }
            }
        }
    }

    /// A route behind one that takes all its paths would silently do nothing.
    fn check_reach(&self, building: &mut Building<'_>) {
        building.routes += self.route.len();
        if building.routes > ROUTES_TOTAL_MAX {
            let text = format!("all sites together may have at most {ROUTES_TOTAL_MAX} routes");
            building.mistakes.add(&self.route.at, text);
            return;
        }
        for (n, route) in self.route.iter().enumerate() {
            let covers = |earlier: &&RouteTable| earlier.path.covers(&route.path);
            if let Some(earlier) = self.route.iter().take(n).find(covers) {
                let text = format!(
                    "the route {:?} is never reached: {:?} at {} comes first and takes its paths",
                    route.path.text(),
                    earlier.path.text(),
                    earlier.path.at
                );
                building.mistakes.add(&route.path.at, text);
            }
        }
    }
}

impl Building<'_> {
    fn resolve(&mut self, word: &OriginWord, at: &At) -> OriginRef {
        match word {
            OriginWord::Bucket(bucket) => OriginRef::Store {
                bucket: bucket.clone(),
            },
            OriginWord::Url(url) => {
                let name = url.to_string();
                if !self.origins.contains_key(&name)
                    && let Some(origin) = origin::single(url)
                {
                    self.origins.insert(name.clone(), origin);
                }
                OriginRef::Named(name)
            }
            OriginWord::Name(name) => {
                if !self.names.contains(name) {
                    self.unknown(name, at);
                }
                OriginRef::Named(name.clone())
            }
        }
    }

    fn unknown(&mut self, name: &str, at: &At) {
        if self.mistakes.is_full() {
            // Looking through all names for a hint nobody reads would take long.
            return self.mistakes.add(at, "");
        }
        let hint = match nearest(name, self.names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!(
                "declare it as [origins.{name}], or write http(s)://host[:port] or store://bucket"
            ),
        };
        let text = format!("there is no origin {name:?}; {hint}");
        self.mistakes.add(at, text);
    }
}
