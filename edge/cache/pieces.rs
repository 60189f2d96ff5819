//! The part of a body that has arrived: pieces by offset, without gaps.
//!
//! Readers share pieces by reference while more arrive. What will be kept is
//! made into fragments: each is copied once, when it is whole, into a buffer of
//! its own length, since a piece may be a slice that pins the whole read
//! buffer it was cut from. Small pieces are joined on the way, so that a body
//! that drips in costs neither a buffer nor a row for every few bytes.

use crate::body::{FRAGMENT_BYTES, room_for};
use bytes::Bytes;
use std::collections::VecDeque;

/// Shorter pieces are copied at once: that costs less than what they may pin.
const TINY_BYTES: usize = 2 * 1024;

/// Shorter pieces are joined when many of them come in a row.
const SMALL_BYTES: usize = 8 * 1024;

/// How many small pieces may come in a row before they are joined.
const SMALL_MAX: usize = 32;

struct Piece {
    at: u64,
    bytes: Bytes,
    /// Its buffer is as long as it is.
    exact: bool,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

#[derive(Default)]
pub(crate) struct Pieces {
    list: VecDeque<Piece>,
    end: u64,
    /// Fragments before this offset are one exact piece each.
    closed: u64,
    /// Small pieces at the end of the list.
    small: usize,
}

impl Pieces {
    /// Bytes received so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The first byte still here.
    pub(crate) fn start(&self) -> u64 {
        self.list.front().map_or(self.end, |piece| piece.at)
    }

    /// Bytes still here.
    pub(crate) fn held(&self) -> u64 {
        self.end - self.start()
    }

    /// The bytes at `at` to the end of their piece.
    pub(crate) fn at(&self, at: u64) -> Option<Bytes> {
        let after = self.list.partition_point(|piece| piece.at <= at);
        let piece = self.list.get(after.checked_sub(1)?)?;
        let offset = (at - piece.at) as usize;
        (offset < piece.bytes.len()).then(|| piece.bytes.slice(offset..))
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        let exact = bytes.len() < TINY_BYTES;
        let bytes = if exact {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        };
        self.append(bytes, exact);
        if self.small == SMALL_MAX {
            let from = self.list[self.list.len() - SMALL_MAX].at;
            self.join(from, self.end);
        }
    }

    /// Drops what lies before `offset`.
    pub(crate) fn drop_before(&mut self, offset: u64) {
        while self.list.front().is_some_and(|piece| piece.end() <= offset) {
            self.list.pop_front();
        }
        self.small = self.small.min(self.list.len());
    }

    /// Makes every fragment that is whole one exact piece.
    pub(crate) fn close_fragments(&mut self) {
        while self.end - self.closed >= FRAGMENT_BYTES as u64 {
            let end = self.closed + FRAGMENT_BYTES as u64;
            self.join(self.closed, end);
            self.closed = end;
        }
    }

    /// The fragments of the whole body; nothing is left here.
    pub(crate) fn close(&mut self) -> Vec<Bytes> {
        self.close_fragments();
        self.join(self.closed, self.end);
        self.list.drain(..).map(|piece| piece.bytes).collect()
    }

    fn append(&mut self, bytes: Bytes, exact: bool) {
        self.small = if bytes.len() < SMALL_BYTES {
            self.small + 1
        } else {
            0
        };
        let at = self.end;
        self.end += bytes.len() as u64;
        self.list.push_back(Piece { at, bytes, exact });
    }

