//! What settings a text, or no text, comes to.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::{EVERYTHING, LISTEN, load};
use crate::config::{
    AccessLog, Bypass, Format, HostPattern, Level, OriginRef, PathPattern, Protocol, QueryKeep,
    QueryName, TlsVersion, demo, for_origin,
};

#[test]
fn every_key_reaches_the_settings() {
    let settings = load(&EVERYTHING).unwrap().settings;
    assert_eq!(settings.data, PathBuf::from("/var/lib/edge"));
    let http: Vec<_> = settings
        .listen
        .http
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(http, ["127.0.0.1:8081", "[::1]:0"]);
    assert_eq!(settings.listen.https[0].port(), 8443);
    assert!(settings.listen.proxy_protocol_from[0].contains("10.9.0.7".parse().unwrap()));
    assert_eq!(settings.listen.admin.unwrap().port(), 9091);
    assert_eq!(settings.tls.certificates.len(), 2);
    assert_eq!(settings.tls.min_version, TlsVersion::V1_3);
    assert_eq!(settings.tls.suites.len(), 1);
    assert_eq!(settings.tls.acme_webroot, Some("/nowhere/acme".into()));
    let path = std::env::var("PATH").unwrap();
    assert!(settings.admin.token.unwrap().matches(path.as_bytes()));

    assert_eq!(settings.cache.memory_bytes, 1 << 30);
    assert_eq!(settings.cache.object_bytes_max, 200 << 20);
    assert_eq!(settings.cache.fills_max, 77);
    assert_eq!(settings.cache.window_bytes, 2 << 20);

    let guard = settings.guard;
    assert_eq!(guard.connections_total, 1234);
    assert_eq!(guard.handshakes_max, 99);
    assert_eq!(guard.header_deadline, Duration::from_secs(11));
    assert_eq!(guard.idle, Duration::from_secs(76));
    assert_eq!(guard.body_idle, Duration::from_secs(31));
    assert_eq!(guard.head_bytes_max, 32 << 10);
    assert_eq!(guard.target_bytes_max, 8 << 10);
    assert_eq!(guard.fields_max, 100);
    assert_eq!(guard.body_bytes_max, 1_234_567);
    assert_eq!(guard.drain, Duration::from_millis(250));
    assert!(guard.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
    assert!(guard.trusted_proxies[1].contains("::1".parse().unwrap()));

    assert_eq!(settings.store.inline_bytes_max, 0);
    assert_eq!(settings.store.reserve_bytes, 3 << 30);
    assert_eq!(settings.store.metadata_cache_bytes, 32 << 20);
    let file = AccessLog::File("/var/log/edge/access.log".into());
    assert_eq!(settings.log.access, file);
    assert_eq!(settings.log.format, Format::Combined);
    assert_eq!(settings.log.level, Level::Debug);

    let app = &settings.origins["app"];
    assert_eq!(app.servers.len(), 2);
    assert_eq!(app.host.as_deref(), Some("app.internal:81"));
    assert_eq!(app.protocol, Protocol::Http2);
    assert_eq!(app.connect_timeout, Duration::from_secs(6));
    assert_eq!(app.first_byte_timeout, Duration::from_secs(61));
    assert_eq!(app.between_bytes_timeout, Duration::from_secs(31));
    assert_eq!(app.write_timeout, Duration::from_secs(32));
    assert_eq!(app.idle_timeout, Duration::from_secs(62));
    assert_eq!(app.keep_idle, 65);
    assert!(!app.tls.verify);
    assert_eq!(app.tls.ca, Some("/dev/null".into()));
    assert_eq!(app.tls.server_name.as_deref(), Some("x.example"));

    let site = &settings.sites[0];
    assert_eq!(site.name, "example.com");
    let hosts = [
        HostPattern::Exact("example.com".into()),
        HostPattern::Wildcard("example.com".into()),
    ];
    assert_eq!(site.hosts, hosts);
    assert!(site.tls.redirect);
    let hsts = "max-age=31536000; includeSubDomains; preload";
    assert_eq!(site.tls.hsts.as_ref().unwrap(), hsts);
    assert_eq!(site.tls.client_ca.as_ref().unwrap().roots.len(), 1);
    let names: Vec<_> = site
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["/static/*", "/api/*", "/*"]);
    let own = &site.routes[2];
    assert_eq!(own.path, PathPattern::Prefix("/".into()));
    assert_eq!(own.origin, OriginRef::Named("app".into()));
    assert!(!own.cache.enabled);
    assert_eq!(own.cache.ttl, Some(Duration::from_secs(600)));
    let utm = QueryName::Prefix("utm_".into());
    assert_eq!(own.cache.query.keep, QueryKeep::Except(vec![utm]));
    assert!(own.cache.query.sort);
    assert_eq!(own.cache.key_headers, [HeaderName::from_static("x-tenant")]);
    assert_eq!(own.cache.key_cookies, ["lang"]);
    let bypass = [
        Bypass::Header(http::header::AUTHORIZATION),
        Bypass::Cookie("session".into()),
        Bypass::Query("nocache".into()),
    ];
    assert_eq!(own.cache.bypass, bypass);
    assert_eq!(own.cache.object_bytes_max, Some(1 << 20));
}

