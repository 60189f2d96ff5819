//! Certificates as settings hold them: read from their files, parsed, and found
//! to fit together, so that nothing behind the config can meet a bad one.
//!
//! A reload reads the files again; certificates are equal when what is in the
//! files is, wherever they came from.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::words::secret::Secret;

/// A file of certificates, and a staple. The system's whole list of authorities
/// fits.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Certificate {
    /// Where the chain came from; empty for one that was made here.
    pub chain: PathBuf,
    /// The hosts it is for, from its subjectAltName: lower case, `*.` for one
    /// label. Addresses are not among them.
    pub names: Vec<String>,
    /// As the handshake wants it, staple included.
    pub certified: Arc<CertifiedKey>,
    key: Option<Secret>,
}

/// What is wrong with a certificate, told apart by the file it is wrong in.
#[derive(Debug)]
pub enum Wrong {
    /// The chain.
    Chain(String),
    /// The key.
    Key(String),
    /// The OCSP staple.
    Ocsp(String),
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read or parsed, or key and certificate do not belong together.
    pub fn load(chain: &Path, key: &Secret, ocsp: Option<&Path>) -> Result<Self, Wrong> {
        let certificates = certificates(chain).map_err(Wrong::Chain)?;
        let private = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| {
            let why = "holds no private key in PEM; an encrypted one must be decrypted first";
            Wrong::Key(why.into())
        })?;
        let mut certified = certify(certificates, private)?;
        if let Some(path) = ocsp {
            certified.ocsp = Some(staple(path).map_err(Wrong::Ocsp)?);
        }
        Ok(Self {
            names: names(&certified.cert[0]).map_err(Wrong::Chain)?,
            chain: chain.to_owned(),
            certified: Arc::new(certified),
            key: Some(key.clone()),
        })
    }

    /// One that was made here, from DER.
    ///
    /// # Errors
    /// Key and certificate do not belong together.
    pub fn own(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let certified = certify(vec![certificate], key).map_err(|wrong| match wrong {
            Wrong::Chain(why) | Wrong::Key(why) | Wrong::Ocsp(why) => why,
        })?;
        Ok(Self {
            names: names(&certified.cert[0])?,
            chain: PathBuf::new(),
            certified: Arc::new(certified),
            key: None,
        })
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
            && self.key == other.key
            && self.certified.cert == other.certified.cert
            && self.certified.ocsp == other.certified.ocsp
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<certificate {:?}>", self.names)
    }
}

/// Authorities that a client's certificate must come from.
#[derive(Clone)]
pub struct ClientCa {
    /// Where they came from.
    pub path: PathBuf,
    /// The authorities; never empty.
    pub roots: Arc<RootCertStore>,
    /// SHA-256 over their certificates: what a client was verified against.
    pub fingerprint: [u8; 32],
}

impl ClientCa {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is not the certificate of an authority.
    pub fn load(path: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut hash = match cipher_suite::TLS13_AES_128_GCM_SHA256.tls13() {
            Some(suite) => suite.common.hash_provider.start(),
            None => return Err("cannot be hashed".into()),
        };
        for certificate in certificates(path)? {
            hash.update(&(certificate.len() as u64).to_be_bytes());
            hash.update(&certificate);
            let added = roots.add(certificate);
            added.map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Ok(Self {
            path: path.to_owned(),
            roots: Arc::new(roots),
            fingerprint,
        })
    }
}

impl PartialEq for ClientCa {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.fingerprint == other.fingerprint
    }
}

impl Eq for ClientCa {}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<authorities of {}>", self.path.display())
    }
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Err(error) => Err(format!("is not PEM: {error}")),
        Ok(found) if found.is_empty() => Err("holds no certificate in PEM".into()),
        Ok(found) => Ok(found),
    }
}

fn staple(path: &Path) -> Result<Vec<u8>, String> {
    /// How an OCSPResponse begins (RFC 6960, section 4.2.1).
    const SEQUENCE: u8 = 0x30;
    let der = read(path)?;
    match der.first() {
        Some(&SEQUENCE) => Ok(der),
        _ => Err("is not an OCSP response in DER, as `openssl ocsp -respout` writes it".into()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err("is larger than 1MiB".into()),
        false => Ok(bytes),
    }
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Wrong> {
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Wrong::Key("is not the key of the first certificate in `chain`".into())
        }
        Error::InvalidCertificate(error) => Wrong::Chain(unusable(&error)),
        error => Wrong::Key(format!("cannot be used: {error}")),
    })
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| unusable(&error))?;
    Ok(parsed
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect())
}

fn unusable(error: &dyn fmt::Debug) -> String {
    format!("begins with a certificate that cannot be used: {error:?}")
}
