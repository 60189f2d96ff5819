//! One configured origin, checked: its servers, who they must prove to be, and whose turn it is.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::error::{Error, Place};
use crate::settings::{OriginSettings, Protocol, Scheme};
use crate::tls;

/// The longest anything is kept or believed, whatever the settings say.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Servers that answer alike.
pub struct Origin {
    pub(crate) name: Arc<str>,
    pub(crate) servers: Vec<Target>,
    pub(crate) settings: OriginSettings,
    turn: AtomicUsize,
}

/// One server, ready to be connected to.
pub(crate) struct Target {
    /// `https://host:port`, for people.
    pub(crate) label: Arc<str>,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// `None` on plain TCP.
    pub(crate) secure: Option<Secure>,
    /// Sent as `Host` when the request has none.
    pub(crate) authority: HeaderValue,
    /// The proof asked of this server; connections are shared only under the same one.
    pub(crate) proof: Arc<Proof>,
}

/// How a server's addresses are found.
pub(crate) enum Host {
    /// Known without asking: an address, or `localhost`.
    Known(Arc<[IpAddr]>),
    Name(Arc<str>),
}

/// TLS towards one server.
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    /// The same, offering HTTP/1.1 alone, for upgrades.
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// Everything besides the address that makes two connections different.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    scheme: Scheme,
    protocol: Protocol,
    name: String,
    verify: bool,
    ca_pem: Option<Vec<u8>>,
    /// Of the fields above, so that a certificate is not hashed per request.
    hash: u64,
}

/// What connections are kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) proof: Arc<Proof>,
}

impl Origin {
    /// Checks the settings; nothing is connected or looked up yet. Must be called again when the
    /// machine's certificate authorities change.
    pub fn new(mut settings: OriginSettings) -> Result<Self, Error> {
        // Times are added to the clock, which a "forever" would overflow.
        settings.idle_timeout = settings.idle_timeout.min(WEEK);
        let servers = servers(&settings).map_err(|why| Error::Settings {
            origin: settings.name.clone(),
            why,
        })?;
        Ok(Self {
            name: settings.name.as_str().into(),
            servers,
            settings,
            turn: AtomicUsize::new(0),
        })
    }

    /// The origin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Round robin: a number one higher for every request.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn place(&self, server: &Target, address: Option<SocketAddr>) -> Place {
        Place {
            origin: self.name.clone(),
            server: server.label.clone(),
            address,
        }
    }
}

impl Target {
    pub(crate) fn key(&self, address: SocketAddr) -> Key {
        Key {
            address,
            proof: self.proof.clone(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        self.proof.hash.hash(state);
    }
}

fn servers(settings: &OriginSettings) -> Result<Vec<Target>, String> {
    if settings.servers.is_empty() {
        return Err(
            "it has no servers; name at least one, such as http://10.0.0.11:8080".to_owned(),
        );
    }
    for (name, value) in [
        ("connect", settings.connect_timeout),
        ("first byte", settings.first_byte_timeout),
        ("between bytes", settings.between_bytes_timeout),
        ("write", settings.write_timeout),
    ] {
        if value.is_zero() {
            return Err(format!(
                "its {name} timeout is zero, so no request could succeed"
            ));
        }
    }
    let tls_settings = &settings.tls;
    let mut configs = None;
    let mut servers = Vec::with_capacity(settings.servers.len());
    for server in &settings.servers {
        let bare = server
            .host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim_end_matches('.');
        let host = host(bare)?;
        let secure = match server.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let name = tls::server_name(tls_settings, bare)?;
                let (config, http1) = match &configs {
                    Some(configs) => configs,
                    None => {
                        let config = tls::config(tls_settings, settings.protocol)?;
                        let http1 = tls::http1(&config);
                        configs.insert((config, http1))
                    }
                };
                Some(Secure {
                    config: Arc::clone(config),
                    http1: Arc::clone(http1),
                    name,
                })
            }
        };
        let (scheme, default_port) = match server.scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let shown = if bare.contains(':') {
            format!("[{bare}]")
        } else {
            bare.to_owned()
        };
        let authority = if server.port == default_port {
            shown.clone()
        } else {
            format!("{shown}:{}", server.port)
        };
        let authority = HeaderValue::try_from(authority).map_err(|_| {
            format!(
                "the host {:?} holds characters no host name has",
                server.host
            )
        })?;
        let mut proof = Proof {
            scheme: server.scheme,
            protocol: settings.protocol,
            name: secure
                .as_ref()
                .map(|secure| secure.name.to_str().into_owned())
                .unwrap_or_default(),
            verify: tls_settings.verify,
            ca_pem: secure.as_ref().and_then(|_| tls_settings.ca_pem.clone()),
            hash: 0,
        };
        let mut hasher = DefaultHasher::new();
        (
            &proof.name,
            proof.scheme,
            proof.protocol,
            proof.verify,
            &proof.ca_pem,
        )
            .hash(&mut hasher);
        proof.hash = hasher.finish();
        servers.push(Target {
            label: format!("{scheme}://{shown}:{}", server.port).into(),
            host,
            port: server.port,
            secure,
            authority,
            proof: Arc::new(proof),
        });
    }
    Ok(servers)
}

