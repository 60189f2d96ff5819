//! A file name that lasts only if somebody says so. A body is linked before its
//! row is committed; should the row be refused, dropping this takes the name
//! away again.

use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Hold(Option<PathBuf>);

impl Hold {
    pub fn new(path: PathBuf) -> Hold {
        Hold(Some(path))
    }

    /// The name stays.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        let remove = move || {
            if let Err(e) = std::fs::remove_file(&path) {
                log::warn!("store: removing {}: {e}", path.display());
            }
        };
        // Removing a large file takes a while, so not on an async thread.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
