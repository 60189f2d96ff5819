//! The admin API, asked over real sockets: who may ask, purge, explain, reload, the store, the
//! figures. What `/explain` predicts is held against what the next request meets.

use std::time::{Duration, Instant};

use crate::edge;
use edge_testkit::{Node, NodeBuilder, Origin, Reply, Request, Response, Visit, eventually};
use serde_json::{Value, json};

/// An origin whose answers are fresh for a minute.
fn fresh() -> Origin {
    Origin::start(|visit| {
        Reply::ok(format!("{} {}", visit.number, visit.target))
            .field("cache-control", "max-age=60")
            .field("cache-tag", "pages, all")
            .field("etag", "\"one\"")
    })
}

/// A site with the bundled store behind it.
fn store_site() -> NodeBuilder {
    edge().site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
}

#[track_caller]
fn admin(node: &Node, request: Request) -> Response {
    request.host(&node.admin().to_string()).send(node.admin())
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body)
        .unwrap_or_else(|error| panic!("no JSON, {error}: {response}"))
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What the node would do with a GET of this URL.
#[track_caller]
fn explain(node: &Node, url: &str) -> Value {
    json_of(
        &node
            .admin_get(&format!("/explain?url={}", escaped(url)))
            .expect(200),
    )
}

fn outcome(explained: &Value) -> &str {
    explained["prediction"]["outcome"]
        .as_str()
        .unwrap_or_default()
}

/// GETs the path until it is answered from the cache.
#[track_caller]
fn warm(node: &Node, path: &str) {
    let hit = eventually(Duration::from_secs(10), || {
        is_hit(&node.get(path).expect(200))
    });
    assert!(hit, "{path} is never answered from the cache");
}

fn is_hit(response: &Response) -> bool {
    response.field("cache-status").contains("; hit")
}

#[test]
fn health_and_readiness_are_told_as_json() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    for (path, wanted) in [
        ("/healthz", json!({ "status": "ok" })),
        ("/readyz", json!({ "ready": true })),
    ] {
        let got = node.admin_get(path).expect(200);
        assert_eq!(json_of(&got), wanted);
        assert_eq!(got.field("content-type"), "application/json");
        assert_eq!(got.field("cache-control"), "no-store");
        assert_eq!(got.field("x-content-type-options"), "nosniff");
        let head = admin(&node, Request::head(path)).expect(200);
        assert_eq!(head.field("content-length"), got.body_len.to_string());
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn unknown_paths_and_methods_are_told_what_there_is() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    let lost = node.admin_get("/purges").expect(404);
    assert!(lost.text().contains("/purge,"), "{lost}");
    assert_eq!(lost.field("cache-control"), "no-store");
    let wrong = node.admin_get("/purge").expect(405);
    assert_eq!(wrong.field("allow"), "POST");
    let wrong = node.admin_post("/healthz", "{}").expect(405);
    assert_eq!(wrong.field("allow"), "GET, HEAD");
}

#[test]
fn foreign_hosts_and_web_pages_are_refused() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("localhost:9", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        let got = Request::get("/healthz").host(host).send(node.admin());
        got.expect(status);
    }
    let paged = Request::post("/purge", "{\"everything\": true}")
        .field("Content-Type", "application/json")
        .field("Origin", "http://127.0.0.1");
    assert!(json_of(&admin(&node, paged).expect(403))["error"].is_string());
}

#[test]
fn a_token_is_needed_once_there_is_one() {
    let origin = fresh();
    let node = edge()
        .origin(&origin)
        .config("[admin]\ntoken = \"env:EDGE_TEST_TOKEN\"")
        .env("EDGE_TEST_TOKEN", "s3cret-and-long")
        .start();
    node.admin_get("/healthz").expect(200);
    let refused = node.admin_get("/metrics").expect(401);
    assert!(refused.field("www-authenticate").starts_with("Bearer"));
    for (offered, status) in [
        ("Bearer s3cret-and-long", 200),
        ("bearer s3cret-and-long", 200),
        ("Bearer s3cret-and-lon", 401),
        ("Basic s3cret-and-long", 401),
    ] {
        let asked = Request::get("/config").field("Authorization", offered);
        let got = admin(&node, asked).expect(status);
        assert!(!got.text().contains("s3cret"), "{got}");
    }
    let by_address = Request::get("/healthz").host("192.0.2.7:9090");
    by_address.send(node.admin()).expect(200);
    Request::get("/healthz")
        .host("evil.example")
        .send(node.admin())
        .expect(403);
}

