//! A site whose content lies in the bundled store: pages, and what a write changes at once.

use crate::{edge, fresh};
use edge_testkit::{Node, Origin, Request, Response, is_pattern};

/// A node that serves the bucket `www`, which exists.
fn website() -> Node {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    admin(&node, Request::new("PUT", "/store/www")).expect(201);
    node
}

#[track_caller]
fn admin(node: &Node, request: Request) -> Response {
    request.host(&node.admin().to_string()).send(node.admin())
}

#[track_caller]
fn put(node: &Node, key: &str, content: &str) {
    let request = Request::put(&format!("/store/www/{key}"), content);
    admin(node, request.field("Content-Type", "text/html")).expect(200);
}

#[track_caller]
fn delete(node: &Node, key: &str) {
    admin(node, Request::new("DELETE", &format!("/store/www/{key}"))).expect(200);
}

#[test]
fn folders_show_their_index_and_are_reached_by_a_redirect() {
    let node = website();
    put(&node, "index.html", "home");
    put(&node, "a/b/index.html", "inside");
    put(&node, "a/page", "page");
    for (path, text) in [
        ("/", "home"),
        ("/index.html", "home"),
        ("/a/b/", "inside"),
        ("/a/page?x=1", "page"),
    ] {
        for _ in 0..2 {
            let page = node.get(path).expect(200);
            assert_eq!(
                (page.text().as_str(), page.field("content-type")),
                (text, "text/html"),
                "{path}"
            );
        }
        assert!(
            node.get(path)
                .field("cache-status")
                .starts_with("edge; hit"),
            "{path}"
        );
    }
    let redirect = node.get("/a/b?x=1");
    assert!(
        matches!(redirect.status, 301 | 302 | 307 | 308),
        "{redirect}"
    );
    assert_eq!(redirect.field("location"), "/a/b/?x=1");
    node.get("/a").expect(404);
    node.get("/a/page/").expect(404);
}

#[test]
fn a_page_that_says_nothing_is_kept_for_an_hour_and_one_that_does_as_it_says() {
    let node = website();
    put(&node, "plain", "x");
    let request = Request::put("/store/www/said", "x").field("Cache-Control", "max-age=5");
    admin(&node, request).expect(200);
    let request = Request::put("/store/www/secret", "x").field("Cache-Control", "no-store");
    admin(&node, request).expect(200);
    for (path, ttls) in [
        ("/plain", 3595..=3600),
        ("/said", 1..=5),
        ("/missing", 3595..=3600),
    ] {
        node.get(path);
        let hit = node.get(path);
        let status = hit.field("cache-status");
        assert!(status.starts_with("edge; hit; ttl="), "{path}: {status}");
        let ttl: u64 = status.split("ttl=").nth(1).unwrap().parse().unwrap();
        assert!(ttls.contains(&ttl), "{path}: {status}");
    }
    for _ in 0..2 {
        assert!(
            node.get("/secret")
                .expect(200)
                .field("cache-status")
                .contains("fwd=uri-miss")
        );
    }
}

#[test]
fn a_write_an_overwrite_and_a_delete_are_seen_at_once() {
    let node = website();
    node.get("/a").expect(404);
    assert!(
        node.get("/a")
            .expect(404)
            .field("cache-status")
            .starts_with("edge; hit")
    );
    for content in ["one", "two", "three"] {
        put(&node, "a", content);
        assert_eq!(node.get("/a").expect(200).text(), content);
        assert!(
            node.get("/a")
                .field("cache-status")
                .starts_with("edge; hit")
        );
    }
    delete(&node, "a");
    node.get("/a").expect(404);
    put(&node, "a", "again");
    assert_eq!(node.get("/a").expect(200).text(), "again");
}

#[test]
fn a_write_purges_all_that_depends_on_it_and_nothing_else() {
    let node = website();
    put(&node, "other", "other");
    node.get("/other").expect(200);
    node.get("/dir").expect(404);
    node.get("/dir/").expect(404);
    node.get("/nowhere").expect(404);
    put(&node, "dir/index.html", "index");
    assert_eq!(node.get("/dir").field("location"), "/dir/");
    assert_eq!(node.get("/dir/").expect(200).text(), "index");
    put(&node, "404.html", "not here");
    assert_eq!(node.get("/nowhere").expect(404).text(), "not here");
    put(&node, "404.html", "still not here");
    assert_eq!(node.get("/nowhere").expect(404).text(), "still not here");
    delete(&node, "dir/index.html");
    node.get("/dir").expect(404);
    node.get("/dir/").expect(404);
    assert!(
        node.get("/other")
            .field("cache-status")
            .starts_with("edge; hit")
    );
}

