//! TLS towards clients: which certificate, which version, who may come in, and what plain http is
//! told.

use crate::{edge, fresh};
use edge_testkit::{
    Authority, Connection, Ended, Identity, Node, NodeBuilder, Origin, Reply, Request, Tls,
    eventually,
};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;

/// A node to be set up that speaks TLS with these certificates, `more` being lines of `[tls]`.
fn sealed(identities: &[&Identity], more: &str) -> NodeBuilder {
    let mut node = edge().listen("https = [\"127.0.0.1:0\"]");
    let mut rows = String::new();
    for (n, identity) in identities.iter().enumerate() {
        rows.push_str(&format!(
            "{{ chain = \"{n}.pem\", key = \"file:{n}.key\" }}, "
        ));
        node = node
            .file(&format!("{n}.pem"), &identity.chain)
            .file(&format!("{n}.key"), &identity.key);
    }
    node.config(&format!("[tls]\ncertificates = [{rows}]\n{more}"))
}

/// The same in front of an origin, with one certificate for `edge.test` and `localhost`.
fn usual(origin: &Origin) -> (Authority, Node) {
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test", "localhost"]);
    let node = sealed(&[&identity], "").origin(origin).start();
    (authority, node)
}

fn hello() -> Origin {
    Origin::start(|_| fresh("hello"))
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let authority = Authority::new();
    let first = authority.issue(&["a.test", "also.test"]);
    let wild = authority.issue(&["*.wild.test", "second.test"]);
    let own = authority.issue(&["own.wild.test"]);
    let origin = hello();
    let node = sealed(&[&first, &wild, &own], "").origin(&origin).start();
    let given = |tls: Tls, name: &str| tls.connect(node.https(), name).agreed().certificate;
    for (name, wanted) in [
        ("a.test", &first),
        ("also.test", &first),
        ("second.test", &wild),
        ("any.wild.test", &wild),
        ("own.wild.test", &own),
        ("unknown.test", &first),
        ("wild.test", &first),
        ("deep.any.wild.test", &first),
    ] {
        let certificate = wanted.chain_der()[0].to_vec();
        assert_eq!(given(Tls::trusting_anyone(), name), certificate, "{name}");
        assert_eq!(
            given(Tls::trusting_anyone().only_1_2(), name),
            certificate,
            "{name}"
        );
    }
    let nameless = given(Tls::trusting_anyone().without_name(), "second.test");
    assert_eq!(nameless, first.chain_der()[0].to_vec());
    for name in ["also.test", "any.wild.test", "own.wild.test"] {
        let mut connection = Connection::open_tls(node.https(), name, &authority.pem());
        let answer = connection
            .exchange(&Request::get("/").host(name))
            .expect(200);
        assert_eq!(answer.text(), "hello");
    }
    assert_eq!(origin.requests()[0].field("x-forwarded-proto"), "https");
}

#[test]
fn keys_of_both_kinds_are_offered_side_by_side() {
    let origin = hello();
    let authority = Authority::new();
    let (edwards, nist) = (
        authority.issue_ed25519(&["edge.test"]),
        authority.issue(&["edge.test"]),
    );
    let node = sealed(&[&edwards, &nist], "").origin(&origin).start();
    let new = Tls::trusting_anyone().connect(node.https(), "edge.test");
    assert_eq!(new.agreed().certificate, edwards.chain_der()[0].to_vec());
    let old = openssl(&[
        "s_client",
        "-connect",
        &node.https().to_string(),
        "-sigalgs",
        "ECDSA+SHA256",
    ]);
    if let Some(text) = old {
        assert!(text.contains("Peer signature type: ECDSA"), "{text}");
    }
}