#[test]
fn a_post_that_is_not_json_or_too_large_is_refused() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    let purge = || Request::post("/purge", "{\"everything\": true}");
    admin(&node, purge()).expect(415);
    admin(&node, purge().field("Content-Type", "text/plain")).expect(415);
    admin(&node, Request::post("/reload", "")).expect(415);
    let large = vec![b' '; (1 << 20) + 1];
    node.admin_post("/purge", String::from_utf8_lossy(&large))
        .expect(413);
    let chunked = Request::new("POST", "/purge")
        .field("Content-Type", "application/json")
        .chunked(large.chunks(1 << 16));
    admin(&node, chunked).expect(413);
}

#[test]
fn a_purge_that_is_not_understood_says_what_is_wrong() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    warm(&node, "/a");
    for (body, said) in [
        ("", "JSON"),
        ("{}", "nothing is named"),
        ("{\"urls\": \"http://edge.test/a\"}", "urls"),
        (
            "{\"url\": \"http://edge.test/a\", \"mode\": \"soggy\"}",
            "mode",
        ),
        ("{\"url\": \"edge.test/a\"}", "http://"),
        ("{\"url\": 7}", "url"),
    ] {
        let got = node.admin_post("/purge", body).expect(400);
        let error = json_of(&got)["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(error.contains(said), "{body}: {error}");
    }
    assert!(is_hit(&node.get("/a")), "a purge that failed purged");
}

#[test]
fn every_selector_sends_the_next_request_to_the_origin() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    for (purge, marks, purged) in [
        (json!({ "url": "http://edge.test/a/b?c" }), 1, true),
        (
            json!({ "url": ["http://edge.test:80/x", "http://EDGE.test/a/%62?c"] }),
            2,
            true,
        ),
        (json!({ "prefix": "http://edge.test/a/" }), 1, true),
        (json!({ "host": "edge.test" }), 1, true),
        (json!({ "tag": "pages" }), 1, true),
        (json!({ "everything": true }), 1, true),
        (json!({ "url": "http://edge.test/a/b" }), 1, false),
        (json!({ "url": "http://other.test/a/b?c" }), 1, false),
        (json!({ "prefix": "http://edge.test/b" }), 1, false),
        (json!({ "tag": "page" }), 1, false),
    ] {
        warm(&node, "/a/b?c");
        let before = origin.request_count();
        let answer = json_of(&node.admin_post("/purge", &purge).expect(200));
        assert_eq!(answer["marks"], marks, "{purge}");
        assert!(
            answer["stamp"].as_u64().is_some_and(|stamp| stamp > 0),
            "{answer}"
        );
        let next = node.get("/a/b?c").expect(200);
        assert_eq!(is_hit(&next), !purged, "{purge}: {next}");
        let asked = origin.request_count() - before;
        assert_eq!(asked, usize::from(purged), "{purge}");
        if purged {
            let visit = &origin.requests()[before];
            assert!(
                !visit.has("if-none-match"),
                "what is purged for good was validated"
            );
        }
    }
}

#[test]
fn a_soft_purge_has_the_stored_answer_validated() {
    let origin = Origin::start(|visit| {
        let reply = match visit.field("if-none-match") {
            "\"one\"" => Reply::new(304),
            _ => Reply::ok("body"),
        };
        reply
            .field("cache-control", "max-age=60")
            .field("etag", "\"one\"")
    });
    let node = edge().origin(&origin).start();
    for mode in ["soft", "revalidate"] {
        warm(&node, "/a");
        let purge = json!({ "url": "http://edge.test/a", "mode": mode });
        node.admin_post("/purge", purge).expect(200);
        assert_eq!(
            outcome(&explain(&node, "http://edge.test/a")),
            "revalidate",
            "{mode}"
        );
        let before = origin.request_count();
        assert_eq!(node.get("/a").expect(200).text(), "body");
        assert_eq!(origin.request_count(), before + 1, "{mode}");
        assert_eq!(origin.requests()[before].field("if-none-match"), "\"one\"");
    }
}

