//! The access log.

use std::net::SocketAddr;
use std::time::Instant;

use http::{Method, Request, Response, Uri, Version};

/// A request, to be logged with its answer.
pub struct Seen {
    client: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
    at: Instant,
}

impl Seen {
    /// `None` where nobody reads the log.
    pub fn of<B>(request: &Request<B>, client: SocketAddr) -> Option<Self> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| Self {
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            at: Instant::now(),
        })
    }

    /// Its answer's head is there.
    pub fn answered<B>(&self, answer: &Response<B>) {
        let field = |name: &str| {
            answer
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
            status = answer.status().as_u16(),
            length = field("content-length"),
            cache = field("cache-status"),
            elapsed = ?self.at.elapsed(),
        );
    }
}