#[test]
fn both_versions_are_spoken_and_older_ones_refused() {
    let origin = hello();
    let (authority, node) = usual(&origin);
    for (tls, version) in [
        (Tls::trusting(&authority.pem()), "TLSv1_3"),
        (Tls::trusting(&authority.pem()).only_1_3(), "TLSv1_3"),
        (Tls::trusting(&authority.pem()).only_1_2(), "TLSv1_2"),
    ] {
        let mut connection = tls.connect(node.https(), "edge.test");
        assert_eq!(connection.agreed().version, version);
        connection.exchange(&Request::get("/")).expect(200);
    }
    // Two is a fatal alert (RFC 8446, section 6).
    assert_eq!(alert_to_version(node.https(), 2)[0], 2);
    assert_eq!(alert_to_version(node.https(), 1)[0], 2);
    assert_eq!(
        node.metric("edge_tls_handshakes_total", &[("version", "1.2")]),
        1.0
    );
    assert_eq!(node.metric("edge_tls_handshakes_failed_total", &[]), 2.0);
}

/// What comes back to a hello of TLS 1.`minor - 1` that knows nothing newer.
fn alert_to_version(to: SocketAddr, minor: u8) -> [u8; 2] {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let mut bytes = vec![
        0x16,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    bytes.extend(hello);
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], 0x15, "an alert");
    [answer[5], answer[6]]
}

#[test]
fn the_oldest_version_and_the_suites_are_configured() {
    let origin = hello();
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let trusting = || Tls::trusting(&authority.pem());
    let newest = sealed(&[&identity], "min_version = \"1.3\"")
        .origin(&origin)
        .start();
    assert!(
        trusting()
            .only_1_2()
            .try_connect(newest.https(), "edge.test")
            .is_err()
    );
    assert_eq!(
        trusting()
            .connect(newest.https(), "edge.test")
            .agreed()
            .version,
        "TLSv1_3"
    );

    let suites =
        "suites = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let few = sealed(&[&identity], suites).origin(&origin).start();
    let suite = |tls: Tls| tls.connect(few.https(), "edge.test").agreed().suite;
    assert_eq!(suite(trusting()), "TLS13_CHACHA20_POLY1305_SHA256");
    assert_eq!(
        suite(trusting().only_1_2()),
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    );
    let other = trusting().suite("TLS13_AES_128_GCM_SHA256").only_1_3();
    assert!(other.try_connect(few.https(), "edge.test").is_err());
}

#[test]
fn the_protocol_is_agreed_on_in_the_handshake() {
    let origin = hello();
    let (authority, node) = usual(&origin);
    let agreed = |offered: &[&str]| {
        let tls = Tls::trusting(&authority.pem()).alpn(offered);
        tls.try_connect(node.https(), "edge.test")
            .map(|connection| connection.agreed().alpn)
    };
    assert_eq!(agreed(&["h2", "http/1.1"]).unwrap().unwrap(), "h2");
    assert_eq!(agreed(&["http/1.1", "h2"]).unwrap().unwrap(), "h2");
    assert_eq!(agreed(&["http/1.1"]).unwrap().unwrap(), "http/1.1");
    assert_eq!(agreed(&[]).unwrap(), None);
    assert!(agreed(&["spdy/3"]).is_err());
    let silent = Tls::trusting(&authority.pem()).alpn(&[]);
    let mut connection = silent.connect(node.https(), "edge.test");
    assert_eq!(
        connection.exchange(&Request::get("/")).expect(200).version,
        "HTTP/1.1"
    );
}

#[test]
fn a_session_is_resumed_on_any_connection_and_after_a_reload() {
    let origin = hello();
    let (authority, node) = usual(&origin);
    for tls in [
        Tls::trusting(&authority.pem()).only_1_3(),
        Tls::trusting(&authority.pem()).only_1_2(),
    ] {
        let resumed = || {
            let mut connection = tls.connect(node.https(), "edge.test");
            connection.exchange(&Request::get("/")).expect(200);
            connection.agreed().resumed
        };
        assert!(!resumed());
        for n in 0..12 {
            assert!(resumed(), "connection {n}");
        }
        let before = node.stderr().matches("edge: reloaded").count();
        node.reload();
        assert!(eventually(Duration::from_secs(10), || node
            .stderr()
            .matches("edge: reloaded")
            .count()
            > before));
        assert!(resumed(), "after a reload");
    }
    assert_eq!(
        node.metric("edge_tls_handshakes_total", &[("kind", "full")]),
        2.0
    );
    assert_eq!(
        node.metric("edge_tls_handshakes_total", &[("kind", "resumed")]),
        26.0
    );
}

