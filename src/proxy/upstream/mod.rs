//! Upstreams: the choice of one by path prefix, and the connections to them.
//!
//! Knows nothing of header fields but `Host` and those that refer to resources. Start reading at
//! `routes`.

pub(super) mod client;
pub(super) mod response_references;
pub(super) mod routes;
#[cfg(feature = "proxy-tls")]
mod tls;
