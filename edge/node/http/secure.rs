//! What a site asks of the connection a request comes over: that it is secured,
//! that it was secured for this host, and that the client has shown a
//! certificate. Decides from a head, a peer and settings, and reads nothing else.

use super::acme;
use super::head::Head;
use super::hosts::without_port;
use super::refuse;
use super::reply::{Peer, Reply};
use crate::config::{Prefix, SiteTls};
use http::header::{HeaderName, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderValue, StatusCode};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is to become of a request, as far as its connection goes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serve,
    /// To the same place on https.
    Redirect(String),
    /// It should go there and does not say where it is.
    Nowhere,
    /// Another connection would do, and why (RFC 9110, section 15.5.20).
    Misdirected(&'static str, &'static str),
}

/// The reply to a request that came over the wrong connection. `None` when it is
/// the right one.
pub(crate) fn turned_away(
    site: &SiteTls,
    head: &Head,
    peer: &Peer,
    trusted: &[Prefix],
) -> Option<Reply> {
    match verdict(site, head, peer, trusted) {
        Verdict::Serve => None,
        Verdict::Redirect(to) => Some(redirect(&to)),
        Verdict::Nowhere => Some(refuse::page(
            StatusCode::BAD_REQUEST,
            "this site is served over https only, and the request names no host",
        )),
        Verdict::Misdirected(words, reason) => Some(refuse::misdirected(words, reason)),
    }
}

/// Tells browsers to come over https from now on. Never over plain http, where
/// anybody could have said it (RFC 6797, section 7.2).
pub(crate) fn promise(
    reply: &mut Reply,
    site: &SiteTls,
    head: &Head,
    peer: &Peer,
    trusted: &[Prefix],
) {
    if let Some(promise) = &site.hsts
        && is_secured(head, peer, trusted)
    {
        reply
            .fields
            .insert(STRICT_TRANSPORT_SECURITY, promise.clone());
    }
}

fn verdict(site: &SiteTls, head: &Head, peer: &Peer, trusted: &[Prefix]) -> Verdict {
    let host = without_port(&head.host);
    if site.redirect && !is_secured(head, peer, trusted) && !acme::is_challenge(head.path()) {
        return match host {
            "" => Verdict::Nowhere,
            host => Verdict::Redirect(format!("https://{host}{}", place(head))),
        };
    }
    if let Some(session) = &peer.tls
        && !session.covers(host)
    {
        return Verdict::Misdirected(
            "this connection was secured for another host; open a new one for this host",
            "not-covered",
        );
    }
    if let Some(authorities) = &site.client_ca
        && !peer
            .tls
            .as_ref()
            .is_some_and(|session| session.is_verified_by(authorities))
    {
        return Verdict::Misdirected(
            "this host asks for a client certificate; open a connection for it and show one",
            "no-client-certificate",
        );
    }
    Verdict::Serve
}

/// Did the client come over https, here or at a proxy whose word counts?
fn is_secured(head: &Head, peer: &Peer, trusted: &[Prefix]) -> bool {
    if peer.scheme == "https" {
        return true;
    }
    let mut said = head.fields.get_all(X_FORWARDED_PROTO).iter();
    let (Some(proto), None) = (said.next(), said.next()) else {
        return false;
    };
    proto.as_bytes().eq_ignore_ascii_case(b"https")
        && trusted
            .iter()
            .any(|prefix| prefix.contains(peer.address.ip()))
}

/// Path and query; `*` has no place.
fn place(head: &Head) -> &str {
    match head.target.as_str() {
        "*" => "/",
        target => target,
    }
}