#[test]
fn openssl_resumes_its_sessions() {
    let origin = hello();
    let (_authority, node) = usual(&origin);
    let to = node.https().to_string();
    let Some(text) = openssl(&[
        "s_client",
        "-connect",
        &to,
        "-servername",
        "edge.test",
        "-tls1_2",
        "-reconnect",
    ]) else {
        eprintln!("skipped: no openssl here");
        return;
    };
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
}

#[test]
fn a_reload_swaps_certificates_and_keeps_connections() {
    let origin = hello();
    let (authority, node) = usual(&origin);
    let tls = Tls::trusting(&authority.pem());
    let mut living = tls.connect(node.https(), "edge.test");
    living.exchange(&Request::get("/")).expect(200);
    let given = || {
        Tls::trusting_anyone()
            .connect(node.https(), "edge.test")
            .agreed()
            .certificate
    };
    let first = given();

    // The same names in the config, something new in the files: what certbot does.
    let renewed = authority.issue(&["edge.test"]);
    std::fs::write(node.directory().join("0.pem"), &renewed.chain).unwrap();
    node.reload();
    let said = node.wait_for_stderr("edge: not reloaded");
    assert!(said.contains("the running config stays"), "{said}");
    assert!(
        said.contains("`key` is not the key of the first certificate in `chain`"),
        "{said}"
    );
    assert_eq!(given(), first, "a key that does not fit changes nothing");
    living.exchange(&Request::get("/")).expect(200);

    std::fs::write(node.directory().join("0.key"), &renewed.key).unwrap();
    node.reload();
    let said = node.wait_for_stderr("edge: reloaded");
    assert!(said.contains("tls.certificates"), "{said}");
    assert_eq!(given(), renewed.chain_der()[0].to_vec());
    living.exchange(&Request::get("/")).expect(200);

    std::fs::remove_file(node.directory().join("0.pem")).unwrap();
    let answer = node.admin_post("/reload", "{}").expect(422);
    assert!(answer.text().contains("`chain` cannot be read"), "{answer}");
    assert_eq!(given(), renewed.chain_der()[0].to_vec());
    living.exchange(&Request::get("/")).expect(200);
}

#[test]
fn a_staple_is_sent_along() {
    let origin = hello();
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let rows = "certificates = [{ chain = \"a.pem\", key = \"file:a.key\", ocsp = \"a.ocsp\" }]";
    let staple = b"0\x03\x0a\x01\x00";
    let node = edge()
        .listen("https = [\"127.0.0.1:0\"]")
        .config(&format!("[tls]\n{rows}"))
        .file("a.pem", &identity.chain)
        .file("a.key", &identity.key)
        .file("a.ocsp", staple)
        .origin(&origin)
        .start();
    for tls in [
        Tls::trusting(&authority.pem()),
        Tls::trusting(&authority.pem()).only_1_2(),
    ] {
        tls.connect(node.https(), "edge.test");
        assert_eq!(tls.staple(), staple);
    }
}

