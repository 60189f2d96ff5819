//! A restart under load: behind two nodes nobody notices, and behind one the gap is short.

use crate::{edge, fresh};
use edge_testkit::{NoResponse, Node, Origin, Request, eventually};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A small TCP balancer, as a stranger would put in front: asks each node's `/readyz` all the
/// time, and sends a new connection to one that is ready.
struct Balancer {
    address: SocketAddr,
    nodes: Arc<Mutex<Vec<Backend>>>,
    leaving: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Backend {
    http: SocketAddr,
    admin: SocketAddr,
    ready: bool,
}

impl Backend {
    fn of(node: &Node) -> Backend {
        Backend {
            http: node.http(),
            admin: node.admin(),
            ready: is_ready(node.admin()),
        }
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    let answer = Request::get("/readyz")
        .host(&admin.to_string())
        .try_send(admin);
    matches!(answer, Ok(answer) if answer.status == 200)
}

impl Balancer {
    fn start(nodes: &[&Node]) -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let balancer = Balancer {
            address: listener.local_addr().unwrap(),
            nodes: Arc::new(Mutex::new(
                nodes.iter().map(|node| Backend::of(node)).collect(),
            )),
            leaving: Arc::default(),
        };
        let (nodes, leaving) = (balancer.nodes.clone(), balancer.leaving.clone());
        std::thread::spawn(move || {
            while !leaving.load(Ordering::SeqCst) {
                let asked = nodes.lock().unwrap().clone();
                for backend in asked {
                    let ready = is_ready(backend.admin);
                    let mut nodes = nodes.lock().unwrap();
                    let same = nodes
                        .iter_mut()
                        .filter(|known| known.admin == backend.admin);
                    same.for_each(|known| known.ready = ready);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let nodes = balancer.nodes.clone();
        std::thread::spawn(move || {
            for (turn, client) in listener.incoming().flatten().enumerate() {
                let ready: Vec<_> = nodes
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|node| node.ready)
                    .map(|node| node.http)
                    .collect();
                // One that has just closed its port is passed over, as any balancer would.
                let server = (0..ready.len())
                    .find_map(|n| TcpStream::connect(ready[(turn + n) % ready.len()]).ok());
                if let Some(server) = server {
                    join(client, server);
                }
            }
        });
        balancer
    }

    /// Takes this node's place in.
    fn swap(&self, gone: SocketAddr, new: &Node) {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.retain(|node| node.http != gone);
        nodes.push(Backend::of(new));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::SeqCst);
    }
}

/// Bytes both ways, ends passed on.
fn join(client: TcpStream, server: TcpStream) {
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    for (mut from, mut to) in [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// What a steady load came to.
#[derive(Default)]
struct Load {
    good: AtomicUsize,
    failed: Mutex<Vec<String>>,
    leaving: AtomicBool,
}

impl Load {
    fn failed(&self, what: String) {
        self.failed.lock().unwrap().push(what);
    }

    /// A client that keeps its connection as long as it may, and asks again over a new one when a
    /// kept one was closed in order before a byte of the answer, as RFC 9110, section 9.2.2 has it.
    fn client(&self, to: SocketAddr, number: usize) {
        let mut kept = None;
        let mut count = 0;
        while !self.leaving.load(Ordering::SeqCst) {
            count += 1;
            let request = match (number + count) % 4 {
                0 => Request::get(&format!("/fresh/{number}/{count}")),
                1 => Request::get("/large").count_body(),
                _ => Request::get("/hit"),
            };
            let used = kept.is_some();
            let opened = kept
                .take()
                .map_or_else(|| edge_testkit::Connection::try_open(to), Ok);
            let mut connection = match opened {
                Ok(connection) => connection,
                Err(why) => return self.failed(format!("no connection: {why:?}")),
            };
            connection.send(&request);
            match connection.try_receive() {
                Ok(answer) if answer.status == 200 && answer.complete => {
                    self.good.fetch_add(1, Ordering::SeqCst);
                    let last = answer.fields.lists("connection", "close") || count % 50 == 0;
                    kept = (!last).then_some(connection);
                }
                Err(NoResponse::Closed) if used => {}
                other => return self.failed(format!("{request:?} (used: {used}): {other:?}")),
            }
        }
    }
}

fn origin() -> Origin {
    Origin::start(|visit| match visit.path() {
        "/large" => fresh("").pattern(1 << 20, 1),
        _ => fresh(&visit.target),
    })
}

#[test]
fn a_restart_behind_two_nodes_loses_no_request() {
    let origin = origin();
    let start = || edge().origin(&origin).start();
    let mut nodes = vec![start(), start()];
    let balancer = Balancer::start(&[&nodes[0], &nodes[1]]);
    let load = Load::default();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (load, to) = (&load, balancer.address);
            scope.spawn(move || load.client(to, number));
        }
        let progress = |more: usize| {
            let wanted = load.good.load(Ordering::SeqCst) + more;
            eventually(Duration::from_secs(20), || {
                load.good.load(Ordering::SeqCst) >= wanted
                    || !load.failed.lock().unwrap().is_empty()
            })
        };
        let mut alive = progress(200);
        for _ in 0..3 {
            let mut old = nodes.remove(0);
            let gone = old.http();
            old.begin_stop();
            assert_eq!(old.wait_for_exit().code(), Some(0));
            let new = start();
            balancer.swap(gone, &new);
            nodes.push(new);
            alive &= progress(200);
        }
        load.leaving.store(true, Ordering::SeqCst);
        assert!(alive, "the load stood still");
    });
    let failed = load.failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} requests failed, the first: {}",
        failed.len(),
        failed[0]
    );
    eprintln!(
        "{} requests over three restarts, none failed",
        load.good.load(Ordering::SeqCst)
    );
}

#[test]
fn the_gap_of_one_node_that_restarts_is_short() {
    let origin = origin();
    // A port of its own, so that it is the same after the restart.
    let port = edge_testkit::free_port();
    let listen = format!("[listen]\nhttp = [\"127.0.0.1:{port}\"]\nadmin = \"127.0.0.1:0\"");
    let mut node = edge().config(&listen).origin(&origin).start();
    let to = node.http();
    let answered =
        || matches!(Request::get("/hit").try_send(to), Ok(answer) if answer.status == 200);
    assert!(answered());
    let (done, last) = (
        AtomicBool::new(false),
        Mutex::new((Instant::now(), Duration::ZERO)),
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                if answered() {
                    let mut last = last.lock().unwrap();
                    last.1 = last.1.max(last.0.elapsed());
                    last.0 = Instant::now();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(node.stop().code(), Some(0));
        node.start();
        let again = Instant::now();
        let back = eventually(Duration::from_secs(10), || last.lock().unwrap().0 > again);
        done.store(true, Ordering::SeqCst);
        assert!(back, "nobody answers after the restart");
    });
    let gap = last.lock().unwrap().1;
    eprintln!(
        "one node: {} ms between the last answer before a restart and the first behind it",
        gap.as_millis()
    );
    assert!(gap < Duration::from_secs(10), "{gap:?}");
}
