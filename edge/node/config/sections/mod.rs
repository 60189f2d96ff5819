//! The tables of the config file, one file each: what its keys are, and how
//! it becomes the matching part of `Settings`.
//!
//! A new feature adds a file here and one line in `../file.rs`.

pub mod admin;
pub mod cache;
pub mod cache_rules;
pub mod guard;
pub mod listen;
pub mod log;
pub mod origin;
pub mod site;
pub mod site_tls;
pub mod store;
pub mod tls;