#[test]
fn without_a_certificate_one_is_made_and_a_warning_given() {
    let origin = hello();
    let node = edge()
        .listen("https = [\"127.0.0.1:0\"]")
        .origin(&origin)
        .start();
    let said = node.wait_for_stderr("self-signed");
    assert!(said.contains("`tls.certificates` is empty"), "{said}");
    let mut connection = Tls::trusting_anyone().connect(node.https(), "localhost");
    connection
        .exchange(&Request::get("/").host("localhost"))
        .expect(200);
    // Clients send no name for an address.
    let mut connection = Tls::trusting_anyone().connect(node.https(), "127.0.0.1");
    let host = node.https().to_string();
    connection
        .exchange(&Request::get("/").host(&host))
        .expect(200);
    let mut connection = Tls::trusting_anyone().connect(node.https(), "any.test");
    connection
        .exchange(&Request::get("/").host("any.test"))
        .expect(200);
    let (first, second) = (own(&node), own(&node));
    assert_eq!(first, second, "it is made once");
}

fn own(node: &Node) -> Vec<u8> {
    Tls::trusting_anyone()
        .connect(node.https(), "localhost")
        .agreed()
        .certificate
}

#[test]
fn a_host_outside_the_certificate_is_sent_to_another_connection() {
    let origin = hello();
    let authority = Authority::new();
    let (one, two) = (
        authority.issue(&["a.test", "*.a.test"]),
        authority.issue(&["b.test"]),
    );
    let node = sealed(&[&one, &two], "").origin(&origin).start();
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "a.test");
    for (host, status) in [
        ("a.test", 200),
        ("www.a.test", 200),
        ("b.test", 421),
        ("a.b.test", 421),
        ("127.0.0.1", 421),
        ("a.test:8443", 200),
        ("a.test", 200),
    ] {
        let answer = connection.exchange(&Request::get("/").host(host));
        assert_eq!(answer.status, status, "{host}: {answer}");
    }
    let mut nameless = Tls::trusting_anyone()
        .without_name()
        .connect(node.https(), "b.test");
    assert_eq!(
        nameless.exchange(&Request::get("/").host("b.test")).status,
        421
    );
    assert_eq!(
        nameless.exchange(&Request::get("/").host("a.test")).status,
        200
    );
}

#[test]
fn http2_streams_of_one_connection_may_go_to_all_its_hosts_and_no_others() {
    let origin = hello();
    let authority = Authority::new();
    let (one, two) = (
        authority.issue(&["a.test", "c.test"]),
        authority.issue(&["b.test"]),
    );
    let node = sealed(&[&one, &two], "").origin(&origin).start();
    let uris = [
        "https://a.test/",
        "https://c.test/",
        "https://b.test/",
        "https://a.test/x",
    ];
    let statuses = over_http2(
        &Tls::trusting(&authority.pem()),
        node.https(),
        "a.test",
        &uris,
    );
    assert_eq!(statuses, [200, 200, 421, 200]);
}

/// Asks for each of these on one connection.
fn over_http2(tls: &Tls, to: SocketAddr, name: &str, uris: &[&str]) -> Vec<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = Arc::unwrap_or_clone(tls.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let driving = tokio::spawn(connection);
        let mut statuses = Vec::new();
        for uri in uris {
            let request = http::Request::get(*uri).body(()).unwrap();
            client = client.ready().await.unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            statuses.push(response.await.unwrap().status().as_u16());
        }
        driving.abort();
        statuses
    })
}

