//! What black-box tests of `edge` are written with: a launched node, a scripted origin and a raw
//! client, so that a behaviour over real sockets reads in about twenty lines:
//!
//! ```no_run
//! use edge_testkit::{Node, Origin, Reply};
//!
//! let origin = Origin::start(|_| Reply::ok("hello").field("cache-control", "max-age=60"));
//! let node = Node::with("target/debug/edge").origin(&origin).start();
//! assert_eq!(node.get("/").text(), "hello");
//! assert!(node.get("/").field("cache-status").contains("hit"));
//! assert_eq!(origin.requests().len(), 1);
//! ```
//!
//! A development dependency only, so a broken expectation panics and says what was expected.
//! Everything talks to 127.0.0.0/8 and nothing else. The client parses strictly and tells a clean
//! end from a truncated one. Nothing here calls `block_on`, so all of it may also be used inside
//! an async test.

#![allow(clippy::unwrap_used)]

mod certificates;
mod command;
mod connection;
mod converse;
mod crowd;
mod fields;
mod frame;
mod frames;
mod framing;
mod gate;
mod hpack;
mod limits;
mod metrics;
mod node;
mod origin;
mod parse;
mod pattern;
mod perform;
mod process;
mod reply;
mod request;
mod response;
mod setup;
mod tls;
mod visit;
mod wait;

#[cfg(test)]
mod tests;

pub use certificates::{Authority, Identity};
pub use command::{Finished, run, run_in};
pub use connection::{Connection, get, send_raw};
pub use crowd::{Crowd, Gathering, crowd};
pub use fields::Fields;
pub use frame::{Frame, code, flag, kind};
pub use frames::{Answer, Frames, PREFACE};
pub use gate::Gate;
pub use limits::raise_open_files;
pub use metrics::Metrics;
pub use node::Node;
pub use origin::{Bodies, Origin, OriginBuilder};
pub use pattern::{
    crc, is_pattern, is_pattern_from, pattern, pattern_crc, pattern_from, repeated_crc,
};
pub use reply::Reply;
pub use request::Request;
pub use response::{Ended, Interim, NoResponse, Response};
pub use setup::NodeBuilder;
pub use tls::{Agreed, Tls};
pub use visit::Visit;
pub use wait::{eventually, free_port, http_date};
