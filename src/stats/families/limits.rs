//! Metrics of limits that clients meet before their requests count.

use super::super::Stats;
use super::super::metric_family::Families;

impl Stats {
    pub(super) fn add_limits(&self, to: &mut Families<'_>) {
        let Some(origin) = &self.origin else {
            return;
        };
        let limits = &origin.limits;
        to.counter(
            "response_cache_limits_reached",
            "Connections, requests, WebSockets and log lines that limits have kept waiting, refused or ended, by limit.",
        );
        for (limit, count) in [
            ("connections", limits.connections),
            ("connections_per_client", limits.connections_per_client),
            ("connections_ended", limits.connections_ended),
            ("requests", limits.requests),
            ("uploads", limits.uploads),
            ("slow_clients", limits.slow_clients),
            ("tunnels", limits.tunnels),
            ("tunnels_per_client", limits.tunnels_per_client),
            ("log_lines", limits.log_lines),
        ] {
            to.count(vec![("limit", limit.into())], count);
        }
        to.gauge(
            "response_cache_connections_waiting",
            "Connections that wait because no more may be open; others may wait behind them.",
        )
        .value(vec![], limits.connections_waiting as f64);
    }
}