/// Two URLs that differ in an ignored parameter are one object, and go as one.
#[test]
fn a_purge_by_url_reaches_what_was_stored_under_an_ignored_parameter() {
    let origin = fresh();
    let node = edge()
        .origin(&origin)
        .site("[site.cache]\nkey = { query_ignore = [\"utm_*\"] }")
        .start();
    node.get("/a?utm_source=x").expect(200);
    warm(&node, "/a");
    node.admin_post("/purge", json!({ "url": "http://edge.test/a" }))
        .expect(200);
    assert!(
        !is_hit(&node.get("/a").expect(200)),
        "it is still served from the cache"
    );
}

#[test]
fn an_object_makes_the_round_trip_through_the_store() {
    let node = store_site().start();
    let put = |path: &str, body: &str| admin(&node, Request::put(path, body));
    assert_eq!(
        json_of(&put("/store/files", "").expect(201)),
        json!({ "created": true })
    );
    assert!(
        put("/store/files", "")
            .expect(409)
            .text()
            .contains("exists")
    );
    put("/store/No", "").expect(400);
    let buckets = json_of(&node.admin_get("/store").expect(200));
    let bucket = &buckets["buckets"][0];
    assert_eq!(bucket["name"], "files");
    let created = bucket["created"].as_str().unwrap_or_default();
    assert!(
        created.starts_with("20") && created.ends_with('Z') && created.len() == 20,
        "{created}"
    );

    let upload = Request::put("/store/files/dir%2Fa%20b%25.txt", "hello")
        .field("Content-Type", "text/plain")
        .field("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==");
    let wanted = json!({ "etag": "5d41402abc4b2a76b9719d911017c592", "size": 5 });
    assert_eq!(json_of(&admin(&node, upload).expect(200)), wanted);
    put("/store/files/z", "").expect(200);
    put("/store/none/z", "").expect(404);
    let listed = json_of(&node.admin_get("/store/files?max=1").expect(200));
    assert_eq!(listed["objects"][0]["key"], "dir/a b%.txt");
    assert_eq!(listed["objects"][0]["size"], 5);
    assert_eq!(listed["next"], "dir/a b%.txt");
    let listed = json_of(
        &node
            .admin_get("/store/files/?after=dir%2Fa%20b%25.txt")
            .expect(200),
    );
    assert_eq!(
        (&listed["objects"][0]["key"], &listed["next"]),
        (&json!("z"), &Value::Null)
    );
    let listed = json_of(
        &node
            .admin_get("/store/files?delimiter=/&prefix=d")
            .expect(200),
    );
    assert_eq!(
        (&listed["objects"], &listed["prefixes"]),
        (&json!([]), &json!(["dir/"]))
    );

    let path = "/store/files/dir/a%20b%25.txt";
    let got = node.admin_get(path).expect(200);
    assert_eq!(
        (got.text().as_str(), got.field("content-type")),
        ("hello", "text/plain")
    );
    assert_eq!(got.field("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert!(got.has("last-modified") && got.field("cache-control") == "no-store");
    let head = admin(&node, Request::head(path)).expect(200);
    assert_eq!((head.field("content-length"), head.body_len), ("5", 0));
    let part = admin(&node, Request::get(path).field("Range", "bytes=1-2")).expect(206);
    assert_eq!(
        (part.text().as_str(), part.field("content-range")),
        ("el", "bytes 1-2/5")
    );
    let beyond = admin(&node, Request::get(path).field("Range", "bytes=9-")).expect(416);
    assert_eq!(beyond.field("content-range"), "bytes */5");

    let drop = |path: &str| admin(&node, Request::new("DELETE", path));
    assert!(drop("/store/files").expect(409).text().contains("objects"));
    assert_eq!(json_of(&drop(path).expect(200)), json!({ "deleted": true }));
    assert_eq!(
        json_of(&drop(path).expect(200)),
        json!({ "deleted": false })
    );
    node.admin_get(path).expect(404);
    drop("/store/files/z").expect(200);
    drop("/store/files").expect(200);
    drop("/store/files").expect(404);
}

#[test]
fn uploads_keep_their_conditions_and_their_checksum() {
    let node = store_site().start();
    admin(&node, Request::put("/store/files", "")).expect(201);
    let put = |name: &str, value: &str| {
        admin(
            &node,
            Request::put("/store/files/a", "hello").field(name, value),
        )
    };
    put("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==").expect(400);
    put("Content-MD5", "hello").expect(400);
    put("If-Match", "\"5d41402abc4b2a76b9719d911017c592\"").expect(404);
    put("If-None-Match", "*").expect(200);
    put("If-None-Match", "*").expect(412);
    put("If-Match", "\"x\"").expect(412);
    put("If-Match", "\"5d41402abc4b2a76b9719d911017c592\"").expect(200);
    put("If-None-Match", "\"x\"").expect(400);
    admin(&node, Request::put("/store/files/a?b", "hello")).expect(400);
    admin(&node, Request::put("/store/files/%FF", "hello")).expect(400);
}

#[test]
fn a_large_object_streams_in_and_out() {
    const LEN: u64 = 20 << 20;
    let node = store_site().start();
    admin(&node, Request::put("/store/files", "")).expect(201);
    let upload = Request::new("PUT", "/store/files/large").pattern_chunked(LEN, 7);
    assert_eq!(json_of(&admin(&node, upload).expect(200))["size"], LEN);
    let got = admin(&node, Request::get("/store/files/large").count_body()).expect(200);
    assert_eq!(
        (got.body_len, got.body_crc),
        (LEN, edge_testkit::pattern_crc(LEN, 7))
    );
    let part = Request::get("/store/files/large").field("Range", "bytes=10000000-10000099");
    let part = admin(&node, part).expect(206);
    assert_eq!(part.body, edge_testkit::pattern_from(10_000_000, 100, 7));
}

#[test]
fn a_write_is_seen_by_the_next_visitor() {
    let node = store_site().start();
    node.get("/a.txt").expect(404);
    admin(&node, Request::put("/store/www", "")).expect(201);
    for body in ["one", "two"] {
        admin(&node, Request::put("/store/www/a.txt", body)).expect(200);
        assert_eq!(node.get("/a.txt").expect(200).text(), body);
        warm(&node, "/a.txt");
    }
    admin(&node, Request::new("DELETE", "/store/www/a.txt")).expect(200);
    node.get("/a.txt").expect(404);
    let page = Request::put("/store/www/b.html", "b").field("Cache-Control", "max-age=7");
    admin(&node, page).expect(200);
    assert_eq!(
        node.get("/b.html").expect(200).field("cache-control"),
        "max-age=7"
    );
}

#[test]
fn a_reload_applies_a_good_file_and_keeps_a_bad_one_out() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    let reload = || node.admin_post("/reload", "");
    assert_eq!(
        json_of(&reload().expect(200)),
        json!({ "applied": [], "needs_restart": [] })
    );

    node.edit_config(|text| {
        text.replace("hosts = [\"*\"]", "hosts = [\"only.test\"]") + "[cache]\nmemory = \"64MiB\"\n"
    });
    let changed = json_of(&reload().expect(200));
    let listed = |name: &str| changed[name].to_string();
    assert!(listed("applied").contains("only.test"), "{changed}");
    assert!(
        listed("needs_restart").contains("cache.memory"),
        "{changed}"
    );
    node.get("/").expect(421);
    Request::get("/")
        .host("only.test")
        .send(node.http())
        .expect(200);

    node.edit_config(|text| text.replace("origin =", "orgin ="));
    let refused = json_of(&reload().expect(422));
    let error = refused["error"].as_str().unwrap_or_default();
    assert!(
        error.contains("orgin") && error.contains("edge.toml"),
        "{error}"
    );
    Request::get("/")
        .host("only.test")
        .send(node.http())
        .expect(200);
}

#[test]
fn the_config_in_effect_is_shown_without_its_secrets() {
    let origin = fresh();
    let node = edge()
        .origin(&origin)
        .config("[admin]\ntoken = \"file:token\"")
        .file("token", "s3cret-and-long\n")
        .start();
    let asked = Request::get("/config").field("Authorization", "Bearer s3cret-and-long");
    let got = admin(&node, asked).expect(200);
    let shown = json_of(&got);
    assert_eq!(shown["file"], node.config_path().display().to_string());
    let toml = shown["toml"].as_str().unwrap_or_default();
    assert!(toml.contains("token = \"file:token\""), "{toml}");
    assert!(
        toml.contains(&origin.url()) && toml.contains("header_deadline"),
        "{toml}"
    );
    assert!(!got.text().contains("s3cret"), "{got}");
}

#[test]
fn the_figures_count_what_happens() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    let text = node.admin_get("/metrics").expect(200);
    assert_eq!(text.field("content-type"), "text/plain; version=0.0.4");
    node.get("/a").expect(200);
    warm(&node, "/a");
    let counted = |cache: &str| {
        node.metric(
            "edge_requests_total",
            &[("site", "*"), ("status", "2xx"), ("cache", cache)],
        )
    };
    // A reply is counted when it has gone out, which the client may see first.
    let came = eventually(Duration::from_secs(10), || {
        counted("miss") == 1.0 && counted("hit") >= 1.0
    });
    assert!(came, "{}", node.admin_get("/metrics").text());
    node.admin_post("/purge", json!({ "tag": ["a", "b"] }))
        .expect(200);
    // The memory tier counts what it holds when it gets to it.
    let held = || node.metric("edge_cache_objects", &[("tier", "memory")]);
    assert!(
        eventually(Duration::from_secs(10), || held() == 1.0),
        "{}",
        held()
    );
    let metrics = node.metrics();
    assert_eq!(metrics.sum("edge_cache_purge_marks", &[]), 2.0);
    assert!(metrics.sum("edge_cache_bytes", &[]) > 0.0);
    for name in [
        "edge_connections",
        "edge_connections_total",
        "edge_reply_bytes_total",
        "edge_reply_seconds_count",
        "edge_origin_seconds_count",
        "edge_origin_errors_total",
        "edge_origin_connections_total",
        "edge_cache_fills",
        "edge_cache_evictions_total",
        "edge_store",
        "edge_access_log_dropped_total",
    ] {
        assert!(metrics.has(name, &[]), "{name} is missing");
    }
}