#[test]
fn every_query_and_host_of_an_object_changes_with_it() {
    let node = website();
    put(&node, "a", "one");
    let ask = |host: &str, target: &str| {
        Request::get(target)
            .host(host)
            .send(node.http())
            .expect(200)
            .text()
    };
    for (host, target) in [("a.test", "/a"), ("b.test", "/a?x"), ("b.test", "/a?y")] {
        assert_eq!(ask(host, target), "one");
    }
    put(&node, "a", "two");
    for (host, target) in [("a.test", "/a"), ("b.test", "/a?x"), ("b.test", "/a?y")] {
        assert_eq!(ask(host, target), "two");
    }
}

#[test]
fn a_bucket_that_is_made_or_removed_is_noticed() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    node.get("/a").expect(404);
    admin(&node, Request::new("PUT", "/store/www")).expect(201);
    put(&node, "404.html", "ours");
    assert_eq!(node.get("/a").expect(404).text(), "ours");
    delete(&node, "404.html");
    admin(&node, Request::new("DELETE", "/store/www")).expect(200);
    assert_ne!(node.get("/a").expect(404).text(), "ours");
}

#[test]
fn an_object_is_validated_and_cut_like_any_other() {
    let node = website();
    admin(
        &node,
        Request::put("/store/www/big", "").pattern(3_000_000, 1),
    )
    .expect(200);
    let whole = node.get("/big").expect(200);
    assert!(is_pattern(&whole.body, 1) && whole.body_len == 3_000_000);
    let tag = whole.field("etag").to_owned();
    assert!(
        tag.starts_with('"') && whole.has("last-modified"),
        "{whole}"
    );
    for _ in 0..2 {
        Request::get("/big")
            .field("If-None-Match", &tag)
            .send(node.http())
            .expect(304);
        let part = Request::get("/big")
            .field("Range", "bytes=-10")
            .send(node.http())
            .expect(206);
        assert_eq!(part.field("content-range"), "bytes 2999990-2999999/3000000");
        let head = Request::head("/big").send(node.http()).expect(200);
        assert_eq!(
            (head.field("content-length"), head.field("etag")),
            ("3000000", &*tag)
        );
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = Request::new(method, "/big").send(node.http()).expect(405);
        assert_eq!(answer.field("allow"), "GET, HEAD", "strangers cannot write");
    }
}

#[test]
fn objects_survive_a_kill_without_warning() {
    let mut node = website();
    put(&node, "small", "kept");
    admin(
        &node,
        Request::put("/store/www/big", "").pattern(3_000_000, 1),
    )
    .expect(200);
    delete(&node, "small");
    put(&node, "small", "kept again");
    node.kill();
    node.start();
    assert_eq!(node.get("/small").expect(200).text(), "kept again");
    assert!(is_pattern(&node.get("/big").expect(200).body, 1));
}

#[test]
fn an_upload_that_breaks_off_leaves_what_was_there() {
    let node = website();
    put(&node, "a", "one");
    let mut client = edge_testkit::Connection::open(node.admin());
    let host = node.admin();
    client.send_raw(format!(
        "PUT /store/www/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nhalf"
    ));
    client.reset();
    admin(&node, Request::put("/store/www/b", "x")).expect(200);
    assert_eq!(node.get("/a").expect(200).text(), "one");
}

#[test]
fn a_route_may_lead_to_the_store_and_the_rest_elsewhere() {
    let origin = Origin::start(|_| fresh("app"));
    let route = "[[site.route]]\npath = \"/static/*\"\norigin = \"store://www\"";
    let node = edge().origin(&origin).site(route).start();
    admin(&node, Request::new("PUT", "/store/www")).expect(201);
    put(&node, "static/a", "from the store");
    assert_eq!(node.get("/static/a").expect(200).text(), "from the store");
    assert_eq!(node.get("/a").expect(200).text(), "app");
    node.get("/static/b").expect(404);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn spellings_of_a_key_reach_it_and_only_it() {
    let node = website();
    put(&node, "a%20b%2Fc", "spaced");
    put(&node, "%C3%A9", "accent");
    assert_eq!(node.get("/a%20b%2Fc").expect(200).text(), "spaced");
    assert_eq!(node.get("/%c3%a9").expect(200).text(), "accent");
    assert_eq!(node.get("/x/../%C3%A9").expect(200).text(), "accent");
    assert_eq!(node.get("/%2e%2e/data").status, 400);
}
