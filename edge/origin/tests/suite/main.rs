//! How a pull behaves over real sockets on 127.0.0.1: each test scripts an origin by hand, sends
//! through a client and says what must come back.

#![allow(clippy::unwrap_used)]

mod bodies;
mod deadlines;
mod dns;
mod heads;
mod http2;
mod keeping;
mod script;
mod streams;
mod tls;
mod trailers;
mod upgrades;
mod uploads;