#[test]
fn explain_tells_a_miss_then_a_hit_and_changes_nothing() {
    let origin = fresh();
    let node = edge().origin(&origin).start();
    let url = "http://Edge.test:80/x/../a?b=c";
    for _ in 0..2 {
        let told = explain(&node, url);
        assert_eq!(
            (outcome(&told), &told["prediction"]["reason"]),
            ("miss", &json!("uri"))
        );
        assert_eq!((&told["site"], &told["route"]), (&json!("*"), &json!("/*")));
        assert_eq!(
            (&told["origin"], &told["stored"]),
            (&json!(origin.url()), &Value::Null)
        );
    }
    assert_eq!(origin.request_count(), 0);
    warm(&node, "/a?b=c");
    let told = explain(&node, url);
    assert_eq!(
        (outcome(&told), &told["prediction"]["status"]),
        ("hit", &json!(200))
    );
    assert!(
        told["prediction"]["cache_status"]
            .to_string()
            .contains("edge; hit; ttl="),
        "{told}"
    );
    let stored = &told["stored"];
    assert_eq!(
        (&stored["status"], &stored["body_bytes"]),
        (&json!(200), &json!(8))
    );
    assert_eq!(stored["rule"], "Cache-Control: max-age");
    let left = stored["fresh_for_seconds"].as_f64().unwrap_or_default();
    assert!(left > 30.0 && left <= 60.0, "{stored}");
    assert!(
        stored["fields"]
            .to_string()
            .contains("[\"etag\",\"\\\"one\\\"\"]"),
        "{stored}"
    );
    let text = told["text"].to_string();
    assert!(
        text.contains("hit") && text.contains(told["key"].as_str().unwrap_or("?")),
        "{text}"
    );
    assert_eq!(origin.request_count(), 1);

    let known = format!(
        "/explain?url={}&header=If-None-Match:%20%22one%22",
        escaped(url)
    );
    assert_eq!(
        json_of(&node.admin_get(&known).expect(200))["prediction"]["status"],
        304
    );
}

