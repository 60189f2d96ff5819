//! What is kept and for how long, as `Cache-Status` and `Age` tell it and as the origin sees it.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Gate, Origin, Reply, Request, eventually, http_date};
use std::time::{Duration, SystemTime};

#[test]
fn the_first_request_is_a_stored_miss_and_the_second_a_hit() {
    let origin = Origin::start(|_| fresh("hello").field("Content-Type", "text/plain"));
    let node = in_front_of(&origin);
    let miss = node.get("/a").expect(200);
    let status = miss.field("cache-status");
    assert!(
        status.starts_with("edge; fwd=uri-miss; fwd-status=200; stored; ttl="),
        "{status}"
    );
    assert!(!miss.has("age"), "{miss}");
    let hit = node.get("/a").expect(200);
    assert!(
        hit.field("cache-status").starts_with("edge; hit; ttl="),
        "{hit}"
    );
    assert_eq!(hit.field("age"), "0");
    assert_eq!((miss.text(), hit.text()), ("hello".into(), "hello".into()));
    for name in ["content-type", "cache-control", "date", "content-length"] {
        assert_eq!(hit.fields_all(name), miss.fields_all(name), "{name}");
        assert_eq!(hit.fields_all(name).len(), 1, "{name}");
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn age_goes_on_from_what_caches_before_us_counted() {
    let origin = Origin::start(|_| {
        fresh("x")
            .field("Age", "30")
            .field("Cache-Status", "other; hit")
    });
    let node = in_front_of(&origin);
    let miss = node.get("/").expect(200);
    assert_eq!(miss.fields_all("age"), ["30"]);
    let age = || {
        node.get("/")
            .expect(200)
            .field("age")
            .parse::<u64>()
            .unwrap()
    };
    assert!((30..33).contains(&age()));
    assert!(eventually(Duration::from_secs(3), || age() == 31));
    let hit = node.get("/");
    assert_eq!(hit.fields_all("age").len(), 1);
    let statuses = hit.fields_all("cache-status");
    assert_eq!(statuses[0], "other; hit");
    assert!(statuses[1].starts_with("edge; hit; ttl=2"), "{statuses:?}");
}

#[test]
fn what_is_no_longer_fresh_is_fetched_again() {
    let origin = Origin::start(|visit| {
        Reply::ok(visit.number.to_string()).field("Cache-Control", "max-age=1")
    });
    let node = in_front_of(&origin);
    assert_eq!(node.get("/").text(), "1");
    assert!(node.get("/").field("cache-status").contains("hit"));
    assert!(eventually(Duration::from_secs(3), || node.get("/").text() == "2"));
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn freshness_comes_from_the_most_specific_field_that_states_it() {
    let now = SystemTime::now();
    let later = http_date(now + Duration::from_secs(3600));
    let earlier = http_date(now - Duration::from_secs(3600));
    let long_ago = http_date(now - Duration::from_secs(100 * 86_400));
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
    let table: &[Row<'_>] = &[
        ("/max-age", &[("Cache-Control", "max-age=60")], true),
        (
            "/s-maxage",
            &[("Cache-Control", "max-age=0, s-maxage=60")],
            true,
        ),
        (
            "/s-maxage-0",
            &[("Cache-Control", "max-age=60, s-maxage=0")],
            false,
        ),
        ("/public", &[("Cache-Control", "public, max-age=60")], true),
        (
            "/two-lines",
            &[("Cache-Control", "public"), ("Cache-Control", "max-age=60")],
            true,
        ),
        ("/expires", &[("Expires", &later)], true),
        ("/expired", &[("Expires", &earlier)], false),
        ("/expires-0", &[("Expires", "0")], false),
        (
            "/age-wins",
            &[("Expires", &earlier), ("Cache-Control", "max-age=60")],
            true,
        ),
        ("/heuristic", &[("Last-Modified", &long_ago)], true),
        (
            "/old",
            &[("Cache-Control", "max-age=60"), ("Age", "61")],
            false,
        ),
        ("/nothing", &[], false),
        ("/nonsense", &[("Cache-Control", "max-age=soon")], false),
    ];
    let script: Vec<_> = table
        .iter()
        .map(|(path, fields, _)| reply_with(path, fields))
        .collect();
    let origin = Origin::start(move |visit| {
        script
            .iter()
            .find(|(path, _)| *path == visit.target)
            .unwrap()
            .1
            .clone()
    });
    let node = in_front_of(&origin);
    for (path, fields, kept) in table {
        node.get(path).expect(200);
        let again = node.get(path).expect(200);
        let status = again.field("cache-status");
        assert_eq!(
            status.starts_with("edge; hit"),
            *kept,
            "{path} {fields:?}: {status}"
        );
    }
}

/// A path and what the origin answers to it.
fn reply_with(path: &str, fields: &[(&str, &str)]) -> (String, Reply) {
    let reply = Reply::ok("x");
    let reply = fields
        .iter()
        .fold(reply, |reply, (name, value)| reply.field(name, value));
    (path.to_owned(), reply)
}

#[test]
fn what_is_not_for_everybody_is_never_stored_and_says_why() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("no-store", &[("Cache-Control", "no-store, max-age=60")]),
        ("private", &[("Cache-Control", "private, max-age=60")]),
        (
            "set-cookie",
            &[("Cache-Control", "max-age=60"), ("Set-Cookie", "a=1")],
        ),
        (
            "vary-star",
            &[("Cache-Control", "max-age=60"), ("Vary", "accept, *")],
        ),
        ("no-freshness", &[]),
    ];
    let script: Vec<_> = table
        .iter()
        .map(|(why, fields)| reply_with(why, fields))
        .collect();
    let origin = Origin::start(move |visit| {
        script
            .iter()
            .find(|(why, _)| *why == visit.target[1..])
            .unwrap()
            .1
            .clone()
    });
    let node = in_front_of(&origin);
    for (why, fields) in table {
        let first = node.get(&format!("/{why}")).expect(200);
        let status = first.field("cache-status").to_owned();
        assert!(
            status.starts_with("edge; fwd=uri-miss; fwd-status=200"),
            "{status}"
        );
        assert!(
            status.ends_with(&format!("; detail={why}")) && !status.contains("stored"),
            "{status}"
        );
        assert!(fields.iter().all(|(name, _)| first.has(name)), "{first}");
        let second = node.get(&format!("/{why}")).expect(200);
        assert!(second.field("cache-status").contains("fwd="), "{second}");
        assert_eq!(origin.request_count_for(&format!("/{why}")), 2, "{why}");
    }
}

#[test]
fn an_answer_to_credentials_is_shared_only_when_it_says_so() {
    for (control, shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
    ] {
        let origin = Origin::start(|_| Reply::ok("x").field("Cache-Control", control));
        let node = in_front_of(&origin);
        let first = Request::get("/")
            .field("Authorization", "Basic eA==")
            .send(node.http());
        assert_eq!(
            first.field("cache-status").contains("stored"),
            shared,
            "{control}: {first}"
        );
        node.get("/").expect(200);
        assert_eq!(
            origin.request_count(),
            if shared { 1 } else { 2 },
            "{control}"
        );
        assert_eq!(origin.requests()[0].field("authorization"), "Basic eA==");
    }
}

#[test]
fn each_variant_is_stored_beside_the_others() {
    let origin = Origin::start(|visit| {
        fresh(visit.field("accept-language")).field("Vary", "Accept-Language")
    });
    let node = in_front_of(&origin);
    let ask = |language: &str| {
        Request::get("/")
            .field("Accept-Language", language)
            .send(node.http())
    };
    assert!(ask("en").field("cache-status").contains("fwd=uri-miss"));
    assert!(ask("fr").field("cache-status").contains("fwd=vary-miss"));
    for language in ["en", "fr"] {
        let hit = ask(language).expect(200);
        assert!(hit.field("cache-status").starts_with("edge; hit"), "{hit}");
        assert_eq!(hit.text(), language);
        assert_eq!(hit.field("vary"), "Accept-Language");
    }
    assert_eq!(node.get("/").text(), "");
    assert_eq!(origin.request_count(), 3);
}

#[test]
fn errors_and_redirects_are_kept_for_as_long_as_they_say() {
    let origin = Origin::start(|visit| {
        let status = visit.path()[1..].parse().unwrap();
        let reply = Reply::new(status).piece("gone").field("Location", "/x");
        if visit.query() == "fresh" {
            reply.field("Cache-Control", "max-age=60")
        } else {
            reply
        }
    });
    let node = in_front_of(&origin);
    for status in [
        301, 302, 307, 308, 400, 403, 404, 405, 410, 414, 429, 500, 501, 502, 503, 504,
    ] {
        for _ in 0..2 {
            let kept = node.get(&format!("/{status}?fresh")).expect(status);
            assert_eq!(
                (kept.text().as_str(), kept.field("location")),
                ("gone", "/x")
            );
            node.get(&format!("/{status}")).expect(status);
        }
        assert_eq!(
            origin.request_count_for(&format!("/{status}?fresh")),
            1,
            "{status}"
        );
        assert_eq!(
            origin.request_count_for(&format!("/{status}")),
            2,
            "{status}"
        );
    }
}

#[test]
fn an_empty_answer_is_stored_like_any_other() {
    let origin = Origin::start(|visit| match visit.path() {
        "/204" => Reply::new(204).field("Cache-Control", "max-age=60"),
        "/chunked" => Reply::new(200)
            .chunked()
            .field("Cache-Control", "max-age=60"),
        _ => fresh(""),
    });
    let node = in_front_of(&origin);
    for (path, status) in [("/204", 204), ("/chunked", 200), ("/zero", 200)] {
        for _ in 0..2 {
            let answer = node.get(path).expect(status);
            assert_eq!(answer.body_len, 0, "{path}");
            assert!(status != 204 || !answer.has("content-length"), "{answer}");
        }
        assert_eq!(origin.request_count_for(path), 1, "{path}");
    }
}

#[test]
fn a_large_body_comes_out_of_the_cache_as_it_went_in() {
    let origin = Origin::start(|visit| {
        let reply = fresh("").pattern(5_000_001, 7);
        if visit.path() == "/chunked" {
            reply.chunked()
        } else {
            reply
        }
    });
    let node = in_front_of(&origin);
    for path in ["/length", "/chunked"] {
        for _ in 0..2 {
            let answer = node.get(path).expect(200);
            assert!(
                answer.body_len == 5_000_001 && edge_testkit::is_pattern(&answer.body, 7),
                "{path}"
            );
        }
        let hit = node.get(path);
        assert_eq!(hit.field("content-length"), "5000001", "{path}");
        assert_eq!(origin.request_count_for(path), 1, "{path}");
    }
}

#[test]
fn a_routes_ttl_replaces_what_the_answer_says_but_not_that_it_is_private() {
    let origin = Origin::start(|visit| {
        Reply::ok(visit.number.to_string())
            .field("Cache-Control", &visit.path()[1..].replace('_', "="))
    });
    let node = edge()
        .origin(&origin)
        .site("[site.cache]\nttl = \"1m\"")
        .start();
    for (path, kept) in [
        ("/max-age_0", true),
        ("/public", true),
        ("/no-cache", true),
        ("/max-age_3600", true),
        ("/private", false),
        ("/no-store", false),
    ] {
        let first = node.get(path).text();
        let second = node.get(path);
        assert_eq!(second.text() == first, kept, "{path}");
        let ttl = |text: &str| {
            text.split("ttl=")
                .nth(1)
                .and_then(|ttl| ttl.parse::<u64>().ok())
        };
        assert!(
            !kept || ttl(second.field("cache-status")).unwrap() <= 60,
            "{second}"
        );
    }
}

#[test]
fn a_route_may_turn_the_cache_off() {
    let origin = Origin::start(|_| fresh("x"));
    let route = "[[site.route]]\npath = \"/off/*\"\ncache = { enabled = false }";
    let node = edge().origin(&origin).site(route).start();
    for _ in 0..2 {
        let passed = node.get("/off/a").expect(200);
        assert_eq!(
            passed.field("cache-status"),
            "edge; fwd=bypass; fwd-status=200; detail=cache-off"
        );
        node.get("/on").expect(200);
    }
    assert_eq!(origin.request_count_for("/off/a"), 2);
    assert_eq!(origin.request_count_for("/on"), 1);
}

#[test]
fn a_request_that_matches_a_bypass_rule_neither_reads_nor_writes_the_cache() {
    let origin = Origin::start(|visit| fresh(visit.number.to_string()));
    let rules =
        "[site.cache]\nbypass = [\"header:x-debug\", \"cookie:session\", \"query:nocache\"]";
    let node = edge().origin(&origin).site(rules).start();
    assert_eq!(node.get("/?a").text(), "1");
    let around = [
        Request::get("/?a").field("X-Debug", ""),
        Request::get("/?a").field("Cookie", "a=1; session=2"),
        Request::get("/?a&nocache=1"),
    ];
    for (n, request) in around.iter().enumerate() {
        let answer = request.send(node.http()).expect(200);
        assert_eq!(answer.text(), (n + 2).to_string());
        let status = answer.field("cache-status");
        assert_eq!(
            status,
            "edge; fwd=bypass; fwd-status=200; detail=bypass-rule"
        );
    }
    let unmatched = Request::get("/?a").field("Cookie", "xsession=2; a=session");
    assert_eq!(unmatched.send(node.http()).text(), "1");
    assert_eq!(node.get("/?a").text(), "1");
}

#[test]
fn methods_other_than_get_and_head_go_to_the_origin() {
    let origin = Origin::start(|visit| fresh(visit.method.clone()));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let answer = Request::new(method, "/").send(node.http()).expect(200);
        assert_eq!(answer.text(), method);
        assert_eq!(
            answer.field("cache-status"),
            "edge; fwd=method; fwd-status=200; detail=method"
        );
    }
    assert_eq!(origin.request_count(), 7);
}

