//! The TLS settings of an origin, made once when the origin is. Verification against the machine's
//! authorities unless told otherwise; an IP address is verified as an IP address, so nothing is ever
//! left unverified for want of a name.

use std::sync::Arc;

use pingora_core::tls::load_native_certs;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::settings::{Protocol, Tls};

/// HTTP/1.1 as ALPN names it.
const HTTP1: &[u8] = b"http/1.1";

/// Settings for every connection to the servers of one origin. Its cache of sessions is shared by
/// them. The error says what to change.
pub(crate) fn config(tls: &Tls, protocol: Protocol) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let mut config = if tls.verify {
        builder
            .with_root_certificates(authorities(tls)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyone(provider)))
            .with_no_client_auth()
    };
    config.alpn_protocols = match protocol {
        Protocol::Auto => vec![b"h2".to_vec(), HTTP1.to_vec()],
        Protocol::Http1 => vec![HTTP1.to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

/// The same settings, offering HTTP/1.1 alone.
pub(crate) fn http1(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Arc::new(config)
}

/// The name a server's certificate must carry: a DNS name or an IP address.
pub(crate) fn server_name(tls: &Tls, host: &str) -> Result<ServerName<'static>, String> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.');
    ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("{name:?} cannot be in a certificate; set tls.server_name to a name that can")
    })
}

/// A sentence on what is wrong with a certificate, if that is what the handshake failed for.
pub(crate) fn certificate_fault(error: &std::io::Error, name: &ServerName<'_>) -> Option<String> {
    let rustls::Error::InvalidCertificate(fault) =
        error.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    Some(match fault {
        CertificateError::UnknownIssuer => {
            "it is signed by an authority we do not trust (tls.ca names a private one)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "it is not for {:?} (tls.server_name names another): {fault}",
                name.to_str()
            )
        }
        other => other.to_string(),
    })
}

fn authorities(tls: &Tls) -> Result<RootCertStore, String> {
    match &tls.ca_pem {
        Some(pem) => private(pem),
        None => of_the_machine(),
    }
}

fn private(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| format!("tls.ca is not valid PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("tls.ca holds a certificate we cannot use: {error}"))?;
    }
    if roots.is_empty() {
        return Err(
            "tls.ca holds no certificate (looked for -----BEGIN CERTIFICATE-----)".to_owned(),
        );
    }
    Ok(roots)
}

/// Certificates that cannot be parsed are left out: one bad file must not take every origin down.
fn of_the_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = load_native_certs()
        .map_err(|error| format!("this machine's certificate authorities: {error}"))?;
    let (_, unusable) = roots.add_parsable_certificates(found);
    if unusable > 0 {
        log::warn!(
            "{unusable} certificate authorities of this machine cannot be parsed and are ignored"
        );
    }
    if roots.is_empty() {
        return Err(
            "this machine trusts no certificate authority: install its ca-certificates package, \
                    set SSL_CERT_FILE, or name one with tls.ca"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// For `verify = false`: whoever answers is accepted, but must own the key they show.
#[derive(Debug)]
struct AcceptAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_verified_as_an_address_and_never_left_unverified() {
        let tls = Tls::default();
        for host in ["192.0.2.1", "[2001:db8::1]", "2001:db8::1"] {
            assert!(
                matches!(server_name(&tls, host), Ok(ServerName::IpAddress(_))),
                "{host}"
            );
        }
        assert!(matches!(
            server_name(&tls, "app.example."),
            Ok(ServerName::DnsName(_))
        ));
        for host in ["", "a b", "[]"] {
            let why = server_name(&tls, host).unwrap_err();
            assert!(why.contains("tls.server_name"), "{why}");
        }
    }

    #[test]
    fn authorities_that_are_none_are_refused_with_what_to_do() {
        for (pem, expected) in [
            (&b"nothing here"[..], "holds no certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot use",
            ),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "not valid PEM"),
        ] {
            let tls = Tls {
                ca_pem: Some(pem.to_vec()),
                ..Tls::default()
            };
            let why = config(&tls, Protocol::Auto).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
