//! `[tls]`: certificates, what is spoken with them, and where proofs of
//! ownership for new ones are found.

use std::path::{Path, PathBuf};

use crate::config::certificate::{Certificate, Wrong};
use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::settings::{SecretSource, Tls};
use crate::config::value::Given;
use crate::config::words::tls::{Suite, TlsVersion};

section! {
    /// How `listen.https` is spoken.
    pub struct Table {
        /// The certificates, each for the names in it. The first also answers clients that ask
        /// for no name or an unknown one. Without any, a self-signed one is made at start.
        certificates: Vec<Given<CertificateTable>> = [], from 0 to 10000,
            example [{ chain = "/etc/edge/a.pem", key = "file:/etc/edge/a.key" }];
        /// The oldest version of TLS that is spoken.
        min_version: TlsVersion = "1.2";
        /// The cipher suites, best first, by the names IANA gives them. All good ones by default.
        suites: Vec<Suite> = [], from 0 to 32, example ["TLS_AES_256_GCM_SHA384"];
        /// Folder that an ACME client such as certbot is given as its webroot; relative to this
        /// config file. /.well-known/acme-challenge/ of every host is answered from it.
        acme_webroot: Option<PathBuf>, example "/var/lib/edge/acme";
    }
}

section! {
    /// A certificate and its key.
    pub struct CertificateTable {
        /// PEM file with the certificate, then those between it and its authority; relative to
        /// this config file.
        chain: PathBuf, example "/etc/edge/a.pem";
        /// The private key in PEM, kept in an environment variable ("env:NAME") or a file
        /// ("file:path", relative to this config file).
        key: SecretSource, example "file:/etc/edge/a.key";
        /// File with an OCSP response in DER that is sent along; relative to this config file.
        ocsp: Option<PathBuf>, example "/etc/edge/a.ocsp";
    }
}

impl Table {
    /// Reads the certificates; checks that the suites leave something to speak.
    pub fn settings(&self, base: &Path, mistakes: &mut Mistakes) -> Tls {
        let suites = &self.suites.value;
        if self.min_version.value == TlsVersion::V1_3
            && !suites.is_empty()
            && !suites.iter().any(Suite::is_tls13)
        {
            mistakes.add(
                &self.suites.at,
                "`suites` names none of TLS 1.3, which `min_version` asks for; \
                 for example suites = [\"TLS_AES_256_GCM_SHA384\"]",
            );
        }
        let mut certificates = Vec::with_capacity(self.certificates.len());
        for (n, table) in self.certificates.iter().enumerate() {
            let Some(certificate) = table.settings(base, mistakes) else {
                continue;
            };
            if n > 0 && certificate.names.is_empty() {
                mistakes.add(
                    &table.chain.at,
                    "`chain` names no host in its subjectAltName, so nobody would be given it; \
                     put it first or leave it out",
                );
            }
            certificates.push(certificate);
        }
        Tls {
            certificates,
            min_version: self.min_version.value,
            suites: suites.clone(),
            acme_webroot: self.acme_webroot.as_ref().map(|path| base.join(path)),
        }
    }
}

impl CertificateTable {
    fn settings(&self, base: &Path, mistakes: &mut Mistakes) -> Option<Certificate> {
        let key = self.key.resolve(base);
        let key = key
            .map_err(|why| mistakes.add(&self.key.at, format!("`key`: {why}")))
            .ok()?;
        let ocsp = self.ocsp.as_ref().map(|path| base.join(path));
        match Certificate::load(&base.join(&self.chain.value), &key, ocsp.as_deref()) {
            Ok(certificate) => Some(certificate),
            Err(wrong) => {
                let (at, text) = match wrong {
                    Wrong::Chain(why) => (&self.chain.at, format!("`chain` {why}")),
                    Wrong::Key(why) => (&self.key.at, format!("`key` {why}")),
                    Wrong::Ocsp(why) => (&self.ocsp.at, format!("`ocsp` {why}")),
                };
                mistakes.add(at, text);
                None
            }
        }
    }
}
