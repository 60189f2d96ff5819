//! What a reload changes, key by key, and which of it waits for a restart.
//!
//! A key that waits keeps its old value until then; the operator is told.

use std::collections::BTreeMap;

use super::settings::{Admin, Cache, Guard, Listen, Log, OriginConfig, Settings, Site, Store, Tls};

/// The keys that differ, as dotted names (`cache.memory`, `origins.app`, `site example.com`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In effect at once.
    pub applied: Vec<String>,
    /// In effect after a restart.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }
}

/// Compares the settings in effect with those just read.
pub fn changed(old: &Settings, new: &Settings) -> Changes {
    let mut changes = Changes::default();
    // Every struct is taken apart in full, so a new key does not compile until
    // somebody decides here how it changes.
    let Settings {
        data,
        listen:
            Listen {
                http,
                https,
                proxy_protocol_from,
                admin,
            },
        tls,
        admin: Admin { token },
        cache,
        guard,
        store,
        log,
        origins,
        sites,
    } = new;
    changes.restart("data", *data != old.data);
    changes.restart("listen.http", *http != old.listen.http);
    changes.restart("listen.https", *https != old.listen.https);
    changes.apply(
        "listen.proxy_protocol_from",
        *proxy_protocol_from != old.listen.proxy_protocol_from,
    );
    changes.restart("listen.admin", *admin != old.listen.admin);
    changes.tls(&old.tls, tls);
    changes.apply("admin.token", *token != old.admin.token);
    changes.cache(&old.cache, cache);
    changes.guard(&old.guard, guard);
    changes.store(&old.store, store);
    changes.log(&old.log, log);
    changes.origins(&old.origins, origins);
    changes.sites(&old.sites, sites);
    changes
}

impl Changes {
    fn apply(&mut self, key: &str, differs: bool) {
        if differs {
            self.applied.push(key.to_owned());
        }
    }

    fn restart(&mut self, key: &str, differs: bool) {
        if differs {
            self.needs_restart.push(key.to_owned());
        }
    }

    /// Certificates differ also when what is in their files does.
    fn tls(&mut self, old: &Tls, new: &Tls) {
        let Tls {
            certificates,
            min_version,
            suites,
            acme_webroot,
        } = new;
        self.apply("tls.certificates", *certificates != old.certificates);
        self.apply("tls.min_version", *min_version != old.min_version);
        self.apply("tls.suites", *suites != old.suites);
        self.apply("tls.acme_webroot", *acme_webroot != old.acme_webroot);
    }

    /// The engine is given its budgets once.
    fn cache(&mut self, old: &Cache, new: &Cache) {
        let Cache {
            memory_bytes,
            object_bytes_max,
            fills_max,
            window_bytes,
        } = *new;
        self.restart("cache.memory", memory_bytes != old.memory_bytes);
        self.restart("cache.object_max", object_bytes_max != old.object_bytes_max);
        self.restart("cache.fills", fills_max != old.fills_max);
        self.restart("cache.window", window_bytes != old.window_bytes);
    }

    fn guard(&mut self, old: &Guard, new: &Guard) {
        let Guard {
            connections_total,
            handshakes_max,
            header_deadline,
            idle,
            body_idle,
            head_bytes_max,
            target_bytes_max,
            fields_max,
            body_bytes_max,
            trusted_proxies,
            drain,
        } = new;
        self.apply(
            "guard.connections.total",
            *connections_total != old.connections_total,
        );
        self.apply("guard.handshakes", *handshakes_max != old.handshakes_max);
        self.apply(
            "guard.header_deadline",
            *header_deadline != old.header_deadline,
        );
        self.apply("guard.idle", *idle != old.idle);
        self.apply("guard.body_idle", *body_idle != old.body_idle);
        self.apply("guard.head_max", *head_bytes_max != old.head_bytes_max);
        self.apply(
            "guard.target_max",
            *target_bytes_max != old.target_bytes_max,
        );
        self.apply("guard.fields_max", *fields_max != old.fields_max);
        self.apply("guard.body_max", *body_bytes_max != old.body_bytes_max);
        self.apply(
            "guard.trusted_proxies",
            *trusted_proxies != old.trusted_proxies,
        );
        self.apply("guard.drain", *drain != old.drain);
    }

