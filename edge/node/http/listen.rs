//! Accepts connections: a door, a loop, a task per connection.
//!
//! The same code for every port we open, whatever is spoken there. A connection
//! is counted before anything is allocated for it; when the door is full it is
//! reset at once. What comes before the first request, a proxy's announcement
//! and a TLS handshake, has one deadline in all.

use super::front::{self, Ending, Serve, Terms};
use super::h2;
use super::reply::Peer;
use super::rewind::Rewound;
use super::tls::{Session, Tls};
use bytes::{Buf as _, BytesMut};
use edge_guard::proxy_protocol::{Announced, HEADER_BYTES_MAX, announced};
use edge_guard::{Door, Permit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Connections the kernel holds for us while we are busy.
const BACKLOG: i32 = 4096;

/// The wait after a failed accept, which is most often a lack of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the goodbye of TLS may take to leave.
const GOODBYE: Duration = Duration::from_secs(2);

/// Opens a listening socket. `[::]` takes IPv4 as well.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    open(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use; stop what listens there or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "not allowed to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What a listener needs besides its socket. What is a function is asked for
/// every connection, so that a reload is felt by new ones.
pub(crate) struct Listener<S> {
    pub(crate) socket: TcpListener,
    pub(crate) service: Arc<S>,
    pub(crate) door: Arc<Door>,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) terms: Box<dyn Fn() -> Terms + Send + Sync>,
    /// How connections are secured; `None` where they are not.
    pub(crate) tls: Option<Box<dyn Fn() -> Option<Arc<Tls>> + Send + Sync>>,
    /// Does this peer begin with a PROXY header? Then it must.
    pub(crate) announces: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Told what becomes of connections.
    pub(crate) counted: Arc<dyn Fn(Event<'_>) + Send + Sync>,
}

/// What becomes of a connection before its first request.
pub(crate) enum Event<'a> {
    /// Let in.
    Taken,
    /// One too many.
    TurnedAway,
    /// It began with no good PROXY header where one was due.
    NotAnnounced,
    /// A TLS handshake is done.
    Secured(&'a Session),
    /// A TLS handshake failed, or took too long.
    NotSecured,
}

impl<S: Serve> Listener<S> {
    /// Accepts until the node drains. Returns with the socket closed.
    pub(crate) async fn run(self) {
        let mut draining = self.draining.clone();
        loop {
            tokio::select! {
                biased;
                () = told(&mut draining) => break,
                accepted = self.socket.accept() => self.accepted(accepted).await,
            }
        }
        // The kernel has answered these already: closing now would reset them.
        loop {
            match self.waiting() {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) if is_of_connection(&error) => {}
                Err(_) => break,
            }
        }
    }

    /// A connection that waits to be accepted. Asks the kernel itself: the
    /// runtime may not have heard of it yet.
    fn waiting(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, address) = SockRef::from(&self.socket).accept()?;
        socket.set_nonblocking(true)?;
        let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok((TcpStream::from_std(socket.into())?, address))
    }

    async fn accepted(&self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, address)) => self.admit(stream, address),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                log::error!("cannot accept connections: {error}; raise the limit on open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let Some(permit) = self.door.enter() else {
            (self.counted)(Event::TurnedAway);
            reset(&stream);
            return;
        };
        (self.counted)(Event::Taken);
        let secured = match &self.tls {
            None => None,
            Some(tls) => match tls() {
                Some(tls) => Some(tls),
                // Never in the clear where TLS was asked for.
                None => return reset(&stream),
            },
        };
        let arrival = Arrival {
            stream,
            address,
            announces: (self.announces)(address.ip()),
            tls: secured,
            hosting: Hosting {
                terms: (self.terms)(),
                service: Arc::clone(&self.service),
                draining: self.draining.clone(),
            },
            counted: Arc::clone(&self.counted),
            permit,
        };
        tokio::spawn(arrival.run());
    }
}

