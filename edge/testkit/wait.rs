//! Waiting for the world to reach a state, and the few facts of the machine that tests need.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

/// Polls until the condition holds, at most `timeout`. Says whether it came to hold.
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of 127.0.0.1 that nobody listens on right now. Prefer port 0 where the listener can
/// report what it got: another process may take this one first.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is to be had");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// A time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