    fn store(&mut self, old: &Store, new: &Store) {
        let Store {
            inline_bytes_max,
            reserve_bytes,
            metadata_cache_bytes,
        } = *new;
        self.restart("store.inline_max", inline_bytes_max != old.inline_bytes_max);
        self.restart("store.reserve", reserve_bytes != old.reserve_bytes);
        self.restart(
            "store.metadata_cache",
            metadata_cache_bytes != old.metadata_cache_bytes,
        );
    }

    fn log(&mut self, old: &Log, new: &Log) {
        let Log {
            access,
            format,
            level,
        } = new;
        self.restart("log.access", *access != old.access);
        self.restart("log.format", *format != old.format);
        self.apply("log.level", *level != old.level);
    }

    fn origins(
        &mut self,
        old: &BTreeMap<String, OriginConfig>,
        new: &BTreeMap<String, OriginConfig>,
    ) {
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        let differing = new
            .iter()
            .filter(|(name, origin)| old.get(*name) != Some(*origin));
        for name in gone.chain(differing.map(|(name, _)| name)) {
            self.applied.push(format!("origins.{name}"));
        }
    }

    fn sites(&mut self, old: &[Site], new: &[Site]) {
        let (old, new) = (by_name(old), by_name(new));
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        let differing = new
            .iter()
            .filter(|(name, site)| old.get(*name) != Some(*site));
        for name in gone.chain(differing.map(|(name, _)| name)) {
            self.applied.push(format!("site {name}"));
        }
    }
}

fn by_name(sites: &[Site]) -> BTreeMap<&str, &Site> {
    sites
        .iter()
        .map(|site| (site.name.as_str(), site))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_str;
    use std::path::Path;

    const OLD: &str = "\
data = \"a\"
listen.http = [\"127.0.0.1:80\"]
[cache]
memory = \"64MiB\"
[guard]
idle = \"10s\"
[log]
level = \"info\"
[origins.app]
servers = [\"http://a\"]
[origins.gone]
servers = [\"http://b\"]
[[site]]
hosts = [\"example.com\"]
origin = \"app\"
[[site]]
hosts = [\"gone.example\"]
origin = \"app\"
";

    fn settings(text: &str) -> Settings {
        from_str("t", text, Path::new("")).unwrap().settings
    }

    #[test]
    fn the_same_settings_change_nothing() {
        assert!(changed(&settings(OLD), &settings(OLD)).is_empty());
    }

    #[test]
    fn each_change_is_named_and_told_apart() {
        let new = OLD
            .replace("\"a\"", "\"b\"")
            .replace("\"127.0.0.1:80\"", "\"127.0.0.1:81\"")
            .replace("64MiB", "128MiB")
            .replace("10s", "11s")
            .replace("info", "debug")
            .replace("http://a", "http://c")
            .replace("origins.gone", "origins.new")
            .replace("gone.example", "new.example")
            .replace("\"example.com\"", "\"example.com\", \"b.example\"");
        let changes = changed(&settings(OLD), &settings(&new));
        let restart = ["data", "listen.http", "cache.memory", "cache.object_max"];
        assert_eq!(changes.needs_restart, restart);
        let applied = [
            "guard.idle",
            "log.level",
            "origins.gone",
            "origins.app",
            "origins.new",
            "site gone.example",
            "site example.com",
            "site new.example",
        ];
        assert_eq!(changes.applied, applied);
    }

    #[test]
    fn a_changed_order_of_routes_is_a_changed_site() {
        let routes = |first: &str, second: &str| {
            format!(
                "{OLD}[[site.route]]\npath = \"{first}\"\n[[site.route]]\npath = \"{second}\"\n"
            )
        };
        let changes = changed(
            &settings(&routes("/a", "/b")),
            &settings(&routes("/b", "/a")),
        );
        assert_eq!(changes.applied, ["site gone.example"]);
    }
}