#[test]
fn explain_tells_a_pass_an_unknown_host_and_what_is_refused() {
    let origin = fresh();
    let site = format!(
        "[[site]]\nhosts = [\"edge.test\"]\norigin = \"{}\"\n[site.cache]\nbypass = [\"cookie:session\"]\n",
        origin.url()
    );
    let node = edge().site(&site).start();
    warm(&node, "/a");
    for (query, outcome, reason, status) in [
        (
            "url=http://edge.test/a&header=Cookie:%20session=1",
            "pass",
            json!("bypass-rule"),
            Value::Null,
        ),
        (
            "url=http://edge.test/a&method=POST",
            "pass",
            json!("method"),
            Value::Null,
        ),
        (
            "url=http://edge.test/b&method=HEAD",
            "pass",
            json!("method"),
            Value::Null,
        ),
        (
            "url=http://edge.test/a&method=HEAD",
            "hit",
            Value::Null,
            json!(200),
        ),
        ("url=https://edge.test/a", "miss", json!("uri"), Value::Null),
        (
            "url=http://other.test/a",
            "refused",
            json!("no-site"),
            json!(421),
        ),
        (
            "url=http://edge.test/../a",
            "refused",
            json!("malformed-request"),
            json!(400),
        ),
        (
            "url=http://edge.test/a&method=TRACE",
            "refused",
            json!("malformed-request"),
            json!(405),
        ),
    ] {
        let told = json_of(&node.admin_get(&format!("/explain?{query}")).expect(200));
        let got = &told["prediction"];
        let wanted = (&json!(outcome), &reason, &status);
        assert_eq!(
            (&got["outcome"], &got["reason"], &got["status"]),
            wanted,
            "{query}"
        );
        assert!(
            told["text"]
                .as_array()
                .is_some_and(|lines| lines.len() >= 2),
            "{told}"
        );
    }
    let bypassed =
        json_of(&node.admin_get("/explain?url=http://edge.test/a&header=Cookie:session=1"));
    assert_eq!(
        bypassed["stored"]["status"], 200,
        "what is stored is told even where it is not used"
    );
    for query in [
        "",
        "url=edge.test",
        "url=http://a/&x=y",
        "url=http://a/&header=x",
        "url=%zz",
    ] {
        node.admin_get(&format!("/explain?{query}")).expect(400);
    }
}

