//! Pulls from http(s) origins: picks a server, finds its addresses, keeps connections, sends the
//! request and hands the response back as a head and a body that streams.
//!
//! [`Client`] owns what outlives a configuration (connections, DNS answers, counters), [`Origin`] is
//! one configured group of servers. The promise to the caller:
//!
//! * every wait has a deadline, and missing one is an [`Error`] that says which;
//! * a body that was cut short ends in `Err`, never in a clean end, and [`Delimited`] says whether a
//!   clean end proves anything;
//! * a response whose framing could be read in two ways is refused, not repaired;
//! * a request is sent twice only if the first try provably had no effect or repeating is harmless.
//!
//! Pingora opens the connections and parses the heads of HTTP/1 responses and HTTP/2
//! (`v1::HttpSession`, `Http2Session`); bodies of HTTP/1 are read by us, as its session loses
//! trailers and what follows an upgrade. TLS is rustls set up here, once per origin: Pingora would rebuild its TLS
//! settings for every connection to a private authority, and panics at start on a machine whose
//! store of authorities holds one bad certificate.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chunked;
mod client;
mod connect;
mod counters;
mod deadline;
mod download;
mod error;
mod head;
mod http1;
mod http2;
mod incoming;
mod kept;
mod line;
mod multiplex;
mod names;
mod origin;
mod request;
mod resolve;
mod settings;
mod sweep;
mod tls;
mod trailers;
mod upgrade;
mod upload;

pub use client::Client;
pub use counters::Counters;
pub use error::{Error, Place};
pub use head::Delimited;
pub use origin::Origin;
pub use request::Interim;
pub use resolve::{Answer, NoAnswer, Resolve};
pub use settings::{Dns, OriginSettings, Protocol, Scheme, Server, Settings, Tls};
pub use upgrade::{Tunnel, Upgraded};

/// An error of any kind, as bodies carry it. A response body's error is always a boxed [`Error`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of requests and responses throughout the house.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;
