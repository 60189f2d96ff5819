//! Opens a connection: TCP by Pingora's connector, TLS by rustls, and for HTTP/2 the preface, all
//! under one deadline. What comes out speaks a known version of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora_core::ErrorType;
use pingora_core::connectors::http::v2::{ConnectionRef, H2HandshakeSettings, handshake};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::tls::TlsConnector;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::time::timeout;

use crate::deadline::Deadline;
use crate::error::{Error, Place, told};
use crate::line::{Conn, Line, Wire};
use crate::origin::{Origin, Secure, Target};
use crate::settings::Protocol;
use crate::tls;

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: usize = 100;

/// What one stream may have in flight: with nobody reading, its share of memory.
const STREAM_WINDOW: u32 = 1 << 20;

/// Room for every stream at once, so that readers who stop never hold back the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;

/// A connection that has carried no request yet.
pub(crate) enum Opened {
    Http1(Conn),
    Http2(ConnectionRef),
}

/// Pingora's connector, for TCP alone.
pub(crate) fn transport() -> TransportConnector {
    let mut options = ConnectorOptions::new(1);
    // Its own TLS goes unused. Left to itself it would load the machine's authorities a second time,
    // and panic if one of them is malformed.
    options.ca_file = Some("/dev/null".to_owned());
    TransportConnector::new(Some(options))
}

/// Connects to one address of a server, to speak `protocol`.
pub(crate) async fn connect(
    transport: &TransportConnector,
    origin: &Origin,
    server: &Target,
    address: SocketAddr,
    protocol: Protocol,
) -> Result<Opened, Error> {
    let at = origin.place(server, Some(address));
    let limit = origin.settings.connect_timeout;
    match timeout(limit, open(transport, protocol, server, address, &at)).await {
        Ok(opened) => opened,
        Err(_) => Err(Error::ConnectTimeout { at, limit }),
    }
}

async fn open(
    transport: &TransportConnector,
    protocol: Protocol,
    server: &Target,
    address: SocketAddr,
    at: &Place,
) -> Result<Opened, Error> {
    let peer = HttpPeer::new(address, false, String::new());
    let stream = transport
        .new_stream(&peer)
        .await
        .map_err(|error| unreachable(&error, at))?;
    let (wire, speaks_h2) = match &server.secure {
        None => (Wire::Plain(stream), protocol == Protocol::Http2),
        Some(secure) => secured(stream, secure, protocol, at).await?,
    };
    let line = Line::new(wire);
    if !speaks_h2 {
        return Ok(Opened::Http1(Conn {
            line,
            deadline: Deadline::new(),
        }));
    }
    let mut settings = H2HandshakeSettings::new();
    settings.max_streams = STREAMS_MAX;
    settings.stream_window_size = Some(STREAM_WINDOW);
    settings.connection_window_size = Some(CONNECTION_WINDOW);
    let connection = handshake(Box::new(line), settings).await;
    connection
        .map(Opened::Http2)
        .map_err(|error| Error::BadResponse {
            at: at.clone(),
            why: told(&error),
        })
}

async fn secured(
    stream: Stream,
    secure: &Secure,
    protocol: Protocol,
    at: &Place,
) -> Result<(Wire, bool), Error> {
    let config = match protocol {
        Protocol::Http1 => &secure.http1,
        _ => &secure.config,
    };
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector
        .connect(secure.name.clone(), stream)
        .await
        .map_err(|error| match tls::certificate_fault(&error, &secure.name) {
            Some(why) => Error::Certificate {
                at: at.clone(),
                why,
            },
            None => Error::Tls {
                at: at.clone(),
                why: error.to_string(),
            },
        })?;
    let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if protocol == Protocol::Http2 && !speaks_h2 {
        let why = "it does not speak HTTP/2, the only version allowed (protocol)".to_owned();
        return Err(Error::Tls {
            at: at.clone(),
            why,
        });
    }
    Ok((Wire::Tls(Box::new(stream)), speaks_h2))
}

fn unreachable(error: &pingora_core::Error, at: &Place) -> Error {
    let at = at.clone();
    match error.etype() {
        ErrorType::ConnectRefused => Error::ConnectRefused { at },
        _ => Error::Connect {
            at,
            why: told(error),
        },
    }
}
