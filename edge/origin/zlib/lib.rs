//! The interface of `libz-ng-sys`, served by plain zlib.
//!
//! Pingora asks `flate2` for the zlib-ng backend unconditionally, and that one
//! wants cmake on the machine. Plain zlib has the same interface and builds
//! with the C compiler that Rust links with anyway. Decision 0003 has the story.

pub use libz_sys::*;