fn host(bare: &str) -> Result<Host, String> {
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Host::Known(Arc::new([address])));
    }
    let name = bare.to_ascii_lowercase();
    // RFC 6761, section 6.3: never ask the DNS for these.
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(Host::Known(Arc::new([
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
        ])));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(fits) {
        return Err(format!("{bare:?} is neither a host name nor an IP address"));
    }
    Ok(Host::Name(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Server, Tls};

    fn origin(host: &str, scheme: Scheme) -> OriginSettings {
        OriginSettings {
            name: "app".into(),
            servers: vec![Server {
                scheme,
                host: host.into(),
                port: 80,
            }],
            tls: Tls {
                verify: false,
                ..Tls::default()
            },
            ..OriginSettings::default()
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_reason() {
        let none = OriginSettings {
            servers: Vec::new(),
            ..origin("a", Scheme::Http)
        };
        let never = OriginSettings {
            connect_timeout: Duration::ZERO,
            ..origin("a", Scheme::Http)
        };
        for (settings, expected) in [
            (none, "no servers"),
            (never, "connect timeout is zero"),
            (
                origin("a b", Scheme::Http),
                "neither a host name nor an IP address",
            ),
            (
                origin("", Scheme::Https),
                "neither a host name nor an IP address",
            ),
        ] {
            let error = Origin::new(settings).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn addresses_and_localhost_never_ask_the_dns() {
        for known in ["192.0.2.1", "[::1]", "::1", "LOCALHOST", "app.localhost."] {
            let origin = Origin::new(origin(known, Scheme::Http)).unwrap();
            assert!(matches!(origin.servers[0].host, Host::Known(_)), "{known}");
        }
        let origin = Origin::new(origin("App.Example.", Scheme::Http)).unwrap();
        assert!(matches!(&origin.servers[0].host, Host::Name(name) if &**name == "app.example"));
    }

    #[test]
    fn connections_are_shared_only_under_the_same_proof() {
        let base = origin("192.0.2.1", Scheme::Https);
        let same = origin("192.0.2.1", Scheme::Https);
        let strangers = [
            OriginSettings {
                protocol: Protocol::Http2,
                ..base.clone()
            },
            OriginSettings {
                tls: Tls {
                    server_name: Some("b".into()),
                    ..base.tls.clone()
                },
                ..base.clone()
            },
            origin("192.0.2.1", Scheme::Http),
        ];
        let address = "192.0.2.1:443".parse().unwrap();
        let key = |settings: OriginSettings| Origin::new(settings).unwrap().servers[0].key(address);
        let first = key(base);
        assert_eq!(first, key(same));
        for stranger in strangers {
            assert_ne!(first, key(stranger));
        }
    }
}
