//! `[admin]`: who may use the admin listener.

use std::path::Path;

use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::sections::listen;
use crate::config::settings::{Admin, SecretSource};

section! {
    /// Who may use the admin listener.
    pub struct Table {
        /// The bearer token every admin request must carry, kept in an environment variable
        /// ("env:NAME") or a file ("file:path", relative to this config file). Needed when
        /// `listen.admin` is not on loopback.
        token: Option<SecretSource>, example "env:EDGE_ADMIN_TOKEN";
    }
}

impl Table {
    /// Fetches the token; refuses an admin listener that anyone could use.
    pub fn settings(&self, listen: &listen::Table, base: &Path, mistakes: &mut Mistakes) -> Admin {
        let open = listen
            .admin
            .is_some_and(|address| !address.ip().is_loopback());
        if open && self.token.is_none() && !self.token.broken {
            mistakes.add(
                &listen.admin.at,
                "`listen.admin` is not on loopback, so `admin.token` is needed; \
                 for example token = \"env:EDGE_ADMIN_TOKEN\"",
            );
        }
        let token = self.token.as_ref().and_then(|source| {
            let said = |why| mistakes.add(&self.token.at, format!("`token`: {why}"));
            source.resolve(base).map_err(said).ok()
        });
        Admin { token }
    }
}