/// Small, seeded, good enough to pick steps.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const PATHS: &[&str] = &[
    "/fresh",
    "/fresh?q=1",
    "/soon",
    "/stale",
    "/stale-etag",
    "/etag",
    "/fickle",
    "/no-cache",
    "/no-store",
    "/private",
    "/cookie",
    "/nothing",
    "/lang",
    "/star",
    "/gone",
    "/moved",
    "/error",
    "/large",
    "/api/fresh",
    "/off/fresh",
];

/// Answers of every kind, told apart by the path.
fn answer(visit: &Visit) -> Reply {
    let etag = match visit.path() {
        "/fickle" => format!("\"{}\"", visit.number / 3),
        _ => "\"one\"".to_owned(),
    };
    let found = |status: u16| Reply::new(status).piece("0123456789");
    let validated = || match visit.field("if-none-match").contains(&etag) {
        true => Reply::new(304).field("etag", &etag),
        false => found(200).field("etag", &etag),
    };
    let minute = |reply: Reply| reply.field("cache-control", "max-age=60");
    let old =
        |reply: Reply, age: &str| reply.field("cache-control", "max-age=10").field("age", age);
    match visit.path() {
        "/soon" => old(found(200), "9"),
        "/stale" => old(found(200), "10"),
        "/stale-etag" => old(validated(), "10"),
        "/etag" | "/fickle" => validated(),
        "/no-cache" => validated().field("cache-control", "no-cache, max-age=60"),
        "/no-store" => found(200).field("cache-control", "no-store"),
        "/private" => found(200).field("cache-control", "private, max-age=60"),
        "/cookie" => minute(found(200)).field("set-cookie", "a=b"),
        "/nothing" => found(200),
        "/lang" => minute(found(200)).field("vary", "x-lang"),
        "/star" => minute(found(200)).field("vary", "*"),
        "/gone" => minute(found(404)),
        "/moved" => minute(found(302)),
        "/error" => found(500),
        "/large" => minute(Reply::new(200).pattern(20_000, 1)),
        _ => minute(validated()),
    }
}

/// What became of a request, as it shows from outside.
fn deed(response: &Response, visits: &[Visit]) -> &'static str {
    let status = response
        .fields_all("cache-status")
        .last()
        .copied()
        .unwrap_or_default();
    let passed = [
        "fwd=bypass",
        "fwd=method",
        "remembered-uncacheable",
        "detail=too-large",
    ];
    match visits {
        _ if status.is_empty() => "refused",
        [] if status.contains("; hit") => "hit",
        [_] if passed.iter().any(|sign| status.contains(sign)) => "pass",
        // Asked a second time where a 304 was no answer to this request.
        [visit] | [visit, _] if status.contains("fwd=stale") && visit.has("if-none-match") => {
            "revalidate"
        }
        [_] if status.contains("fwd=") => "miss",
        _ => "something else",
    }
}

