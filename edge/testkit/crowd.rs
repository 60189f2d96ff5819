//! Many clients at once, from one runtime: all connect, then all send, and each can be watched
//! while it receives. For stampedes, slow readers and floods.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::limits::{open_files_now, raise_open_files};
use crate::parse::{Parser, Stop};
use crate::request::Request;
use crate::response::{NoResponse, Response};
use crate::wait::eventually;

/// Clients that have all connected and now wait for their responses. Dropping it drops them.
pub struct Crowd {
    members: Vec<Member>,
    released: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

/// A crowd being set up.
#[derive(Clone, Debug)]
pub struct Gathering {
    count: usize,
    address: SocketAddr,
    requests: Vec<Request>,
    hold_after: u64,
    receive_bytes: Option<usize>,
    patience: Duration,
}

struct Member {
    received: Arc<AtomicU64>,
    ended: Arc<AtomicUsize>,
    task: Option<JoinHandle<Result<Response, NoResponse>>>,
}

/// Connections per source address: well below the ports the kernel gives one address.
const PER_SOURCE: usize = 20_000;

/// Handshakes under way at a time: more would overrun the listener's queue.
const CONNECTING_MAX: usize = 100;

/// Files the test may still open besides those open now and the crowd.
const SPARE_FILES: u64 = 256;

/// This many clients at once, all with the same request.
#[track_caller]
pub fn crowd(count: usize, address: SocketAddr, request: &Request) -> Crowd {
    Crowd::gather(count, address, request).start()
}

impl Gathering {
    /// The clients send these in turn: the first takes the first, and so on, round and round.
    pub fn requests(mut self, requests: Vec<Request>) -> Self {
        assert!(!requests.is_empty(), "a crowd needs at least one request");
        self.requests = requests;
        self
    }

    /// Each client stops reading after this many body bytes, until `release`.
    pub fn hold_after(mut self, body_bytes: u64) -> Self {
        self.hold_after = body_bytes;
        self
    }

    /// Each client has a receive buffer of about this many bytes, so that one that does not read
    /// holds its peer back soon.
    pub fn narrow(mut self, receive_bytes: usize) -> Self {
        self.receive_bytes = Some(receive_bytes);
        self
    }

    /// How long a client waits for the next byte, 60 seconds unless set.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Connects all, then lets all send at once. Fewer come, and standard error says so, when
    /// the limit on open files is too low.
    #[track_caller]
    pub fn start(mut self) -> Crowd {
        let others = open_files_now() + SPARE_FILES;
        let files = raise_open_files(self.count as u64 + others);
        let room = usize::try_from(files.saturating_sub(others)).unwrap_or(usize::MAX);
        if room < self.count {
            eprintln!(
                "crowd: only {room} of {} clients, the limit on open files is {files}",
                self.count
            );
            self.count = room;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("crowd")
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let connected = Arc::new(AtomicUsize::new(0));
        let start = watch::Sender::new(false);
        let released = watch::Sender::new(false);
        let plan = Arc::new((self.clone(), Semaphore::new(CONNECTING_MAX)));
        let members: Vec<Member> = (0..self.count)
            .map(|index| {
                let (received, ended) = (Arc::default(), Arc::default());
                let client = Client {
                    index,
                    plan: plan.clone(),
                    connected: connected.clone(),
                    start: start.subscribe(),
                    released: released.subscribe(),
                    received: Arc::clone(&received),
                };
                let done: Arc<AtomicUsize> = Arc::clone(&ended);
                let task = runtime.spawn(async move {
                    let result = client.run().await;
                    done.store(1, Ordering::SeqCst);
                    result
                });
                Member {
                    received,
                    ended,
                    task: Some(task),
                }
            })
            .collect();
        let ready = || connected.load(Ordering::SeqCst) == members.len();
        assert!(
            eventually(Duration::from_secs(60), ready),
            "the crowd could not connect in 60 s"
        );
        start.send_replace(true);
        Crowd {
            members,
            released,
            runtime: Some(runtime),
        }
    }
}

impl Crowd {
    /// A crowd to be set up in detail.
    pub fn gather(count: usize, address: SocketAddr, request: &Request) -> Gathering {
        Gathering {
            count,
            address,
            requests: vec![request.clone()],
            hold_after: u64::MAX,
            receive_bytes: None,
            patience: Duration::from_secs(60),
        }
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many body bytes this client has received so far.
    pub fn received(&self, index: usize) -> u64 {
        self.members[index].received.load(Ordering::SeqCst)
    }

    /// How many clients are done, with or without a response.
    pub fn ended(&self) -> usize {
        self.members
            .iter()
            .map(|member| member.ended.load(Ordering::SeqCst))
            .sum()
    }

    /// Waits until every client has received this many body bytes; panics after 60 seconds.
    #[track_caller]
    pub fn wait_until_all_have(&self, body_bytes: u64) {
        let have = || {
            (0..self.len())
                .filter(|&index| self.received(index) >= body_bytes)
                .count()
        };
        let all = eventually(Duration::from_secs(60), || have() == self.len());
        assert!(
            all,
            "{} of {} clients have {body_bytes} bytes",
            have(),
            self.len()
        );
    }

    /// Lets those who stopped reading read on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Waits for all and returns what each got, in order. Those who stopped reading are released.
    pub fn collect(mut self) -> Vec<Result<Response, NoResponse>> {
        self.release();
        let tasks: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|member| member.task.take())
            .collect();
        let runtime = self.runtime.take().expect("it lives as long as the crowd");
        let (done, wait) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let mut results = Vec::with_capacity(tasks.len());
            for task in tasks {
                results.push(task.await.expect("a client does not panic"));
            }
            let _ = done.send(results);
        });
        let results = wait
            .recv()
            .expect("every client gives up after its patience");
        runtime.shutdown_background();
        results
    }

