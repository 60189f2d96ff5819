//! Which certificate a name gets: one for that name, then one for `*` in place
//! of its first label, then the first of all (RFC 6066, section 3; RFC 9525,
//! section 6.3).

use rustls::SignatureScheme;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates by name. `*.example.com` stands under itself.
pub(super) struct Names {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    defaults: Vec<Arc<CertifiedKey>>,
}

impl Names {
    pub(super) fn new<'a>(
        certificates: impl Iterator<Item = (&'a [String], &'a Arc<CertifiedKey>)>,
    ) -> Names {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        let mut defaults = Vec::new();
        for (names, certified) in certificates {
            for name in names {
                by_name
                    .entry(name.clone())
                    .or_default()
                    .push(Arc::clone(certified));
            }
            // Only the first is the default, and others for the very same names:
            // they are the same certificate with another kind of key.
            let same = |first: &Arc<CertifiedKey>| {
                let sole =
                    |name: &String| by_name[name].iter().any(|other| Arc::ptr_eq(other, first));
                !names.is_empty() && names.iter().all(sole)
            };
            if defaults.first().is_none_or(same) {
                defaults.push(Arc::clone(certified));
            }
        }
        Names { by_name, defaults }
    }

    /// The certificate for a client that asks for `name` and verifies with one
    /// of `schemes`. Of several for one name the first whose key the client can
    /// verify, so that old and new kinds of keys can be offered side by side.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let named = name
            .and_then(|name| self.named(name))
            .unwrap_or(&self.defaults);
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        named.iter().find(fits).or(named.first())
    }

    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = super::plain(name);
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

/// Is a certificate for this host: a name, or an address as a URI writes it?
pub(super) fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let (Ok(parsed), Ok(name)) = (
        ParsedCertificate::try_from(certificate),
        ServerName::try_from(bare),
    ) else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Certificate;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm,
    };
    use rustls::pki_types::PrivateKeyDer;

    fn certificate(names: &[&str], kind: &'static SignatureAlgorithm) -> Certificate {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Certificate::own(certificate.der().clone(), key).unwrap()
    }

    fn names(certificates: &[Certificate]) -> Names {
        let rows = certificates.iter();
        Names::new(rows.map(|certificate| (certificate.names.as_slice(), &certificate.certified)))
    }

    const BOTH: &[SignatureScheme] = &[
        SignatureScheme::ED25519,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];

    #[test]
    fn a_name_gets_its_own_certificate_a_wildcard_or_the_first() {
        let all = [
            certificate(&["first.test", "Also.First.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["*.wild.test", "x.first.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["a.wild.test"], &PKCS_ECDSA_P256_SHA256),
        ];
        let names = names(&all);
        for (name, wanted) in [
            (Some("first.test"), 0),
            (Some("also.first.test"), 0),
            (Some("ALSO.first.TEST"), 0),
            (Some("x.first.test"), 1),
            (Some("b.wild.test"), 1),
            (Some("a.wild.test"), 2),
            (Some("a.b.wild.test"), 0),
            (Some("wild.test"), 0),
            (Some("*.wild.test"), 1),
            (Some("unknown.test"), 0),
            (Some("localhost"), 0),
            (None, 0),
        ] {
            let got = names.choose(name, BOTH).unwrap();
            assert!(Arc::ptr_eq(got, &all[wanted].certified), "{name:?}");
        }
    }

    #[test]
    fn of_several_keys_for_one_name_the_client_gets_one_it_can_verify() {
        let all = [
            certificate(&["a.test", "b.test"], &PKCS_ED25519),
            certificate(&["a.test", "b.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["c.test"], &PKCS_ECDSA_P256_SHA256),
        ];
        let names = names(&all);
        for name in [Some("a.test"), Some("b.test"), None] {
            for (schemes, wanted) in [
                (&BOTH[..1], 0),
                (&BOTH[1..], 1),
                (BOTH, 0),
                (&[SignatureScheme::RSA_PKCS1_SHA256], 0),
            ] {
                let got = names.choose(name, schemes).unwrap();
                assert!(
                    Arc::ptr_eq(got, &all[wanted].certified),
                    "{name:?} {schemes:?}"
                );
            }
        }
        assert!(Arc::ptr_eq(
            names.choose(Some("c.test"), &BOTH[..1]).unwrap(),
            &all[2].certified
        ));
    }

    #[test]
    fn a_certificate_is_for_its_names_and_addresses_only() {
        let one = certificate(
            &["a.test", "*.wild.test", "192.0.2.1", "::1"],
            &PKCS_ECDSA_P256_SHA256,
        );
        assert_eq!(one.names, ["a.test", "*.wild.test"]);
        for (host, covered) in [
            ("a.test", true),
            ("b.wild.test", true),
            ("192.0.2.1", true),
            ("[::1]", true),
            ("wild.test", false),
            ("a.b.wild.test", false),
            ("b.test", false),
            ("192.0.2.2", false),
            ("[::2]", false),
            ("a_b.wild.test", true),
            ("", false),
        ] {
            assert_eq!(is_for(&one.certified.cert[0], host), covered, "{host}");
        }
    }
}
