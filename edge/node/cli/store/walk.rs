//! What a folder holds, for an import: every file below it with its key, and everything that
//! cannot become an object, with the reason.
//!
//! Symbolic links are followed as long as they stay below the folder: a link to somewhere else
//! would publish files nobody meant.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder, looked through.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) files: Vec<Found>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) bytes: u64,
}

/// A file to import.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Its path below the folder, with slashes.
    pub(super) key: String,
    pub(super) size: u64,
}

/// Something that is not imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) path: PathBuf,
    pub(super) why: String,
}

impl Walk {
    /// Looks through `root`, folder by folder in order of names. Fails only when `root` itself
    /// cannot be read.
    pub(super) fn of(root: &Path) -> io::Result<Walk> {
        let real = fs::canonicalize(root)?;
        // A folder that cannot be opened is an error here and something left out further down.
        fs::read_dir(&real)?;
        let mut walk = Walk::default();
        walk.folder(root, "", &real, &mut vec![real.clone()]);
        Ok(walk)
    }

    /// `above` are the folders we are in, by their real paths: a link to one of them would never
    /// come to an end.
    fn folder(&mut self, path: &Path, key: &str, root: &Path, above: &mut Vec<PathBuf>) {
        let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>)
        {
            Ok(entries) => entries,
            Err(error) => return self.leave_out(path, error.to_string()),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                self.leave_out(&path, "its name is not UTF-8");
                continue;
            };
            let key = format!("{key}{name}");
            if let Err(why) = self.entry(&path, key, root, above) {
                self.leave_out(&path, why);
            }
        }
    }

    fn entry(
        &mut self,
        path: &Path,
        key: String,
        root: &Path,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), String> {
        let cannot = |error: io::Error| error.to_string();
        let is_link = fs::symlink_metadata(path).map_err(cannot)?.is_symlink();
        let about = fs::metadata(path).map_err(|error| match is_link {
            true => "a link to nothing".to_owned(),
            false => cannot(error),
        })?;
        let real = fs::canonicalize(path).map_err(cannot)?;
        if is_link && !real.starts_with(root) {
            return Err(format!("a link out of the folder, to {}", real.display()));
        }
        if about.is_file() {
            self.bytes += about.len();
            self.files.push(Found {
                path: path.to_owned(),
                key,
                size: about.len(),
            });
            return Ok(());
        }
        if !about.is_dir() {
            return Err("neither a file nor a folder".to_owned());
        }
        if above.contains(&real) {
            return Err("a link to a folder it is in".to_owned());
        }
        above.push(real);
        self.folder(path, &format!("{key}/"), root, above);
        above.pop();
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            path: path.to_owned(),
            why: why.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_is_found_or_left_out_with_its_reason() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("public");
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        for name in [".hidden", "a/b/c.txt", "a/d", "z"] {
            fs::write(at(name), "12345").unwrap();
        }
        symlink("a/d", at("link")).unwrap();
        symlink("b", at("a/again")).unwrap();
        symlink("../..", at("a/up")).unwrap();
        symlink("..", at("a/b/loop")).unwrap();
        symlink(outside.path().join("secret"), at("leak")).unwrap();
        symlink("nowhere", at("broken")).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff")), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

        let walk = Walk::of(&root).unwrap();
        let keys: Vec<_> = walk.files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(
            keys,
            [".hidden", "a/again/c.txt", "a/b/c.txt", "a/d", "link", "z"]
        );
        assert_eq!(walk.bytes, 30);
        let mut left_out: Vec<_> = walk
            .left_out
            .iter()
            .map(|left| {
                let name = left.path.strip_prefix(&root).unwrap().to_string_lossy();
                format!("{name}: {}", left.why)
            })
            .collect();
        left_out.sort();
        let real = fs::canonicalize(outside.path()).unwrap();
        let up = fs::canonicalize(directory.path()).unwrap();
        assert_eq!(
            left_out,
            [
                "a/again/loop: a link to a folder it is in".to_owned(),
                "a/b/loop: a link to a folder it is in".to_owned(),
                format!("a/up: a link out of the folder, to {}", up.display()),
                "broken: a link to nothing".to_owned(),
                format!(
                    "leak: a link out of the folder, to {}/secret",
                    real.display()
                ),
                "socket: neither a file nor a folder".to_owned(),
                "\u{fffd}: its name is not UTF-8".to_owned(),
            ]
        );
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        assert!(Walk::of(Path::new("/nowhere")).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Walk::of(file.path()).is_err());
    }
}