    /// Waits for all and returns the responses. Panics, saying how many and why, if some got none.
    #[track_caller]
    pub fn responses(self) -> Vec<Response> {
        let results = self.collect();
        let failed: Vec<&NoResponse> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert!(
            failed.is_empty(),
            "{} clients got no response, the first: {:?}",
            failed.len(),
            failed[0]
        );
        results.into_iter().flatten().collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One member's life.
struct Client {
    index: usize,
    plan: Arc<(Gathering, Semaphore)>,
    connected: Arc<AtomicUsize>,
    start: watch::Receiver<bool>,
    released: watch::Receiver<bool>,
    received: Arc<AtomicU64>,
}

impl Client {
    async fn run(mut self) -> Result<Response, NoResponse> {
        let plan = self.plan.clone();
        let (gathering, connecting) = &*plan;
        let stream = {
            let _permit = connecting
                .acquire()
                .await
                .expect("the semaphore is never closed");
            gathering.connect(self.index).await
        };
        self.connected.fetch_add(1, Ordering::SeqCst);
        let mut stream = stream.map_err(|error| NoResponse::NotConnected(error.to_string()))?;
        // An error means that the crowd was dropped while it was set up.
        let _ = self.start.wait_for(|start| *start).await;
        let request = &gathering.requests[self.index % gathering.requests.len()];
        let mut parser = Parser::new(request.method(), request.keeps_body(), Vec::new());
        // A peer that refuses while we send has its answer on the way: read it all the same.
        let _ = send(&mut stream, request).await;
        self.read(&mut stream, &mut parser, gathering).await;
        parser.finish().0
    }

    async fn read(&mut self, stream: &mut TcpStream, parser: &mut Parser, gathering: &Gathering) {
        let mut buffer = vec![0; 16 << 10];
        while !parser.is_done() {
            if parser.body_len() >= gathering.hold_after {
                let _ = self.released.wait_for(|released| *released).await;
            }
            let room = usize::try_from(
                gathering
                    .hold_after
                    .saturating_sub(parser.body_len())
                    .max(1),
            );
            let room = if *self.released.borrow() {
                usize::MAX
            } else {
                room.unwrap_or(usize::MAX)
            };
            let take = room.min(buffer.len());
            match tokio::time::timeout(gathering.patience, stream.read(&mut buffer[..take])).await {
                Err(_) => parser.stop(Stop::TimedOut),
                Ok(Err(_)) => parser.stop(Stop::Reset),
                Ok(Ok(0)) => parser.stop(Stop::Closed),
                Ok(Ok(count)) => parser.push(&buffer[..count]),
            }
            self.received.store(parser.body_len(), Ordering::SeqCst);
        }
    }
}

impl Gathering {
    async fn connect(&self, index: usize) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
        }
        let source = index / PER_SOURCE;
        if source > 0 {
            let last = u8::try_from(source + 1).expect("fewer than five million clients");
            socket.bind(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)),
                0,
            ))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn send(stream: &mut TcpStream, request: &Request) -> io::Result<()> {
    stream.write_all(&request.head_bytes()).await?;
    for piece in request.body_pieces() {
        stream.write_all(&piece).await?;
    }
    Ok(())
}
