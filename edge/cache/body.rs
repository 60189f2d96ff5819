//! A stored body: fragments of at most 256 KiB, complete, never changed.
//!
//! Fragments are shared by reference with every reader. The charge for their
//! bytes lives with them, so memory is counted until the last reader lets go.

use crate::ledger::Charge;
use bytes::Bytes;

/// The largest fragment, in bytes. The disk tier checks and reads by fragment.
pub const FRAGMENT_BYTES: usize = 256 * 1024;

/// Larger buffers come in few sizes.
const LARGE_BYTES: u64 = 64 * 1024;

/// The complete body of a stored response.
pub struct Fragments {
    parts: Box<[Bytes]>,
    bytes: u64,
    _charge: Charge,
}

impl Fragments {
    /// `parts` are all full (256 KiB) but the last.
    pub(crate) fn new(parts: Vec<Bytes>, charge: Charge) -> Fragments {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        Fragments {
            parts: parts.into_boxed_slice(),
            bytes,
            _charge: charge,
        }
    }

    /// The length of the whole body in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The bytes from `at` to the end of its fragment, or `None` at the end of
    /// the body. Shared, not copied.
    pub fn from(&self, at: u64) -> Option<Bytes> {
        if at >= self.bytes {
            return None;
        }
        let index = (at / FRAGMENT_BYTES as u64) as usize;
        let offset = (at % FRAGMENT_BYTES as u64) as usize;
        self.parts.get(index).map(|part| part.slice(offset..))
    }
}

impl std::fmt::Debug for Fragments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fragments({} bytes)", self.bytes)
    }
}

/// What a body of so many bytes takes in memory: full fragments, and the last.
pub(crate) fn weight(bytes: u64) -> u64 {
    let last = bytes % FRAGMENT_BYTES as u64;
    bytes - last + taken(last)
}

/// What an allocator takes for so many bytes. Those made for many threads have
/// four sizes for each power of two.
pub(crate) fn taken(bytes: u64) -> u64 {
    let bytes = room_for(bytes);
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

/// How many bytes to ask for, to put `bytes` in. Of large buffers there are but
/// two sizes for each power of two: an allocator keeps some MiB for each size
/// and thread, and all its sizes together were 50 MiB more than these few when
/// four threads filled a budget of 256 MiB.
pub(crate) fn room_for(bytes: u64) -> u64 {
    if bytes <= LARGE_BYTES {
        return bytes;
    }
    bytes.next_multiple_of(bytes.next_power_of_two() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn bytes_are_found_by_offset_across_fragments() {
        let ledger = Ledger::new(1 << 30);
        let first = Bytes::from(vec![1; FRAGMENT_BYTES]);
        let last = Bytes::from_static(b"end");
        let body = Fragments::new(vec![first, last], ledger.take(0).unwrap());
        assert_eq!(body.len(), FRAGMENT_BYTES as u64 + 3);
        assert_eq!(body.from(0).unwrap().len(), FRAGMENT_BYTES);
        assert_eq!(body.from(FRAGMENT_BYTES as u64 - 1).unwrap().as_ref(), &[1]);
        assert_eq!(
            body.from(FRAGMENT_BYTES as u64 + 1).unwrap().as_ref(),
            b"nd"
        );
        assert!(body.from(FRAGMENT_BYTES as u64 + 3).is_none());
    }

    #[test]
    fn a_body_weighs_what_its_fragments_take() {
        for (bytes, wanted) in [
            (0, 0),
            (1, 16),
            (1024, 1024),
            (1025, 1280),
            (5000, 5120),
            (65_536, 65_536),
            (65_537, 98_304),
            (130_000, 131_072),
            (140_000, 196_608),
            (FRAGMENT_BYTES as u64, FRAGMENT_BYTES as u64),
            (FRAGMENT_BYTES as u64 + 5000, FRAGMENT_BYTES as u64 + 5120),
        ] {
            assert_eq!(weight(bytes), wanted, "{bytes}");
        }
    }
}
