//! Conditional requests and ranges, from stored bodies; and ours to the origin, to find out
//! whether what is stored is still good.

use crate::{fresh, in_front_of};
use edge_testkit::{Ended, Node, Origin, Reply, Request, is_pattern_from};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// A node that holds a pattern of 1,000 bytes under `/`, and its origin.
fn holding() -> (Origin, Node) {
    let origin = Origin::start(|_| {
        let reply = fresh("")
            .pattern(1000, 1)
            .field("Content-Type", "text/plain");
        reply
            .field("ETag", "\"a\"")
            .field("Last-Modified", MODIFIED)
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    (origin, node)
}

#[test]
fn conditions_of_clients_are_answered_from_the_stored_copy() {
    let (origin, node) = holding();
    for (fields, status) in [
        (&[("If-None-Match", "\"a\"")][..], 304),
        (&[("If-None-Match", "W/\"a\"")], 304),
        (&[("If-None-Match", "\"x\", \"a\"")], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"b\"")], 200),
        (&[("If-Modified-Since", MODIFIED)], 304),
        (&[("If-Modified-Since", BEFORE)], 200),
        (&[("If-Modified-Since", "yesterday")], 200),
        (
            &[("If-None-Match", "\"b\""), ("If-Modified-Since", MODIFIED)],
            200,
        ),
        (&[("If-Match", "\"a\"")], 200),
        (&[("If-Match", "\"b\"")], 412),
        (&[("If-Match", "W/\"a\"")], 412),
        (&[("If-Unmodified-Since", MODIFIED)], 200),
        (&[("If-Unmodified-Since", BEFORE)], 412),
    ] {
        for method in ["GET", "HEAD"] {
            let request = Request::new(method, "/");
            let request = fields
                .iter()
                .fold(request, |request, (name, value)| request.field(name, value));
            let answer = request.send(node.http());
            assert_eq!(answer.status, status, "{method} {fields:?}");
            assert!(
                answer.field("cache-status").starts_with("edge; hit"),
                "{answer}"
            );
        }
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_304_tells_what_a_200_would_and_nothing_about_a_body() {
    let (_origin, node) = holding();
    let mut connection = node.connect();
    let known = connection
        .exchange(&Request::get("/").field("If-None-Match", "\"a\""))
        .expect(304);
    assert_eq!((&known.ended, known.body_len), (&Ended::Bodiless, 0));
    for name in ["etag", "last-modified", "cache-control", "date", "age"] {
        assert!(known.has(name), "{name} is missing: {known}");
    }
    for name in ["content-type", "content-length", "transfer-encoding"] {
        assert!(!known.has(name), "{known}");
    }
    assert_eq!(
        connection.exchange(&Request::get("/")).expect(200).body_len,
        1000
    );
}

#[test]
fn conditions_and_ranges_of_a_cold_object_fetch_all_of_it_once() {
    let origin = Origin::start(|visit| {
        Reply::pattern_range(visit, 1000, 1)
            .field("ETag", "\"a\"")
            .field("Cache-Control", "max-age=60")
    });
    let node = in_front_of(&origin);
    Request::get("/known")
        .field("If-None-Match", "\"a\"")
        .send(node.http())
        .expect(304);
    let part = Request::get("/part")
        .field("Range", "bytes=10-19")
        .send(node.http())
        .expect(206);
    assert!(is_pattern_from(10, &part.body, 1) && part.body_len == 10);
    for path in ["/known", "/part"] {
        let whole = node.get(path).expect(200);
        assert!(is_pattern_from(0, &whole.body, 1) && whole.body_len == 1000);
        assert!(
            whole.field("cache-status").starts_with("edge; hit"),
            "{whole}"
        );
    }
    for visit in origin.requests() {
        assert!(
            !visit.has("range") && !visit.has("if-none-match"),
            "{:?}",
            visit.fields
        );
    }
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn single_ranges_are_cut_from_the_stored_body() {
    let (origin, node) = holding();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=990-", 990, 999),
        ("bytes=-5", 995, 999),
        ("bytes=-5000", 0, 999),
        ("bytes=900-99999999999999999999", 900, 999),
    ] {
        let part = Request::get("/")
            .field("Range", range)
            .send(node.http())
            .expect(206);
        assert_eq!(
            part.field("content-range"),
            format!("bytes {first}-{last}/1000"),
            "{range}"
        );
        assert_eq!(part.field("content-length"), (last - first + 1).to_string());
        assert!(
            part.body_len == last - first + 1 && is_pattern_from(first, &part.body, 1),
            "{range}"
        );
        assert_eq!(
            (part.field("etag"), part.field("content-type")),
            ("\"a\"", "text/plain")
        );
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_range_that_lies_outside_is_416_and_one_that_cannot_be_read_is_ignored() {
    let (origin, node) = holding();
    for range in ["bytes=1000-", "bytes=1000-1001", "bytes=-0"] {
        let answer = Request::get("/")
            .field("Range", range)
            .send(node.http())
            .expect(416);
        assert_eq!(answer.field("content-range"), "bytes */1000", "{range}");
        assert!(!answer.has("etag"), "{answer}");
    }
    for range in [
        "bytes=5-2",
        "bytes=a-b",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=",
        "0-1",
    ] {
        let answer = Request::get("/")
            .field("Range", range)
            .send(node.http())
            .expect(200);
        assert_eq!(answer.body_len, 1000, "{range}");
    }
    let head = Request::head("/")
        .field("Range", "bytes=0-1")
        .send(node.http())
        .expect(200);
    assert_eq!(head.field("content-length"), "1000");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn if_range_gives_the_part_only_of_the_very_same_body() {
    let (_origin, node) = holding();
    for (condition, status) in [
        ("\"a\"", 206),
        (MODIFIED, 206),
        ("\"b\"", 200),
        ("W/\"a\"", 200),
        (BEFORE, 200),
        ("nonsense", 200),
    ] {
        let request = Request::get("/")
            .field("Range", "bytes=0-9")
            .field("If-Range", condition);
        let answer = request.send(node.http()).expect(status);
        assert_eq!(
            answer.body_len,
            if status == 206 { 10 } else { 1000 },
            "{condition}"
        );
    }
}

#[test]
fn a_range_across_fragments_of_a_large_body_is_exact() {
    let origin = Origin::start(|_| fresh("").pattern(3 << 20, 5));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    for (first, last) in [
        (262_143, 262_144),
        (1, 3_145_726),
        (524_288, 786_431),
        (3_145_727, 3_145_727),
    ] {
        let range = format!("bytes={first}-{last}");
        let part = Request::get("/")
            .field("Range", &range)
            .send(node.http())
            .expect(206);
        assert!(
            part.body_len == last - first + 1 && is_pattern_from(first, &part.body, 5),
            "{range}"
        );
    }
}

#[test]
fn head_is_answered_from_what_get_stored() {
    let (origin, node) = holding();
    let mut connection = node.connect();
    for _ in 0..2 {
        let head = connection.exchange(&Request::head("/")).expect(200);
        assert_eq!((head.field("content-length"), head.body_len), ("1000", 0));
        assert!(
            head.field("cache-status").starts_with("edge; hit"),
            "{head}"
        );
        assert_eq!(
            (head.field("etag"), head.field("content-type")),
            ("\"a\"", "text/plain")
        );
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn head_of_a_cold_object_asks_with_head_and_stores_nothing() {
    let origin = Origin::start(|_| fresh("hello"));
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    let head = connection.exchange(&Request::head("/")).expect(200);
    assert_eq!((head.field("content-length"), head.body_len), ("5", 0));
    assert_eq!(origin.requests()[0].method, "HEAD");
    let get = connection.exchange(&Request::get("/")).expect(200);
    assert_eq!(get.text(), "hello");
    assert!(get.field("cache-status").contains("fwd=uri-miss"), "{get}");
}

#[test]
fn what_must_be_validated_is_validated_with_its_tag_and_served_from_store() {
    let origin = Origin::start(|visit| {
        let reply = if visit.field("if-none-match") == "\"v1\"" {
            Reply::new(304)
        } else {
            Reply::ok("one")
        };
        reply
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "no-cache")
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    for n in 2..5 {
        let again = node.get("/").expect(200);
        assert_eq!(again.text(), "one");
        let status = again.field("cache-status");
        assert!(
            status.starts_with("edge; fwd=stale; fwd-status=304; stored"),
            "{status}"
        );
        assert_eq!(origin.request_count(), n);
    }
}

#[test]
fn what_has_no_tag_is_validated_with_its_date() {
    let origin = Origin::start(|visit| {
        let reply = if visit.field("if-modified-since") == MODIFIED {
            Reply::new(304)
        } else {
            Reply::ok("one")
        };
        reply
            .field("Last-Modified", MODIFIED)
            .field("Cache-Control", "max-age=0")
    });
    let node = in_front_of(&origin);
    for _ in 0..3 {
        assert_eq!(node.get("/").expect(200).text(), "one");
    }
    assert_eq!(origin.requests()[1].field("if-modified-since"), MODIFIED);
    assert_eq!(origin.request_count(), 3);
    assert_eq!(origin.finished(), 3);
}

#[test]
fn a_304_makes_the_stored_copy_fresh_again_and_updates_its_fields() {
    let origin = Origin::sequence([
        Reply::ok("one")
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=0")
            .field("X-Gen", "1"),
        Reply::new(304)
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=60")
            .field("X-Gen", "2"),
        Reply::ok("never"),
    ]);
    let node = in_front_of(&origin);
    assert_eq!(node.get("/").field("x-gen"), "1");
    let renewed = node.get("/").expect(200);
    assert_eq!(
        (renewed.text().as_str(), renewed.field("x-gen")),
        ("one", "2")
    );
    let hit = node.get("/").expect(200);
    assert!(
        hit.field("cache-status").starts_with("edge; hit; ttl="),
        "{hit}"
    );
    assert_eq!(
        (hit.text().as_str(), hit.field("x-gen"), hit.field("age")),
        ("one", "2", "0")
    );
    assert_eq!(hit.fields_all("x-gen").len(), 1);
}

#[test]
fn a_200_to_our_condition_replaces_the_stored_copy() {
    let origin = Origin::start(|visit| {
        let version = if visit.number < 3 { visit.number } else { 2 };
        let tag = format!("\"v{version}\"");
        let control = if version == 1 {
            "max-age=0"
        } else {
            "max-age=60"
        };
        Reply::ok(format!("body {version}"))
            .field("ETag", &tag)
            .field("Cache-Control", control)
    });
    let node = in_front_of(&origin);
    assert_eq!(node.get("/").text(), "body 1");
    let replaced = node.get("/").expect(200);
    assert_eq!(replaced.text(), "body 2");
    assert!(
        replaced
            .field("cache-status")
            .starts_with("edge; fwd=stale; fwd-status=200; stored")
    );
    assert_eq!(node.get("/").field("etag"), "\"v2\"");
    assert_eq!(origin.requests()[1].field("if-none-match"), "\"v1\"");
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_client_that_has_what_the_origin_confirms_gets_a_304() {
    let origin = Origin::start(|visit| {
        let known = visit.field("if-none-match") == "\"v1\"";
        let reply = if known {
            Reply::new(304)
        } else {
            Reply::ok("one")
        };
        reply
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "no-cache")
    });
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    Request::get("/")
        .field("If-None-Match", "\"v1\"")
        .send(node.http())
        .expect(304);
    let older = Request::get("/")
        .field("If-None-Match", "\"v0\"")
        .send(node.http())
        .expect(200);
    assert_eq!(older.text(), "one");
    assert_eq!(
        origin.requests()[2]
            .fields
            .all("if-none-match")
            .collect::<Vec<_>>(),
        ["\"v1\""]
    );
}

#[test]
fn a_304_about_another_body_is_not_believed() {
    let origin = Origin::sequence([
        Reply::ok("one")
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "no-cache"),
        Reply::new(304).field("ETag", "\"v9\""),
        Reply::ok("nine")
            .field("ETag", "\"v9\"")
            .field("Cache-Control", "no-cache"),
    ]);
    let node = in_front_of(&origin);
    assert_eq!(node.get("/").text(), "one");
    assert_eq!(node.get("/").expect(200).text(), "nine");
    let visits = origin.requests();
    assert!(visits[1].has("if-none-match") && !visits[2].has("if-none-match"));
}

#[test]
fn an_error_in_place_of_a_validation_is_passed_on() {
    let origin = Origin::sequence([
        Reply::ok("one")
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=0"),
        Reply::new(500).piece("broken"),
        Reply::ok("two")
            .field("ETag", "\"v2\"")
            .field("Cache-Control", "max-age=60"),
    ]);
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    assert_eq!(node.get("/").expect(500).text(), "broken");
    assert_eq!(node.get("/").expect(200).text(), "two");
    assert!(node.get("/").field("cache-status").starts_with("edge; hit"));
}

#[test]
fn an_origin_that_dies_while_it_validates_takes_nothing_away() {
    let origin = Origin::sequence([
        Reply::ok("one")
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=0"),
        Reply::raw("").close(),
        // The first may have been a kept connection that was dead anyway: it is tried again.
        Reply::raw("").close(),
        Reply::new(304)
            .field("ETag", "\"v1\"")
            .field("Cache-Control", "max-age=60"),
    ]);
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    node.get("/").expect(502);
    let validated = node.get("/").expect(200);
    assert!(
        validated.field("cache-status").contains("fwd-status=304"),
        "{validated}"
    );
    assert_eq!(validated.text(), "one");
}
