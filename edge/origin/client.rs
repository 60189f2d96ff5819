//! Sends a request to an origin: whose turn it is, which address, a kept connection or a new one,
//! and what to do when it fails. The whole story of a pull is [`Client::send`] and what it calls.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use pingora_core::connectors::TransportConnector;

use crate::Body;
use crate::connect::{self, Opened, connect};
use crate::counters::{Counters, add};
use crate::error::{Error, told};
use crate::kept::Kept;
use crate::multiplex::Multiplex;
use crate::names::Names;
use crate::origin::{Host, Key, Origin, Target};
use crate::request::Ask;
use crate::resolve::{NoAnswer, Resolve, System};
use crate::settings::Settings;
use crate::sweep::{self, Sweeping};
use crate::{http1, http2};

/// The most addresses tried for one request.
const ATTEMPTS_MAX: usize = 4;

/// Pulls from origins. Cheap to clone; clones share connections, names and counters.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What a client's requests share.
pub(crate) struct Shared {
    transport: TransportConnector,
    names: Arc<Names>,
    pub(crate) kept: Kept,
    pub(crate) multiplex: Multiplex,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sweeping: Sweeping,
    pub(crate) sweep_every: Duration,
}

/// A request that got no response.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// The connection was dead and the request may go over another.
    pub(crate) resend: bool,
}

/// How one address failed.
enum Miss {
    /// It cannot be reached: the next one may.
    Unreachable(Error),
    /// The request may have been seen.
    Final(Error),
}

