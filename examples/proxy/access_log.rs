//! The access log: one line per request when its response's head is sent.

use std::net::SocketAddr;
use std::time::Instant;

use http::{Method, Request, Response, Uri, Version};

/// A request that is to be logged with its response.
pub struct AccessLogEntry {
    client: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
    received: Instant,
}

impl AccessLogEntry {
    /// Records a request; `None` if the access log is off.
    pub fn from_request<B>(request: &Request<B>, client: SocketAddr) -> Option<Self> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| Self {
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            received: Instant::now(),
        })
    }

    /// Writes the line.
    pub fn log<B>(&self, response: &Response<B>) {
        let field = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|line| line.to_str().ok())
        };
        tracing::info!(
            target: "access",
            client = %self.client,
            method = %self.method,
            uri = %self.uri,
            version = ?self.version,
            status = response.status().as_u16(),
            length = field("content-length"),
            cache = field("cache-status"),
            elapsed = ?self.received.elapsed(),
        );
    }
}
