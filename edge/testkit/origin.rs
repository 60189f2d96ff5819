//! A scripted HTTP/1.1 origin on 127.0.0.1. A handler closure turns each request into a `Reply`;
//! every request and connection is recorded. Runs on its own threads, so tests may be plain.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, server_config};
use crate::converse::converse;
use crate::reply::Reply;
use crate::visit::Visit;
use crate::wait::eventually;

/// The origin; it goes away, with all its connections, when dropped.
pub struct Origin {
    address: SocketAddr,
    authority_pem: Option<String>,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
    tls: Option<TlsAcceptor>,
    runtime: Option<Runtime>,
}

/// What the origin does with request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// Reads them whole before it answers, and keeps them.
    #[default]
    Keep,
    /// Reads them whole before it answers, and keeps only length and checksum.
    Count,
    /// Answers at the head, reads no body and closes after the answer.
    Ignore,
}

/// Turns a request into a reply.
type Handler = Arc<dyn Fn(&Visit) -> Reply + Send + Sync>;

/// What the handle and the connections share.
pub(crate) struct Shared {
    pub handler: Mutex<Handler>,
    pub bodies: Bodies,
    pub visits: Mutex<Vec<Visit>>,
    pub faults: Mutex<Vec<String>>,
    pub connections: AtomicUsize,
    pub open: AtomicUsize,
    pub finished: AtomicUsize,
    pub abandoned: AtomicUsize,
    pub sent: AtomicU64,
}

/// An origin being set up.
#[derive(Default)]
pub struct OriginBuilder {
    bodies: Bodies,
    tls_names: Vec<String>,
}

impl OriginBuilder {
    /// What to do with request bodies.
    pub fn bodies(mut self, bodies: Bodies) -> Self {
        self.bodies = bodies;
        self
    }

    /// Speaks TLS with a certificate for these names, from an authority of its own.
    pub fn tls(mut self, names: &[&str]) -> Self {
        self.tls_names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Starts it on a free port.
    pub fn start(self, handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static) -> Origin {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("origin")
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let names: Vec<&str> = self.tls_names.iter().map(|name| &**name).collect();
        let authority = (!names.is_empty()).then(Authority::new);
        let identity = authority.as_ref().map(|authority| authority.issue(&names));
        let origin = Origin {
            address: listener
                .local_addr()
                .expect("a bound listener has an address"),
            authority_pem: authority.map(|authority| authority.pem()),
            shared: Arc::new(Shared {
                handler: Mutex::new(Arc::new(handler)),
                bodies: self.bodies,
                visits: Mutex::default(),
                faults: Mutex::default(),
                connections: AtomicUsize::new(0),
                open: AtomicUsize::new(0),
                finished: AtomicUsize::new(0),
                abandoned: AtomicUsize::new(0),
                sent: AtomicU64::new(0),
            }),
            listening: Mutex::new(None),
            tls: identity.map(|identity| TlsAcceptor::from(server_config(&identity))),
            runtime: Some(runtime),
        };
        origin.listen(listener);
        origin
    }
}

impl Origin {
    /// Starts a plain origin with this handler.
    pub fn start(handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static) -> Self {
        Self::builder().start(handler)
    }

    /// Starts a plain origin that answers with these in turn, the last one for ever.
    pub fn sequence(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a sequence needs at least one reply");
        Self::start(move |visit| replies[(visit.number - 1).min(replies.len() - 1)].clone())
    }

    /// Starts a TLS origin for `localhost` and 127.0.0.1.
    pub fn start_tls(handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static) -> Self {
        Self::builder()
            .tls(&["localhost", "127.0.0.1"])
            .start(handler)
    }

    /// An origin to be set up in detail.
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://…` when it speaks TLS.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The authority whose certificates it shows. Panics when it speaks no TLS.
    pub fn authority_pem(&self) -> &str {
        self.authority_pem
            .as_deref()
            .expect("the origin speaks TLS")
    }