#[test]
fn a_site_may_demand_a_certificate_of_its_clients() {
    let authority = Authority::new();
    let identity = authority.issue(&["open.test", "closed.test", "other.test"]);
    let (clients, others) = (Authority::new(), Authority::new());
    let origin = hello();
    let site = |host: &str, more: &str| {
        format!(
            "[[site]]\nhosts = [\"{host}\"]\norigin = \"{}\"\n{more}\n",
            origin.url()
        )
    };
    let node = sealed(&[&identity], "")
        .file("clients.pem", clients.pem())
        .file("others.pem", others.pem())
        .site(&site("open.test", ""))
        .site(&site(
            "closed.test",
            "[site.tls]\nclient_ca = \"clients.pem\"",
        ))
        .site(&site(
            "other.test",
            "[site.tls]\nclient_ca = \"others.pem\"",
        ))
        .start();
    let trusting = || Tls::trusting(&authority.pem());
    let member = clients.issue(&["client"]);
    let ask = |tls: &Tls, name: &str, host: &str| {
        let mut connection = tls.try_connect(node.https(), name).map_err(drop)?;
        connection.send(&Request::get("/").host(host));
        connection
            .try_receive()
            .map(|answer| answer.status)
            .map_err(drop)
    };
    for version in [Tls::only_1_2, Tls::only_1_3] {
        let bare = version(trusting());
        assert_eq!(ask(&bare, "closed.test", "closed.test"), Err(()));
        assert_eq!(ask(&bare, "open.test", "open.test"), Ok(200));
        assert_eq!(ask(&bare, "open.test", "closed.test"), Ok(421));
        let right = version(trusting()).showing(&member);
        assert_eq!(ask(&right, "closed.test", "closed.test"), Ok(200));
        assert_eq!(
            ask(&right, "closed.test", "closed.test"),
            Ok(200),
            "resumed"
        );
        assert_eq!(ask(&right, "closed.test", "open.test"), Ok(200));
        assert_eq!(ask(&right, "closed.test", "other.test"), Ok(421));
        assert_eq!(
            ask(&right, "open.test", "closed.test"),
            Ok(421),
            "nobody asked for it there"
        );
        let wrong = version(trusting()).showing(&others.issue(&["client"]));
        assert_eq!(ask(&wrong, "closed.test", "closed.test"), Err(()));
        assert_eq!(ask(&wrong, "other.test", "other.test"), Ok(200));
    }
    assert_eq!(
        Request::get("/")
            .host("closed.test")
            .send(node.http())
            .status,
        421
    );
}