#[test]
fn a_route_replaces_what_it_says_and_inherits_the_rest() {
    let settings = load(&EVERYTHING).unwrap().settings;
    let [fixed, api, own] = settings.sites[0].routes.as_slice() else {
        panic!("two routes and the site's own");
    };
    assert_eq!(api.cache, own.cache);
    assert_eq!(api.origin, own.origin);

    let bucket = "www".into();
    assert_eq!(fixed.origin, OriginRef::Store { bucket });
    assert!(fixed.cache.enabled);
    assert_eq!(fixed.cache.ttl, Some(Duration::from_secs(30 * 86_400)));
    // `query_only` takes the place of the site's `query_ignore`: both are one rule.
    let page = QueryName::Exact("page".into());
    assert_eq!(fixed.cache.query.keep, QueryKeep::Only(vec![page]));
    assert!(fixed.cache.query.sort, "the other parts of `key` stay");
    assert_eq!(fixed.cache.key_headers, own.cache.key_headers);
    assert_eq!(fixed.cache.bypass, own.cache.bypass);
}

#[test]
fn a_url_in_a_site_becomes_an_origin_of_that_name() {
    let text = format!(
        "{LISTEN}[[site]]\nhosts = [\"a\"]\norigin = \"http://B:80\"\n\
         [[site]]\nhosts = [\"c\"]\norigin = \"http://b\"\n"
    );
    let settings = load(&text).unwrap().settings;
    assert_eq!(settings.origins.keys().collect::<Vec<_>>(), ["http://b"]);
    let named = OriginRef::Named("http://b".into());
    assert_eq!(settings.sites[0].routes[0].origin, named);
    assert_eq!(settings.sites[1].routes[0].origin, named);
    let origin = &settings.origins["http://b"];
    assert_eq!(origin.servers[0].to_string(), "http://b");
    assert_eq!(origin.keep_idle, 64);
}

#[test]
fn the_least_config_only_listens() {
    let settings = load(LISTEN).unwrap().settings;
    assert_eq!(settings.listen.admin, None);
    assert!(settings.sites.is_empty() && settings.origins.is_empty());
    assert_eq!(settings.data, PathBuf::from("edge-data"));
    assert_eq!(settings.cache.memory_bytes, 256 << 20);
    assert_eq!(settings.cache.object_bytes_max, 64 << 20);
    assert_eq!(settings.guard.body_bytes_max, 5 << 30);
    assert_eq!(settings.log.access, AccessLog::Stdout);
}

#[test]
fn the_largest_object_follows_a_small_memory() {
    let text = format!("{LISTEN}cache.memory = \"8MiB\"\n");
    let settings = load(&text).unwrap().settings;
    assert_eq!(settings.cache.object_bytes_max, 2 << 20);
}

#[test]
fn the_longest_target_follows_a_small_head() {
    let text = format!("{LISTEN}guard.head_max = \"4KiB\"\n");
    let settings = load(&text).unwrap().settings;
    assert_eq!(settings.guard.target_bytes_max, 4 << 10);
}

#[test]
fn the_demo_answers_every_host_from_its_own_bucket() {
    let settings = demo("somewhere".into());
    assert_eq!(settings.data, PathBuf::from("somewhere"));
    assert_eq!(settings.listen.http[0].to_string(), "127.0.0.1:8080");
    assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:9090");
    assert_eq!(settings.sites[0].hosts, [HostPattern::Any]);
    let bucket = "www".into();
    assert_eq!(
        settings.sites[0].routes[0].origin,
        OriginRef::Store { bucket }
    );
}

#[test]
fn an_origin_on_the_command_line_answers_every_host() {
    let settings = for_origin("http://localhost:3000/", "d".into()).unwrap();
    let named = OriginRef::Named("http://localhost:3000".into());
    assert_eq!(settings.sites[0].routes[0].origin, named);
    assert_eq!(settings.sites[0].hosts, [HostPattern::Any]);
    assert!(settings.origins.contains_key("http://localhost:3000"));
}

#[test]
fn a_wrong_origin_on_the_command_line_is_explained() {
    let table = [
        (
            "ftp://a",
            "--origin: `origin` wants an origin, not \"ftp://a\": \
             the schemes are http, https and store; for example origin = \"app\"",
        ),
        (
            "app",
            "--origin: there is no origin \"app\"; declare it as [origins.app], \
             or write http(s)://host[:port] or store://bucket",
        ),
    ];
    for (origin, expected) in table {
        let mistakes = for_origin(origin, "d".into()).unwrap_err();
        assert_eq!(mistakes.to_string(), expected);
    }
}
