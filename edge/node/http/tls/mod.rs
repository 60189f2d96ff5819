//! TLS towards clients: which certificate a name gets, who must show one
//! themselves, what is spoken.
//!
//! A `Tls` is built whole from checked settings and is part of the live ones, so
//! a reload swaps it with them and connections under way keep theirs. What must
//! outlive a reload is taken over from the one before: the key that session
//! tickets are sealed with, a certificate that was made here, the places for
//! handshakes.

mod names;
mod self_signed;
mod tickets;

use super::hosts::Hosts;
use crate::config::{Certificate, ClientCa, Settings, TlsVersion};
use names::Names;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{
    Acceptor, ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tickets::Bound;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// What is offered above TLS, best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whom a client was verified against: the fingerprint of a `ClientCa`.
type Fingerprint = [u8; 32];

/// How connections are secured at the moment.
pub(crate) struct Tls {
    names: Arc<Names>,
    /// For names that no site takes.
    open: Prototype,
    /// For names of sites.
    sites: Hosts<Prototype>,
    ticketer: Arc<dyn ProducesTickets>,
    places: Arc<Semaphore>,
    handshakes_max: usize,
    /// A certificate that was made here, where none is configured.
    made: Option<Certificate>,
}

/// What a handshake begins with, but for the certificate.
#[derive(Clone)]
struct Prototype {
    config: Arc<ServerConfig>,
    /// Whom the client is verified against, if it is.
    demands: Option<Fingerprint>,
}

/// What was agreed on when a connection was secured.
#[derive(Debug)]
pub(crate) struct Session {
    /// The name the client asked for, in lower case.
    pub(crate) name: Option<String>,
    pub(crate) version: TlsVersion,
    /// The client continued an earlier session.
    pub(crate) resumed: bool,
    pub(crate) http2: bool,
    /// Whom the client's certificate was verified against, if it showed one.
    verified: Option<Fingerprint>,
    certificate: Option<Arc<CertifiedKey>>,
}

impl Tls {
    /// Prepares TLS as settings want it. `before` is what runs now.
    ///
    /// # Errors
    /// Something cannot be used together, or there are no random numbers.
    pub(crate) fn new(settings: &Settings, before: Option<&Tls>) -> Result<Tls, String> {
        let made = match settings.tls.certificates.is_empty() {
            true => Some(self_signed::certificate(
                settings,
                before.and_then(|tls| tls.made.as_ref()),
            )?),
            false => None,
        };
        let certificates = made.iter().chain(&settings.tls.certificates);
        let names =
            Arc::new(Names::new(certificates.map(|certificate| {
                (certificate.names.as_slice(), &certificate.certified)
            })));
        let ticketer = match before {
            Some(tls) => Arc::clone(&tls.ticketer),
            None => Ticketer::new().map_err(|error| error.to_string())?,
        };
        let open = prototype(settings, None, &ticketer)?;
        let mut sites = Hosts::default();
        for site in &settings.sites {
            let prototype = match &site.tls.client_ca {
                Some(authorities) => prototype(settings, Some(authorities), &ticketer)?,
                None => open.clone(),
            };
            for host in &site.hosts {
                sites.insert(host, prototype.clone());
            }
        }
        let handshakes_max = settings.guard.handshakes_max;
        let places = match before {
            Some(tls) if tls.handshakes_max == handshakes_max => Arc::clone(&tls.places),
            _ => Arc::new(Semaphore::new(handshakes_max)),
        };
        Ok(Tls {
            names,
            open,
            sites,
            ticketer,
            places,
            handshakes_max,
            made,
        })
    }

    /// Secures a connection. The caller sets the deadline: nothing here has one.
    pub(crate) async fn secure<IO>(&self, io: IO) -> io::Result<(TlsStream<IO>, Arc<Session>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        // A place is taken only now, so that those who say nothing have none.
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let name = hello.client_hello().server_name().map(plain);
        let prototype = name
            .as_deref()
            .and_then(|name| self.sites.find(name))
            .unwrap_or(&self.open);
        let choice = Arc::new(Choice {
            names: Arc::clone(&self.names),
            chosen: OnceLock::new(),
        });
        let mut config = ServerConfig::clone(&prototype.config);
        config.cert_resolver = Arc::clone(&choice) as Arc<dyn ResolvesServerCert>;
        let stream = hello.into_stream(Arc::new(config)).await?;
        let (_, connection) = stream.get_ref();
        let session = Session {
            name,
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            http2: connection.alpn_protocol() == Some(ALPN[0]),
            verified: connection.peer_certificates().and(prototype.demands),
            certificate: choice.chosen.get().cloned(),
        };
        Ok((stream, Arc::new(session)))
    }
}

impl Session {
    /// Was the client given a certificate for this host (without a port), or
    /// could no other connection do better? What it asked for by name it has got
    /// the best for, and an address cannot be asked for.
    pub(crate) fn covers(&self, host: &str) -> bool {
        match &self.name {
            Some(name) if name == host => return true,
            None if is_address(host) => return true,
            _ => {}
        }
        let certificate = self
            .certificate
            .as_ref()
            .and_then(|certified| certified.cert.first());
        certificate.is_some_and(|certificate| names::is_for(certificate, host))
    }

    #[cfg(test)]
    pub(crate) fn for_test(
        name: Option<&str>,
        names: &[&str],
        verified: Option<Fingerprint>,
    ) -> Session {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate = Certificate::own(made.cert.der().clone(), key).unwrap();
        Session {
            name: name.map(str::to_owned),
            version: TlsVersion::V1_3,
            resumed: false,
            http2: false,
            verified,
            certificate: Some(certificate.certified),
        }
    }

    /// Has the client shown a certificate from these authorities?
    pub(crate) fn is_verified_by(&self, authorities: &ClientCa) -> bool {
        self.verified == Some(authorities.fingerprint)
    }
}

/// As hosts are written elsewhere.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
}

fn prototype(
    settings: &Settings,
    authorities: Option<&ClientCa>,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<Prototype, String> {
    let provider = Arc::new(provider(settings));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings))
        .map_err(|error| format!("TLS cannot be spoken like this: {error}"))?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let roots = Arc::clone(&authorities.roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| format!("{}: {error}", authorities.path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let demands = authorities.map(|authorities| authorities.fingerprint);
    // Every handshake gets a resolver of its own in place of this one.
    let mut config = builder.with_cert_resolver(Arc::new(Nobody));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Bound::new(Arc::clone(ticketer), demands));
    // What comes before the handshake is over can be sent again by anybody.
    config.max_early_data_size = 0;
    Ok(Prototype {
        config: Arc::new(config),
        demands,
    })
}

fn provider(settings: &Settings) -> CryptoProvider {
    let suites = &settings.tls.suites;
    let mut provider = default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = suites.iter().map(|suite| suite.0).collect();
    }
    provider
}

fn versions(settings: &Settings) -> &'static [&'static SupportedProtocolVersion] {
    const NEWEST_FIRST: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match settings.tls.min_version {
        TlsVersion::V1_2 => NEWEST_FIRST,
        TlsVersion::V1_3 => &NEWEST_FIRST[..1],
    }
}

/// Chooses for one handshake and remembers what it chose.
struct Choice {
    names: Arc<Names>,
    chosen: OnceLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self
            .names
            .choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(self.chosen.get_or_init(|| Arc::clone(found))))
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice")
    }
}

/// Stands where a `Choice` will stand.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
