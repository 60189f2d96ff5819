//! The fuzz targets for a few seconds, without a fuzzer: well-formed inputs, damaged at random,
//! and noise. `tests/fuzz` has the same for hours.

use crate::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[path = "../fuzz/holds.rs"]
mod holds;

/// How long each goes on.
const TIME: Duration = Duration::from_secs(3);

const HEADS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nPOST /a/./b/../%41%2f?q=%zz HTTP/1.1\r\nHost: Example.test:80\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT http://a.test/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\nX-A:\t1 \r\nX-A: caf\xe9\r\nTE: trailers\r\n\r\n",
];

const BODIES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\nGET /",
    b"5;a=\"b c\"\r\nhello\r\n006\r\n world\r\n000;x\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n",
    b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
];

const ANNOUNCEMENTS: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x02\x12\x34\x01\xbb",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x28\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x34\x01\xbb\x04\0\x01x",
];

#[test]
fn heads_hold_whatever_comes() {
    hammer(HEADS, holds::head_holds);
}

#[test]
fn chunked_bodies_hold_whatever_comes() {
    hammer(BODIES, holds::chunked_holds);
}

#[test]
fn proxy_announcements_hold_whatever_comes() {
    hammer(ANNOUNCEMENTS, holds::proxy_protocol_holds);
}

#[track_caller]
fn hammer(sound: &[&[u8]], holds: fn(&[u8])) {
    let mut random = Random::seeded_by_the_clock();
    let seed = random.seed();
    let began = Instant::now();
    let mut count = 0;
    sound.iter().for_each(|bytes| holds(bytes));
    while began.elapsed() < TIME {
        count += 1;
        let bytes = input(&mut random, sound);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| holds(&bytes))) {
            eprintln!(
                "seed {seed}, input {count}: {:?}",
                bytes.escape_ascii().to_string()
            );
            std::panic::resume_unwind(panic);
        }
    }
    eprintln!("{count} inputs, seed {seed}");
}

/// A well-formed input with some damage, or two crossed, or noise.
fn input(random: &mut Random, sound: &[&[u8]]) -> Vec<u8> {
    let mut bytes = match random.below(8) {
        0 => random.bytes(200),
        1 => {
            let (a, b) = (random.pick(sound), random.pick(sound));
            [
                &a[..random.below(a.len() + 1)],
                &b[random.below(b.len() + 1)..],
            ]
            .concat()
        }
        _ => random.pick(sound).to_vec(),
    };
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => {
                bytes[at] = random.pick(b"\r\n\0 \t:;,/%.0159afFx+-\x0b\x7f\xff")
            }
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.insert(at, random.pick(b"\r\n\0 \t:;,/%.0159afFx+-\x0b\x7f\xff")),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                let copies = copy.repeat(1 + random.below(40));
                bytes.splice(at..at, copies);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}
