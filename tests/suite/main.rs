//! Black-box tests of the binary over real sockets, and of the house they live in. One module per
//! subject; the tools are in edge/testkit.

#![allow(clippy::unwrap_used)]

mod access_log;
mod admin;
mod cached;
mod calls;
mod cli;
mod collapse;
mod conditions;
mod differential;
mod drain;
mod examples;
mod forwarded;
mod front;
mod fuzzing;
mod house;
mod http2;
mod http2_refusals;
mod http2_waits;
mod keys;
mod malformed;
mod memory;
mod origins;
mod plain_reader;
mod proxy_protocol;
mod random;
mod refusal;
mod reload;
mod restart;
mod store_site;
mod streaming;
mod tls;
mod upgrades;
mod uploads;

use edge_testkit::{Node, NodeBuilder, Origin, Reply};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The binary under test.
const EDGE: &str = env!("CARGO_BIN_EXE_edge");

/// A node to be set up.
fn edge() -> NodeBuilder {
    Node::with(EDGE)
}

/// A node with one site for every host, in front of this origin, all else as by default.
#[track_caller]
fn in_front_of(origin: &Origin) -> Node {
    edge().origin(origin).start()
}

/// 200 with this body, fresh for a minute.
fn fresh(body: impl AsRef<[u8]>) -> Reply {
    Reply::ok(body).field("Cache-Control", "max-age=60")
}

/// Tests that load the whole machine take turns, so that they disturb neither each other nor the
/// clocks of the rest more than they must.
fn one_heavy_test_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
