//! What the node counts, in Prometheus' text form.
//!
//! Hot counters are children looked up once per site; what the crates count
//! themselves is read when somebody scrapes.

use crate::http::reply::Outcome;
use crate::node::Node;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// From a tenth of a millisecond to half a minute.
const SECONDS: [f64; 13] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// First digits of a status: 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All figures of a node.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    bytes: IntCounterVec,
    /// Time to the reply's head, for hits.
    pub(crate) hit_seconds: Histogram,
    /// Time to the reply's head, where the origin was asked.
    pub(crate) miss_seconds: Histogram,
    /// Time to the origin's head.
    pub(crate) origin_seconds: Histogram,
    /// Heads that could not be read, by status.
    pub(crate) refused: IntCounterVec,
    pub(crate) connections_opened: IntCounter,
    pub(crate) connections_refused: IntCounter,
    pub(crate) cut_short: IntCounter,
    /// By version and whether an earlier session was continued.
    pub(crate) handshakes: IntCounterVec,
    pub(crate) handshakes_failed: IntCounter,
    pub(crate) announcements_refused: IntCounter,
    read: Read,
}

/// What is read from elsewhere when somebody scrapes.
struct Read {
    connections: IntGauge,
    cache_bytes: IntGaugeVec,
    cache_keys: IntGaugeVec,
    cache_evicted: IntGaugeVec,
    cache_no_room: IntGauge,
    fills: IntGauge,
    marks: IntGauge,
    origin_errors: IntGaugeVec,
    origin_connections: IntGaugeVec,
    store: IntGaugeVec,
    log_dropped: IntGauge,
}

/// The counters of one site, ready to be added to.
pub(crate) struct SiteCounters {
    requests: Vec<IntCounter>,
    bytes: IntCounter,
}

