//! May the store still be written? One failed sync ends that for good: after it
//! nobody knows what reached the disk, and a second, succeeding sync proves
//! nothing about the first. Reads go on.

use std::sync::{Arc, OnceLock};

use crate::error::Error;

#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Set once, with the reason.
    read_only: OnceLock<Arc<str>>,
}

impl Health {
    pub fn check_writable(&self) -> Result<(), Error> {
        match self.read_only.get() {
            Some(why) => Err(Error::ReadOnly(why.clone())),
            None => Ok(()),
        }
    }

    /// Turns the store read-only. The first reason stays.
    pub fn fail(&self, why: String) -> Error {
        let kept = self.read_only.get_or_init(|| {
            log::error!("store: read-only from now on: {why}");
            why.into()
        });
        Error::ReadOnly(kept.clone())
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only.get().is_some()
    }
}
