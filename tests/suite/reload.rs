//! SIGHUP: a new config takes the place of the old one whole, or not at all.

use crate::{edge, fresh};
use edge_testkit::{Gate, Origin, Reply, Request};

fn site(host: &str, origin: &Origin) -> String {
    format!(
        "[[site]]\nhosts = [\"{host}\"]\norigin = \"{}\"\n",
        origin.url()
    )
}

#[test]
fn a_site_that_is_added_answers_and_one_that_is_removed_no_longer_does() {
    let (first, second) = (Origin::start(|_| fresh("1")), Origin::start(|_| fresh("2")));
    let node = edge().site(&site("a.test", &first)).start();
    let ask = |host: &str| Request::get("/").host(host).send(node.http());
    assert_eq!((ask("a.test").status, ask("b.test").status), (200, 421));
    node.edit_config(|text| text + &site("b.test", &second));
    node.reload();
    let said = node.wait_for_stderr("edge: reloaded");
    assert!(
        said.contains("site b.test") && !said.contains("site a.test"),
        "{said}"
    );
    assert_eq!(
        (ask("a.test").text(), ask("b.test").text()),
        ("1".into(), "2".into())
    );
    assert!(
        ask("a.test").field("cache-status").starts_with("edge; hit"),
        "the cache is kept"
    );
    node.edit_config(|text| text.replace("a.test", "c.test"));
    node.reload();
    node.wait_for_stderr("site c.test");
    assert_eq!((ask("a.test").status, ask("c.test").status), (421, 200));
}

#[test]
fn a_request_under_way_ends_with_the_settings_it_began_with() {
    let gate = Gate::new();
    let hold = gate.clone();
    let first = Origin::start(move |_| fresh("from the first").hold_head(&hold));
    let second = Origin::start(|_| fresh("from the second"));
    let node = edge().site(&site("*", &first)).start();
    let mut client = node.connect();
    client.send(&Request::get("/"));
    let mut upload = node.connect();
    upload.send(&Request::post("/upload", "x"));
    gate.wait_until_reached(2);
    node.edit_config(|text| text.replace(&first.url(), &second.url()));
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    assert_eq!(node.get("/new").expect(200).text(), "from the second");
    gate.open();
    assert_eq!(client.receive().expect(200).text(), "from the first");
    assert_eq!(upload.receive().expect(200).text(), "from the first");
    assert_eq!(
        client.exchange(&Request::get("/next")).expect(200).text(),
        "from the second"
    );
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_said_with_its_place() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge().site(&site("a.test", &origin)).start();
    let good = node.config_text();
    node.write_config(
        &good
            .replace("a.test", "b.test")
            .replace("[listen]", "[listn]"),
    );
    node.reload();
    let said = node.wait_for_stderr("edge: not reloaded");
    let line = good.lines().position(|line| line == "[listen]").unwrap() + 1;
    let place = format!("edge.toml:{line}:2");
    assert!(
        node.stderr().contains(&place),
        "{place} is missing in {said}"
    );
    assert!(node.stderr().contains("listen"), "{said}");
    Request::get("/")
        .host("a.test")
        .send(node.http())
        .expect(200);
    Request::get("/")
        .host("b.test")
        .send(node.http())
        .expect(421);
    node.write_config("not toml at all [");
    node.reload();
    node.wait_for_stderr("edge.toml:1:");
    node.write_config(&good.replace("a.test", "b.test"));
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    Request::get("/")
        .host("b.test")
        .send(node.http())
        .expect(200);
}

#[test]
fn a_certificate_that_has_become_useless_keeps_the_old_config() {
    let origin = Origin::start_tls(|_| fresh("x"));
    let named = format!(
        "[origins.app]\nservers = [\"{}\"]\ntls = {{ ca = \"ca.pem\" }}",
        origin.url()
    );
    let node = edge()
        .config(&named)
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"app\"")
        .file("ca.pem", origin.authority_pem())
        .start();
    std::fs::write(node.directory().join("ca.pem"), "no certificate").unwrap();
    node.reload();
    let said = node.wait_for_stderr("edge: not reloaded");
    assert!(said.contains("app"), "{said}");
    node.get("/").expect(200);
}

#[test]
fn keys_that_need_a_restart_are_named_and_keep_their_value() {
    let origin = Origin::start(|_| fresh("").pattern(2 << 20, 1));
    let text = "[cache]\nmemory = \"16MiB\"\n[guard]\nidle = \"10s\"";
    let mut node = edge().config(text).origin(&origin).start();
    node.edit_config(|text| {
        let text = text.replace("16MiB", "1MiB").replace("\"10s\"", "\"11s\"");
        text.replacen("127.0.0.1:0", "127.0.0.1:1", 1)
    });
    node.reload();
    let restart = node.wait_for_stderr("edge: needs a restart");
    assert!(
        ["listen.http", "cache.memory"]
            .iter()
            .all(|key| restart.contains(key)),
        "{restart}"
    );
    let applied = node.wait_for_stderr("edge: reloaded");
    assert!(
        applied.contains("guard.idle") && !applied.contains("cache"),
        "{applied}"
    );
    node.get("/").expect(200);
    assert!(
        node.get("/").field("cache-status").starts_with("edge; hit"),
        "2 MiB fit 16 MiB, not 1 MiB"
    );
    assert!(node.is_running());
}

#[test]
fn rules_of_the_new_config_hold_for_what_the_old_one_stored() {
    let origin = Origin::start(|visit| Reply::ok(visit.number.to_string()).field("ETag", "\"a\""));
    let node = edge()
        .origin(&origin)
        .site("[site.cache]\nttl = \"1h\"")
        .start();
    assert_eq!(node.get("/").text(), "1");
    assert_eq!(node.get("/").text(), "1");
    node.edit_config(|text| text.replace("ttl = \"1h\"", "ttl = \"0s\""));
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    assert_eq!(node.get("/").text(), "2");
}

#[test]
fn limits_on_strangers_change_for_new_connections() {
    let origin = Origin::start(|_| fresh("x"));
    let text = "[guard]\nbody_max = \"1KiB\"\nconnections = { total = 2 }";
    let node = edge().config(text).origin(&origin).start();
    Request::put("/", "")
        .pattern(2000, 1)
        .send(node.http())
        .expect(413);
    node.edit_config(|text| {
        text.replace("1KiB", "1MiB")
            .replace("total = 2", "total = 100")
    });
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    Request::put("/", "")
        .pattern(2000, 1)
        .send(node.http())
        .expect(200);
    let mut many: Vec<_> = (0..10).map(|_| node.connect()).collect();
    many.iter_mut()
        .for_each(|client| drop(client.exchange(&Request::get("/")).expect(200)));
}

#[test]
fn a_hundred_reloads_under_load_disturb_no_request() {
    let origin = Origin::start(|_| fresh("x"));
    let node = edge()
        .config("[log]\naccess = \"off\"")
        .origin(&origin)
        .start();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let node = &node;
                scope.spawn(move || {
                    let mut connection = node.connect();
                    for n in 0..500 {
                        connection
                            .exchange(&Request::get(&format!("/{client}/{n}")))
                            .expect(200);
                    }
                })
            })
            .collect();
        for n in 0..100 {
            node.edit_config(|text| {
                let text = text.split("\n# ").next().unwrap().to_owned();
                format!("{text}\n# {n}\n")
            });
            node.reload();
            std::thread::yield_now();
        }
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    node.wait_for_stderr("edge: reloaded; changed: nothing");
    assert!(!node.stderr().contains("panicked"), "{}", node.stderr());
}
