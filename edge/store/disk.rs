//! The few system calls whose failure the store must survive, behind a seam.
//! Tests put a disk here that fails on command (`faults.rs`).

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

pub(crate) trait Disk: Debug + Send + Sync {
    /// A new file without a name in `directory`; an error where the filesystem
    /// cannot do that.
    fn unnamed(&self, directory: &Path) -> io::Result<File>;
    /// Makes a file's bytes durable.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written to the filesystem of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn unnamed(&self, directory: &Path) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o640))?;
        Ok(File::from(fd))
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
