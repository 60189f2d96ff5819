//! The config file as a whole: its tables, and how they become `Settings`.
//!
//! A new section is one line in `File` and one in `settings`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::mistakes::Mistakes;
use super::section::section;
use super::sections::{admin, cache, guard, listen, log, origin, site, store, tls};
use super::settings::Settings;
use super::value::{Given, Named};

section! {
    /// The config of one edge node.
    pub struct File {
        /// Directory for the store and everything else that must survive a restart; relative to
        /// the working directory.
        data: PathBuf = "edge-data";
        /// More files, each holding one site with its keys (hosts, origin, …) at top level.
        /// Relative to this file; the last part may have stars.
        include: Vec<String> = [], from 0 to 100, example ["sites/*.toml"];
        /// The sockets to open. Only those named here are opened.
        listen: listen::Table;
        /// How `listen.https` is spoken.
        tls: tls::Table;
        /// Who may use the admin listener.
        admin: admin::Table;
        /// How much the cache may hold and do.
        cache: cache::Table;
        /// What a stranger may do, and for how long.
        guard: guard::Table;
        /// The bundled object store.
        store: store::Table;
        /// What is written about requests and about the node.
        log: log::Table;
        /// Groups of servers, each under a name that sites refer to.
        origins: Named<origin::Table> = {};
        /// The sites, each a group of hosts served alike.
        site: Vec<Given<site::Table>> = [], from 0 to 10000;
    }
}

impl File {
    /// Checks the tables against each other and builds the settings. Where a
    /// mistake is noted the result is not to be used.
    ///
    /// Defaults that depend on other keys are written back, and included sites
    /// have become part of `site`, so that the file prints as what is in effect.
    pub fn settings(&mut self, base: &Path, mistakes: &mut Mistakes) -> Settings {
        self.include.value.clear();
        let cache = self.cache.value.settings(mistakes);
        let mut origins: BTreeMap<_, _> = self
            .origins
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.settings(base, mistakes)))
            .collect();
        let listen = listen::Table::settings(&self.listen, mistakes);
        let tls = self.tls.settings(base, mistakes);
        let admin = self.admin.settings(&self.listen, base, mistakes);
        let guard = self.guard.value.settings(mistakes);
        let mut building = site::Building {
            names: &self.origins.names,
            origins: &mut origins,
            object_limit: self.cache.object_limit(),
            base,
            https: !self.listen.https.is_empty() || self.listen.https.broken,
            hosts: HashMap::new(),
            routes: 0,
            mistakes,
        };
        let sites = self
            .site
            .value
            .iter_mut()
            .map(|site| site::Table::settings(site, &mut building))
            .collect();
        Settings {
            data: self.data.value.clone(),
            listen,
            tls,
            admin,
            cache,
            guard,
            store: self.store.settings(),
            log: self.log.settings(),
            origins,
            sites,
        }
    }
}
