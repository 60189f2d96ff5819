//! Bodies that have a file of their own: `blobs/xx/<id>`, raw bytes only, so a
//! file offset is an object offset.
//!
//! A file has no name until its bytes are complete, verified and durable; only
//! then it is linked. Where the filesystem has no unnamed files, a `.part` name
//! is used and renamed without replacing. Directories are flushed by the
//! committer, once per batch.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use md5::{Digest, Md5};
use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use crate::disk::Disk;
use crate::error::Error;
use crate::health::Health;
use crate::hold::Hold;
use crate::id::Id;
use crate::sums::Summer;

/// What follows the id in the name of a file that is still being written.
pub(crate) const PART: &str = ".part";

#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    health: Arc<Health>,
    reserve_bytes: u64,
    session: u32,
    next: AtomicU64,
}

/// A finished body: durable bytes under a name that goes away unless kept.
#[derive(Debug)]
pub(crate) struct Finished {
    pub id: Id,
    pub size: u64,
    pub md5: [u8; 16],
    pub sums: Vec<u32>,
    pub name: Hold,
}

impl Blobs {
    /// Makes the directories that are missing.
    pub fn open(
        root: PathBuf,
        disk: Arc<dyn Disk>,
        health: Arc<Health>,
        reserve_bytes: u64,
        session: u32,
    ) -> Result<Blobs, Error> {
        let mut made = false;
        for n in 0..=u8::MAX {
            let path = root.join(format!("{n:02x}"));
            match std::fs::create_dir(&path) {
                Ok(()) => made = true,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("making", &path)(e)),
            }
        }
        if made {
            disk.sync_directory(&root)
                .map_err(Error::io("syncing", &root))?;
        }
        Ok(Blobs {
            root,
            disk,
            health,
            reserve_bytes,
            session,
            next: AtomicU64::new(0),
        })
    }

    pub fn session(&self) -> u32 {
        self.session
    }

    /// A name nobody has used.
    pub fn new_id(&self) -> Result<Id, Error> {
        let chance = getrandom::u64().map_err(|e| Error::Io {
            doing: "asking the system for a random number".into(),
            source: io::Error::other(e),
        })?;
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Id::new(self.session, counter, chance))
    }

    pub fn directory(&self, n: u8) -> PathBuf {
        self.root.join(format!("{n:02x}"))
    }

    pub fn path(&self, id: Id) -> PathBuf {
        self.directory(id.directory()).join(id.name())
    }

    /// Refuses when free space is below the reserve.
    pub fn check_space(&self) -> Result<(), Error> {
        let free = self
            .disk
            .free_bytes(&self.root)
            .map_err(Error::io("asking for free space at", &self.root))?;
        if free < self.reserve_bytes {
            return Err(self.full(free));
        }
        Ok(())
    }

    fn full(&self, free: u64) -> Error {
        Error::Full {
            free,
            reserve: self.reserve_bytes,
        }
    }

    /// Starts a new body.
    pub fn begin(self: &Arc<Self>) -> Result<Writer, Error> {
        let id = self.new_id()?;
        let directory = self.directory(id.directory());
        let (file, part) = match self.disk.unnamed(&directory) {
            Ok(file) => (file, None),
            Err(_) => self.begin_named(id)?,
        };
        Ok(Writer {
            file,
            part,
            id,
            md5: Md5::new(),
            summer: Summer::default(),
            size: 0,
            blobs: self.clone(),
        })
    }

    fn begin_named(&self, id: Id) -> Result<(File, Option<(PathBuf, Hold)>), Error> {
        let mut path = self.path(id).into_os_string();
        path.push(PART);
        let path = PathBuf::from(path);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("creating", &path))?;
        Ok((file, Some((path.clone(), Hold::new(path)))))
    }

    /// Makes the names in these directories durable.
    pub fn sync(&self, directories: &BTreeSet<u8>) -> Result<(), Error> {
        for n in directories {
            let path = self.directory(*n);
            self.disk
                .sync_directory(&path)
                .map_err(|e| self.health.fail(format!("syncing {}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// Opens a body of this size for reading.
    pub fn open_body(&self, id: Id, size: u64) -> Result<File, Error> {
        let path = self.path(id);
        let file = File::open(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::damaged(path.display().to_string(), "it is missing"),
            _ => Error::io("opening", &path)(e),
        })?;
        let found = file.metadata().map_err(Error::io("reading", &path))?.len();
        if found != size {
            let why = format!("it has {found} bytes instead of {size}");
            return Err(Error::damaged(path.display().to_string(), why));
        }
        Ok(file)
    }

    /// Takes a body's name away; its readers keep reading.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("removing", path)(e)),
            _ => Ok(()),
        }
    }
}

/// A body being written. Dropped, it leaves nothing behind.
pub(crate) struct Writer {
    file: File,
    /// Its name while it is written, where it needs one.
    part: Option<(PathBuf, Hold)>,
    id: Id,
    md5: Md5,
    summer: Summer,
    size: u64,
    blobs: Arc<Blobs>,
}

impl Writer {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.blobs.check_space()?;
        self.file.write_all(bytes).map_err(|e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.blobs.full(0),
            _ => Error::io("writing", &self.blobs.path(self.id))(e),
        })?;
        self.md5.update(bytes);
        self.summer.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Verifies, makes the bytes durable, and only then gives them a name.
    pub fn finish(self, expected_md5: Option<[u8; 16]>) -> Result<Finished, Error> {
        let md5: [u8; 16] = self.md5.finalize().into();
        check_md5(expected_md5, md5)?;
        let path = self.blobs.path(self.id);
        self.blobs.disk.sync_file(&self.file).map_err(|e| {
            let why = format!("syncing {}: {e}", path.display());
            self.blobs.health.fail(why)
        })?;
        match self.part {
            None => link(&self.file, &path).map_err(Error::io("linking", &path))?,
            Some((part, hold)) => {
                rustix::fs::renameat_with(CWD, &part, CWD, &path, RenameFlags::NOREPLACE)
                    .map_err(|e| Error::io("naming", &path)(e.into()))?;
                hold.keep();
            }
        }
        Ok(Finished {
            id: self.id,
            size: self.size,
            md5,
            sums: self.summer.finish(),
            name: Hold::new(path),
        })
    }
}

/// Gives an unnamed file a name. Never replaces a file that has it already.
fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // Linking by descriptor alone needs a capability; by way of /proc it does not.
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH)?,
        linked => linked?,
    }
    Ok(())
}

pub(crate) fn check_md5(expected: Option<[u8; 16]>, found: [u8; 16]) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != found => Err(Error::DigestMismatch {
            expected: hex::encode(expected),
            found: hex::encode(found),
        }),
        _ => Ok(()),
    }
}
