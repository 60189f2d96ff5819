//! What the origin is told about a client, and what stays on each connection.

use crate::{edge, fresh, in_front_of};
use edge_testkit::{Connection, Origin, Reply, Request};

#[test]
fn fields_of_the_clients_connection_do_not_reach_the_origin() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let hop = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eA=="),
    ];
    let request = hop
        .iter()
        .fold(Request::get("/"), |request, (name, value)| {
            request.field(name, value)
        });
    request
        .field("X-End", "stays")
        .field("User-Agent", "test")
        .send(node.http())
        .expect(200);
    let visit = &origin.requests()[0];
    for (name, _) in hop {
        assert!(
            !visit.has(name),
            "{name} reached the origin: {:?}",
            visit.fields
        );
    }
    assert_eq!(
        (visit.field("x-end"), visit.field("user-agent")),
        ("stays", "test")
    );
    assert_eq!(visit.field("via"), "1.1 edge");
    assert!(origin.faults().is_empty());
}

#[test]
fn fields_of_the_origins_connection_do_not_reach_the_client() {
    for control in ["max-age=60", "no-store"] {
        let origin = Origin::start(|_| {
            Reply::ok("x")
                .field("Cache-Control", control)
                .field("Connection", "X-Hop")
                .field("X-Hop", "1")
                .field("Keep-Alive", "timeout=5")
                .field("Proxy-Connection", "keep-alive")
                .field("X-End", "stays")
        });
        let node = in_front_of(&origin);
        for _ in 0..2 {
            let answer = node.get("/").expect(200);
            for name in ["x-hop", "keep-alive", "proxy-connection", "connection"] {
                assert!(!answer.has(name), "{control}: {answer}");
            }
            assert_eq!(answer.field("x-end"), "stays");
        }
    }
}

#[test]
fn what_a_stranger_claims_about_itself_is_replaced() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    for (n, method) in ["GET", "POST"].into_iter().enumerate() {
        Request::new(method, "/")
            .field("X-Forwarded-For", "9.9.9.9")
            .field("X-Forwarded-For", "8.8.8.8")
            .field("X-Forwarded-Host", "evil.test")
            .field("X-Forwarded-Proto", "https")
            .field("Forwarded", "for=9.9.9.9")
            .send(node.http())
            .expect(200);
        let visit = &origin.requests()[n];
        assert_eq!(
            visit.fields.all("x-forwarded-for").collect::<Vec<_>>(),
            ["127.0.0.1"]
        );
        assert_eq!(
            visit.fields.all("x-forwarded-host").collect::<Vec<_>>(),
            ["edge.test"]
        );
        assert_eq!(
            visit.fields.all("x-forwarded-proto").collect::<Vec<_>>(),
            ["http"]
        );
        assert!(!visit.has("forwarded"), "{:?}", visit.fields);
    }
}

#[test]
fn what_a_trusted_proxy_says_is_passed_on_with_itself_added() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[guard]\ntrusted_proxies = [\"127.0.0.2\"]")
        .origin(&origin)
        .start();
    let request = Request::get("/")
        .field("X-Forwarded-For", "192.0.2.7")
        .field("X-Forwarded-Proto", "https");
    let trusted = "127.0.0.2".parse().unwrap();
    Connection::open_from(trusted, node.http())
        .exchange(&request)
        .expect(200);
    let visit = &origin.requests()[0];
    assert_eq!(visit.field("x-forwarded-for"), "192.0.2.7, 127.0.0.2");
    assert_eq!(visit.field("x-forwarded-proto"), "https");
}

#[test]
fn the_origin_gets_the_host_the_client_asked_for_unless_config_names_another() {
    let origin = Origin::start(|_| fresh("x"));
    let named = format!(
        "[origins.app]\nservers = [\"{}\"]\nhost = \"app.internal\"",
        origin.url()
    );
    let sites = format!(
        "[[site]]\nhosts = [\"a.test\"]\norigin = \"{}\"\n[[site]]\nhosts = [\"b.test\"]\norigin = \"app\"",
        origin.url()
    );
    let node = edge().config(&named).site(&sites).start();
    Request::get("/")
        .host("a.test")
        .send(node.http())
        .expect(200);
    Request::get("/")
        .host("b.test")
        .send(node.http())
        .expect(200);
    let hosts: Vec<_> = origin
        .requests()
        .iter()
        .map(|visit| visit.field("host").to_owned())
        .collect();
    assert_eq!(hosts, ["a.test", "app.internal"]);
    assert_eq!(origin.requests()[1].field("x-forwarded-host"), "b.test");
}

#[test]
fn fields_and_bodies_outside_ascii_come_through_unchanged() {
    let origin = Origin::start(|visit| {
        fresh(&visit.body)
            .field("X-Back", visit.field("x-there"))
            .field("X-Empty", "")
    });
    let node = in_front_of(&origin);
    let answer = Request::post("/", [0, 255, 13, 10])
        .field("X-There", "caf\u{e9} \t\"")
        .send(node.http());
    assert_eq!(answer.field("x-back"), "caf\u{e9} \t\"");
    assert_eq!(
        (answer.body.as_slice(), answer.has("x-empty")),
        (&[0, 255, 13, 10][..], true)
    );
}

#[test]
fn repeated_fields_stay_repeated_and_in_order() {
    let origin = Origin::start(|_| {
        let reply = fresh("x").field("Link", "<a>").field("Link", "<b>");
        reply.field("X-One", "1").field("Link", "<c>")
    });
    let node = in_front_of(&origin);
    for _ in 0..2 {
        let answer = Request::get("/")
            .field("X-L", "1")
            .field("X-L", "2")
            .send(node.http());
        assert_eq!(answer.fields_all("link"), ["<a>", "<b>", "<c>"]);
    }
    let visit = &origin.requests()[0];
    assert_eq!(visit.fields.all("x-l").collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn hints_before_the_answer_do_not_disturb_it() {
    let origin = Origin::start(|_| {
        fresh("x")
            .interim(103, &[("Link", "</a>")])
            .interim(100, &[])
    });
    let node = in_front_of(&origin);
    for _ in 0..2 {
        assert_eq!(node.get("/").expect(200).text(), "x");
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_field_that_stays_here_neither_makes_a_key_nor_a_variant() {
    // Named in `Connection`, a field does not reach the origin: its answer is not the answer for
    // those who send the field.
    let origin = Origin::start(|visit| {
        let seen = format!(
            "{}/{}",
            visit.field("x-tenant"),
            visit.field("accept-language")
        );
        fresh(seen).field("Vary", "Accept-Language")
    });
    let rules = "[site.cache]\nkey = { headers = [\"x-tenant\"], cookies = [\"lang\"] }";
    let node = edge().origin(&origin).site(rules).start();
    let ask = |connection: &str| {
        let request = Request::get("/")
            .field("X-Tenant", "a")
            .field("Accept-Language", "fr");
        request
            .field("Connection", connection)
            .send(node.http())
            .expect(200)
            .text()
    };
    assert_eq!(ask("X-Tenant"), "/fr");
    assert_eq!(ask("Accept-Language"), "a/");
    assert_eq!(
        ask("keep-alive"),
        "a/fr",
        "the key of one tenant holds what was made for it"
    );
}
