//! Fuzzes the PROXY protocol; what must hold is in ../holds.rs.

#![no_main]

#[path = "../holds.rs"]
#[allow(dead_code)]
mod holds;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holds::proxy_protocol_holds(bytes));
