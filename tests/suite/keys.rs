//! Which requests share a stored answer, and which do not.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Node, Origin, Request};

/// A site with this `key`, whose origin numbers its answers.
fn numbered(key: &str) -> (Origin, Node) {
    let origin = Origin::start(|visit| fresh(visit.number.to_string()));
    let rules = format!("[site.cache]\nkey = {key}");
    let node = edge().origin(&origin).site(&rules).start();
    (origin, node)
}

/// Each group of targets must share one answer, and no two groups may.
#[track_caller]
fn shared_within_groups_only(node: &Node, groups: &[&[&str]]) {
    let mut seen = Vec::new();
    for group in groups {
        let answers: Vec<_> = group
            .iter()
            .map(|target| node.get(target).expect(200).text())
            .collect();
        assert!(
            answers.windows(2).all(|two| two[0] == two[1]),
            "{group:?} got {answers:?}"
        );
        assert!(
            !seen.contains(&answers[0]),
            "{group:?} got the answer of another group"
        );
        seen.push(answers[0].clone());
    }
}

#[test]
fn the_whole_query_tells_requests_apart_by_default() {
    let (_origin, node) = numbered("{}");
    let groups: &[&[&str]] = &[
        &["/"],
        &["/?"],
        &["/?a=1&b=2"],
        &["/?b=2&a=1"],
        &["/?a=1"],
        &["/?A=1"],
    ];
    shared_within_groups_only(&node, groups);
}

#[test]
fn ignored_parameters_make_no_new_copy() {
    let (origin, node) = numbered("{ query_ignore = [\"utm_*\", \"fbclid\"] }");
    let groups: &[&[&str]] = &[
        &["/", "/?utm_source=x", "/?fbclid", "/?utm_=&fbclid=2&utm_b"],
        &["/?a=1", "/?utm_x=1&a=1", "/?a=1&fbclid=7"],
        &["/?fbclid2=1", "/?fbclid2=1&utm_a=1"],
    ];
    shared_within_groups_only(&node, groups);
    assert_eq!(
        origin.requests()[0].target,
        "/",
        "the origin gets the query as it came"
    );
}

#[test]
fn only_the_listed_parameters_count_where_there_is_a_list() {
    let (_origin, node) = numbered("{ query_only = [\"page\"] }");
    let groups: &[&[&str]] = &[
        &["/", "/?x=1", "/?x&y"],
        &["/?page=1", "/?x=2&page=1&z"],
        &["/?page=2"],
    ];
    shared_within_groups_only(&node, groups);
}

#[test]
fn sorted_queries_are_one_whatever_their_order() {
    let (_origin, node) = numbered("{ query_sort = true }");
    let groups: &[&[&str]] = &[&["/?a=1&b=2", "/?b=2&a=1"], &["/?a=2&a=1"], &["/?a=1&a=2"]];
    shared_within_groups_only(&node, groups);
}

#[test]
fn the_parts_of_a_key_cannot_be_taken_for_each_other() {
    let (_origin, node) = numbered("{}");
    let groups: &[&[&str]] = &[
        &["/a/b"],
        &["/a%2Fb"],
        &["/a?b"],
        &["/a%3Fb"],
        &["/a//b?c"],
        &["/A/b"],
    ];
    shared_within_groups_only(&node, groups);
}

#[test]
fn spellings_of_one_path_are_one_and_reach_the_origin_in_one_form() {
    let (origin, node) = numbered("{}");
    let spellings = [
        "/a/b~c",
        "//a/./b~c",
        "/x/../a/b%7Ec",
        "/a/b%7ec",
        "http://edge.test/a/b~c",
    ];
    shared_within_groups_only(&node, &[&spellings]);
    assert_eq!(origin.request_count_for("/a/b~c"), 1);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn chosen_headers_and_cookies_belong_to_the_key() {
    let (origin, node) = numbered("{ headers = [\"x-tenant\"], cookies = [\"lang\"] }");
    let ask = |tenant: &str, cookie: &str| {
        let request = Request::get("/")
            .field("X-Tenant", tenant)
            .field("Cookie", cookie);
        request.send(node.http()).expect(200).text()
    };
    let first = ask("a", "lang=en");
    assert_eq!(ask("a", "other=1; lang=en; lang=fr"), first);
    assert_ne!(ask("b", "lang=en"), first);
    assert_ne!(ask("a", "lang=fr"), first);
    assert_ne!(ask("a", "xlang=en"), first);
    assert_ne!(node.get("/").text(), first);
    assert_eq!(origin.request_count(), 5);
}

#[test]
fn a_cookie_that_no_rule_names_makes_no_difference() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    node.get("/").expect(200);
    let with_cookie = Request::get("/").field("Cookie", "a=1").send(node.http());
    assert!(
        with_cookie.field("cache-status").starts_with("edge; hit"),
        "{with_cookie}"
    );
}

#[test]
fn hosts_have_copies_of_their_own_whatever_their_spelling() {
    let (origin, node) = numbered("{}");
    let ask = |host: &str| {
        Request::get("/")
            .host(host)
            .send(node.http())
            .expect(200)
            .text()
    };
    let first = ask("a.test");
    for same in ["A.TEST", "a.test.", "a.test:80"] {
        assert_eq!(ask(same), first, "{same}");
    }
    for other in ["b.test", "a.test:81", "a.test.b"] {
        assert_ne!(ask(other), first, "{other}");
    }
    assert_eq!(origin.request_count(), 4);
    assert_eq!(origin.requests()[0].field("host"), "a.test");
}

#[test]
fn a_get_with_a_body_never_touches_the_cache() {
    let (origin, node) = numbered("{}");
    node.get("/").expect(200);
    let poison = Request::get("/").body("x").send(node.http()).expect(200);
    assert_eq!(poison.text(), "2");
    assert!(
        poison.field("cache-status").contains("detail=request-body"),
        "{poison}"
    );
    assert_eq!(node.get("/").text(), "1");
    assert_eq!(origin.requests()[1].text(), "x");
}
