//! The engine seen from outside: look up, fill, follow, purge.

#![allow(clippy::unwrap_used)]

mod bounds;
mod fills;
mod followers;
mod model;
mod purges;
mod races;
mod stage;
mod validation;
mod variants;
mod weight;
mod windows;

/// What the node runs with, so that measurements speak of the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
