//! Each kind of mistake, with its exact place and words.

use super::{EVERYTHING, LISTEN, load};

/// What loading `text` below a good `[listen]` on the first line says, file name left out.
fn said(text: &str) -> String {
    match load(&format!("{LISTEN}{text}")) {
        Ok(_) => "nothing".into(),
        Err(mistakes) => mistakes.to_string().replace("t.toml:", ""),
    }
}

#[test]
fn each_kind_of_mistake_has_its_place_and_its_words() {
    let site = "[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n";
    let table: &[(&str, &str)] = &[
        // Names.
        (
            "[cahce]\nmemory = \"1GiB\"",
            "2:2: unknown key `cahce`; did you mean `cache`?",
        ),
        (
            "[guard]\n  heder_deadline = \"1s\"",
            "3:3: unknown key `heder_deadline`; did you mean `header_deadline`?",
        ),
        (
            "[store]\nxyz = 1",
            "3:1: unknown key `xyz`; known here: inline_max, reserve, metadata_cache",
        ),
        (
            "functions = { listen = [] }",
            "2:1: unknown key `functions`; known here: data, include, listen, tls, admin, cache, guard, store, log, origins, site",
        ),
        // Kinds.
        (
            "guard.header_deadline = 10",
            "2:25: `header_deadline` wants a duration, not 10; for example header_deadline = \"10s\"",
        ),
        (
            "guard.idle = \"10 sec\"",
            "2:14: `idle` wants a duration, not \"10 sec\": a whole number and one of ms, s, m, h, d; for example idle = \"75s\"",
        ),
        (
            "cache.memory = \"1GB\"",
            "2:16: `memory` wants a size, not \"1GB\": a whole number and one of B, KiB, MiB, GiB, TiB; for example memory = \"256MiB\"",
        ),
        (
            "cache.memory = -1",
            "2:16: `memory` wants a size, not -1; for example memory = \"256MiB\"",
        ),
        (
            "cache.fills = \"many\"",
            "2:15: `fills` wants a whole number, not \"many\"; for example fills = 10000",
        ),
        (
            "cache.fills = 1.5",
            "2:15: `fills` wants a whole number, not 1.5; for example fills = 10000",
        ),
        (
            "guard = 5",
            "2:9: `guard` wants a table, not 5; for example [guard]",
        ),
        (
            "guard.connections = 5",
            "2:21: `connections` wants a table, not 5; for example connections = { total = 50000 }",
        ),
        (
            "guard.trusted_proxies = \"10.0.0.0/8\"",
            "2:25: `trusted_proxies` wants a list, not \"10.0.0.0/8\"; for example trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
        ),
        (
            "data = 1979-05-27",
            "2:8: `data` wants a path, not 1979-05-27; for example data = \"edge-data\"",
        ),
        (
            "data = \"\"",
            "2:8: `data` wants a path, not \"\"; for example data = \"edge-data\"",
        ),
        (
            "[site]\nhosts = [\"a\"]",
            "2:2: `site` wants one table per entry, not a table; for example [[site]]",
        ),
        (
            "log.format = \"xml\"",
            "2:14: `format` wants \"json\" or \"combined\", not \"xml\"; for example format = \"json\"",
        ),
        (
            "log.access = \"/var/log/a\"",
            "2:14: `access` wants \"off\", \"stdout\" or \"file:/path\", not \"/var/log/a\"; for example access = \"stdout\"",
        ),
        (
            "[origins.app]\nservers = [\"http://a\"]\ntls = { verify = \"no\" }",
            "4:18: `verify` wants true or false, not \"no\"; for example verify = true",
        ),
        (
            "[origins.\"a b\"]\nservers = [\"http://a\"]",
            "2:10: \"a b\" cannot be a name: use 1 to 64 letters, digits, - and _",
        ),
        (
            "origins.app = 1",
            "2:15: `origins.app` wants a table, not 1; for example [origins.app]",
        ),
        (
            "[origins.app]\nservers = [\"http://a\", \"b\"]",
            "3:24: `servers` wants http(s)://host[:port], not \"b\"; for example servers = [\"http://10.0.0.11:8080\"]",
        ),
        (
            "[origins.app]\nprotocol = \"http3\"\nservers = [\"http://a\"]",
            "3:12: `protocol` wants \"auto\" or \"http1\" or \"http2\", not \"http3\"; for example protocol = \"auto\"",
        ),
        // Amounts.
        (
            "guard.header_deadline = \"0s\"",
            "2:25: `header_deadline` must be from 100ms to 10m, not \"0s\"; for example header_deadline = \"10s\"",
        ),
        (
            "cache.memory = 1024",
            "2:16: `memory` must be from 1MiB to 16TiB, not 1024; for example memory = \"256MiB\"",
        ),
        (
            "cache.fills = 0",
            "2:15: `fills` must be from 1 to 1000000, not 0; for example fills = 10000",
        ),
        (
            "[origins.app]\nservers = []",
            "3:11: `servers` must be from 1 to 256 entries, not 0; for example servers = [\"http://10.0.0.11:8080\"]",
        ),
        // Absence.
        (
            "[origins.app]\nkeep_idle = 1",
            "2:10: missing key `servers`; for example servers = [\"http://10.0.0.11:8080\"]",
        ),
        (
            "[[site]]\norigin = \"store://www\"",
            "2:1: missing key `hosts`; for example hosts = [\"example.com\"]",
        ),
        (
            "[[site]]\nhosts = [\"a\"]",
            "2:1: missing key `origin`; for example origin = \"app\"",
        ),
        // One key against another.
        (
            "cache = { memory = \"8MiB\", object_max = \"4MiB\" }",
            "2:41: `object_max` may be at most a quarter of `cache.memory`, not 4MiB; for example object_max = \"2MiB\"",
        ),
        (
            "guard = { head_max = \"4KiB\", target_max = \"8KiB\" }",
            "2:43: `target_max` is part of `head_max` (4KiB) and cannot be more; for example target_max = \"4KiB\"",
        ),
        (
            "guard.trusted_proxies = [\"10.0.0.1/8\"]",
            "2:26: `trusted_proxies` wants an address prefix, not \"10.0.0.1/8\": bits are set after the first 8; write \"10.0.0.0/8\"; for example trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
        ),
        (
            "[origins.app]\nservers = [\"http://a\"]\n[[site]]\nhosts = [\"a\"]\norigin = \"ap\"",
            "6:10: there is no origin \"ap\"; did you mean \"app\"?",
        ),
        (
            "[[site]]\nhosts = [\"a\"]\norigin = \"web\"",
            "4:10: there is no origin \"web\"; declare it as [origins.web], or write http(s)://host[:port] or store://bucket",
        ),
        (
            "[[site]]\nhosts = [\"a:80\"]\norigin = \"store://www\"",
            "3:10: `hosts` wants a host name, not \"a:80\": a host has no port; for example hosts = [\"example.com\"]",
        ),
        // Secrets.
        (
            "admin.token = \"env:EDGE_TEST_NEVER_SET\"",
            "2:15: `token`: the environment variable EDGE_TEST_NEVER_SET is not set",
        ),
        (
            "admin.token = \"file:token\"",
            "2:15: `token`: cannot read the secret from /nowhere/token: No such file or directory (os error 2)",
        ),
        (
            "admin.token = \"file:/dev/null\"",
            "2:15: `token`: the file /dev/null is empty",
        ),
        (
            "admin.token = \"hunter2\"",
            "2:15: `token` wants where the secret is kept (\"env:NAME\" or \"file:path\"), never the secret itself; for example token = \"env:EDGE_ADMIN_TOKEN\"",
        ),
        // Files.
        (
            "[origins.app]\nservers = [\"https://a\"]\ntls.ca = \"ca.pem\"",
            "4:10: `ca` cannot be read: No such file or directory (os error 2)",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(said(text), *expected, "\n{text}\n");
    }
    let more: &[(&str, &str)] = &[
        (
            "[[site]]\nhosts = [\"b\", \"A\"]\norigin = \"store://www\"",
            "6:15: the host \"a\" is already taken at 3:10",
        ),
        (
            "[[site.route]]\npath = \"a\"",
            "6:8: `path` wants a path pattern, not \"a\": a path starts with /; for example path = \"/static/*\"",
        ),
        (
            "[[site.route]]\ncache.enabled = false",
            "5:1: missing key `path`; for example path = \"/static/*\"",
        ),
        (
            "[[site.route]]\npath = \"/a/*\"\n[[site.route]]\npath = \"/a/b\"",
            "8:8: the route \"/a/b\" is never reached: \"/a/*\" at 6:8 comes first and takes its paths",
        ),
        (
            "[site.cache]\nbypass = [\"authorization\"]",
            "6:11: `bypass` wants header:name, cookie:name or query:name, not \"authorization\"; for example bypass = [\"header:authorization\", \"cookie:session\", \"query:nocache\"]",
        ),
        (
            "[site.cache]\nobject_max = \"1GiB\"",
            "6:14: `object_max` may be at most a quarter of `cache.memory`, not 1GiB; for example object_max = \"64MiB\"",
        ),
        (
            "[site.cache.key]\nquery_ignore = []\nquery_only = [\"a\"]",
            "7:14: `query_only` and `query_ignore` exclude each other; keep one of them",
        ),
        (
            "[site.cache.key]\nheaders = [\"x tenant\"]",
            "6:12: `headers` wants the name of a header, not \"x tenant\"; for example headers = [\"x-tenant\"]",
        ),
        (
            "[site.cache]\nttl_default = \"1m\"",
            "6:1: unknown key `ttl_default`; known here: enabled, ttl, key, bypass, object_max",
        ),
    ];
    for (text, expected) in more {
        assert_eq!(said(&format!("{site}{text}")), *expected, "\n{text}\n");
    }
}

#[test]
fn a_listener_that_makes_no_sense_is_explained() {
    let none = "`listen.http` names no address, so nothing would be served; \
                for example http = [\"0.0.0.0:80\"]";
    let token = "`listen.admin` is not on loopback, so `admin.token` is needed; \
                 for example token = \"env:EDGE_ADMIN_TOKEN\"";
    let table = [
        ("", format!("1:1: {none}")),
        ("\n[listen]\nadmin = \"127.0.0.1:1\"", format!("2:2: {none}")),
        ("listen.http = []", format!("1:15: {none}")),
        ("listen = { http = [\"0.0.0.0:80\"], admin = \"0.0.0.0:9090\" }", format!("1:43: {token}")),
        ("listen.http = [\":80\"]", "1:16: `http` wants an address with a port, not \":80\": every address is \"[::]:80\"; for example http = [\"0.0.0.0:80\"]".into()),
        ("listen.https = []", format!("1:1: {none}")),
        ("listen = { http = [\"0.0.0.0:80\"], https = [\"0.0.0.0:80\"] }", "1:44: 0.0.0.0:80 is already listened on at 1:20".into()),
        ("listen = { https = [\"0.0.0.0:80\"], admin = \"0.0.0.0:80\" }", format!("1:44: 0.0.0.0:80 already serves strangers at 1:21\n1:44: {token}")),
        ("listen.http = [\"0.0.0.0:80\", \"0.0.0.0:80\"]", "1:30: 0.0.0.0:80 is already listened on at 1:16".into()),
        ("listen = { http = [\"127.0.0.1:80\"], admin = \"127.0.0.1:80\" }", "1:45: 127.0.0.1:80 already serves strangers at 1:20".into()),
    ];
    for (text, expected) in table {
        let mistakes = load(text).unwrap_err().to_string();
        assert_eq!(mistakes.replace("t.toml:", ""), expected, "{text}");
    }
    let twice = "listen.http = [\"127.0.0.1:0\", \"127.0.0.1:0\"]";
    assert!(load(twice).is_ok(), "two free ports are two ports");
    let sealed = "listen.https = [\"127.0.0.1:0\"]";
    assert!(load(sealed).is_ok(), "a node may speak TLS alone");
}

#[test]
fn all_mistakes_are_reported_in_one_pass_and_none_twice() {
    let text = "\
[listen]
http = [\"localhost:80\"]
[admin]
tokn = \"env:A\"
[cache]
memory = \"lots\"
object_max = \"1GiB\"
[origins.app]
servers = \"http://a\"
[[site]]
hosts = [\"a\", \"b c\"]
origin = \"app\"
[[site]]
hosts = [\"a\"]
origin = \"api\"
[[site.route]]
path = \"*\"
[[site.route]]
path = \"/x\"
cache = { ttl = 5 }
";
    let mistakes = load(text).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|m| (m.at.line, m.at.column)).collect();
    let expected = [
        (2, 9),   // a name instead of an address; "names no address" is not added
        (4, 1),   // an unknown key
        (6, 10),  // not a size; `object_max` is not measured against it
        (9, 11),  // not a list; sites may still refer to the origin
        (11, 15), // not a host
        (14, 10), // a host taken by a site that has a mistake of its own
        (15, 10), // an unknown origin, although a route of this site is wrong
        (17, 8),  // not a path
        (20, 17), // not a duration
    ];
    assert_eq!(places, expected, "{mistakes}");
}

#[test]
fn a_syntax_error_has_its_place() {
    let table = [
        ("data = ", "t.toml:1:8: not valid TOML: "),
        ("[listen\n", "t.toml:1:8: not valid TOML: "),
        (
            "data = \"a\"\ndata = \"b\"\n",
            "t.toml:2:1: not valid TOML: duplicate key",
        ),
    ];
    for (text, expected) in table {
        let said = load(text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{text}: {said}");
        assert_eq!(said.lines().count(), 1);
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for wrong in [
        "\"hunter2\"",
        "\"env:hunter-2\"",
        "[\"hunter2\"]",
        "\"file:hunter2\\u0000\"",
    ] {
        let said = said(&format!("admin.token = {wrong}"));
        assert!(said.starts_with("2:15: `token` wants where"), "{said}");
        assert!(!said.contains("hunter"), "{said}");
    }
}

#[test]
fn a_file_of_nonsense_is_cut_short() {
    let text: String = (0..500).map(|n| format!("nonsense{n} = 1\n")).collect();
    let mistakes = load(&text).unwrap_err();
    assert_eq!(mistakes.len(), 501, "one per key, and no listener");
    let text = mistakes.to_string();
    assert_eq!(text.lines().count(), 101);
    assert!(text.ends_with("\nand 401 more"));
}

#[test]
fn too_many_of_anything_is_refused() {
    let routes = "[[site.route]]\npath = \"/a\"\n".repeat(1001);
    let hosts: String = (0..1001).map(|n| format!("\"h{n}\",")).collect();
    let table = [
        (
            format!("[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n{routes}"),
            "`route` has 1001 entries; the most is 1000",
        ),
        (
            format!("[[site]]\nhosts = [{hosts}]\norigin = \"store://www\"\n"),
            "`hosts` has 1001 entries; the most is 1000",
        ),
    ];
    for (text, expected) in table {
        assert!(said(&text).contains(expected), "{}", said(&text));
    }
}

#[test]
fn every_cut_of_a_good_file_gives_settings_or_mistakes() {
    for end in (0..EVERYTHING.len()).step_by(7) {
        if let Some(text) = EVERYTHING.get(..end)
            && let Err(mistakes) = load(text)
        {
            assert!(!mistakes.is_empty());
        }
    }
}