#[test]
fn a_session_from_before_a_site_demanded_certificates_is_not_resumed() {
    let origin = hello();
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let clients = Authority::new();
    let node = sealed(&[&identity], "")
        .file("clients.pem", clients.pem())
        .origin(&origin)
        .start();
    let tls = Tls::trusting(&authority.pem());
    for resumed in [false, true] {
        let mut connection = tls.connect(node.https(), "edge.test");
        connection.exchange(&Request::get("/")).expect(200);
        assert_eq!(connection.agreed().resumed, resumed);
    }
    node.edit_config(|text| text + "[site.tls]\nclient_ca = \"clients.pem\"\n");
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    let answer = tls
        .try_connect(node.https(), "edge.test")
        .and_then(|mut connection| {
            connection.send(&Request::get("/"));
            connection
                .try_receive()
                .map_err(|_| std::io::ErrorKind::ConnectionReset.into())
        });
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn plain_http_is_redirected_where_the_site_says_so_and_https_is_promised() {
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let origin = Origin::start(|_| fresh("hello").field("Strict-Transport-Security", "max-age=1"));
    let node = sealed(&[&identity], "")
        .origin(&origin)
        .site("[site.tls]\nredirect = true\nhsts = \"365d\"\ninclude_subdomains = true")
        .start();
    for method in ["GET", "POST"] {
        let request = Request::new(method, "/a%20b?c=d&e").host("edge.test:8080");
        let answer = request.send(node.http()).expect(308);
        assert_eq!(answer.field("location"), "https://edge.test/a%20b?c=d&e");
        assert!(!answer.has("strict-transport-security"), "{answer}");
    }
    assert_eq!(origin.request_count(), 0);
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    for path in ["/", "/", "/none"] {
        let answer = connection.exchange(&Request::get(path)).expect(200);
        let promise = answer.fields_all("strict-transport-security");
        assert_eq!(promise, ["max-age=31536000; includeSubDomains"]);
    }
}

#[test]
fn proofs_for_an_acme_authority_are_shown_to_everybody() {
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let origin = hello();
    let site = format!(
        "[[site]]\nhosts = [\"edge.test\"]\norigin = \"{}\"\n[site.tls]\nredirect = true",
        origin.url()
    );
    let node = sealed(&[&identity], "acme_webroot = \"acme\"")
        .file("acme/.well-known/acme-challenge/tok-en_1", "tok-en_1.proof")
        .file("acme/secret.txt", "secret")
        .file("acme/.well-known/acme-challenge/large", vec![b'x'; 70_000])
        .site(&site)
        .start();
    let path = "/.well-known/acme-challenge/tok-en_1";
    for host in ["edge.test", "nobody.test", "127.0.0.1"] {
        let answer = Request::get(path).host(host).send(node.http()).expect(200);
        assert_eq!(
            (answer.text().as_str(), answer.field("cache-control")),
            ("tok-en_1.proof", "no-store")
        );
    }
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    assert_eq!(
        connection.exchange(&Request::get(path)).expect(200).text(),
        "tok-en_1.proof"
    );
    let head = Request::head(path).send(node.http()).expect(200);
    assert_eq!((head.field("content-length"), head.body_len), ("14", 0));
    for name in [
        "absent",
        "large",
        "secret.txt",
        "..%2f..%2fsecret.txt",
        "%2e%2e%2f",
        "",
        "a/b",
    ] {
        let path = format!("/.well-known/acme-challenge/{name}");
        assert_eq!(node.get(&path).status, 404, "{name}");
    }
    assert_eq!(Request::post(path, "x").send(node.http()).status, 405);
    assert_eq!(origin.request_count(), 0);
    // A proof is read anew every time.
    std::fs::remove_file(node.directory().join("acme").join(&path[1..])).unwrap();
    node.get(path).expect(404);
}

#[test]
fn without_a_webroot_the_origin_is_asked_for_proofs_even_where_http_is_redirected() {
    let origin = hello();
    let site = "[site.tls]\nredirect = true";
    let node = edge().origin(&origin).site(site).start();
    let answer = node.get("/.well-known/acme-challenge/token").expect(200);
    assert_eq!(answer.text(), "hello");
    node.get("/.well-known/").expect(308);
}

#[test]
fn a_reply_that_breaks_off_never_looks_whole() {
    let origin = Origin::start(|_| Reply::ok(vec![b'x'; 100_000]).chunked().reset_after(50_000));
    let (authority, node) = usual(&origin);
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    let answer = connection.exchange(&Request::get("/"));
    assert!(!answer.complete, "{answer}");
    assert_eq!(answer.ended, Ended::Reset);
    // HTTP/1.0 has nothing but the close: it must be one in order.
    let origin = Origin::start(|_| Reply::ok("all of it").chunked());
    let (authority, node) = usual(&origin);
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    let answer = connection
        .exchange(&Request::get("/").version("HTTP/1.0"))
        .expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.ended),
        ("all of it", Ended::Close)
    );
}

#[test]
fn bodies_of_any_size_pass_both_ways() {
    let origin = Origin::start(|visit| {
        Reply::new(200)
            .pattern(20 << 20, 7)
            .field("X-Crc", &visit.body_crc.to_string())
    });
    let (authority, node) = usual(&origin);
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    for request in [
        Request::post("/", "").pattern(5 << 20, 3),
        Request::post("/", "").pattern_chunked(5 << 20, 3),
    ] {
        let answer = connection.exchange(&request.count_body()).expect(200);
        assert_eq!(answer.body_len, 20 << 20);
        assert_eq!(answer.body_crc, edge_testkit::pattern_crc(20 << 20, 7));
        assert_eq!(
            answer.field("x-crc"),
            edge_testkit::pattern_crc(5 << 20, 3).to_string()
        );
    }
}

