//! Who may come in, how many, how often and how slowly.
//!
//! The first door stands at accept: it counts open connections and turns away
//! what is too many, before anything is allocated for them. `client` says who a
//! request is really from when a proxy stands in front of the node;
//! `proxy_protocol` reads what such a proxy says before the first byte.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod door;
pub mod proxy_protocol;

pub use client::behind_proxies;
pub use door::{Door, Permit};
