//! What can go wrong between a request and the end of its response. Variants are the cases a caller
//! treats differently; each says where it happened and what was being done. A response body's error
//! is one of these, boxed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::BoxError;

/// A request that did not get its whole response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The settings of an origin or client cannot work.
    Settings {
        /// The origin's name; empty for the client's own settings.
        origin: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The server's name has no address.
    Resolve {
        /// Where.
        at: Place,
        /// What the DNS said.
        why: String,
        /// Whether the DNS did not answer in time.
        timed_out: bool,
    },
    /// Nobody listens at the address.
    ConnectRefused {
        /// Where.
        at: Place,
    },
    /// The address cannot be reached.
    Connect {
        /// Where.
        at: Place,
        /// What the system said.
        why: String,
    },
    /// The connection (TLS included) took too long.
    ConnectTimeout {
        /// Where.
        at: Place,
        /// The limit that passed.
        limit: Duration,
    },
    /// The server's certificate is not trusted, or is for another name.
    Certificate {
        /// Where.
        at: Place,
        /// What is wrong with it.
        why: String,
    },
    /// TLS failed in another way.
    Tls {
        /// Where.
        at: Place,
        /// What happened.
        why: String,
    },
    /// The request could not be written further.
    WriteTimeout {
        /// Where.
        at: Place,
        /// The limit that passed.
        limit: Duration,
    },
    /// The request was sent, and no complete response head came.
    FirstByteTimeout {
        /// Where.
        at: Place,
        /// The limit that passed.
        limit: Duration,
    },
    /// The response's body stopped coming.
    BodyTimeout {
        /// Where.
        at: Place,
        /// The limit that passed.
        limit: Duration,
    },
    /// The connection ended before a response head.
    ClosedBeforeHead {
        /// Where.
        at: Place,
        /// What the system said.
        why: String,
    },
    /// The connection ended before the end of the response's body.
    Truncated {
        /// Where.
        at: Place,
        /// What was missing.
        why: String,
    },
    /// The response is malformed, or could be read in two ways.
    BadResponse {
        /// Where.
        at: Place,
        /// The rule it broke.
        why: String,
    },
    /// The request's body failed, or does not have the length it announced. Not the origin's fault.
    RequestBody {
        /// Where.
        at: Place,
        /// The body's own error.
        source: BoxError,
    },
}

/// Where something happened.
#[derive(Clone, Debug)]
pub struct Place {
    /// The origin's name.
    pub origin: Arc<str>,
    /// The server as configured, `http://host:port`.
    pub server: Arc<str>,
    /// The address, once known.
    pub address: Option<SocketAddr>,
}

/// One word per variant, in the order of [`Error::index`].
pub(crate) const REASONS: [&str; 14] = [
    "settings",
    "resolve",
    "connect_refused",
    "connect",
    "connect_timeout",
    "certificate",
    "tls",
    "write_timeout",
    "first_byte_timeout",
    "body_timeout",
    "closed_before_head",
    "truncated",
    "bad_response",
    "request_body",
];

