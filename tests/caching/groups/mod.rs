//! Groups of responses (RFC 9875): their members, and the requests that invalidate them.

mod invalidating;
mod naming;
mod orders;

use http::{Method, Request};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::DigestSeed;

use crate::support::{request, with};

/// Two groups of these tests never collide.
fn memory() -> MemoryBackend {
    MemoryBackend::builder()
        .capacity(1 << 20)
        .max_response_size(1 << 16)
        .seed(DigestSeed::new([7; 16]))
        .build()
}

fn layer() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(memory())
}

/// A POST to another resource, whose answer invalidates these groups.
fn write(groups: &str) -> Request<()> {
    with(request(Method::POST, "/write"), "x-invalidates", groups)
}

fn on(host: &str, mut request: Request<()>) -> Request<()> {
    let host = host.parse().expect("a field value");
    request.headers_mut().insert("host", host);
    request
}
