//! What must hold for every input whatever: the parsers never panic, agree with themselves however
//! the bytes are cut, and what they accept is read the same once more. Used by the fuzz targets
//! beside this file and, for a few seconds in every run, by `tests/suite/fuzzing.rs`.

use edge::fuzzing::{Chunked, End, Head, chunked, head};
use edge_guard::proxy_protocol::{Announced, HEADER_BYTES_MAX, announced};

/// A request head.
pub fn head_holds(bytes: &[u8]) {
    match head(bytes) {
        Head::Whole { taken, again } => {
            assert!(taken <= bytes.len(), "it took more than there is");
            // What follows a head changes nothing about it, and no part of it is one.
            assert_eq!(head(&bytes[..taken]), head(bytes));
            for end in some_of(taken) {
                assert_eq!(head(&bytes[..end]), Head::Partial, "{end} of {taken} bytes");
            }
            // Written in its one form it is the same head.
            let twice = head(&again);
            let once_more = Head::Whole {
                taken: again.len(),
                again: again.clone(),
            };
            assert_eq!(twice, once_more, "{:?}", String::from_utf8_lossy(&again));
        }
        Head::Partial => {
            for end in some_of(bytes.len()) {
                assert_eq!(head(&bytes[..end]), Head::Partial, "{end} bytes");
            }
        }
        Head::Refused(status) => {
            assert!(
                matches!(status, 400 | 405 | 413 | 414 | 417 | 431 | 501 | 505),
                "{status}"
            );
            for end in some_of(bytes.len()) {
                assert!(
                    !matches!(head(&bytes[..end]), Head::Whole { .. }),
                    "{end} bytes"
                );
            }
        }
    }
}

/// A chunked body.
pub fn chunked_holds(bytes: &[u8]) {
    let whole = chunked(std::iter::once(bytes));
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(chunked(bytes.chunks(size)), whole, "in pieces of {size}");
    }
    if let Chunked {
        body,
        end: End::Proper { left, .. },
    } = &whole
    {
        // At least a size, a CRLF and an end for what was taken off.
        assert!(body.len() + left + 5 <= bytes.len(), "{whole:?}");
        let taken = bytes.len() - left;
        for end in some_of(taken) {
            assert_eq!(
                chunked(std::iter::once(&bytes[..end])).end,
                End::Partial,
                "{end} of {taken} bytes"
            );
        }
        // The same body in one chunk is the same body.
        let plain = [
            format!("{:x}\r\n", body.len()).as_bytes(),
            body,
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        if !body.is_empty() {
            assert_eq!(&chunked(std::iter::once(&plain[..])).body, body);
        }
    }
}

/// What a proxy says before the first byte.
pub fn proxy_protocol_holds(bytes: &[u8]) {
    match announced(bytes) {
        Ok(Announced::Whole { length, .. }) => {
            assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX);
            assert_eq!(announced(&bytes[..length]), announced(bytes));
            for end in some_of(length) {
                assert_eq!(
                    announced(&bytes[..end]),
                    Ok(Announced::Partial),
                    "{end} of {length} bytes"
                );
            }
        }
        Ok(Announced::Partial) => {
            assert!(
                bytes.len() < HEADER_BYTES_MAX,
                "it waits for more than there may be"
            );
            for end in some_of(bytes.len()) {
                assert_eq!(
                    announced(&bytes[..end]),
                    Ok(Announced::Partial),
                    "{end} bytes"
                );
            }
        }
        Err(_) => {
            for end in some_of(bytes.len()) {
                assert!(
                    !matches!(announced(&bytes[..end]), Ok(Announced::Whole { .. })),
                    "{end} bytes"
                );
            }
        }
    }
}

/// Up to 64 places before `end`, so that long inputs stay quick.
fn some_of(end: usize) -> impl Iterator<Item = usize> {
    (0..end).step_by(end / 64 + 1).chain(end.checked_sub(1))
}