    /// Makes `from..to` one exact piece. A piece begins at `from`.
    fn join(&mut self, from: u64, to: u64) {
        let first = self.list.partition_point(|piece| piece.at < from);
        let Some(piece) = self.list.get(first) else {
            return;
        };
        if piece.exact && piece.end() == to {
            return;
        }
        let pieces: Vec<Piece> = self.list.drain(first..).collect();
        self.end = from;
        self.small = 0;
        let mut whole = Vec::with_capacity(room_for(to - from) as usize);
        let mut left = Vec::new();
        for piece in pieces {
            let room = (to - from) as usize - whole.len();
            let cut = room.min(piece.bytes.len());
            whole.extend_from_slice(&piece.bytes[..cut]);
            if cut < piece.bytes.len() {
                // A cut piece shares its buffer with nothing that stays.
                left.push((piece.bytes.slice(cut..), piece.exact && cut == 0));
            }
        }
        self.append(whole.into(), true);
        for (bytes, exact) in left {
            self.append(bytes, exact);
        }
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pieces({}..{})", self.start(), self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i % 251) as u8).collect()
    }

    fn read(pieces: &Pieces, mut at: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = pieces.at(at) {
            at += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn bodies_of_any_cut_become_full_fragments() {
        for total in [0, 1, 1000, FRAGMENT_BYTES, 3 * FRAGMENT_BYTES + 7] {
            let wanted = body(total);
            for cut in [700, 5000, 8192, 65536, 300_000, 10_000_000] {
                let mut pieces = Pieces::default();
                for piece in wanted.chunks(cut) {
                    pieces.push(Bytes::copy_from_slice(piece));
                    pieces.close_fragments();
                }
                assert_eq!(read(&pieces, 0), wanted);
                assert_eq!(pieces.held(), total as u64);
                let parts = pieces.close();
                assert_eq!(parts.concat(), wanted);
                for part in parts.iter().rev().skip(1) {
                    assert_eq!(part.len(), FRAGMENT_BYTES);
                }
            }
        }
    }

    #[test]
    fn a_whole_fragment_is_copied_once_and_a_closed_one_never_again() {
        let mut pieces = Pieces::default();
        let whole = Bytes::from(body(2 * FRAGMENT_BYTES));
        pieces.push(whole.slice(..FRAGMENT_BYTES));
        pieces.close_fragments();
        let first = pieces.at(0).unwrap().as_ptr();
        assert_ne!(first, whole.as_ptr());
        pieces.push(whole.slice(FRAGMENT_BYTES..));
        let parts = pieces.close();
        assert_eq!(parts[0].as_ptr(), first);
    }

    #[test]
    fn a_body_of_one_piece_is_copied_once() {
        for bytes in [1000, 5000, 100_000] {
            let mut pieces = Pieces::default();
            let whole = Bytes::from(body(bytes));
            pieces.push(whole.clone());
            let before = pieces.at(0).unwrap().as_ptr();
            let after = pieces.close()[0].as_ptr();
            let copies = usize::from(before != whole.as_ptr()) + usize::from(after != before);
            assert_eq!(copies, 1, "{bytes}");
        }
    }

    #[test]
    fn a_body_that_drips_in_keeps_few_pieces() {
        let mut pieces = Pieces::default();
        let wanted = body(100_000);
        for byte in wanted.chunks(1) {
            pieces.push(Bytes::copy_from_slice(byte));
            assert!(pieces.list.len() <= SMALL_MAX + 100_000 / SMALL_BYTES);
        }
        assert_eq!(read(&pieces, 0), wanted);
        assert_eq!(read(&pieces, 54_321), wanted[54_321..]);
    }

    #[test]
    fn what_was_read_is_dropped_by_whole_pieces() {
        let mut pieces = Pieces::default();
        for _ in 0..3 {
            pieces.push(Bytes::from(body(10_000)));
        }
        pieces.drop_before(9_999);
        assert_eq!(pieces.start(), 0);
        pieces.drop_before(10_001);
        assert_eq!((pieces.start(), pieces.held()), (10_000, 20_000));
        assert!(pieces.at(5).is_none());
        pieces.drop_before(90_000);
        assert_eq!((pieces.start(), pieces.end()), (30_000, 30_000));
        pieces.push(Bytes::from(body(9)));
        assert_eq!(pieces.at(30_001).unwrap(), body(9)[1..]);
    }
}
