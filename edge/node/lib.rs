//! The node: one binary that turns a machine into a CDN edge node.
//!
//! `main.rs` is a call of [`cli::run`]; everything else hangs below `assemble`,
//! which builds a node from settings and runs it until it is told to stop.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub(crate) mod access_log;
pub(crate) mod admin;
pub mod assemble;
pub mod cli;
pub mod config;
pub(crate) mod demo;
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod moment;
pub(crate) mod node;