impl SiteCounters {
    /// Counts one reply.
    pub(crate) fn count(&self, status: http::StatusCode, outcome: Outcome, bytes: u64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        if let Some(counter) = self
            .requests
            .get(class * Outcome::ALL.len() + outcome as usize)
        {
            counter.inc();
        }
        self.bytes.inc_by(bytes);
    }
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let make = Make(&registry);
        let seconds = make.histograms(
            "edge_reply_seconds",
            "Time from a request's head to its reply's",
            &["from"],
        );
        let origin = make.histograms(
            "edge_origin_seconds",
            "Time from asking an origin to its reply's head",
            &["to"],
        );
        Metrics {
            requests: make.counters(
                "edge_requests_total",
                "Requests by site, status class and cache outcome",
                &["site", "status", "cache"],
            ),
            bytes: make.counters("edge_reply_bytes_total", "Bytes of reply bodies", &["site"]),
            hit_seconds: seconds.with_label_values(&["hit"]),
            miss_seconds: seconds.with_label_values(&["miss"]),
            origin_seconds: origin.with_label_values(&["head"]),
            refused: make.counters(
                "edge_refused_total",
                "Requests refused before they reached a site, by status",
                &["status"],
            ),
            connections_opened: make.counter("edge_connections_total", "Connections accepted"),
            connections_refused: make.counter(
                "edge_connections_refused_total",
                "Connections closed at once because of the cap",
            ),
            cut_short: make.counter(
                "edge_replies_cut_total",
                "Replies that broke before their end, by either side",
            ),
            handshakes: make.counters(
                "edge_tls_handshakes_total",
                "TLS handshakes completed, by version and kind (full, resumed)",
                &["version", "kind"],
            ),
            handshakes_failed: make.counter(
                "edge_tls_handshakes_failed_total",
                "TLS handshakes that failed or took too long",
            ),
            announcements_refused: make.counter(
                "edge_proxy_headers_refused_total",
                "Connections of listen.proxy_protocol_from closed for want of a good PROXY header",
            ),
            read: Read {
                connections: make.gauge("edge_connections", "Connections open"),
                cache_bytes: make.gauges("edge_cache_bytes", "Bytes held by the cache", &["tier"]),
                cache_keys: make.gauges(
                    "edge_cache_objects",
                    "Objects held by the cache",
                    &["tier"],
                ),
                cache_evicted: make.gauges(
                    "edge_cache_evictions_total",
                    "Objects evicted for room",
                    &["tier"],
                ),
                cache_no_room: make.gauge(
                    "edge_cache_no_room_total",
                    "Answers not kept because there was no room",
                ),
                fills: make.gauge("edge_cache_fills", "Fetches under way for the cache"),
                marks: make.gauge("edge_cache_purge_marks", "Purge marks held"),
                origin_errors: make.gauges(
                    "edge_origin_errors_total",
                    "Origin errors by reason",
                    &["reason"],
                ),
                origin_connections: make.gauges(
                    "edge_origin_connections_total",
                    "Connections to origins: opened, reused, retried, failed over",
                    &["what"],
                ),
                store: make.gauges(
                    "edge_store",
                    "The bundled store: what it holds and did",
                    &["what"],
                ),
                log_dropped: make.gauge(
                    "edge_access_log_dropped_total",
                    "Access log lines dropped because the log could not keep up",
                ),
            },
            registry,
        }
    }

    /// The counters of a site, by name; the same ones after a reload.
    pub(crate) fn site(&self, name: &str) -> SiteCounters {
        let requests = CLASSES
            .iter()
            .flat_map(|class| Outcome::ALL.map(|outcome| (class, outcome.word())))
            .map(|(class, cache)| self.requests.with_label_values(&[name, class, cache]))
            .collect();
        SiteCounters {
            requests,
            bytes: self.bytes.with_label_values(&[name]),
        }
    }

    /// Times one reply.
    pub(crate) fn time(&self, outcome: Outcome, served: Duration) {
        match outcome {
            Outcome::Hit => self.hit_seconds.observe(served.as_secs_f64()),
            Outcome::Own => {}
            _ => self.miss_seconds.observe(served.as_secs_f64()),
        }
    }

    /// Everything, as text. Series that were never touched are left out, so a
    /// node with many sites stays readable.
    pub(crate) fn text(&self, node: &Node) -> String {
        self.refresh(node);
        let mut families = self.registry.gather();
        for family in &mut families {
            if family.name() == "edge_requests_total" {
                let mut series = family.take_metric();
                series.retain(|metric| metric.get_counter().get_value() > 0.0);
                family.set_metric(series);
            }
        }
        families.retain(|family| !family.get_metric().is_empty());
        let mut out = Vec::new();
        match TextEncoder::new().encode(&families, &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# the figures could not be written: {error}\n"),
        }
    }

    fn refresh(&self, node: &Node) {
        let read = &self.read;
        read.connections.set(node.door.open() as i64);
        let cache = node.engine.counters();
        read.cache_bytes
            .with_label_values(&["memory"])
            .set(cache.live_bytes as i64);
        read.cache_keys
            .with_label_values(&["memory"])
            .set(cache.keys as i64);
        read.cache_evicted
            .with_label_values(&["memory"])
            .set(cache.evicted as i64);
        read.cache_no_room.set(cache.no_room as i64);
        read.fills.set(cache.fills as i64);
        read.marks.set(cache.marks as i64);
        let origins = node.origins.counters();
        for (reason, count) in origins.errors() {
            read.origin_errors
                .with_label_values(&[reason])
                .set(count as i64);
        }
        let connections = &read.origin_connections;
        for (what, count) in [
            ("opened", &origins.opened),
            ("reused", &origins.reused),
            ("retried", &origins.retries),
            ("failed_over", &origins.failovers),
        ] {
            let count = count.load(std::sync::atomic::Ordering::Relaxed);
            connections.with_label_values(&[what]).set(count as i64);
        }
        let store = node.store.counters();
        for (what, count) in [
            ("objects", store.objects),
            ("bytes", store.bytes),
            ("puts", store.puts),
            ("gets", store.gets),
            ("deletes", store.deletes),
            ("damaged", store.damaged),
            ("read_only", u64::from(store.read_only)),
        ] {
            read.store.with_label_values(&[what]).set(count as i64);
        }
        read.log_dropped.set(node.access.dropped() as i64);
    }
}

/// Makes and registers. Names are distinct and well-formed: the test below
/// makes them all.
struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.keep(HistogramVec::new(opts, labels))
    }

    fn keep<C>(&self, made: prometheus::Result<C>) -> C
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        let collector = made.expect("names and labels in this file are well-formed");
        self.0
            .register(Box::new(collector.clone()))
            .expect("names in this file are distinct");
        collector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_can_be_made_and_a_site_keeps_its_counters() {
        let metrics = Metrics::new();
        metrics
            .site("a")
            .count(http::StatusCode::OK, Outcome::Hit, 5);
        metrics
            .site("a")
            .count(http::StatusCode::OK, Outcome::Hit, 5);
        let count = metrics.requests.with_label_values(&["a", "2xx", "hit"]);
        assert_eq!(count.get(), 2);
    }
}