#[test]
fn a_body_larger_than_the_route_keeps_is_passed_on_whole_and_not_kept() {
    let origin = Origin::start(|visit| {
        let reply = fresh("").pattern(visit.query().parse().unwrap(), 3);
        if visit.path() == "/chunked" {
            reply.chunked()
        } else {
            reply
        }
    });
    let node = edge()
        .origin(&origin)
        .site("[site.cache]\nobject_max = \"100KiB\"")
        .start();
    for path in ["/length", "/chunked"] {
        for (bytes, kept) in [(102_400, true), (102_401, false), (3_000_000, false)] {
            let target = format!("{path}?{bytes}");
            for _ in 0..2 {
                let answer = node.get(&target).expect(200);
                assert!(answer.body_len == bytes && edge_testkit::is_pattern(&answer.body, 3));
            }
            let asked = origin.request_count_for(&target);
            assert_eq!(asked, if kept { 1 } else { 2 }, "{target}");
        }
    }
    assert!(
        node.get("/length?102401")
            .field("cache-status")
            .contains("too-large")
    );
}

#[test]
fn a_body_that_passes_the_limit_with_its_last_byte_is_not_kept() {
    let gate = Gate::new();
    let reply = fresh([1; 102_400]).gate(&gate).piece([2]).chunked();
    let origin = Origin::start(move |_| reply.clone());
    let rules = "[site.cache]\nobject_max = \"100KiB\"";
    let node = edge().origin(&origin).site(rules).start();
    let mut client = node.connect();
    client.send(&Request::get("/"));
    assert!(client.wait_for_body(102_400));
    gate.open();
    assert_eq!(client.receive().expect(200).body_len, 102_401);
    assert_eq!(node.get("/").expect(200).body_len, 102_401);
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_host_that_no_site_takes_is_refused_and_reaches_nobody() {
    let origin = Origin::start(|_| fresh("x"));
    let site = format!(
        "[[site]]\nhosts = [\"a.test\", \"*.b.test\"]\norigin = \"{}\"",
        origin.url()
    );
    let node = edge().site(&site).start();
    for (host, status) in [
        ("a.test", 200),
        ("A.test.:8080", 200),
        ("x.b.test", 200),
        ("x.y.b.test", 200),
        ("b.test", 421),
        ("xb.test", 421),
        ("127.0.0.1", 421),
    ] {
        let answer = Request::get("/").host(host).send(node.http());
        assert_eq!(answer.status, status, "{host}");
        assert!(
            status == 200 || answer.field("cache-control") == "no-store",
            "{answer}"
        );
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|visit| !visit.field("host").ends_with("127.0.0.1"))
    );
}

#[test]
fn the_first_route_that_matches_decides() {
    let (first, second) = (
        Origin::start(|_| fresh("first")),
        Origin::start(|_| fresh("second")),
    );
    let routes = format!(
        "[[site.route]]\npath = \"/a/b\"\norigin = \"{0}\"\n\
         [[site.route]]\npath = \"*.js\"\norigin = \"{0}\"\n[[site.route]]\npath = \"/a/*\"",
        second.url()
    );
    let node = edge().origin(&first).site(&routes).start();
    for (path, answer) in [
        ("/a/b", "second"),
        ("/a/b/", "first"),
        ("/a/x.js?y", "second"),
        ("/a/x.jss", "first"),
        ("/", "first"),
    ] {
        assert_eq!(node.get(path).text(), answer, "{path}");
    }
}