impl Client {
    /// A client that looks names up as the machine does: `/etc/hosts`, then `/etc/resolv.conf`.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let resolver = Arc::new(System::new(settings.dns.timeout));
        Self::with_resolver(settings, resolver)
    }

    /// A client that looks names up as told.
    pub fn with_resolver(settings: Settings, resolver: Arc<dyn Resolve>) -> Result<Self, Error> {
        for (name, value) in [
            ("dns timeout", settings.dns.timeout),
            ("sweep interval", settings.sweep_every),
        ] {
            if value.is_zero() {
                let why = format!("its {name} is zero; a second or more is right");
                return Err(Error::Settings {
                    origin: String::new(),
                    why,
                });
            }
        }
        let counters = Arc::new(Counters::default());
        Ok(Self {
            shared: Arc::new(Shared {
                transport: connect::transport(),
                names: Arc::new(Names::new(resolver, settings.dns, counters.clone())),
                kept: Kept::new(settings.keep_idle_total, counters.clone()),
                multiplex: Multiplex::default(),
                counters,
                sweeping: Sweeping::default(),
                sweep_every: settings.sweep_every,
            }),
        })
    }

    /// Sends `request` and returns the response once its head is here.
    ///
    /// The request has an origin-form URI, its final end-to-end fields, and no hop-by-hop ones but
    /// two: `TE`, of which `trailers` goes on, and the `Connection` and `Upgrade` of an upgrade.
    /// `Host`, framing and connection are handled here. The response has no hop-by-hop fields, a
    /// [`Delimited`](crate::Delimited) among its extensions, and a body whose error is a boxed
    /// [`Error`]. Trailers go on in both directions but for those that have no business behind a
    /// body (RFC 9110, section 6.5.1); a request of known length has none over HTTP/1.1.
    ///
    /// The response's head is delivered while the request's body is still coming, and the body goes
    /// on by itself. Dropping the response or its body ends the exchange, both directions.
    ///
    /// An upgrade is sent over HTTP/1.1 whatever the origin's protocol. If it is granted, the
    /// response is a 101 with its `Upgrade` and `Connection: upgrade`, and an
    /// [`Upgraded`](crate::Upgraded) among its extensions. A request with a body, or for an upgrade
    /// to another HTTP or to TLS, is sent without these fields.
    ///
    /// Must be called within a Tokio runtime.
    pub async fn send(
        &self,
        origin: &Arc<Origin>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let sent = self.shared.send(origin, request).await;
        if let Err(error) = &sent {
            self.shared.counters.error(error);
        }
        sent
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Shared {
    /// Servers in turn, every address of each, until one takes the request.
    async fn send(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let mut ask = Ask::new(origin, request)?;
        let turn = origin.turn();
        let count = origin.servers.len();
        let mut attempts = 0;
        let mut last = None;
        'servers: for server in (0..count).map(|step| &origin.servers[(turn + step) % count]) {
            let addresses = match self.addresses(server).await {
                Ok(addresses) => addresses,
                Err(why) => {
                    last = Some(unresolved(origin, server, &why));
                    continue;
                }
            };
            // A name's addresses take turns as servers do.
            let first = turn / count;
            for step in 0..addresses.len() {
                if attempts == ATTEMPTS_MAX {
                    break 'servers;
                }
                if attempts > 0 {
                    add(&self.counters.failovers);
                }
                attempts += 1;
                let address =
                    SocketAddr::new(addresses[(first + step) % addresses.len()], server.port);
                match self.try_address(origin, server, address, &mut ask).await {
                    Ok(response) => return Ok(response),
                    Err(Miss::Unreachable(error)) => last = Some(error),
                    Err(Miss::Final(error)) => return Err(error),
                }
            }
        }
        Err(last.unwrap_or_else(|| unresolved(origin, &origin.servers[0], &NoAnswer::Missing)))
    }

    async fn addresses(&self, server: &Target) -> Result<Arc<[IpAddr]>, NoAnswer> {
        match &server.host {
            Host::Known(addresses) => Ok(addresses.clone()),
            Host::Name(name) => self.names.addresses(name).await,
        }
    }

    /// A kept connection first. If it turns out dead, and the request may be sent again, a new one.
    async fn try_address(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        server: &Target,
        address: SocketAddr,
        ask: &mut Ask,
    ) -> Result<Response<Body>, Miss> {
        let key = server.key(address);
        match self.over_kept(origin, server, &key, ask).await {
            Some(Ok(response)) => return Ok(response),
            Some(Err(failed)) if failed.resend => {
                add(&self.counters.retries);
                log::debug!("{}: sending again over a new connection", failed.error);
            }
            Some(Err(failed)) => return Err(Miss::Final(failed.error)),
            None => {}
        }
        // The handshake's state is large, and most requests never come here.
        let protocol = ask.protocol(origin);
        let opened = Box::pin(connect(&self.transport, origin, server, address, protocol))
            .await
            .map_err(Miss::Unreachable)?;
        add(&self.counters.opened);
        self.over_new(opened, origin, server, key, ask)
            .await
            .map_err(|failed| Miss::Final(failed.error))
    }

    async fn over_kept(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        server: &Target,
        key: &Key,
        ask: &mut Ask,
    ) -> Option<Result<Response<Body>, Failed>> {
        let at = || origin.place(server, Some(key.address));
        if let Some(conn) = self.kept.take(key).await {
            add(&self.counters.reused);
            return Some(http1::exchange(conn, true, ask, key.clone(), at(), origin, self).await);
        }
        if ask.upgrade().is_some() {
            return None;
        }
        let connection = self.multiplex.find(key)?;
        // A connection that cannot open a stream is as good as none.
        let stream =
            tokio::time::timeout(origin.settings.connect_timeout, connection.spawn_stream()).await;
        let session = stream.ok()?.ok()??;
        add(&self.counters.reused);
        Some(
            http2::exchange(
                session,
                true,
                ask,
                server.secure.is_some(),
                at(),
                origin,
                self,
            )
            .await,
        )
    }

    async fn over_new(
        self: &Arc<Self>,
        opened: Opened,
        origin: &Arc<Origin>,
        server: &Target,
        key: Key,
        ask: &mut Ask,
    ) -> Result<Response<Body>, Failed> {
        let at = origin.place(server, Some(key.address));
        let connection = match opened {
            Opened::Http1(conn) => {
                return http1::exchange(conn, false, ask, key, at, origin, self).await;
            }
            Opened::Http2(connection) => connection,
        };
        let settings = &origin.settings;
        let limit = settings.connect_timeout;
        let session = match tokio::time::timeout(limit, connection.spawn_stream()).await {
            Ok(Ok(Some(session))) => session,
            Ok(Ok(None)) => return Err(unopened(at, "the server takes no streams")),
            Ok(Err(error)) => return Err(unopened(at, &told(&error))),
            Err(_) => {
                return Err(Failed {
                    error: Error::ConnectTimeout { at, limit },
                    resend: false,
                });
            }
        };
        self.multiplex
            .put(key, connection, settings.keep_idle, settings.idle_timeout);
        sweep::soon(self);
        http2::exchange(
            session,
            false,
            ask,
            server.secure.is_some(),
            at,
            origin,
            self,
        )
        .await
    }
}

fn unopened(at: crate::Place, why: &str) -> Failed {
    Failed {
        error: Error::ClosedBeforeHead {
            at,
            why: why.to_owned(),
        },
        resend: false,
    }
}

fn unresolved(origin: &Origin, server: &Target, why: &NoAnswer) -> Error {
    let timed_out = matches!(why, NoAnswer::TimedOut(_));
    Error::Resolve {
        at: origin.place(server, None),
        why: why.to_string(),
        timed_out,
    }
}
