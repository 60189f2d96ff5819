//! The metadata file as the database sees it, in two states.
//!
//! `Live` reads and writes the file. The database refuses to go on, reads
//! included, once a write or a sync has failed; so after that it is opened
//! again on `Frozen`, which reads the file and keeps what would be written (the
//! few pages of recovery) in memory. So reads go on and the disk is left alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::disk::Disk;

#[derive(Debug)]
pub(crate) struct Live {
    pub file: Arc<File>,
    pub disk: Arc<dyn Disk>,
}

impl StorageBackend for Live {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_file(&self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

#[derive(Debug)]
pub(crate) struct Frozen {
    file: Arc<File>,
    over: Mutex<Over>,
}

/// What was written since, in whole blocks.
#[derive(Debug)]
struct Over {
    len: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

const BLOCK: u64 = 4096;

/// Recovery touches some pages and the saved allocator state; more than this
/// means something is wrong.
const BLOCKS_MAX: usize = 16_384;

impl Frozen {
    pub fn new(file: Arc<File>) -> io::Result<Frozen> {
        let len = file.metadata()?.len();
        let blocks = BTreeMap::new();
        let over = Mutex::new(Over { len, blocks });
        Ok(Frozen { file, over })
    }

    /// A block of the file, zeros after its end.
    fn load(&self, block: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let at = block * BLOCK + filled as u64;
            match self.file.read_at(&mut bytes[filled..], at)? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(bytes)
    }
}

/// The pieces of `offset..offset + len` by block: block, start in it, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let block = at / BLOCK;
        let stop = end.min((block + 1) * BLOCK);
        let piece = (block, (at % BLOCK) as usize, (stop - at) as usize);
        at = stop;
        (piece.2 > 0).then_some(piece)
    })
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(out.len() as u64) > self.over.lock().len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (block, start, len) in pieces(offset, out.len()) {
            let (now, rest) = out.split_at_mut(len);
            // The lock is not held while the file is read.
            let over = self.over.lock().blocks.get(&block).cloned();
            let bytes = match over {
                Some(bytes) => bytes,
                None => self.load(block)?,
            };
            now.copy_from_slice(&bytes[start..start + len]);
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.over.lock().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock();
        over.len = over.len.max(offset + data.len() as u64);
        for (block, start, len) in pieces(offset, data.len()) {
            let (now, rest) = data.split_at(len);
            if !over.blocks.contains_key(&block) {
                if over.blocks.len() >= BLOCKS_MAX {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let bytes = self.load(block)?;
                over.blocks.insert(block, bytes);
            }
            if let Some(bytes) = over.blocks.get_mut(&block) {
                bytes[start..start + len].copy_from_slice(now);
            }
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_file_takes_writes_only_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 10_000]).unwrap();
        let frozen = Frozen::new(Arc::new(File::open(&path).unwrap())).unwrap();

        frozen.write(4000, &[9; 200]).unwrap();
        frozen.set_len(20_000).unwrap();
        let mut out = vec![0; 20_000];
        frozen.read(0, &mut out).unwrap();

        assert!(out[..4000].iter().all(|b| *b == 7));
        assert!(out[4000..4200].iter().all(|b| *b == 9));
        assert!(out[4200..10_000].iter().all(|b| *b == 7));
        assert!(out[10_000..].iter().all(|b| *b == 0));
        assert!(frozen.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [7; 10_000]);
    }
}
