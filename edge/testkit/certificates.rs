//! A certificate authority for one test: issues certificates for TLS origins and listeners.
//! Nothing trusts it but who is handed its PEM.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

/// A self-made certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate chain and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub chain: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl Authority {
    /// A new authority with a new key.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "edge test authority");
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority signs itself"))
    }

    /// The authority's own certificate: what a client must trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these host names and IP addresses, its key ECDSA with P-256.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, KeyPair::generate().expect("a key can be made"))
    }

    /// The same with an Ed25519 key, which not every client can verify.
    pub fn issue_ed25519(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ED25519);
        self.sign(names, key.expect("a key can be made"))
    }

    fn sign(&self, names: &[&str], key: KeyPair) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are valid");
        params
            .distinguished_name
            .push(DnType::CommonName, "edge test");
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("the authority can sign");
        Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Identity {
    /// The chain, for rustls.
    pub fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("our own chain is valid PEM")
    }

    /// The key, for rustls.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("our own key is valid PEM")
    }
}

/// What a TLS server of ours offers: this identity, HTTP/1.1 only.
pub(crate) fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(identity.chain_der(), identity.key_der())
            .expect("key and chain belong together");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The authorities in this PEM.
pub(crate) fn roots(authority_pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots
            .add(certificate.expect("the authority is valid PEM"))
            .expect("the authority is a certificate");
    }
    roots
}
