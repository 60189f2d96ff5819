//! Accepts connections: a door, a loop, a task per connection.
//!
//! The same code for every port we open. A connection is counted before
//! anything is allocated for it; when the door is full it is reset at once.

use super::front::{self, Ending, Serve, Terms};
use super::h2;
use super::reply::Peer;
use super::rewind::Rewound;
use edge_guard::Door;
use futures_util::FutureExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Connections the kernel holds for us while we are busy.
const BACKLOG: i32 = 4096;

/// The wait after a failed accept, which is most often a lack of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket. `[::]` takes IPv4 as well.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    open(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use; stop what listens there or choose another port")
        }
        io::ErrorKind::PermissionDenied => format!(
            "not allowed to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What a listener needs besides its socket.
pub(crate) struct Listener<S> {
    pub(crate) socket: TcpListener,
    pub(crate) service: Arc<S>,
    pub(crate) door: Arc<Door>,
    pub(crate) draining: watch::Receiver<bool>,
    /// Asked for every connection, so that a reload is felt by new ones.
    pub(crate) terms: Box<dyn Fn() -> Terms + Send + Sync>,
    /// Told about connections taken and turned away.
    pub(crate) counted: Box<dyn Fn(bool) + Send + Sync>,
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
        while let Some(accepted) = self.socket.accept().now_or_never() {
            if accepted.is_err() {
                break;
            }
            self.accepted(accepted).await;
        }
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
            (self.counted)(false);
            reset(&stream);
            return;
        };
        (self.counted)(true);
        let service = Arc::clone(&self.service);
        let terms = (self.terms)();
        let draining = self.draining.clone();
        tokio::spawn(async move {
            let mut stream = stream;
            // A socket that refuses this still works, only slower.
            let _ = stream.set_nodelay(true);
            let peer = Peer {
                address,
                scheme: "http",
            };
            let ending = front::run(&mut stream, peer, &terms, &*service, draining.clone()).await;
            match ending {
                Ending::Closed => {}
                Ending::Reset => reset(&stream),
                Ending::Http2(before) => {
                    let io = Rewound::new(before, &mut stream);
                    h2::run(io, peer, terms, service, draining).await;
                }
            }
            drop(stream);
            drop(permit);
        });
    }
}

/// Returns once the node drains, or whoever would say so is gone.
async fn told(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Makes the coming close a reset.
fn reset(stream: &TcpStream) {
    // If it cannot be set the connection is closed all the same.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
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
