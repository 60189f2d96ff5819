//! A TLS client with everything a test may want to choose: name, versions, protocols, its own
//! certificate. Connections of one client share its sessions, as those of a browser do.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    StreamOwned, SupportedProtocolVersion, version,
};

use crate::certificates::{Identity, roots};
use crate::connection::Connection;

/// A TLS client being set up. The first connection settles its config.
pub struct Tls {
    verifier: Arc<Watcher>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    sends_name: bool,
    identity: Option<Identity>,
    suite: Option<String>,
    settled: Mutex<Option<Arc<ClientConfig>>>,
}

/// What client and server agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: String,
    /// As rustls names it.
    pub suite: String,
    /// The protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// An earlier session was continued.
    pub resumed: bool,
    /// The server's certificate, DER.
    pub certificate: Vec<u8>,
}

impl Tls {
    /// Trusts this authority only.
    pub fn trusting(authority_pem: &str) -> Self {
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots(authority_pem)),
            Arc::new(ring::default_provider()),
        );
        Self::new(Some(verifier.build().expect("there is an authority")))
    }

    /// Takes any certificate, from anyone.
    pub fn trusting_anyone() -> Self {
        Self::new(None)
    }

    fn new(trusts: Option<Arc<WebPkiServerVerifier>>) -> Self {
        Self {
            verifier: Arc::new(Watcher {
                trusts,
                provider: ring::default_provider(),
                staple: Mutex::default(),
            }),
            versions: vec![&version::TLS13, &version::TLS12],
            alpn: vec![b"http/1.1".to_vec()],
            sends_name: true,
            identity: None,
            suite: None,
            settled: Mutex::default(),
        }
    }

    /// Offers these protocols (ALPN) instead of HTTP/1.1; none at all if there are none.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        self
    }

    /// Speaks TLS 1.2 only.
    pub fn only_1_2(mut self) -> Self {
        self.versions = vec![&version::TLS12];
        self
    }

    /// Speaks TLS 1.3 only.
    pub fn only_1_3(mut self) -> Self {
        self.versions = vec![&version::TLS13];
        self
    }

    /// Offers only this cipher suite, as rustls names it.
    pub fn suite(mut self, name: &str) -> Self {
        self.suite = Some(name.to_owned());
        self
    }

    /// Asks for no name (no SNI).
    pub fn without_name(mut self) -> Self {
        self.sends_name = false;
        self
    }

    /// Shows this certificate when asked for one.
    pub fn showing(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Connects, asking for this name. Panics if the handshake fails.
    #[track_caller]
    pub fn connect(&self, to: SocketAddr, name: &str) -> Connection {
        self.try_connect(to, name)
            .unwrap_or_else(|error| panic!("TLS handshake for {name} failed: {error}"))
    }

    /// Connects, asking for this name.
    pub fn try_connect(&self, to: SocketAddr, name: &str) -> io::Result<Connection> {
        self.secure(Connection::open(to), name)
    }

    /// Does the handshake on an open connection, for what must be sent before it.
    pub fn secure(&self, connection: Connection, name: &str) -> io::Result<Connection> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(self.config(), name).map_err(io::Error::other)?;
        connection.secured(session)
    }

    /// The OCSP staple that came with the last full handshake; empty without one.
    pub fn staple(&self) -> Vec<u8> {
        let staple = self.verifier.staple.lock();
        staple.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The config, for clients of other making.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(settled.get_or_insert_with(|| Arc::new(self.settle())))
    }

    fn settle(&self) -> ClientConfig {
        let mut provider = ring::default_provider();
        if let Some(suite) = &self.suite {
            provider
                .cipher_suites
                .retain(|known| format!("{:?}", known.suite()) == *suite);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .expect("the provider has a suite of these versions")
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain_der(), identity.key_der())
                .expect("key and chain belong together"),
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_sni = self.sends_name;
        config
    }
}

/// What was agreed on in a handshake that is done.
pub(crate) fn agreed(tls: &StreamOwned<ClientConnection, TcpStream>) -> Agreed {
    let connection = &tls.conn;
    let certificates = connection.peer_certificates().unwrap_or_default();
    let protocol = connection.alpn_protocol();
    let suite = connection.negotiated_cipher_suite();
    Agreed {
        version: format!(
            "{:?}",
            connection
                .protocol_version()
                .expect("the handshake is done")
        ),
        suite: format!("{:?}", suite.expect("the handshake is done").suite()),
        alpn: protocol.map(|name| String::from_utf8_lossy(name).into_owned()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: certificates
            .first()
            .map(|first| first.to_vec())
            .unwrap_or_default(),
    }
}

/// Verifies the server, or does not, and keeps its staple.
#[derive(Debug)]
struct Watcher {
    trusts: Option<Arc<WebPkiServerVerifier>>,
    provider: CryptoProvider,
    staple: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap_or_else(PoisonError::into_inner) = ocsp.to_vec();
        match &self.trusts {
            // What is stapled in tests is rarely a real one.
            Some(trusts) => trusts.verify_server_cert(end_entity, intermediates, name, &[], now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
