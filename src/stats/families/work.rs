//! Metrics of the work in flight, of the inner service's own queue, and of the build.

use super::super::Stats;
use super::super::metric_family::Families;

impl Stats {
    /// The calls of the inner service, as the cache sees them.
    pub(super) fn add_calls(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_origin_calls",
            "Calls of the inner service for fills, refreshes, writes and bypasses, by their end.",
        )
        .reasons("status_class", &self.origin_calls);
        to.counter(
            "response_cache_origin_rejections",
            "Calls that ended with 401, 403 or 407 (credentials), or 429 (rate): some of the 4xx.",
        )
        .reasons("reason", &self.origin_rejections);
        to.counter(
            "response_cache_origin_bodies_failed",
            "Responses of the inner service that broke off after their head.",
        )
        .count(vec![], self.origin_bodies_failed);
        to.gauge(
            "response_cache_origin_calls_in_flight",
            "Calls of the inner service that have no response yet.",
        )
        .value(vec![], self.in_flight.origin_calls as f64);
        to.gauge(
            "response_cache_origin_silent_seconds",
            "How long calls have waited since the last response; 0 after a minute without calls.",
        )
        .value(vec![], self.origin_silence.as_secs_f64());
    }

    /// The queue of the inner service, as it says itself.
    pub(super) fn add_origin(&self, to: &mut Families<'_>) {
        let Some(origin) = &self.origin else {
            return;
        };
        for (name, help, value) in [
            (
                "response_cache_origin_requests_in_flight",
                "Requests that the inner service has in progress, as it says itself.",
                origin.in_flight as f64,
            ),
            (
                "response_cache_origin_requests_waiting",
                "Requests that wait in the queue of the inner service.",
                origin.waiting as f64,
            ),
        ] {
            to.gauge(name, help).value(vec![], value);
        }
        to.gauge(
            "response_cache_origin_requests_max",
            "The most requests that the inner service has in progress at a time.",
        );
        if let Some(max) = origin.max_in_flight {
            to.value(vec![], max as f64);
        }
        for (name, help, value) in [
            (
                "response_cache_origin_servers",
                "Servers that the inner service sends requests to.",
                origin.servers,
            ),
            (
                "response_cache_origin_servers_down",
                "Servers that fail their health checks, or cannot be connected to.",
                origin.servers_down,
            ),
            (
                "response_cache_origin_servers_unknown",
                "Servers that could not be connected to, and were not tried again for minutes.",
                origin.servers_unknown,
            ),
        ] {
            to.gauge(name, help);
            if origin.servers > 0 {
                to.value(vec![], value as f64);
            }
        }
        to.counter(
            "response_cache_origin_refused",
            "Requests that were refused, because they waited in that queue for too long.",
        )
        .count(vec![], origin.refused);
        to.counter(
            "response_cache_origin_repeated",
            "Requests that the inner service has sent once more itself.",
        )
        .count(vec![], origin.repeated);
    }

    pub(super) fn add_work(&self, to: &mut Families<'_>) {
        let work = &self.in_flight;
        for (name, help, value) in [
            (
                "response_cache_fills_in_flight",
                "Fills that other requests can join.",
                work.fills as f64,
            ),
            (
                "response_cache_fills_waiting",
                "Fills that wait for the inner service to be ready.",
                work.waiting_fills as f64,
            ),
            (
                "response_cache_background_tasks",
                "Background tasks: refreshes, captures of bodies, writes whose client left.",
                work.tasks as f64,
            ),
            (
                "response_cache_buffered_bytes",
                "Bytes of bodies that are buffered and not stored yet.",
                work.bytes as f64,
            ),
        ] {
            to.gauge(name, help).value(vec![], value);
        }
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("features", features().into()),
        ];
        to.gauge(
            "response_cache_build_info",
            "Always 1; the labels have the version and the features of the crate.",
        )
        .value(labels, 1.0);
    }
}

/// The features of this build, with commas between them.
fn features() -> String {
    let features = [
        ("admin", cfg!(feature = "admin")),
        ("compress", cfg!(feature = "compress")),
        ("metrics", cfg!(feature = "metrics")),
        ("proxy", cfg!(feature = "proxy")),
        ("proxy-tls", cfg!(feature = "proxy-tls")),
        ("redis", cfg!(feature = "redis")),
        ("redis-tls", cfg!(feature = "redis-tls")),
        ("serde", cfg!(feature = "serde")),
    ];
    let enabled = features.iter().filter(|(_, is_enabled)| *is_enabled);
    let names: Vec<_> = enabled.map(|(name, _)| *name).collect();
    names.join(",")
}
