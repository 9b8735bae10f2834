//! Upstreams: the choice of one by path prefix, and the connections to them.
//!
//! Knows nothing of header fields but `Host`. Start reading at `routes`.

pub(super) mod client;
pub(super) mod routes;
#[cfg(feature = "proxy-tls")]
mod tls;
