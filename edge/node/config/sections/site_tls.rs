//! `[site.tls]`: what a site asks of connections, and tells browsers to ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;

use crate::config::certificate::ClientCa;
use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::settings::SiteTls;

/// What browsers want of a site before they list it (hstspreload.org).
const PRELOAD_MIN: Duration = Duration::from_secs(365 * 86_400);

section! {
    /// What a site asks of connections.
    pub struct Table {
        /// Send clients that come over plain http to the same place on https.
        redirect: bool = false;
        /// Tell browsers to use nothing but https for this long (RFC 6797). "0s" takes it back.
        hsts: Option<Duration>, example "365d";
        /// `hsts` holds for every host below as well.
        include_subdomains: bool = false;
        /// Agree to be listed in browsers. Needs an `hsts` of a year and `include_subdomains`,
        /// and is hard to take back.
        preload: bool = false;
        /// PEM file with the authorities that a client's certificate must come from; relative to
        /// this config file. Clients without one are turned away.
        client_ca: Option<PathBuf>, example "/etc/edge/clients.pem";
    }
}

impl Table {
    /// Reads the authorities. `https` says whether any address speaks TLS.
    pub fn settings(&self, base: &Path, https: bool, mistakes: &mut Mistakes) -> SiteTls {
        SiteTls {
            redirect: self.redirect.value,
            hsts: self.hsts(mistakes),
            client_ca: self.client_ca(base, https, mistakes),
        }
    }

    fn hsts(&self, mistakes: &mut Mistakes) -> Option<HeaderValue> {
        let Some(lifetime) = self.hsts.value else {
            for (flag, name) in [
                (&self.include_subdomains, "include_subdomains"),
                (&self.preload, "preload"),
            ] {
                if flag.value && !self.hsts.broken {
                    let text = format!(
                        "`{name}` says nothing without `hsts`; for example hsts = \"365d\""
                    );
                    mistakes.add(&flag.at, text);
                }
            }
            return None;
        };
        if self.preload.value && (lifetime < PRELOAD_MIN || !self.include_subdomains.value) {
            mistakes.add(
                &self.preload.at,
                "`preload` needs a year and every host below; \
                 for example hsts = \"365d\", include_subdomains = true",
            );
        }
        let mut text = format!("max-age={}", lifetime.as_secs());
        for (flag, words) in [
            (&self.include_subdomains, "; includeSubDomains"),
            (&self.preload, "; preload"),
        ] {
            if flag.value {
                text.push_str(words);
            }
        }
        HeaderValue::from_str(&text).ok()
    }

    fn client_ca(&self, base: &Path, https: bool, mistakes: &mut Mistakes) -> Option<ClientCa> {
        let path = self.client_ca.as_ref()?;
        if !https {
            mistakes.add(
                &self.client_ca.at,
                "`client_ca` needs an address that speaks TLS, as nobody could come in otherwise; \
                 for example listen.https = [\"[::]:443\"]",
            );
        }
        let said = |why| mistakes.add(&self.client_ca.at, format!("`client_ca` {why}"));
        ClientCa::load(&base.join(path)).map_err(said).ok()
    }
}