/// 308: the method and the body stay what they are.
fn redirect(to: &str) -> Reply {
    let mut reply = refuse::page(
        StatusCode::PERMANENT_REDIRECT,
        "this site is served over https only",
    );
    match HeaderValue::from_str(to) {
        Ok(to) => drop(reply.fields.insert(LOCATION, to)),
        Err(_) => {
            return refuse::page(
                StatusCode::BAD_REQUEST,
                "the request target cannot be redirected",
            );
        }
    }
    reply.facts.reason = Some("to-https");
    reply
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Parsed, parse};
    use super::super::tls::Session;
    use super::*;
    use crate::config::ClientCa;
    use std::sync::Arc;

    fn head(text: &str) -> Arc<Head> {
        const LIMITS: Limits = Limits {
            head_bytes: 4096,
            target_bytes: 1024,
            fields: 20,
            body_bytes: 1 << 30,
            own_port: 80,
        };
        match parse(format!("{text}\r\n\r\n").as_bytes(), &LIMITS) {
            Ok(Parsed::Head(head, _)) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn peer(session: Option<Session>) -> Peer {
        Peer {
            address: "192.0.2.1:5".parse().unwrap(),
            scheme: if session.is_some() { "https" } else { "http" },
            tls: session.map(Arc::new),
        }
    }

    fn site(redirect: bool, client_ca: Option<ClientCa>) -> SiteTls {
        SiteTls {
            redirect,
            hsts: Some(HeaderValue::from_static("max-age=1")),
            client_ca,
        }
    }

    #[test]
    fn plain_http_is_sent_to_the_same_place_on_https() {
        let site = site(true, None);
        for (request, to) in [
            ("GET / HTTP/1.1\r\nHost: a.test", Some("https://a.test/")),
            (
                "POST /x%20y?q=1&r HTTP/1.1\r\nHost: A.test:8080",
                Some("https://a.test/x%20y?q=1&r"),
            ),
            ("GET / HTTP/1.1\r\nHost: [::1]:8080", Some("https://[::1]/")),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a.test",
                Some("https://a.test/"),
            ),
            (
                "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.test",
                None,
            ),
            (
                "GET /.well-known/acme-challenge HTTP/1.1\r\nHost: a.test",
                Some("https://a.test/.well-known/acme-challenge"),
            ),
        ] {
            let got = verdict(&site, &head(request), &peer(None), &[]);
            let wanted = to.map_or(Verdict::Serve, |to| Verdict::Redirect(to.into()));
            assert_eq!(got, wanted, "{request}");
        }
        let old = head("GET / HTTP/1.0");
        assert_eq!(verdict(&site, &old, &peer(None), &[]), Verdict::Nowhere);
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_https() {
        let settings =
            "listen.http = [\"127.0.0.1:0\"]\nguard.trusted_proxies = [\"192.0.2.0/24\"]\n";
        let loaded = crate::config::from_str("t", settings, std::path::Path::new("")).unwrap();
        let trusted = loaded.settings.guard.trusted_proxies;
        let said = head("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: HTTPS");
        let twice = head(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Proto: http",
        );
        let plain = head("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: http");
        for (head, trusted, secured) in [
            (&said, &trusted[..], true),
            (&said, &[], false),
            (&twice, &trusted, false),
            (&plain, &trusted, false),
        ] {
            let site = site(true, None);
            let served = verdict(&site, head, &peer(None), trusted) == Verdict::Serve;
            let mut reply = Reply::new(StatusCode::OK);
            promise(&mut reply, &site, head, &peer(None), trusted);
            let promised = reply.fields.contains_key(STRICT_TRANSPORT_SECURITY);
            assert_eq!((served, promised), (secured, secured), "{:?}", head.fields);
        }
    }

    #[test]
    fn a_connection_serves_the_hosts_it_was_secured_for() {
        let misdirected = |name: Option<&str>, host: &str| {
            let session = Session::for_test(name, &["a.test", "*.b.test", "192.0.2.9"], None);
            let head = head(&format!("GET / HTTP/1.1\r\nHost: {host}"));
            verdict(&site(false, None), &head, &peer(Some(session)), &[]) != Verdict::Serve
        };
        for (name, host, wrong) in [
            (Some("a.test"), "a.test", false),
            (Some("a.test"), "a.test:8443", false),
            (Some("a.test"), "x.b.test", false),
            (Some("a.test"), "192.0.2.9", false),
            (Some("a.test"), "c.test", true),
            (Some("a.test"), "b.test", true),
            (Some("a.test"), "192.0.2.8", true),
            // Nothing better is to be had for these.
            (Some("c.test"), "c.test", false),
            (None, "192.0.2.8", false),
            (None, "[::1]:8443", false),
            (None, "a.test", false),
            (None, "c.test", true),
            (Some("c.test"), "d.test", true),
        ] {
            assert_eq!(misdirected(name, host), wrong, "{name:?} {host}");
        }
    }

    #[test]
    fn a_site_that_demands_a_certificate_is_served_only_to_who_showed_one_for_it() {
        let authorities = |fingerprint| ClientCa {
            path: "ca.pem".into(),
            roots: Arc::new(rustls::RootCertStore::empty()),
            fingerprint,
        };
        let head = head("GET / HTTP/1.1\r\nHost: a.test");
        let site = site(false, Some(authorities([1; 32])));
        let misdirected = |session| verdict(&site, &head, &peer(session), &[]) != Verdict::Serve;
        let session = |verified| Some(Session::for_test(Some("a.test"), &["a.test"], verified));
        assert!(misdirected(None));
        assert!(misdirected(session(None)));
        assert!(misdirected(session(Some([2; 32]))));
        assert!(!misdirected(session(Some([1; 32]))));
    }
}
