//! A stored body: fragments of at most 256 KiB, complete, never changed.
//!
//! Fragments are shared by reference with every reader. The charge for their
//! bytes lives with them, so memory is counted until the last reader lets go.

use crate::ledger::Charge;
use bytes::Bytes;

/// The largest fragment, in bytes. The disk tier checks and reads by fragment.
pub const FRAGMENT_BYTES: usize = 256 * 1024;

/// The complete body of a stored response.
#[derive(Debug)]
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

/// Joins pieces as they came from the origin into one contiguous fragment.
/// One piece is passed on as it is.
pub(crate) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1
        && let Some(only) = pieces.pop()
    {
        return only;
    }
    let total = pieces.iter().map(Bytes::len).sum();
    let mut whole = Vec::with_capacity(total);
    for piece in &pieces {
        whole.extend_from_slice(piece);
    }
    whole.into()
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
}
