//! TLS: who is believed, and who is not.

use std::sync::Arc;

use edge_origin::{Client, Error, Origin, OriginSettings, Protocol, Scheme, Server, Tls};
use edge_testkit::{Authority, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::script::{client, count, get, origin, read, settings};

/// A TLS acceptor that offers these protocols.
pub fn acceptor(identity: &Identity, alpn: &[&str]) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// An HTTP/1.1 origin over TLS whose certificate is for `names`.
async fn secured(authority: &Authority, names: &[&str]) -> u16 {
    let acceptor = acceptor(&authority.issue(names), &["http/1.1"]);
    origin(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut seen = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                seen.push(byte);
                if seen.ends_with(b"\r\n\r\n") {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                }
            }
        }
    })
    .await
}

fn to(port: u16, tls: Tls) -> Arc<Origin> {
    let servers = vec![Server {
        scheme: Scheme::Https,
        host: "127.0.0.1".into(),
        port,
    }];
    Arc::new(
        Origin::new(OriginSettings {
            servers,
            tls,
            ..settings(port)
        })
        .unwrap(),
    )
}

fn trusting(authority: &Authority, server_name: Option<&str>) -> Tls {
    let ca_pem = Some(authority.pem().into_bytes());
    Tls {
        verify: true,
        ca_pem,
        server_name: server_name.map(str::to_owned),
    }
}

async fn send(client: &Client, origin: &Arc<Origin>) -> Result<(), Error> {
    assert_eq!(read(client.send(origin, get("/")).await?).await?, "ok");
    Ok(())
}

#[tokio::test]
async fn a_server_of_a_private_authority_is_believed_under_its_name() {
    let authority = Authority::new();
    let port = secured(&authority, &["app.example"]).await;
    let (client, origin) = (
        client(),
        to(port, trusting(&authority, Some("app.example"))),
    );
    for _ in 0..3 {
        send(&client, &origin).await.unwrap();
    }
    assert_eq!(
        (
            count(&client.counters().opened),
            count(&client.counters().reused)
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn an_address_is_believed_only_if_the_certificate_holds_it() {
    let authority = Authority::new();
    let named = secured(&authority, &["127.0.0.1"]).await;
    send(&client(), &to(named, trusting(&authority, None)))
        .await
        .unwrap();
    let other = secured(&authority, &["app.example"]).await;
    let error = send(&client(), &to(other, trusting(&authority, None)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
    assert!(error.to_string().contains("tls.server_name"), "{error}");
}

#[tokio::test]
async fn the_wrong_authority_and_the_wrong_name_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = secured(&authority, &["app.example"]).await;
    for tls in [
        trusting(&other, Some("app.example")),
        trusting(&authority, Some("other.example")),
    ] {
        let error = send(&client(), &to(port, tls)).await.unwrap_err();
        assert!(matches!(error, Error::Certificate { .. }), "{error}");
        assert_eq!(error.proxy_status(), "tls_certificate_error");
    }
}

#[tokio::test]
async fn without_verification_anyone_is_believed_but_shares_no_connection_with_the_verified() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = secured(&authority, &["app.example"]).await;
    let client = client();
    let anyone = to(
        port,
        Tls {
            verify: false,
            ..Tls::default()
        },
    );
    send(&client, &anyone).await.unwrap();
    // A connection to this very address lies idle, and must not be taken.
    let strict = to(port, trusting(&other, Some("app.example")));
    let error = send(&client, &strict).await.unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
    send(
        &client,
        &to(port, trusting(&authority, Some("app.example"))),
    )
    .await
    .unwrap();
    assert_eq!(
        (
            count(&client.counters().opened),
            count(&client.counters().reused)
        ),
        (2, 0)
    );
}

#[tokio::test]
async fn a_server_that_does_not_speak_the_version_asked_for_says_so() {
    let authority = Authority::new();
    let port = secured(&authority, &["app.example"]).await;
    let servers = vec![Server {
        scheme: Scheme::Https,
        host: "127.0.0.1".into(),
        port,
    }];
    let tls = trusting(&authority, Some("app.example"));
    let settings = OriginSettings {
        servers,
        tls,
        protocol: Protocol::Http2,
        ..settings(port)
    };
    let error = client()
        .send(&Arc::new(Origin::new(settings).unwrap()), get("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

#[tokio::test]
async fn what_answers_in_plain_text_is_a_tls_error() {
    let port = origin(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let error = send(
        &client(),
        &to(
            port,
            Tls {
                verify: false,
                ..Tls::default()
            },
        ),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert_eq!(error.proxy_status(), "tls_protocol_error");
}

/// Runs itself again with a store of authorities that is empty, as on a bare container image.
#[test]
fn a_machine_without_authorities_is_told_what_to_do() {
    const NAME: &str = "tls::a_machine_without_authorities_is_told_what_to_do";
    if std::env::var_os("SSL_CERT_FILE").is_some_and(|file| file == "/dev/null") {
        let servers = vec![Server {
            scheme: Scheme::Https,
            host: "app.example".into(),
            port: 443,
        }];
        let strict = OriginSettings {
            servers,
            ..settings(443)
        };
        let error = Origin::new(strict.clone()).err().unwrap();
        assert!(error.to_string().contains("ca-certificates"), "{error}");
        // Who does not need them works.
        let tls = Tls {
            verify: false,
            ..Tls::default()
        };
        Origin::new(OriginSettings {
            tls,
            ..strict.clone()
        })
        .unwrap();
        Origin::new(OriginSettings {
            tls: trusting(&Authority::new(), None),
            ..strict
        })
        .unwrap();
        client();
        return;
    }
    let itself = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("SSL_CERT_FILE", "/dev/null")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&itself.stdout);
    assert!(
        itself.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[tokio::test]
async fn a_cut_tls_connection_is_not_the_end_of_a_body() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.issue(&["127.0.0.1"]), &[]);
    let port = origin(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                seen.push(stream.read_u8().await.unwrap());
            }
            // Ends with the connection, and that without TLS saying so: somebody may have cut it.
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")
                .await
                .unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await;
    let response = client()
        .send(&to(port, trusting(&authority, None)), get("/"))
        .await
        .unwrap();
    let error = read(response).await.unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}
