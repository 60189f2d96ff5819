//! What a [`Client`](crate::Client) and an [`Origin`](crate::Origin) are made from. Plain values;
//! each default stands here once, with its reason.

use std::time::Duration;

use http::HeaderValue;

/// What all origins of one client share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How names become addresses.
    pub dns: Dns,
    /// The most idle HTTP/1 connections kept, over all servers. One more closes the newcomer.
    pub keep_idle_total: usize,
    /// How often idle connections past their time are looked for and closed.
    pub sweep_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dns: Dns::default(),
            // About 15 kB each: 64 MiB when full.
            keep_idle_total: 4096,
            sweep_every: Duration::from_secs(5),
        }
    }
}

/// How long answers of the DNS are believed.
#[derive(Clone, Debug)]
pub struct Dns {
    /// An answer is used at least this long, whatever its TTL says.
    pub ttl_min: Duration,
    /// An answer is used at most this long, whatever its TTL says.
    pub ttl_max: Duration,
    /// How long a failure or "no such name" is remembered before asking again.
    pub ttl_negative: Duration,
    /// One query, retries of the resolver included.
    pub timeout: Duration,
    /// The most names remembered. One more forgets the name unused for longest.
    pub names_max: usize,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            // A TTL of 0 would cost a query per request.
            ttl_min: Duration::from_secs(1),
            // A moved origin is found within five minutes.
            ttl_max: Duration::from_secs(300),
            ttl_negative: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            names_max: 10_000,
        }
    }
}

/// One origin: servers that answer alike, and how to talk to them.
#[derive(Clone, Debug)]
pub struct OriginSettings {
    /// Its name in errors and logs.
    pub name: String,
    /// Taken in turn; the next one is tried when one cannot be reached. At least one.
    pub servers: Vec<Server>,
    /// Sent as `Host` in place of the request's own.
    pub host: Option<HeaderValue>,
    /// The version of HTTP to speak.
    pub protocol: Protocol,
    /// TCP, TLS and the HTTP/2 preface together, per attempt.
    pub connect_timeout: Duration,
    /// From the end of the request to the end of the response's head.
    pub first_byte_timeout: Duration,
    /// Between two reads of the response's body, once the request is sent: until then an origin may
    /// be waiting for the client.
    pub between_bytes_timeout: Duration,
    /// The longest a write of the request may make no progress.
    pub write_timeout: Duration,
    /// The most idle connections kept per server address.
    pub keep_idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// TLS, for servers with [`Scheme::Https`].
    pub tls: Tls,
}

impl Default for OriginSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            servers: Vec::new(),
            host: None,
            protocol: Protocol::Auto,
            connect_timeout: Duration::from_secs(5),
            // What nginx waits for (`proxy_read_timeout`): slow pages are slow before their head.
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            keep_idle: 64,
            // Below the 75 s after which nginx closes, so that it is us who close.
            idle_timeout: Duration::from_secs(60),
            tls: Tls::default(),
        }
    }
}

/// One server of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// A name or an IP address (IPv6 with or without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Plain or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// The version of HTTP spoken to an origin. Upgrades (WebSocket) are always asked for over HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// On TLS what the server prefers, HTTP/2 or HTTP/1.1; HTTP/1.1 on plain TCP.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; on plain TCP with prior knowledge (h2c).
    Http2,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Check the server's certificate and name. `false` accepts anyone.
    pub verify: bool,
    /// The only authorities trusted, in PEM. `None` trusts those of the machine.
    pub ca_pem: Option<Vec<u8>>,
    /// The name the certificate must carry (and SNI says) when it is not the server's host.
    pub server_name: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            verify: true,
            ca_pem: None,
            server_name: None,
        }
    }
}