    /// Answers with another handler from now on.
    pub fn answer(&self, handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.handler) = Arc::new(handler);
    }

    /// Every request seen so far, in order.
    pub fn requests(&self) -> Vec<Visit> {
        lock(&self.shared.visits).clone()
    }

    /// How many requests were seen so far.
    pub fn request_count(&self) -> usize {
        lock(&self.shared.visits).len()
    }

    /// How many requests were seen so far for exactly this target.
    pub fn request_count_for(&self, target: &str) -> usize {
        lock(&self.shared.visits)
            .iter()
            .filter(|visit| visit.target == target)
            .count()
    }

    /// Waits for this many requests and returns all; panics after ten seconds. The body of the
    /// last one may still be coming.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) -> Vec<Visit> {
        let came = eventually(Duration::from_secs(10), || self.request_count() >= count);
        assert!(
            came,
            "the origin saw {} requests, expected {count}",
            self.request_count()
        );
        self.requests()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now. One whose peer left while the origin neither reads nor
    /// writes is not counted out before it does.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many replies were played to their end.
    pub fn finished(&self) -> usize {
        self.shared.finished.load(Ordering::SeqCst)
    }

    /// How many replies ended because the peer left.
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }

    /// How many response body bytes were handed to the kernel, over all replies.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// How many request body bytes came, over all requests.
    pub fn bytes_received(&self) -> u64 {
        lock(&self.shared.visits)
            .iter()
            .map(|visit| visit.body_len)
            .sum()
    }

    /// Requests that broke the protocol. A node must cause none.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.shared.faults).clone()
    }

    /// Closes the listener and all connections; connecting is refused from now on.
    pub fn stop(&self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
            let gone = eventually(Duration::from_secs(5), || {
                task.is_finished() && self.open_connections() == 0
            });
            assert!(gone, "the origin could not be stopped");
        }
    }

    /// Listens again, on the same port, after `stop`.
    pub fn restart(&self) {
        self.stop();
        let listener = bind(self.address);
        self.listen(listener);
    }

    fn listen(&self, listener: StdListener) {
        listener
            .set_nonblocking(true)
            .expect("a listener can be made nonblocking");
        let accepting = accept(listener, self.shared.clone(), self.tls.clone());
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime lives as long as the origin");
        *lock(&self.listening) = Some(runtime.spawn(accepting));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens with a queue long enough for a whole crowd to knock at once.
fn bind(address: SocketAddr) -> StdListener {
    let bound = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        Ok(socket.into())
    });
    bound.unwrap_or_else(|error| panic!("the origin cannot listen on {address}: {error}"))
}

/// A test that panicked elsewhere must not hide its message behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Counts an open connection for as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn accept(listener: StdListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let listener = TcpListener::from_std(listener).expect("the runtime has I/O");
    // Aborts the connections when the accept task is aborted.
    let mut tasks = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                lock(&shared.faults).push(format!("accept failed: {error}"));
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        shared.open.fetch_add(1, Ordering::SeqCst);
        let (open, tls) = (Open(shared.clone()), tls.clone());
        tasks.spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, |stream| stream, &open.0, number).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => {
                        converse(stream, |stream| stream.get_ref().0, &open.0, number).await
                    }
                    Err(error) => {
                        lock(&open.0.faults).push(format!("TLS handshake failed: {error}"))
                    }
                },
            }
        });
    }
}

impl Shared {
    /// Records a request and gives it its number, and its place for updates.
    pub fn record(&self, mut visit: Visit) -> (Visit, usize) {
        let mut visits = lock(&self.visits);
        visit.number = visits.len() + 1;
        visits.push(visit.clone());
        (visit, visits.len() - 1)
    }

    /// Records how far the request's body has come.
    pub fn update(&self, index: usize, visit: &Visit) {
        lock(&self.visits)[index] = visit.clone();
    }
}