/// A connection that has been let in.
struct Arrival<S> {
    stream: TcpStream,
    address: SocketAddr,
    announces: bool,
    tls: Option<Arc<Tls>>,
    hosting: Hosting<S>,
    counted: Arc<dyn Fn(Event<'_>) + Send + Sync>,
    permit: Permit,
}

impl<S: Serve> Arrival<S> {
    /// From the first byte to the last.
    async fn run(self) {
        let Arrival {
            mut stream,
            mut address,
            announces,
            tls,
            hosting,
            counted,
            permit: _permit,
        } = self;
        // A socket that refuses this still works, only slower.
        let _ = stream.set_nodelay(true);
        let deadline = Instant::now() + hosting.terms.header_deadline;
        let mut early = BytesMut::new();
        if announces {
            match timeout_at(deadline, announcement(&mut stream, &mut early)).await {
                Ok(Ok(client)) => address = client.unwrap_or(address),
                late => {
                    counted(Event::NotAnnounced);
                    if let Ok(Err(error)) = late {
                        log::debug!("{address} sent no good PROXY header: {error}");
                    }
                    return reset(&stream);
                }
            }
        }
        let mut stream = Rewound::new(early, stream);
        let Some(tls) = tls else {
            let peer = Peer {
                address,
                scheme: "http",
                tls: None,
            };
            if hosting.host(&mut stream, peer).await == Left::Broken {
                reset(stream.get_ref());
            }
            return;
        };
        let (mut secured, session) = match timeout_at(deadline, tls.secure(stream)).await {
            Ok(Ok(secured)) => secured,
            late => {
                counted(Event::NotSecured);
                if let Ok(Err(error)) = late {
                    log::debug!("no TLS with {address}: {error}");
                }
                return;
            }
        };
        counted(Event::Secured(&session));
        // The settings that secured it are not kept as long as the connection.
        drop(tls);
        let peer = Peer {
            address,
            scheme: "https",
            tls: Some(session),
        };
        match hosting.host(&mut secured, peer).await {
            // Without a goodbye the client knows that something is missing.
            Left::Broken => reset(secured.get_ref().0.get_ref()),
            Left::Whole => drop(timeout(GOODBYE, secured.shutdown()).await),
        }
    }
}

/// What talks to a client once it can be talked to.
struct Hosting<S> {
    terms: Terms,
    service: Arc<S>,
    draining: watch::Receiver<bool>,
}

/// How a conversation was left.
#[derive(PartialEq, Eq)]
enum Left {
    Whole,
    /// A reply broke off, and the close must not look like its end.
    Broken,
}

impl<S: Serve> Hosting<S> {
    async fn host<IO>(self, io: &mut IO, peer: Peer) -> Left
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Hosting {
            terms,
            service,
            draining,
        } = self;
        if peer.tls.as_ref().is_some_and(|session| session.http2) {
            h2::run(io, peer, terms, service, draining).await;
            return Left::Whole;
        }
        match front::run(io, peer.clone(), &terms, &*service, draining.clone()).await {
            Ending::Closed => Left::Whole,
            Ending::Reset => Left::Broken,
            Ending::Http2(before) => {
                h2::run(Rewound::new(before, io), peer, terms, service, draining).await;
                Left::Whole
            }
        }
    }
}

/// Reads the PROXY header; what came behind it stays in `early`.
async fn announcement(
    stream: &mut TcpStream,
    early: &mut BytesMut,
) -> io::Result<Option<SocketAddr>> {
    early.reserve(HEADER_BYTES_MAX);
    // Ends: a header is whole or malformed before it fills what was reserved.
    while stream.read_buf(early).await? > 0 {
        match announced(early) {
            Ok(Announced::Partial) => {}
            Ok(Announced::Whole { client, length }) => {
                early.advance(length);
                return Ok(client);
            }
            Err(malformed) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, malformed.0));
            }
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Returns once the node drains, or whoever would say so is gone.
async fn told(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Makes the coming close a reset.
fn reset(stream: &TcpStream) {
    // If it cannot be set the connection is closed all the same.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Errors of the connection that was about to be accepted, not of the listener
/// (accept(2)).
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