impl Error {
    /// The error's type in `Proxy-Status` (RFC 9209, section 2.3).
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "proxy_configuration_error",
            Self::Resolve {
                timed_out: true, ..
            } => "dns_timeout",
            Self::Resolve { .. } => "dns_error",
            Self::ConnectRefused { .. } => "connection_refused",
            Self::Connect { .. } => "destination_ip_unroutable",
            Self::ConnectTimeout { .. } => "connection_timeout",
            Self::Certificate { .. } => "tls_certificate_error",
            Self::Tls { .. } => "tls_protocol_error",
            Self::WriteTimeout { .. } => "connection_write_timeout",
            Self::FirstByteTimeout { .. } => "http_response_timeout",
            Self::BodyTimeout { .. } => "connection_read_timeout",
            Self::ClosedBeforeHead { .. } => "connection_terminated",
            Self::Truncated { .. } => "http_response_incomplete",
            Self::BadResponse { .. } => "http_protocol_error",
            Self::RequestBody { .. } => "http_request_error",
        }
    }

    /// The status to answer with: 504 when a deadline passed, 400 when the client's own body broke,
    /// else 502.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Resolve {
                timed_out: true, ..
            }
            | Self::ConnectTimeout { .. }
            | Self::WriteTimeout { .. }
            | Self::FirstByteTimeout { .. }
            | Self::BodyTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestBody { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// One word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        REASONS[self.index()]
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Settings { .. } => 0,
            Self::Resolve { .. } => 1,
            Self::ConnectRefused { .. } => 2,
            Self::Connect { .. } => 3,
            Self::ConnectTimeout { .. } => 4,
            Self::Certificate { .. } => 5,
            Self::Tls { .. } => 6,
            Self::WriteTimeout { .. } => 7,
            Self::FirstByteTimeout { .. } => 8,
            Self::BodyTimeout { .. } => 9,
            Self::ClosedBeforeHead { .. } => 10,
            Self::Truncated { .. } => 11,
            Self::BadResponse { .. } => 12,
            Self::RequestBody { .. } => 13,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings { origin, why } if origin.is_empty() => {
                write!(f, "settings of the client: {why}")
            }
            Self::Settings { origin, why } => write!(f, "settings of origin {origin:?}: {why}"),
            Self::Resolve { at, why, .. } => write!(f, "looking up the address of {at}: {why}"),
            Self::ConnectRefused { at } => write!(f, "connecting to {at}: nobody listens there"),
            Self::Connect { at, why } => write!(f, "connecting to {at}: {why}"),
            Self::ConnectTimeout { at, limit } => {
                write!(f, "connecting to {at}: not done within {limit:?}")
            }
            Self::Certificate { at, why } => write!(f, "checking the certificate of {at}: {why}"),
            Self::Tls { at, why } => write!(f, "setting up TLS with {at}: {why}"),
            Self::WriteTimeout { at, limit } => {
                write!(
                    f,
                    "sending the request to {at}: no progress within {limit:?}"
                )
            }
            Self::FirstByteTimeout { at, limit } => {
                write!(
                    f,
                    "waiting for the response of {at}: no head within {limit:?}"
                )
            }
            Self::BodyTimeout { at, limit } => {
                write!(
                    f,
                    "reading the response of {at}: nothing more within {limit:?}"
                )
            }
            Self::ClosedBeforeHead { at, why } => {
                write!(
                    f,
                    "waiting for the response of {at}: the connection ended: {why}"
                )
            }
            Self::Truncated { at, why } => {
                write!(f, "reading the response of {at}: it was cut short: {why}")
            }
            Self::BadResponse { at, why } => {
                write!(f, "reading the response of {at}: refused: {why}")
            }
            Self::RequestBody { at, source } => {
                write!(f, "sending the request to {at}: its body failed: {source}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::RequestBody { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "origin {:?} ({}", self.origin, self.server)?;
        if let Some(address) = self.address {
            write!(f, " at {address}")?;
        }
        f.write_str(")")
    }
}

/// What happened, in Pingora's words.
pub(crate) fn told(error: &pingora_core::Error) -> String {
    let context = error
        .context
        .as_ref()
        .map(|context| format!(" {}", context.as_str()))
        .unwrap_or_default();
    let cause = error
        .cause
        .as_ref()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    format!("{}{context}{cause}", error.etype().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_origin_the_address_and_what_was_being_done() {
        let at = Place {
            origin: "app".into(),
            server: "https://app.example:443".into(),
            address: Some("192.0.2.7:443".parse().unwrap()),
        };
        let error = Error::FirstByteTimeout {
            at,
            limit: Duration::from_secs(60),
        };
        assert_eq!(
            error.to_string(),
            "waiting for the response of origin \"app\" (https://app.example:443 at 192.0.2.7:443): \
             no head within 60s"
        );
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(error.proxy_status(), "http_response_timeout");
        assert_eq!(error.reason(), "first_byte_timeout");
    }
}
