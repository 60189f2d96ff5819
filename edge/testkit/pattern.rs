//! Bodies that can be made anywhere and checked anywhere: byte `n` of a pattern depends on the
//! seed and on `n` only, so a range can be checked without the rest and nothing need be kept.

/// The first `len` bytes of the pattern with this seed.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    pattern_from(0, len, seed)
}

/// `len` bytes of the pattern with this seed, from byte `start` on.
pub fn pattern_from(start: u64, len: usize, seed: u64) -> Vec<u8> {
    let skip = (start % 8) as usize;
    let mut out = Vec::with_capacity(len + 16);
    let mut word = start / 8;
    while out.len() < len + skip {
        out.extend_from_slice(&mix(word, seed).to_le_bytes());
        word += 1;
    }
    out.drain(..skip);
    out.truncate(len);
    out
}

/// Is this exactly the pattern with this seed, from its first byte on?
pub fn is_pattern(body: &[u8], seed: u64) -> bool {
    is_pattern_from(0, body, seed)
}

/// Is this a piece of the pattern that begins at byte `start`?
pub fn is_pattern_from(start: u64, body: &[u8], seed: u64) -> bool {
    let mut at = start;
    body.chunks(1 << 16).all(|chunk| {
        let expected = pattern_from(at, chunk.len(), seed);
        at += chunk.len() as u64;
        chunk == expected
    })
}

/// The CRC-32C of the first `len` bytes of a pattern, without holding them.
pub fn pattern_crc(len: u64, seed: u64) -> u32 {
    let mut at = 0;
    let mut sum = 0;
    while at < len {
        let take = (len - at).min(1 << 16);
        sum = crc32c::crc32c_append(sum, &pattern_from(at, take as usize, seed));
        at += take;
    }
    sum
}

/// The CRC-32C of these bytes: what a counted body is compared by.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The CRC-32C of these bytes, so many times one behind the other.
pub fn repeated_crc(bytes: &[u8], count: u64) -> u32 {
    (0..count).fold(0, |sum, _| crc32c::crc32c_append(sum, bytes))
}

/// The sum over more bytes, from the sum so far.
pub(crate) fn crc_append(sum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(sum, bytes)
}

/// The finaliser of splitmix64: every word of the pattern looks random and none repeats.
fn mix(word: u64, seed: u64) -> u64 {
    let start = seed.wrapping_mul(0xd129_0d33_8c8f_9d21);
    let mut z = start.wrapping_add(word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_equals_the_same_piece_of_the_whole() {
        let whole = pattern(1000, 7);
        for (start, len) in [(0, 1000), (1, 7), (8, 8), (13, 500), (999, 1), (5, 0)] {
            let piece = pattern_from(start as u64, len, 7);
            assert_eq!(piece, whole[start..start + len]);
            assert!(is_pattern_from(start as u64, &piece, 7));
        }
    }

    #[test]
    fn another_seed_or_one_changed_byte_is_noticed() {
        let mut body = pattern(100_000, 1);
        assert!(is_pattern(&body, 1) && !is_pattern(&body, 2));
        assert_eq!(crc(&body), pattern_crc(100_000, 1));
        body[70_000] ^= 1;
        assert!(!is_pattern(&body, 1));
    }
}
