//! Statistics as JSON, and metrics as text.

use http::header::ACCEPT;
use http::{StatusCode, request};

use super::answer::{Answer, content, json};
use super::options::Admin;

/// The media types of metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Admin {
    /// Answers `GET /stats`.
    pub(super) fn stats(&self) -> Answer {
        json(StatusCode::OK, &self.cache.stats())
    }

    /// Answers `GET /metrics`, in the format that the client prefers by naming it.
    pub(super) fn metrics(&self, request: &request::Parts) -> Answer {
        let mut accepted = request.headers.get_all(ACCEPT).iter();
        let is_named = accepted.any(|line| {
            let line = line.to_str().unwrap_or_default();
            line.contains("application/openmetrics-text")
        });
        let stats = self.cache.stats();
        match is_named {
            true => content(StatusCode::OK, OPENMETRICS, stats.to_openmetrics()),
            false => content(StatusCode::OK, PROMETHEUS, stats.to_prometheus()),
        }
    }
}
