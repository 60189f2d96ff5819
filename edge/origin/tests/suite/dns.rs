//! Names: asked through the resolver given, every address used.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use edge_origin::{
    Answer, Client, Error, NoAnswer, Origin, OriginSettings, Resolve, Scheme, Server, Settings,
};
use http::StatusCode;

use crate::script::{always, client, count, get, read, settings};

/// Knows one name.
struct Fake(Vec<IpAddr>);

#[async_trait::async_trait]
impl Resolve for Fake {
    async fn resolve(&self, name: &str) -> Result<Answer, NoAnswer> {
        match name {
            "app.example" => Ok(Answer {
                addresses: self.0.clone(),
                ttl: Duration::from_secs(60),
            }),
            "slow.example" => std::future::pending().await,
            _ => Err(NoAnswer::Missing),
        }
    }
}

fn named(hosts: &[&str], port: u16) -> Arc<Origin> {
    let server = |host: &&str| Server {
        scheme: Scheme::Http,
        host: (*host).to_owned(),
        port,
    };
    let servers = hosts.iter().map(server).collect();
    Arc::new(
        Origin::new(OriginSettings {
            servers,
            ..settings(port)
        })
        .unwrap(),
    )
}

fn asking(addresses: Vec<IpAddr>) -> Client {
    let mut settings = Settings::default();
    settings.dns.timeout = Duration::from_millis(80);
    Client::with_resolver(settings, Arc::new(Fake(addresses))).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn every_address_of_a_name_is_tried_and_one_query_serves_many_requests() {
    let port = always(OK).await;
    // Nothing listens on the first two at this port.
    let dead = [
        Ipv4Addr::new(127, 0, 0, 77).into(),
        Ipv4Addr::new(127, 0, 0, 78).into(),
    ];
    let client = asking([&dead[..], &[Ipv4Addr::LOCALHOST.into()]].concat());
    let origin = named(&["app.example"], port);
    for _ in 0..3 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(count(&client.counters().dns_queries), 1);
    // The addresses take turns: two before the sound one, then one, then none.
    assert_eq!(count(&client.counters().failovers), 3);
}

#[tokio::test]
async fn a_name_without_an_address_or_an_answer_says_so() {
    let client = asking(Vec::new());
    for (host, status, token) in [
        ("nobody.example", StatusCode::BAD_GATEWAY, "dns_error"),
        ("slow.example", StatusCode::GATEWAY_TIMEOUT, "dns_timeout"),
    ] {
        let error = client
            .send(&named(&[host], 80), get("/"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Resolve { .. }) && error.to_string().contains(host),
            "{error}"
        );
        assert_eq!((error.status(), error.proxy_status()), (status, token));
    }
}

#[tokio::test]
async fn a_server_whose_name_fails_gives_way_to_the_next() {
    let client = asking(Vec::new());
    let origin = named(&["nobody.example", "127.0.0.1"], always(OK).await);
    for _ in 0..2 {
        assert_eq!(
            read(client.send(&origin, get("/")).await.unwrap())
                .await
                .unwrap(),
            "ok"
        );
    }
}

#[tokio::test]
async fn localhost_needs_no_dns() {
    let client = client();
    let origin = named(&["localhost"], always(OK).await);
    assert_eq!(
        read(client.send(&origin, get("/")).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
    assert_eq!(count(&client.counters().dns_queries), 0);
}
