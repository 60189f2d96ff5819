//! The HTTP cache engine: what may be kept, for how long, under which key, and
//! who waits for whom while it is fetched.
//!
//! It never opens a socket, never reads config and never reads a clock: times
//! come in as arguments. One rule decides its shape: a fill is its own task
//! with its own deadline, and every client, the first included, reads from it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod body;
mod directives;
mod engine;
mod entry;
mod fill;
mod flow;
mod freshness;
mod key;
mod ledger;
mod marks;
mod memory;
mod pass;
mod pieces;
mod policy;
mod range;
mod reader;
mod stamp;
mod status;
mod validate;
mod vary;
mod writer;

pub use body::{FRAGMENT_BYTES, Fragments};
pub use directives::Directives;
pub use engine::{Ask, Counters, Engine, Lookup, Missed, Peek, Rules, Settings};
pub use entry::{Entry, Meta};
pub use fill::{Decision, Failure, Fill, Verdict};
pub use freshness::{Now, Rule, Terms};
pub use key::{Key, KeyParts, Secret};
pub use marks::{Mode, Selector};
pub use policy::Why;
pub use range::{Range, choose as choose_range};
pub use reader::{Broken, Reader, Resolved};
pub use stamp::Stamp;
pub use status::{CacheStatus, Forwarded};
pub use validate::{Precondition, precondition, validators};
pub use writer::Writer;
