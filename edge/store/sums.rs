//! CRC32C of every 64 KiB of a body, so that any part of it can be checked
//! without reading the rest. A disk row ("slab") holds the sums of 32 MiB.

/// A body's bytes covered by one sum.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Sums per slab: 2 KiB each, so a slab fits a page of the metadata file.
pub(crate) const SLAB_SUMS: usize = 512;

/// Sums a body while it streams by. Memory: four bytes per 64 KiB.
#[derive(Default)]
pub(crate) struct Summer {
    done: Vec<u32>,
    crc: u32,
    filled: usize,
}

impl Summer {
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.filled));
            self.crc = crc32c::crc32c_append(self.crc, now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == CHUNK_BYTES {
                self.close_chunk();
            }
        }
    }

    pub fn finish(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.close_chunk();
        }
        self.done
    }

    fn close_chunk(&mut self) {
        self.done.push(self.crc);
        self.crc = 0;
        self.filled = 0;
    }
}

/// How many sums a body of `size` bytes has.
pub(crate) fn count(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES as u64)
}

/// The slab rows of a body, in order.
pub(crate) fn slabs(sums: &[u32]) -> impl Iterator<Item = (u32, Vec<u8>)> {
    let encode = |slab: &[u32]| slab.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    (0..).zip(sums.chunks(SLAB_SUMS).map(encode))
}

/// Reads one slab row back; `None` when it is not a whole number of sums.
pub(crate) fn read_slab(bytes: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let (sums, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| sums.iter().map(|sum| u32::from_le_bytes(*sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_how_the_body_arrived() {
        let body: Vec<u8> = (0..200_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
        let want: Vec<u32> = body.chunks(CHUNK_BYTES).map(crc32c::crc32c).collect();
        for piece in [1000, 65_536, 70_001, 200_000] {
            let mut summer = Summer::default();
            body.chunks(piece).for_each(|part| summer.update(part));
            assert_eq!(summer.finish(), want, "pieces of {piece}");
        }
        assert_eq!(count(body.len() as u64), want.len() as u64);
        assert!(Summer::default().finish().is_empty());
    }

    #[test]
    fn slabs_give_the_sums_back() {
        let sums: Vec<u32> = (0..1300).collect();
        let rows: Vec<_> = slabs(&sums).collect();
        assert_eq!(rows.len(), 3);
        let back: Vec<u32> = rows
            .iter()
            .flat_map(|(_, bytes)| read_slab(bytes).unwrap())
            .collect();
        assert_eq!(back, sums);
        assert!(read_slab(&[1, 2, 3]).is_none());
    }
}
