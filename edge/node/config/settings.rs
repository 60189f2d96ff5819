//! What the rest of the node is told: settings shaped like the program.
//!
//! Everything here has been checked against everything else; whoever receives
//! it does not check again. Nothing here knows how the file was written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use super::certificate::{Certificate, ClientCa};
pub use super::words::address::Prefix;
pub use super::words::cache_key::{Bypass, QueryName};
pub use super::words::host_pattern::HostPattern;
pub use super::words::logging::{AccessLog, Format, Level};
pub use super::words::origin::{OriginUrl, Protocol};
pub use super::words::path_pattern::PathPattern;
pub use super::words::secret::{Secret, SecretSource};
pub use super::words::tls::{Suite, TlsVersion};

/// One node, completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory of the store and everything else that must survive a restart.
    pub data: PathBuf,
    /// The sockets to open.
    pub listen: Listen,
    /// How TLS is spoken.
    pub tls: Tls,
    /// Who may use the admin listener.
    pub admin: Admin,
    /// Budgets of the cache.
    pub cache: Cache,
    /// Limits on what a stranger may do.
    pub guard: Guard,
    /// The bundled object store.
    pub store: Store,
    /// What is written about requests and about the node.
    pub log: Log,
    /// By name. An inline URL of a site stands here under itself as text.
    pub origins: BTreeMap<String, OriginConfig>,
    /// In file order. No two share a host pattern.
    pub sites: Vec<Site>,
}

/// The sockets to open. Port 0 asks the system for a free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Plain HTTP/1.1 and h2c. Empty only where `https` is not.
    pub http: Vec<SocketAddr>,
    /// HTTP/1.1 and h2 over TLS.
    pub https: Vec<SocketAddr>,
    /// Peers that say with the PROXY protocol who their client is, on every connection.
    pub proxy_protocol_from: Vec<Prefix>,
    /// Health, metrics, purge, reload.
    pub admin: Option<SocketAddr>,
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The first answers who asks for no name or an unknown one.
    pub certificates: Vec<Certificate>,
    /// Older ones are refused.
    pub min_version: TlsVersion,
    /// Best first; empty for all.
    pub suites: Vec<Suite>,
    /// Where an ACME client leaves its proofs.
    pub acme_webroot: Option<PathBuf>,
}

/// Who may use the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Present whenever the listener is not on loopback.
    pub token: Option<Secret>,
}

/// Budgets of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Heads, keys and bodies together.
    pub memory_bytes: u64,
    /// Largest body kept; at most a quarter of `memory_bytes`.
    pub object_bytes_max: u64,
    /// Fetches under way at once.
    pub fills_max: usize,
    /// Bytes held between an origin and the slowest client of a body that is not kept.
    pub window_bytes: u64,
}

/// Limits on what a stranger may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Open connections, all listeners for strangers together.
    pub connections_total: usize,
    /// TLS handshakes under way at once.
    pub handshakes_max: usize,
    /// For a whole request head, and for a TLS handshake.
    pub header_deadline: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Without a byte of a request body read or of a reply written.
    pub body_idle: Duration,
    /// Request line and fields together.
    pub head_bytes_max: usize,
    /// The request target alone; at most `head_bytes_max`.
    pub target_bytes_max: usize,
    /// Header fields in one request.
    pub fields_max: usize,
    /// One request body.
    pub body_bytes_max: u64,
    /// Peers whose `X-Forwarded-*` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<Prefix>,
    /// How long requests under way may take to finish when the node stops.
    pub drain: Duration,
}

/// The bundled object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Objects up to this size live in the metadata database itself.
    pub inline_bytes_max: u64,
    /// Writes are refused when the disk has less free space than this.
    pub reserve_bytes: u64,
    /// Memory for pages of the metadata database.
    pub metadata_cache_bytes: u64,
}

/// What is written about requests and about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where each request leaves a line.
    pub access: AccessLog,
    /// How that line looks.
    pub format: Format,
    /// How much the node says about itself.
    pub level: Level,
}

/// A group of servers that hold the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginConfig {
    /// Never empty.
    pub servers: Vec<OriginUrl>,
    /// Sent as `Host` instead of what the client asked for.
    pub host: Option<String>,
    /// How the servers are spoken to.
    pub protocol: Protocol,
    /// To connect, TLS included.
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Between two reads of an answer.
    pub between_bytes_timeout: Duration,
    /// For one write of a request.
    pub write_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How many unused connections are kept.
    pub keep_idle: usize,
    /// For servers whose URL is https.
    pub tls: OriginTls,
}

/// How a server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginTls {
    /// False accepts any certificate.
    pub verify: bool,
    /// PEM file with the authorities to trust instead of the system's. Was readable when checked.
    pub ca: Option<PathBuf>,
    /// Asked for and verified instead of the URL's host.
    pub server_name: Option<String>,
}

/// A group of hosts served alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The first host as written.
    pub name: String,
    /// Never empty.
    pub hosts: Vec<HostPattern>,
    /// The first that matches decides. The last one is the site's own and takes every path.
    pub routes: Vec<Route>,
    /// What is asked of connections.
    pub tls: SiteTls,
}

/// What a site asks of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteTls {
    /// Plain http is sent to https.
    pub redirect: bool,
    /// `Strict-Transport-Security`, as it is sent.
    pub hsts: Option<HeaderValue>,
    /// Clients must have a certificate from one of these.
    pub client_ca: Option<ClientCa>,
}

/// What happens to the paths of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The pattern as written.
    pub name: String,
    /// The paths.
    pub path: PathPattern,
    /// Where the content comes from.
    pub origin: OriginRef,
    /// How it is cached.
    pub cache: CacheRules,
}

/// Where the content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRef {
    /// A key of [`Settings::origins`], which is there.
    Named(String),
    /// A bucket of the bundled store.
    Store {
        /// Its name; whether it exists is known to the store only.
        bucket: String,
    },
}

/// How the responses of a route are cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRules {
    /// False passes everything through.
    pub enabled: bool,
    /// Replaces the freshness the response states.
    pub ttl: Option<Duration>,
    /// Which part of the query belongs to the key.
    pub query: QueryRule,
    /// Request headers that belong to the key.
    pub key_headers: Vec<HeaderName>,
    /// Cookies that belong to the key.
    pub key_cookies: Vec<String>,
    /// Requests with any of these are not answered from the cache.
    pub bypass: Vec<Bypass>,
    /// Instead of [`Cache::object_bytes_max`].
    pub object_bytes_max: Option<u64>,
}

impl Default for CacheRules {
    /// What a site gets that says nothing: the response decides, the whole URL is the key.
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: None,
            query: QueryRule {
                keep: QueryKeep::All,
                sort: false,
            },
            key_headers: Vec::new(),
            key_cookies: Vec::new(),
            bypass: Vec::new(),
            object_bytes_max: None,
        }
    }
}

/// Which part of the query belongs to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRule {
    /// Which parameters.
    pub keep: QueryKeep,
    /// Put in order by name first, so that order makes no new key.
    pub sort: bool,
}

/// Which parameters of the query belong to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryKeep {
    /// All of them.
    All,
    /// All but these.
    Except(Vec<QueryName>),
    /// These and no others; empty means none at all.
    Only(Vec<QueryName>),
}