#[test]
fn a_handshake_has_a_deadline() {
    let origin = hello();
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let node = sealed(&[&identity], "")
        .config("[guard]\nheader_deadline = \"300ms\"")
        .origin(&origin)
        .start();
    let started = Instant::now();
    let mut silent = Connection::open(node.https());
    let mut dripping = Connection::open(node.https());
    dripping.send_raw([0x16, 3, 1]);
    assert!(silent.closes_within(Duration::from_secs(10)));
    assert!(dripping.closes_within(Duration::from_secs(10)));
    assert!(started.elapsed() >= Duration::from_millis(250));
    // What is said in the clear is no handshake.
    let mut plain = Connection::open(node.https());
    plain.send_raw("GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    assert!(plain.closes_within(Duration::from_secs(10)));
}

#[test]
fn handshakes_beyond_the_bound_wait_for_a_place() {
    let origin = hello();
    let authority = Authority::new();
    let identity = authority.issue(&["edge.test"]);
    let node = sealed(&[&identity], "")
        .config("[guard]\nhandshakes = 1")
        .origin(&origin)
        .start();
    // A client that says hello and then nothing has the only place.
    let mut occupant = TcpStream::connect(node.https()).unwrap();
    let tls = Tls::trusting(&authority.pem());
    let name = ServerName::try_from("edge.test").unwrap();
    let mut unfinished = ClientConnection::new(tls.config(), name).unwrap();
    unfinished.write_tls(&mut occupant).unwrap();
    occupant.read_exact(&mut [0]).unwrap();

    let (to, pem) = (node.https(), authority.pem());
    let waiting = std::thread::spawn(move || {
        let mut connection = Connection::open_tls(to, "edge.test", &pem);
        connection.exchange(&Request::get("/")).expect(200);
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    occupant.shutdown(Shutdown::Both).unwrap();
    drop(occupant);
    waiting.join().unwrap();
}

#[test]
fn ipv6_and_both_stacks_are_listened_on() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let origin = hello();
    let node = edge()
        .config(
            "[listen]\nhttp = [\"[::1]:0\", \"[::]:0\"]\nhttps = [\"[::]:0\"]\nadmin = \"[::1]:0\"",
        )
        .origin(&origin)
        .start();
    node.get("/").expect(200);
    let both = node.addresses("http")[1].port();
    for address in ["127.0.0.1", "::1"] {
        let ip = address.parse().unwrap();
        Request::get("/")
            .send(SocketAddr::new(ip, both))
            .expect(200);
        let mut connection =
            Tls::trusting_anyone().connect(SocketAddr::new(ip, node.https().port()), "edge.test");
        connection.exchange(&Request::get("/")).expect(200);
    }
    assert_eq!(origin.requests()[0].field("x-forwarded-for"), "::1");
    node.admin_get("/healthz").expect(200);
}

#[test]
fn curl_speaks_both_protocols_over_tls() {
    let origin = hello();
    let (authority, node) = usual(&origin);
    std::fs::write(node.directory().join("ca.pem"), authority.pem()).unwrap();
    let port = node.https().port();
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = Command::new("curl")
            .args(["-sS", flag, "--noproxy", "*", "--cacert"])
            .arg(node.directory().join("ca.pem"))
            .args([
                "--resolve",
                &format!("edge.test:{port}:127.0.0.1"),
                "-w",
                " %{http_version}",
            ])
            .arg(format!("https://edge.test:{port}/"))
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: no curl here");
            return;
        };
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if errors.contains("does not support") {
            eprintln!("skipped: {errors}");
            continue;
        }
        assert_eq!(text, format!("hello {version}"), "{errors}");
    }
}

#[test]
fn open_connections_end_in_order_when_the_node_stops() {
    let origin = hello();
    let (authority, mut node) = usual(&origin);
    let mut connection = Tls::trusting(&authority.pem()).connect(node.https(), "edge.test");
    connection.exchange(&Request::get("/")).expect(200);
    node.begin_stop();
    // A close without a goodbye would be told as a reset.
    assert_eq!(
        connection.try_receive().unwrap_err(),
        edge_testkit::NoResponse::Closed
    );
    assert!(node.wait_for_exit().success());
}

/// What openssl has to say; `None` where there is none.
fn openssl(args: &[&str]) -> Option<String> {
    let output = Command::new("openssl")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr),
    )
}