#[test]
fn prediction_and_deed_agree() {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the system has random numbers");
    let seed = u64::from_le_bytes(seed) | 1;
    let mut random = Random(seed);
    let origin = Origin::start(answer);
    let node = edge()
        .origin(&origin)
        .site(
            "[site.cache]\nobject_max = \"10000B\"\n\
             [[site.route]]\npath = \"/api/*\"\ncache = { bypass = [\"header:authorization\"] }\n\
             [[site.route]]\npath = \"/off/*\"\ncache = { enabled = false }",
        )
        .start();
    let mut met = std::collections::BTreeMap::new();
    for step in 0..400 {
        let path = random.pick(PATHS);
        let url = format!("http://edge.test{path}");
        match random.below(40) {
            0 => node
                .admin_post("/purge", json!({ "everything": true }))
                .expect(200),
            1 | 2 => node.admin_post("/purge", json!({ "url": url })).expect(200),
            3 | 4 => node
                .admin_post("/purge", json!({ "url": url, "mode": "soft" }))
                .expect(200),
            _ => node.admin_get("/healthz").expect(200),
        };
        let method = random.pick(&[
            "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "BREW",
        ]);
        let mut request = Request::new(method, path);
        let mut query = format!("/explain?url={}&method={method}", escaped(&url));
        for (name, value) in [
            ("X-Lang", random.pick(&["a", "b"])),
            (
                "If-None-Match",
                random.pick(&["", "", "\"one\"", "\"two\""]),
            ),
            ("Range", random.pick(&["", "", "bytes=1-3", "bytes=90000-"])),
            ("Authorization", random.pick(&["", "", "", "Basic eDp5"])),
            (
                "Bad Name",
                random.pick(&["", "", "", "", "", "", "", "", "", "x"]),
            ),
        ] {
            // A part of what is too large is fetched around the cache, which nobody can know
            // before its length is known.
            if !value.is_empty() && (name, path) != ("Range", "/large") {
                request = request.field(name, value);
                query.push_str(&format!("&header={}", escaped(&format!("{name}: {value}"))));
            }
        }
        let about = format!("seed {seed}, step {step}: {query}");
        let mut asked_at = Instant::now();
        let mut told = Value::Null;
        let settled = eventually(Duration::from_secs(10), || {
            asked_at = Instant::now();
            told = json_of(&node.admin_get(&query).expect(200));
            outcome(&told) != "collapsed"
        });
        assert!(settled, "{about}: the fetch never ends: {told}");
        let before = origin.request_count();
        let response = request.send(node.http());
        let visits = &origin.requests()[before..];
        let prediction = &told["prediction"];
        if let Some(left) = told["stored"]["fresh_for_seconds"].as_f64()
            && left <= asked_at.elapsed().as_secs_f64() + 0.01
        {
            continue; // It may have become stale in between.
        }
        let did = deed(&response, visits);
        assert_eq!(outcome(&told), did, "{about}\n{told}\n{response}");
        *met.entry(did).or_insert(0) += 1;
        if let Some(status) = prediction["status"].as_u64() {
            assert_eq!(
                status,
                u64::from(response.status),
                "{about}\n{told}\n{response}"
            );
        }
        let untimed = |text: &str| text.split("; ttl=").next().unwrap_or_default().to_owned();
        if let Some(status) = prediction["cache_status"].as_str() {
            assert_eq!(
                untimed(status),
                untimed(response.field("cache-status")),
                "{about}"
            );
        }
        let reason = prediction["reason"].as_str().unwrap_or_default();
        if did == "pass" {
            let said = response.field("cache-status");
            assert!(
                said.ends_with(&format!("; detail={reason}")),
                "{about}: {said}, not {reason}"
            );
        }
    }
    for kind in ["hit", "miss", "revalidate", "pass", "refused"] {
        assert!(
            met.contains_key(kind),
            "seed {seed}: no {kind} among {met:?}"
        );
    }
    assert!(origin.faults().is_empty(), "{:?}", origin.faults());
}
