//! Settings shaped for serving: which site answers a host, which route a path.
//!
//! Built whole from checked settings, swapped whole by a reload. A request holds
//! on to the one it began with.

use super::hosts::Hosts;
use super::tls::Tls;
use crate::config::{self, OriginRef, PathPattern, Settings, SiteTls};
use crate::metrics::{Metrics, SiteCounters};
use edge_cache::Rules;
use edge_origin::{Origin, OriginSettings};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The settings of the moment.
pub(crate) struct Live {
    pub(crate) settings: Arc<Settings>,
    /// As `edge check --print` shows them.
    pub(crate) printed: String,
    /// Keys of the file whose values there wait for a restart.
    pub(crate) needs_restart: Vec<String>,
    sites: Hosts<Arc<Site>>,
    /// How `listen.https` is secured; `None` where nothing listens there.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// A group of hosts served alike.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) routes: Vec<Route>,
    pub(crate) tls: SiteTls,
    pub(crate) counters: SiteCounters,
}

/// What happens to the paths of one pattern.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) path: PathPattern,
    pub(crate) source: Source,
    pub(crate) cache: config::CacheRules,
    pub(crate) rules: Arc<Rules>,
}

/// Who answers for a route.
#[derive(Clone)]
pub(crate) enum Source {
    Http(Arc<Origin>),
    Store { bucket: String },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Http(origin) => f.write_str(origin.name()),
            Source::Store { bucket } => write!(f, "store://{bucket}"),
        }
    }
}

impl Live {
    /// Prepares `settings` for serving, to take the place of `before`. Fails when
    /// TLS material cannot be used; nothing has changed then.
    pub(crate) fn new(
        settings: Settings,
        printed: String,
        metrics: &Metrics,
        before: Option<&Live>,
    ) -> Result<Live, String> {
        let settings = Arc::new(settings);
        let origins = origins(&settings)?;
        let mut live = Live {
            printed,
            needs_restart: Vec::new(),
            sites: Hosts::default(),
            tls: None,
            settings: Arc::clone(&settings),
        };
        for site in &settings.sites {
            let routes = site
                .routes
                .iter()
                .map(|route| prepare(route, &settings, &origins))
                .collect::<Result<_, _>>()?;
            let prepared = Arc::new(Site {
                name: site.name.clone(),
                routes,
                tls: site.tls.clone(),
                counters: metrics.site(&site.name),
            });
            for host in &site.hosts {
                live.sites.insert(host, Arc::clone(&prepared));
            }
        }
        if !settings.listen.https.is_empty() {
            let before = before.and_then(|live| live.tls.as_deref());
            live.tls = Some(Arc::new(Tls::new(&settings, before)?));
        }
        Ok(live)
    }

    /// The site of a normalised host, with or without port: an exact name, then
    /// the longest wildcard, then `*`.
    pub(crate) fn site(&self, host: &str) -> Option<&Arc<Site>> {
        self.sites.find(host)
    }
}

impl Site {
    /// The first route that matches. The last one takes every path, and what is
    /// no path at all: the `*` of OPTIONS.
    pub(crate) fn route(&self, path: &str) -> Option<usize> {
        let first = self
            .routes
            .iter()
            .position(|route| route.path.matches(path));
        first.or(self.routes.len().checked_sub(1))
    }
}

fn prepare(
    route: &config::Route,
    settings: &Settings,
    origins: &BTreeMap<&str, Arc<Origin>>,
) -> Result<Route, String> {
    let source = match &route.origin {
        OriginRef::Store { bucket } => Source::Store {
            bucket: bucket.clone(),
        },
        OriginRef::Named(name) => Source::Http(Arc::clone(
            origins
                .get(name.as_str())
                .ok_or_else(|| format!("no origin is named `{name}`"))?,
        )),
    };
    // Pages of the bundled store that say nothing are kept for an hour: every
    // write purges what it affects. An origin elsewhere decides for itself.
    let ttl_unsaid = matches!(source, Source::Store { .. }).then_some(STORE_TTL);
    let object_bytes_max = route
        .cache
        .object_bytes_max
        .unwrap_or(settings.cache.object_bytes_max);
    Ok(Route {
        name: route.name.clone(),
        path: route.path.clone(),
        source,
        cache: route.cache.clone(),
        rules: Arc::new(Rules {
            ttl: route.cache.ttl,
            ttl_unsaid,
            object_bytes_max,
        }),
    })
}

/// How long a page of the bundled store without `Cache-Control` is kept.
const STORE_TTL: std::time::Duration = std::time::Duration::from_secs(60 * 60);

fn origins(settings: &Settings) -> Result<BTreeMap<&str, Arc<Origin>>, String> {
    settings
        .origins
        .iter()
        .map(|(name, config)| {
            let origin = Origin::new(origin_settings(name, config)?)
                .map_err(|error| format!("origin `{name}`: {error}"))?;
            Ok((name.as_str(), Arc::new(origin)))
        })
        .collect()
}

fn origin_settings(name: &str, config: &config::OriginConfig) -> Result<OriginSettings, String> {
    let ca_pem = match &config.tls.ca {
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            format!("origin `{name}`: cannot read {}: {error}", path.display())
        })?),
        None => None,
    };
    let host = match &config.host {
        Some(host) => Some(
            ::http::HeaderValue::from_str(host)
                .map_err(|_| format!("origin `{name}`: `{host}` cannot be sent as Host"))?,
        ),
        None => None,
    };
    Ok(OriginSettings {
        name: name.to_owned(),
        servers: config
            .servers
            .iter()
            .map(|server| edge_origin::Server {
                scheme: match server.tls {
                    true => edge_origin::Scheme::Https,
                    false => edge_origin::Scheme::Http,
                },
                host: server.host.clone(),
                port: server.port,
            })
            .collect(),
        host,
        protocol: match config.protocol {
            config::Protocol::Auto => edge_origin::Protocol::Auto,
            config::Protocol::Http1 => edge_origin::Protocol::Http1,
            config::Protocol::Http2 => edge_origin::Protocol::Http2,
        },
        connect_timeout: config.connect_timeout,
        first_byte_timeout: config.first_byte_timeout,
        between_bytes_timeout: config.between_bytes_timeout,
        write_timeout: config.write_timeout,
        keep_idle: config.keep_idle,
        idle_timeout: config.idle_timeout,
        tls: edge_origin::Tls {
            verify: config.tls.verify,
            ca_pem,
            server_name: config.tls.server_name.clone(),
        },
    })
}
